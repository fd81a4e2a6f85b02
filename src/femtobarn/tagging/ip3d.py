"""IP3D and IP2D: likelihood-ratio impact-parameter taggers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from scipy.ndimage import gaussian_filter

from femtobarn.data.inputs import Collection, Feature, Inputs, Label
from femtobarn.data.packing import labelled_batches
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training

__all__ = ["IP3D"]

CUTS = ("pt", "d0", "z0SinTheta")
SIGNIFICANCES = ("IP3D_signed_d0_significance", "IP3D_signed_z0_significance")
HITS = (
    "numberOfInnermostPixelLayerHits",
    "numberOfNextToInnermostPixelLayerHits",
    "numberOfInnermostPixelLayerSharedHits",
    "numberOfPixelSharedHits",
    "numberOfSCTSharedHits",
    "numberOfInnermostPixelLayerSplitHits",
    "numberOfPixelSplitHits",
)
CATEGORIES = 9


@method
class IP3D(Classifier):
    r"""Likelihood ratio of a jet's tracks, from templates of their impact-parameter significances.

    Each track t has the probability P_f(S_d0, S_z0, k) under the flavour f, where k is the category of its
    hit pattern, read off two-dimensional templates, one per category, filled with the training jets; the
    tracks are taken as independent:

    $$ \log L_f = \sum_t \log P_f\big(S_{d0}(t), S_{z0}(t), k(t)\big), \qquad p_f = L_f / \sum_g L_g $$

    so that log(p_b / p_u) is ATLAS's IP3D variable. Significances are signed by the side of the jet on which
    the track crosses its axis. The bins widen as asinh of the significance; templates are smoothed by a
    Gaussian of `smoothing` bins, and a track beyond the last bin counts in it. The nine categories are those
    of ATLAS's fourteen that need no prediction of where hits were to be expected. With `z0_bins=1` the
    longitudinal impact parameter is not looked at, and the tagger is IP2D.

    Source: the ATLAS impact-parameter tagger as listed in REFERENCE (evolution: IP3D -> ... -> GN1).

    Attributes:
        minimum_pt: of a track [GeV].
        maximum_d0: of a track [mm], absolute.
        maximum_z0: of a track's z0 sin(theta) [mm], absolute.
        bins: of the transverse significance.
        z0_bins: of the longitudinal significance.
        largest: absolute significance up to which there are bins.
        smoothing: width of the Gaussian [bins].
        spread: fraction of each flavour's tracks that is spread evenly over all bins.
    """

    trains_network: ClassVar[bool] = False

    minimum_pt: PositiveFloat = 1.0
    maximum_d0: PositiveFloat = 1.0
    maximum_z0: PositiveFloat = 1.5
    bins: PositiveInt = 40
    z0_bins: PositiveInt = 40
    largest: PositiveFloat = 60.0
    smoothing: PositiveFloat = 0.8
    spread: float = Field(default=1e-3, gt=0, lt=1)

    def default_inputs(self) -> Inputs:
        """Significances, hit counts and the cut variables of tracks; b-, c- and light-jets."""
        features: list[Feature | str] = [Feature(name=name) for name in (*CUTS, *SIGNIFICANCES, *HITS)]
        classes = {"b": ["bjets"], "c": ["cjets"], "u": ["ujets"]}
        return Inputs(
            collections={"tracks": Collection(features=features)},
            labels={"jet": Label(field="flavour_label", classes=classes)},
            weight="mcEventWeight",
        )

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Fill, smooth and normalise the templates with the jets of `train`; nothing else is needed.

        Raises:
            InputError: when a flavour has no tracks, or an input is missing or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        cells = CATEGORIES * self.bins * self.z0_bins
        counts = np.zeros(len(self.classes) * cells)
        for batch in labelled_batches(train, self.inputs):
            cell, jet = self.cells(batch)
            flavour, weight = batch.labels[self.label].numpy(), batch.weights.numpy()
            known = flavour[jet] >= 0
            index = flavour[jet[known]] * cells + cell[known]
            counts += np.bincount(index, weight[jet[known]], minlength=len(counts))
        shape = (len(self.classes), CATEGORIES, self.bins, self.z0_bins)
        smooth = gaussian_filter(counts.reshape(shape).clip(min=0.0), self.smoothing, axes=(2, 3))
        total = smooth.sum(axis=(1, 2, 3), keepdims=True)
        if not (total > 0).all():
            missing = ", ".join(
                name for name, n in zip(self.classes, total.ravel(), strict=True) if not n > 0
            )
            raise InputError(
                f"{train.name}: no selected tracks in jets of class {missing}: IP3D needs all flavours"
            )
        # A cell that only some flavours reach must not decide alone: a little of each flavour is everywhere.
        probability = (1 - self.spread) * smooth / total + self.spread / cells
        self.log_templates = np.log(probability).reshape(len(self.classes), cells)
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`ip3d_pb, ip3d_pc, ip3d_pu` per jet; a jet without selected tracks has equal probabilities."""
        cell, jet = self.cells(batch)
        likelihood = np.stack(
            [np.bincount(jet, t[cell], minlength=len(batch)) for t in self.log_templates], axis=1
        )
        likelihood = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        return self.probabilities((likelihood / likelihood.sum(axis=1, keepdims=True)).astype(np.float32))

    def cells(self, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Template cell and jet of every selected track, each (T',) int64."""
        tracks = batch.collections["tracks"]
        names = [feature.name for feature in self.fitted_inputs.collection_features("tracks")]
        track = dict(zip(names, tracks.values.numpy().T, strict=True))
        selected = (
            (track["pt"] > self.minimum_pt)
            & (np.abs(track["d0"]) < self.maximum_d0)
            & (np.abs(track["z0SinTheta"]) < self.maximum_z0)
        )
        track = {name: value[selected] for name, value in track.items()}
        d0, z0 = (
            np.digitize(track[name], np.sinh(np.linspace(-1, 1, bins + 1)[1:-1] * np.arcsinh(self.largest)))
            for name, bins in zip(SIGNIFICANCES, (self.bins, self.z0_bins), strict=True)
        )
        cell = (_category(track) * self.bins + d0) * self.z0_bins + z0
        return cell, tracks.segments.numpy()[selected]

    def state(self) -> dict[str, NDArray[Any]]:
        """The logarithms of the templates, (classes, categories * bins * z0_bins)."""
        return {"log_templates": self.log_templates}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the templates have another shape.
        """
        expected = (len(self.classes), CATEGORIES * self.bins * self.z0_bins)
        templates = state.get("log_templates")
        if templates is None or templates.shape != expected:
            raise InputError(f"these templates do not fit method '{self.name}': expected shape {expected}")
        self.log_templates = templates


def _category(track: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """0 no hit in the two innermost layers, 1 none in the first, 2 none in the second, 3 shared in the first,
    4 shared pixel hit, 5 two or more shared strip hits, 6 split in the first, 7 split pixel hit, 8 good."""
    first = track["numberOfInnermostPixelLayerHits"] > 0
    second = track["numberOfNextToInnermostPixelLayerHits"] > 0
    conditions = [
        ~first & ~second,
        ~first,
        ~second,
        track["numberOfInnermostPixelLayerSharedHits"] > 0,
        track["numberOfPixelSharedHits"] > 0,
        track["numberOfSCTSharedHits"] > 1,
        track["numberOfInnermostPixelLayerSplitHits"] > 0,
        track["numberOfPixelSplitHits"] > 0,
    ]
    return np.select(conditions, list(range(len(conditions))), default=CATEGORIES - 1)
