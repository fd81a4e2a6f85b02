"""Fisher's linear discriminant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from femtobarn.classification.textbook import events_of, textbook_inputs, varying_features
from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.data.scaling import transformed
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training

__all__ = ["Fisher"]


@method
class Fisher(Classifier):
    r"""Linear discriminant of classes with one covariance [Fisher, Annals of Eugenics 7 (1936) 179].

    With the means m_k of the classes and their common covariance S within the classes, all weighted,

    $$ p_k \propto \exp\big( m_k^T S^{-1} x - \tfrac12 m_k^T S^{-1} m_k \big) $$

    which for two classes is the logistic function of Fisher's (m_1 - m_0)^T S^{-1} x and, for Gaussians of
    one covariance, the best there is. The classes count as equally frequent.

    Attributes:
        shrinkage: how far S is drawn to a multiple of the unit matrix, 0 to 1.
    """

    trains_network: ClassVar[bool] = False
    label: ClassVar[str] = "class"

    shrinkage: float = Field(default=0.0, ge=0, le=1)

    def default_inputs(self) -> Inputs:
        """See `textbook.textbook_inputs`."""
        return textbook_inputs()

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Means and covariance of `train`, in one pass; nothing else is needed.

        Raises:
            InputError: when a class has no weight, when the features are linearly dependent, or when one is
                constant, not there or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        values, labels, weights = events_of(train, self.inputs, self.label, self.name)
        values = varying_features(values, self.inputs, train)
        share = np.stack([(labels == k) * weights for k in range(len(self.classes))])
        share /= share.sum(axis=1, keepdims=True)
        means = share @ values
        within = np.mean(
            [(p[:, None] * (values - m)).T @ (values - m) for p, m in zip(share, means, strict=True)], axis=0
        )
        width = np.trace(within) / len(within)
        within = (1 - self.shrinkage) * within + self.shrinkage * width * np.eye(len(within))
        scale = np.sqrt(np.diag(within))  # units do not matter
        if not (scale > 0).all() or np.linalg.cond(within / np.outer(scale, scale)) > 1e12:
            raise InputError(
                f"{train.name}: the features of '{self.name}' are linearly dependent: leave one out or set "
                "shrinkage"
            )
        self.slopes = np.linalg.solve(within / np.outer(scale, scale), (means / scale).T).T / scale
        self.offsets = -0.5 * np.sum(self.slopes * means, axis=1)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`fisher_p<class>` per event."""
        values = transformed(batch.event.numpy().astype(np.float64), self.fitted_inputs.event_features)
        logits = values @ self.slopes.T + self.offsets
        odds = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return self.probabilities((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32))

    def state(self) -> dict[str, NDArray[Any]]:
        """`slopes` (classes, F) and `offsets` (classes,) of the logits."""
        return {"slopes": self.slopes, "offsets": self.offsets}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when it is of other features or classes.
        """
        expected = (len(self.classes), len(self.fitted_inputs.event))
        if state["slopes"].shape != expected:
            raise InputError(f"these slopes do not fit '{self.name}': expected {expected}")
        self.slopes, self.offsets = state["slopes"], state["offsets"]
