r"""Vertices on one axis: the decay chain of a b-hadron, fitted as a whole for all jets at once.

A b-hadron and the c-hadron it decays to fly in nearly the same direction, so that all their vertices lie on
one axis through the primary vertex, and a single track that crosses it makes a vertex by itself. The
parameters of a jet are the primary vertex p, the two tilts a of the axis u = n + a_1 e_1 + a_2 e_2 against a
first guess n, and the distance l_k of each vertex p + l_k u. Known beforehand are p (the beam spot) and a
(how well the jet's axis follows the hadron); the tracks' residuals with respect to their vertex are those of
`physics.vertexing`.

Gauss-Newton: the distances appear in one vertex each, so they are eliminated and leave five equations a jet.
Merging two vertices adds (l_i - l_j)^2 / var(l_i - l_j) to chi2, exactly where the fit is linear.

Source: G. Piacquadio and C. Weiser, J. Phys. Conf. Ser. 119 (2008) 032032, there with a Kalman filter.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import pairs, sums
from femtobarn.physics.vertexing import MeasuredTracks, residuals

__all__ = ["AxisFit", "Chain", "find_chains", "fit_axis"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
LONGEST = 200.0
"""mm; a Gaussian of this width holds the distance of a vertex whose tracks run along the axis."""


class AxisFit(NamedTuple):
    """J jets with K vertices.

    `direction` (J, 3) is the unit vector of the axis, `distance` (K,) of each vertex along it from the
    primary vertex in mm, `track_chi2` (T,) what each track adds to chi2. The covariance of distances i and j
    of a jet is lever_i C lever_j, and `own` (K,) more where i = j, with C the `shared` one (J, 5, 5) and
    lever (K, 5).
    """

    direction: Array
    distance: Array
    shared: Array
    own: Array
    lever: Array
    track_chi2: Array

    def variance(self, jet: Index, first: Index, second: Index | None = None) -> Array:
        """Of distances `first` (P,), or of first - second, in jets `jet` (P,); mm^2."""
        lever, own = self.lever[first], self.own[first]
        if second is not None:
            lever, own = lever - self.lever[second], own + self.own[second]
        return np.asarray(own + np.einsum("pi,pij,pj->p", lever, self.shared[jet], lever))


class Chain(NamedTuple):
    """Tracks on the axes of J jets, and their vertices.

    `track` (T',) are the places of those that stayed and `vertex` (T',) the vertex of each; `jet`, `distance`
    (mm) and `variance` (K,) are of vertices. Vertex k < J is the primary vertex of jet k, at the distance 0.
    """

    track: Index
    vertex: Index
    jet: Index
    distance: Array
    variance: Array


def fit_axis(
    tracks: MeasuredTracks,
    vertex: Index,
    jet: Index,
    axis: Array,
    primary: Array,
    tilt: float,
    at_primary: NDArray[np.bool_],
    start: Array,
    iterations: int = 3,
) -> AxisFit:
    """Fit the axes and vertices of all jets.

    Args:
        tracks: (T,).
        vertex: (T,) the vertex of each track, 0 <= vertex < K.
        jet: (K,) the jet of each vertex, 0 <= jet < J.
        axis: (J, 3) unit vectors, the first guess.
        primary: (3,) standard deviations of the primary vertex about the origin, mm.
        tilt: standard deviation of the axis about the guess, radians, in either direction.
        at_primary: (K,) vertices that are the primary one: their distance stays zero.
        start: (K,) distances to begin with, mm.
        iterations: Gauss-Newton steps.
    """
    jets, of_track = len(axis), jet[vertex]
    across = np.stack([-axis[:, 1], axis[:, 0], np.zeros(jets)], axis=1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    basis = np.stack([across, np.cross(axis, across)], axis=1)
    prior = 1 / np.concatenate([primary, [tilt, tilt]]) ** 2
    shared, distance = np.zeros((jets, 5)), np.where(at_primary, 0.0, start)
    free = (~at_primary).astype(np.float64)
    for iteration in range(iterations + 1):
        direction = axis + np.einsum("jt,jti->ji", shared[:, 3:], basis)
        points = shared[of_track, :3] + distance[vertex, None] * direction[of_track]
        r = residuals(tracks, points)
        # Both residuals of a track one below the other: gradient, derivatives in the shared parameters (2T,
        # 5) and in the distance (2T,).
        gradient = np.concatenate([
            np.stack([r.sin_phi, -r.cos_phi, np.zeros(len(vertex))], axis=1),
            np.stack([tracks.cos_theta * r.cos_phi, tracks.cos_theta * r.sin_phi, -tracks.sin_theta], axis=1),
        ])  # fmt: skip
        node, owner = np.tile(vertex, 2), np.tile(of_track, 2)
        weight, residual = 1 / np.concatenate([r.var_d, r.var_l]), np.concatenate([r.d, r.l])
        tilts = distance[node, None] * np.einsum("ti,tai->ta", gradient, basis[owner])
        inner = np.concatenate([gradient, tilts], axis=1)
        outward = (gradient * direction[owner]).sum(axis=1) * free[node]
        weighted = weight[:, None] * inner
        information = sums(owner, weighted[:, :, None] * inner[:, None, :], jets) + np.diag(prior)
        slope = sums(owner, weighted * residual[:, None], jets) + prior * shared
        own = 1 / (sums(node, weight * outward**2, len(jet)) + LONGEST**-2)
        lever = own[:, None] * sums(node, weighted * outward[:, None], len(jet))
        push = own * (sums(node, weight * outward * residual, len(jet)) + distance / LONGEST**2)
        information -= sums(jet, lever[:, :, None] * lever[:, None, :] / own[:, None, None], jets)
        covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
        if iteration < iterations:
            slope -= sums(jet, lever * (push / own)[:, None], jets)
            step = np.einsum("jab,jb->ja", covariance, slope)
            shared = shared - step
            distance = distance - free * (push - (lever * step[jet]).sum(axis=1))
    norm = np.linalg.norm(direction, axis=1)
    scale = norm[jet] * free
    own, lever = np.asarray(own * scale**2), lever * scale[:, None]
    return AxisFit(direction / norm[:, None], distance * norm[jet], covariance, own, lever, r.chi2)


def find_chains(
    tracks: MeasuredTracks,
    jet: Index,
    axis: Array,
    primary: Array,
    tilt: float,
    axis_chi2: float,
    merging_chi2: float,
) -> Chain:
    """Vertices on the axes of jets: one of each track at first, then merged.

    First the worst track of each jet leaves until all meet the axis. Then the two vertices of each jet that
    fit together best, one of which may be the primary vertex, become one, until none do; all jets go in step.

    Args:
        tracks: (T,).
        jet: (T,) the jet of each track, 0 <= jet < J.
        axis, primary, tilt: as for `fit_axis`.
        axis_chi2: the most a track may add to chi2 as a vertex of its own.
        merging_chi2: by less than this in chi2 are two vertices one.
    """
    jets = len(axis)
    owner = np.append(np.arange(jets), jet)
    track, vertex = np.arange(len(jet)), jets + np.arange(len(jet))
    distance, variance = np.zeros(len(owner)), np.ones(len(owner))
    merging, active = False, np.unique(jet)
    while len(active):
        mine = np.flatnonzero(np.isin(jet[track], active))
        # Vertices of the active jets numbered anew, their primary ones first.
        ids, compact = np.unique(np.concatenate([active, vertex[mine]]), return_inverse=True)
        compact, place = compact[len(active) :], np.searchsorted(active, owner[ids])
        fit = fit_axis(
            tracks.take(track[mine]), compact, place, axis[active], primary, tilt, ids < jets, distance[ids]
        )
        distance[ids] = fit.distance
        variance[ids] = fit.variance(place, np.arange(len(ids)))
        if merging:
            first, second = _closest(fit, place, len(active), merging_chi2)
            into, gone = ids[first], ids[second]
            weight = 1 / np.maximum(variance[[into, gone]], 1e-12)
            mean = (weight * distance[[into, gone]]).sum(axis=0) / weight.sum(axis=0)
            distance[into] = np.where(into < jets, 0.0, mean)
            heir = np.arange(len(owner))
            heir[gone] = into
            vertex = heir[vertex]
            active = active[np.unique(place[first])]
        else:
            worst = _worst(fit.track_chi2, place[compact])
            worst = worst[fit.track_chi2[worst] > axis_chi2]
            active = active[place[compact[worst]]]
            track, vertex = np.delete(track, mine[worst]), np.delete(vertex, mine[worst])
            if not len(worst):
                merging, active = True, np.unique(jet[track])
    return Chain(track, vertex, owner, distance, variance)


def _closest(fit: AxisFit, jet: Index, jets: int, merging_chi2: float) -> tuple[Index, Index]:
    """The two vertices of each jet that fit together best, where they do, the smaller number first."""
    order = np.argsort(jet, kind="stable")
    first, second = (order[part] for part in pairs(np.bincount(jet, minlength=jets)))
    variance = np.maximum(fit.variance(jet[first], first, second), 1e-12)
    chi2 = (fit.distance[first] - fit.distance[second]) ** 2 / variance
    near = np.flatnonzero(chi2 < merging_chi2)
    best = near[_worst(-chi2[near], jet[first[near]])]
    return first[best], second[best]


def _worst(value: Array, group: Index) -> Index:
    """Place of the largest value of each group, by group."""
    order = np.lexsort((value, group))
    last = np.append(np.diff(group[order]) != 0, True)[: len(order)]
    return np.asarray(order[last])
