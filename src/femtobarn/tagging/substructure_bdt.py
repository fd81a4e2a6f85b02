"""Boosted trees on the substructure of a jet: what was there before networks read particles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from femtobarn.data.inputs import Inputs
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.physics.substructure import energy_correlators, n_subjettiness
from femtobarn.tagging.boosted import exported, grown, restored
from femtobarn.tagging.candidates import MOMENTUM, candidate_inputs

__all__ = ["VARIABLES", "SubstructureBDT", "substructure"]

VARIABLES = ("pt", "mass", "multiplicity", "tau1", "tau2", "tau3", "tau21", "tau32", "e2", "e3", "c2", "d2",
             "width", "dispersion", "leading")  # fmt: skip
"""Of `substructure`, in order."""


def substructure(
    counts: NDArray[np.int64], momenta: NDArray[np.floating[Any]], radius: float
) -> NDArray[np.float64]:
    """VARIABLES (J, 15) of jets with these numbers (J,) of candidates px, py, pz, E (T, 4), in GeV.

    Mass; number of candidates; N-subjettiness [1011.2268] and its ratios; energy correlators [1305.0007,
    1409.6298]; width sum pT dR / sum pT, dispersion sqrt(sum pT^2) / sum pT, share of the hardest candidate.
    """
    jets = len(counts)
    jet = np.repeat(np.arange(jets), counts)
    wide = momenta.astype(np.float64)
    px, py, pz, energy = (np.bincount(jet, column, jets).astype(np.float64) for column in wide.T)
    pt, eta, phi = pt_eta_phi(*wide.T[:3])
    jet_pt, jet_eta, jet_phi = pt_eta_phi(px, py, pz)
    tau = n_subjettiness(counts, pt, eta, phi, radius)
    shape = energy_correlators(counts, pt, eta, phi)
    scalar = np.maximum(np.bincount(jet, pt, jets), 1e-12)
    away = delta_r(eta, phi, jet_eta[jet], jet_phi[jet])
    hardest = np.zeros(jets)
    np.maximum.at(hardest, jet, pt)
    columns = [
        jet_pt,
        np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0)),
        counts,
        *tau.T,
        tau[:, 1] / np.maximum(tau[:, 0], 1e-12),
        tau[:, 2] / np.maximum(tau[:, 1], 1e-12),
        shape.e2,
        shape.e3,
        shape.c2,
        shape.d2,
        np.bincount(jet, pt * away, jets) / scalar,
        np.sqrt(np.bincount(jet, pt**2, jets)) / scalar,
        hardest / scalar,
    ]
    return np.stack(columns, -1).astype(np.float64)


@method
class SubstructureBDT(Classifier):
    """Boosted trees on `VARIABLES`, the baseline of taggers that read candidates.

    Attributes:
        trees: boosting iterations, each one tree per class.
        learning_rate: by which each tree is shrunk.
        leaves: of a tree, at most.
        fewest: jets in a leaf, at least.
        radius: of the jets, in the N-subjettiness.
        seed: of what scikit-learn draws.
    """

    trains_network: ClassVar[bool] = False
    contract_exempt: ClassVar[dict[str, str]] = {
        "weight_two": "scikit-learn bins features by numbers of events and counts events in leaves"
    }
    contract_parameters: ClassVar[dict[str, Any]] = {"trees": 30}

    trees: PositiveInt = 300
    learning_rate: float = Field(default=0.08, gt=0)
    leaves: PositiveInt = 31
    fewest: PositiveInt = 50
    radius: float = Field(default=0.8, gt=0)
    seed: int = Field(default=1, ge=0)

    def default_inputs(self) -> Inputs:
        """The four-momenta alone."""
        return candidate_inputs(properties=False)

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Grow the trees on `train`; a seed in `training` goes before the method's own.

        Raises:
            InputError: when a class has no jets, or an input is missing or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        self.ensemble = grown(self, train, self.variables, training)
        return self

    def variables(self, batch: Batch) -> NDArray[np.float64]:
        """`substructure` of a batch's jets."""
        candidates = batch.collections["candidates"]
        names = [feature.name for feature in self.fitted_inputs.collection_features("candidates")]
        momenta = candidates.values[:, [names.index(name) for name in MOMENTUM]].numpy()
        return substructure(candidates.lengths.numpy(), momenta, self.radius)

    def predict_batch(self, batch: Batch) -> ak.Array:
        """A probability per class and jet."""
        return self.probabilities(self.ensemble.predict(self.variables(batch)))

    def state(self) -> dict[str, NDArray[Any]]:
        """The trees as the bytes of an ONNX file."""
        return {"onnx": np.frombuffer(self.ensemble.model, dtype=np.uint8)}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the trees read another number of features.
        """
        self.ensemble = restored(self, state, len(VARIABLES))

    def export(self, path: str | Path) -> Path:
        """See `boosted.exported`."""
        return exported(self, Path(path))
