"""SV1: one inclusive secondary vertex per jet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from femtobarn.data.inputs import Inputs
from femtobarn.data.packing import labelled_batches
from femtobarn.data.ragged import Batch
from femtobarn.data.sample import Sample
from femtobarn.errors import InputError
from femtobarn.learn.method import Classifier, method
from femtobarn.learn.training import Training
from femtobarn.physics.groups import sums
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.physics.two_track import (
    PION,
    at_material,
    decay_length,
    four_momentum,
    momenta_at,
    track_pairs,
    unwanted_decays,
)
from femtobarn.physics.vertexing import MeasuredTracks, compatible_tracks, fit_vertices, residuals
from femtobarn.statistics.templates import fill, log_probability
from femtobarn.tagging.jet_frame import JetTracks, jet_tracks, vertexing_inputs

__all__ = ["SV1"]

PAIRS = (1, 2, 3, 4, 6, 9, 14)
"""Lower edges of the bins in the number of two-track vertices."""
DISTANCES = (0.02, 0.04, 0.06, 0.09, 0.13, 0.2)
"""Edges of the bins in the distance of jet axis and flight direction."""


@method
class SV1(Classifier):
    r"""Likelihood of the inclusive secondary vertex of a jet's displaced tracks.

    Pairs of displaced tracks are fitted to two-track vertices. Those that fit, lie a significant distance in
    front of the primary vertex and are no K_S, Lambda, photon conversion or interaction in the material give
    their tracks to one vertex, which loses the worst again and again until all are compatible; then other
    tracks that fit there clearly better than at the primary vertex join it. With eps_f the fraction of jets
    of flavour f in which a vertex is left, m its mass, e its share of the energy of all tracks, N the number
    of two-track vertices, and dR the distance of the flight direction from the jet axis,

    $$ L_f = \epsilon_f \, P_f(m', e) \, P_f(N) \, P_f(dR), \quad m' = \frac{m}{m + 1\,\mathrm{GeV}},
       \qquad L_f = 1 - \epsilon_f \text{ without a vertex,} \qquad p_f = L_f / \sum_g L_g . $$

    Sources: ATLAS, JINST 11 (2016) P04008 and ATL-PHYS-PUB-2015-022 for the algorithm, CERN-OPEN-2008-020 for
    the likelihood. Cuts were adjusted on simulated ttbar where those do not give them.

    `predict` adds per jet, named as in ATLAS files, `SV1_masssvx` (GeV), `SV1_efracsvx`, `SV1_N2Tpair`,
    `SV1_NGTinSvx`, `SV1_L3d`, `SV1_Lxy` (mm), `SV1_significance3d`, `SV1_deltaR`, and `SV1_isDefaults`, 1
    where there is no vertex (then counts are 0 and the rest -1); per track `<name>_VertexIndex`, 0, or -2 for
    none.

    Attributes:
        minimum_pt: of a track [GeV].
        minimum_significance: of a track's impact parameter in space.
        pair_chi2: largest of a two-track vertex.
        pair_significance: smallest decay length of a two-track vertex, in standard deviations.
        track_chi2: the most a track may add to the chi2 of the vertex.
        joining_chi2: largest of another track at the vertex that joins it.
        joining_gain: how much larger its chi2 at the primary vertex must be.
        largest_mass: of vertices [GeV].
        kaon_window: around the mass of the K_S [GeV].
        hyperon_window: around the mass of the Lambda [GeV].
        photon_mass: largest of a conversion [GeV].
        pointing: largest miss of a V0's line of flight [mm].
        material_radii: of cylinders at which particles interact [mm], growing; none: no such veto.
        material_width: distance to them [mm].
        d0_phi_correlation: of a track's parameters, which files do not hold.
        z0_theta_correlation: likewise, of z0 sin(theta) and theta.
        primary_xy: spread of primary vertices about the beam line [mm], as d0 refers to that.
        primary_z: uncertainty of the primary vertex along it [mm].
        bins: of mass and of energy fraction.
        smoothing: width of the Gaussian over them [bins].
        spread: fraction of each flavour that is spread evenly over the bins.
    """

    trains_network: ClassVar[bool] = False

    minimum_pt: NonNegativeFloat = 0.7
    minimum_significance: NonNegativeFloat = 2.5
    pair_chi2: PositiveFloat = 4.5
    pair_significance: NonNegativeFloat = 2.0
    track_chi2: PositiveFloat = 12.0
    joining_chi2: PositiveFloat = 12.0
    joining_gain: PositiveFloat = 1.0
    largest_mass: PositiveFloat = 6.0
    kaon_window: NonNegativeFloat = 0.022
    hyperon_window: NonNegativeFloat = 0.008
    photon_mass: NonNegativeFloat = 0.040
    pointing: PositiveFloat = 0.3
    material_radii: tuple[PositiveFloat, ...] = (24.0, 33.3, 50.5, 88.5, 122.5)
    material_width: PositiveFloat = 1.5
    d0_phi_correlation: float = Field(default=-0.75, gt=-1, lt=1)
    z0_theta_correlation: float = Field(default=-0.65, gt=-1, lt=1)
    primary_xy: PositiveFloat = 0.010
    primary_z: PositiveFloat = 0.030
    bins: PositiveInt = 20
    smoothing: PositiveFloat = 0.8
    spread: float = Field(default=0.01, gt=0, lt=1)

    def default_inputs(self) -> Inputs:
        """Perigees and uncertainties of tracks; b-, c- and light-jets."""
        return vertexing_inputs()

    # ------------------------------------------------------------------ the vertex

    def find(self, batch: Batch) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """The vertex of each track (T,), 0 or -2 for none, and the observables (B,) of the jets by name."""
        jets = len(batch)
        t = jet_tracks(batch, self.fitted_inputs, (self.d0_phi_correlation, self.z0_theta_correlation))
        displaced = np.abs(t.significance) > self.minimum_significance
        chosen = np.flatnonzero(displaced & (t.pt > self.minimum_pt))
        seeds, number = self._seeds(t.measured.take(chosen), t.jet[chosen], t.axis)
        chosen = chosen[seeds]
        kept = compatible_tracks(t.measured.take(chosen), t.jet[chosen], jets, self.track_chi2)
        chosen = self._joined(t, chosen[kept], jets)
        tracks, jet = t.measured.take(chosen), t.jet[chosen]
        fit = fit_vertices(tracks, jet, jets)
        length, significance = decay_length(fit.position, fit.covariance, self._primary)
        energy, momentum = four_momentum(momenta_at(tracks, fit.position[jet]), jet, jets)
        mass = np.sqrt(np.maximum(energy**2 - (momentum**2).sum(axis=1), 0.0))
        size = np.bincount(jet, minlength=jets)
        good = (size >= 2) & ((fit.position * t.axis).sum(axis=1) > 0) & (mass < self.largest_mass)
        whole = sums(t.jet, np.hypot(t.momentum, PION), jets)
        _, eta, phi = pt_eta_phi(*fit.position.T)
        found: dict[str, NDArray[Any]] = {
            "masssvx": mass,
            "efracsvx": energy / np.maximum(whole, 1e-9),
            "L3d": length,
            "Lxy": np.hypot(fit.position[:, 0], fit.position[:, 1]),
            "significance3d": significance,
            "deltaR": delta_r(eta, phi, np.arcsinh(t.axis[:, 2] / t.axis[:, 0]), np.zeros(jets)),
        }
        found = {name: np.where(good, value, -1.0).astype(np.float32) for name, value in found.items()}
        found |= {
            "N2Tpair": np.where(good, number, 0).astype(np.int32),
            "NGTinSvx": np.where(good, size, 0).astype(np.int32),
            "isDefaults": (~good).astype(np.int8),
        }
        index = np.full(len(t.jet), -2, dtype=np.int64)
        index[chosen[good[jet]]] = 0
        return index, {f"SV1_{name}": value for name, value in found.items()}

    def _seeds(
        self, tracks: MeasuredTracks, jet: NDArray[np.int64], axis: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which tracks (T,) are in a good two-track vertex, and the number (B,) of these."""
        pair = track_pairs(tracks, np.bincount(jet, minlength=len(axis)))
        where = jet[pair.first]
        _, significance = decay_length(pair.position, pair.covariance, self._primary)
        good = (pair.chi2 < self.pair_chi2) & (significance > self.pair_significance)
        good &= ((pair.position * axis[where]).sum(axis=1) > 0) & (pair.mass(PION, PION) < self.largest_mass)
        pair, significance, where = pair.take(good), significance[good], where[good]
        bad = unwanted_decays(
            pair, significance, self.kaon_window, self.hyperon_window, self.photon_mass, self.pointing
        )
        if self.material_radii:
            bad |= at_material(pair.position, self.material_radii, self.material_width)
        seeds = np.zeros(len(jet), dtype=bool)
        seeds[pair.first[~bad]] = seeds[pair.second[~bad]] = True
        return seeds, np.bincount(where[~bad], minlength=len(axis))

    def _joined(self, t: JetTracks, chosen: NDArray[np.int64], jets: int) -> NDArray[np.int64]:
        """The tracks of the vertices, and those that fit there clearly better than at the primary vertex."""
        jet = t.jet[chosen]
        inside = np.bincount(jet, minlength=jets)[t.jet] >= 2
        others = np.setdiff1d(np.flatnonzero(inside & (t.pt > self.minimum_pt)), chosen)
        position = fit_vertices(t.measured.take(chosen), jet, jets).position
        tracks = t.measured.take(others)
        here = residuals(tracks, position[t.jet[others]]).chi2
        prompt = residuals(tracks, np.zeros((len(others), 3))).chi2
        joins = (here < self.joining_chi2) & (prompt - here > self.joining_gain)
        return np.sort(np.append(chosen, others[joins]))

    @property
    def _primary(self) -> NDArray[np.float64]:
        return np.array([self.primary_xy, self.primary_xy, self.primary_z])

    # ------------------------------------------------------------------ the likelihood

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Fill the templates with the vertices of `train`; nothing else is needed.

        Raises:
            InputError: when a flavour has no jets, or an input is missing or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        classes = len(self.classes)
        shapes = {"mass": (classes, self.bins, self.bins), "pairs": (classes, len(PAIRS)),
                  "distance": (classes, len(DISTANCES) + 1), "found": (classes, 2)}  # fmt: skip
        counts = {name: np.zeros(shape) for name, shape in shapes.items()}
        for batch in labelled_batches(train, self.inputs):
            flavour, weight = batch.labels[self.label].numpy(), batch.weights.numpy().astype(np.float64)
            has, cells = self._cells(self.find(batch)[1])
            counts["found"] += fill(flavour, has.astype(np.int64), weight, shapes["found"])
            for name, cell in cells.items():
                counts[name] += fill(flavour[has], cell[has], weight[has], shapes[name])
        total = counts["found"].sum(axis=1)
        if not (total > 0).all():
            missing = ", ".join(name for name, n in zip(self.classes, total, strict=True) if not n > 0)
            raise InputError(f"{train.name}: no jets of class {missing}: SV1 needs all flavours")
        smooth = {"mass": (1, 2)}
        self.templates = {
            name: log_probability(count, smooth.get(name, ()), self.smoothing, self.spread)
            for name, count in counts.items()
        }
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`sv1_pb, sv1_pc, sv1_pu`, the observables of the vertex, and `tracks.sv1_VertexIndex`."""
        index, jet = self.find(batch)
        has, cells = self._cells(jet)
        likelihood = self.templates["found"][:, has.astype(np.int64)].copy()
        for name, cell in cells.items():
            flat = self.templates[name].reshape(len(self.classes), -1)
            likelihood[:, has] += flat[:, cell[has]]
        likelihood = np.exp(likelihood - likelihood.max(axis=0))
        read = batch.collections["tracks"]
        tracks = ak.unflatten(
            ak.zip({f"{self.name}_VertexIndex": read.as_read(index, -2)}), read.counts_as_read
        )
        probability = (likelihood / likelihood.sum(axis=0)).T.astype(np.float32)
        return self.probabilities(probability, **jet, tracks=tracks)

    def _cells(self, jet: dict[str, NDArray[Any]]) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.int64]]]:
        """Which jets have a vertex, and the template cells of all."""
        mass = jet["SV1_masssvx"] / (np.abs(jet["SV1_masssvx"]) + 1)
        top = self.largest_mass / (self.largest_mass + 1)
        places = [
            np.clip((value * self.bins).astype(np.int64), 0, self.bins - 1)
            for value in (mass / top, jet["SV1_efracsvx"])
        ]
        cells = {
            "mass": places[0] * self.bins + places[1],
            "pairs": np.digitize(jet["SV1_N2Tpair"], PAIRS[1:]),
            "distance": np.digitize(jet["SV1_deltaR"], DISTANCES),
        }
        return jet["SV1_isDefaults"] == 0, cells

    def state(self) -> dict[str, NDArray[Any]]:
        """The logarithms of the templates, by name."""
        return dict(self.templates)

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the templates have another shape.
        """
        expected = (len(self.classes), self.bins, self.bins)
        if set(state) != {"mass", "pairs", "distance", "found"} or state["mass"].shape != expected:
            raise InputError(f"these templates do not fit method '{self.name}': expected shape {expected}")
        self.templates = state
