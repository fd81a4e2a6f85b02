"""JetFitter: the decay chain of a b-hadron along its flight axis."""

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
from femtobarn.physics.flight_axis import find_chains
from femtobarn.physics.groups import sums
from femtobarn.physics.kinematics import delta_r, pt_eta_phi
from femtobarn.physics.two_track import (
    PION,
    decay_length,
    four_momentum,
    momenta_at,
    track_pairs,
    unwanted_decays,
)
from femtobarn.physics.vertexing import MeasuredTracks
from femtobarn.statistics.templates import fill, log_probability
from femtobarn.tagging.jet_frame import jet_tracks, vertexing_inputs

__all__ = ["JetFitter"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
DISTANCES = (0.02, 0.04, 0.06, 0.09, 0.13, 0.2)
"""Edges of the bins in the distance of jet axis and momentum."""
SIGNIFICANCES = (2.0, 3.0, 4.0, 5.0, 6.5, 8.5, 11.0, 15.0, 20.0, 27.0, 40.0, 60.0)
"""Edges of the bins in the significance of the flight length."""
CATEGORIES = 8


@method
class JetFitter(Classifier):
    r"""Likelihood of the decay chain of a jet: vertices on one axis, of single tracks too.

    Displaced tracks that make no K_S, Lambda or photon conversion start as one vertex each on the jet's axis,
    which is fitted with them. Tracks that miss the axis leave. Then, again and again, the two vertices of a
    jet that fit together best, the primary vertex being one of them, become one and the axis is fitted anew,
    until none do. Vertices in front of the primary one are the chain, in categories k by the number of
    vertices and tracks; with m its mass, e its share of the energy of all tracks, s the mean significance of
    its distances and dR that of its momentum from the jet axis,

    $$ L_f = P_f(k) \, P_f(m' | k) \, P_f(e | k) \, P_f(s | k) \, P_f(dR | k),
       \quad m' = \frac{m}{m + 1\,\mathrm{GeV}}, \quad p_f = L_f / \sum_g L_g . $$

    Source: G. Piacquadio and C. Weiser, J. Phys. Conf. Ser. 119 (2008) 032032; there by a Kalman filter, here
    by Gauss-Newton steps for all jets at once. Cuts were adjusted on simulated ttbar.

    `predict` adds per jet, named as in ATLAS files, `JetFitter_mass` (GeV), `JetFitter_energyFraction`,
    `JetFitter_significance3d`, `JetFitter_deltaR` (of the chain's momentum and the jet axis),
    `JetFitter_nVTX` (vertices of two or more tracks), `JetFitter_nTracksAtVtx` (their tracks),
    `JetFitter_nSingleTracks`, `JetFitter_N2Tpair` (two-track vertices among the candidates) and
    `JetFitter_isDefaults`, 1 where there is no chain (then counts are 0 and the rest -1); per track
    `<name>_VertexIndex`, from 0 by distance, -2 for none.

    Attributes:
        minimum_pt: of a track [GeV].
        minimum_significance: of a track's impact parameter in space.
        axis_chi2: the most a track may add to chi2 as a vertex of its own.
        merging_chi2: two vertices whose distance is less than this in chi2 are one.
        pair_chi2: largest of a two-track vertex.
        pair_significance: smallest decay length of a two-track vertex, in standard deviations.
        largest_mass: end of the bins [GeV].
        kaon_window: around the mass of the K_S [GeV].
        hyperon_window: around the mass of the Lambda [GeV].
        photon_mass: largest of a conversion [GeV].
        pointing: largest miss of a V0's line of flight [mm].
        d0_phi_correlation: of a track's parameters, which files do not hold.
        z0_theta_correlation: likewise, of z0 sin(theta) and theta.
        primary_xy: spread of primary vertices about the beam line [mm], as d0 refers to that.
        primary_z: uncertainty of the primary vertex along it [mm].
        tilt: standard deviation of the flight axis about the jet's, in either direction [radian].
        bins: of mass and of energy fraction.
        smoothing: width of the Gaussian over them [bins].
        spread: fraction of each flavour that is spread evenly over the bins.
    """

    trains_network: ClassVar[bool] = False

    minimum_pt: NonNegativeFloat = 0.7
    minimum_significance: NonNegativeFloat = 1.5
    axis_chi2: PositiveFloat = 14.0
    merging_chi2: PositiveFloat = 4.0
    pair_chi2: PositiveFloat = 4.5
    pair_significance: NonNegativeFloat = 2.0
    largest_mass: PositiveFloat = 6.0
    kaon_window: NonNegativeFloat = 0.022
    hyperon_window: NonNegativeFloat = 0.008
    photon_mass: NonNegativeFloat = 0.040
    pointing: PositiveFloat = 0.3
    d0_phi_correlation: float = Field(default=-0.75, gt=-1, lt=1)
    z0_theta_correlation: float = Field(default=-0.65, gt=-1, lt=1)
    primary_xy: PositiveFloat = 0.010
    primary_z: PositiveFloat = 0.030
    tilt: PositiveFloat = 0.03
    bins: PositiveInt = 15
    smoothing: PositiveFloat = 0.8
    spread: float = Field(default=0.01, gt=0, lt=1)

    def default_inputs(self) -> Inputs:
        """Perigees and uncertainties of tracks; b-, c- and light-jets."""
        return vertexing_inputs()

    # ------------------------------------------------------------------ the chain

    def find(self, batch: Batch) -> tuple[Index, dict[str, NDArray[Any]]]:
        """The vertex of each track (T,), -2 for none, and the observables (B,) of the jets by name."""
        jets = len(batch)
        t = jet_tracks(batch, self.fitted_inputs, (self.d0_phi_correlation, self.z0_theta_correlation))
        displaced = np.abs(t.significance) > self.minimum_significance
        chosen = np.flatnonzero(displaced & (t.pt > self.minimum_pt))
        wanted, pair_count = self._candidates(t.measured.take(chosen), t.jet[chosen], jets)
        chosen = chosen[wanted]
        chain = find_chains(
            t.measured.take(chosen), t.jet[chosen], t.axis, self._primary, self.tilt,
            self.axis_chi2, self.merging_chi2,
        )  # fmt: skip
        forward = chain.distance > 0
        on = forward[chain.vertex]
        track, vertex = chosen[chain.track[on]], chain.vertex[on]
        jet = t.jet[track]
        size = np.bincount(vertex, minlength=len(forward))
        used = size > 0
        many = size >= 2
        count = np.bincount(chain.jet[many], minlength=jets)
        single = np.bincount(chain.jet[size == 1], minlength=jets)
        good = count + single > 0
        points = chain.distance[vertex, None] * t.axis[jet]
        energy, momentum = four_momentum(momenta_at(t.measured.take(track), points), jet, jets)
        whole = sums(t.jet, np.hypot(t.momentum, PION), jets)
        weight = 1 / np.maximum(chain.variance[used], 1e-12)
        pull = sums(chain.jet[used], weight * chain.distance[used], jets)
        norm = sums(chain.jet[used], weight, jets)
        _, eta, phi = pt_eta_phi(*momentum.T)
        found: dict[str, NDArray[Any]] = {
            "mass": np.sqrt(np.maximum(energy**2 - (momentum**2).sum(axis=1), 0.0)),
            "energyFraction": energy / np.maximum(whole, 1e-9),
            "significance3d": pull / np.sqrt(np.maximum(norm, 1e-12)),
            "deltaR": delta_r(eta, phi, np.arcsinh(t.axis[:, 2] / t.axis[:, 0]), np.zeros(jets)),
        }
        found = {name: np.where(good, value, -1.0).astype(np.float32) for name, value in found.items()}
        counts = {
            "nVTX": count,
            "nSingleTracks": single,
            "nTracksAtVtx": sums(chain.jet[many], size[many], jets),
            "N2Tpair": pair_count,
        }
        found |= {name: np.where(good, value, 0).astype(np.int32) for name, value in counts.items()}
        found["isDefaults"] = (~good).astype(np.int8)
        # Vertices of a jet numbered by distance.
        ordered = np.flatnonzero(used)[np.lexsort((chain.distance[used], chain.jet[used]))]
        rank = np.full(len(size), -2, dtype=np.int64)
        before = np.cumsum(np.bincount(chain.jet[ordered], minlength=jets))
        rank[ordered] = np.arange(len(ordered)) - np.append(0, before)[chain.jet[ordered]]
        index = np.full(len(t.jet), -2, dtype=np.int64)
        index[track] = rank[vertex]
        return index, {f"JetFitter_{name}": value for name, value in found.items()}

    def _candidates(self, tracks: MeasuredTracks, jet: Index, jets: int) -> tuple[NDArray[np.bool_], Index]:
        """Which tracks (T,) are in no unwanted two-track vertex, and the number (B,) of the others."""
        pair = track_pairs(tracks, np.bincount(jet, minlength=jets))
        _, significance = decay_length(pair.position, pair.covariance, self._primary)
        good = (pair.chi2 < self.pair_chi2) & (significance > self.pair_significance)
        good &= pair.mass(PION, PION) < self.largest_mass
        pair, significance = pair.take(good), significance[good]
        bad = unwanted_decays(
            pair, significance, self.kaon_window, self.hyperon_window, self.photon_mass, self.pointing
        )
        wanted = np.ones(len(jet), dtype=bool)
        wanted[pair.first[bad]] = wanted[pair.second[bad]] = False
        return wanted, np.bincount(jet[pair.first[~bad]], minlength=jets)

    @property
    def _primary(self) -> Array:
        return np.array([self.primary_xy, self.primary_xy, self.primary_z])

    # ------------------------------------------------------------------ the likelihood

    def fit(self, train: Sample, valid: Sample | None = None, inputs: Inputs | None = None,
            training: Training | None = None, resume: str | Path | None = None) -> Self:  # fmt: skip
        """Fill the templates with the chains of `train`; nothing else is needed.

        Raises:
            InputError: when a flavour has no jets, or an input is missing or not finite.
        """
        self.inputs = inputs or self.default_inputs()
        shapes = self._shapes
        counts = {name: np.zeros(shape) for name, shape in shapes.items()}
        for batch in labelled_batches(train, self.inputs):
            flavour, weight = batch.labels[self.label].numpy(), batch.weights.numpy().astype(np.float64)
            for name, cell in self._cells(self.find(batch)[1]).items():
                counts[name] += fill(flavour, cell, weight, shapes[name])
        total = counts["category"].sum(axis=1)
        if not (total > 0).all():
            missing = ", ".join(name for name, n in zip(self.classes, total, strict=True) if not n > 0)
            raise InputError(f"{train.name}: no jets of class {missing}: JetFitter needs all flavours")
        self.templates = {
            name: log_probability(count, (2,) if name != "category" else (), self.smoothing, self.spread,
                                  given=count.ndim - 2)
            for name, count in counts.items()
        }  # fmt: skip
        return self

    def predict_batch(self, batch: Batch) -> ak.Array:
        """`jetfitter_pb, jetfitter_pc, jetfitter_pu`, the observables, and `tracks.jetfitter_VertexIndex`."""
        index, jet = self.find(batch)
        logarithm = np.zeros((len(self.classes), len(batch)))
        for name, cell in self._cells(jet).items():
            logarithm += self.templates[name].reshape(len(self.classes), -1)[:, cell]
        likelihood = np.exp(logarithm - logarithm.max(axis=0))
        read = batch.collections["tracks"]
        tracks = ak.unflatten(
            ak.zip({f"{self.name}_VertexIndex": read.as_read(index, -2)}), read.counts_as_read
        )
        probability = (likelihood / likelihood.sum(axis=0)).T.astype(np.float32)
        return self.probabilities(probability, **jet, tracks=tracks)

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        classes = len(self.classes)
        bins = {"mass": self.bins, "energy": self.bins}
        bins |= {"significance": len(SIGNIFICANCES) + 1, "distance": len(DISTANCES) + 1}
        return {"category": (classes, CATEGORIES)} | {n: (classes, CATEGORIES, b) for n, b in bins.items()}

    def _cells(self, jet: dict[str, NDArray[Any]]) -> dict[str, Index]:
        """Template cells of all jets."""
        j = {name.removeprefix("JetFitter_"): value for name, value in jet.items()}
        category = _category(j["nVTX"], j["nSingleTracks"], j["nTracksAtVtx"])
        top = self.largest_mass / (self.largest_mass + 1)
        unit = {"mass": j["mass"] / (np.abs(j["mass"]) + 1) / top, "energy": j["energyFraction"]}
        last = self.bins - 1
        cells = {name: np.clip((x * self.bins).astype(np.int64), 0, last) for name, x in unit.items()}
        cells["significance"] = np.digitize(j["significance3d"], SIGNIFICANCES)
        cells["distance"] = np.digitize(j["deltaR"], DISTANCES)
        shapes = self._shapes
        return {"category": category} | {n: category * shapes[n][2] + cell for n, cell in cells.items()}

    def state(self) -> dict[str, NDArray[Any]]:
        """The logarithms of the templates, by name."""
        return dict(self.templates)

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` gave.

        Raises:
            InputError: when the templates have another shape.
        """
        if {name: template.shape for name, template in state.items()} != self._shapes:
            raise InputError(f"these templates do not fit method '{self.name}' with its bins and classes")
        self.templates = state


def _category(vertices: Index, singles: Index, tracks: Index) -> Index:
    """0 no chain, 1 one single track, 2 more, 3 a vertex of two tracks, 4 and single ones, 5 of three tracks,
    6 of four or more, 7 two vertices or more."""
    conditions = [vertices >= 2, tracks >= 4, tracks == 3, (tracks == 2) & (singles > 0), tracks == 2,
                  singles > 1, singles == 1]  # fmt: skip
    return np.asarray(np.select(conditions, [7, 6, 5, 4, 3, 2, 1], default=0))
