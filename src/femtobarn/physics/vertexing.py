r"""Vertices: the point where the tracks of a group meet.

The fit. Each track gives two residuals at its closest approach to the vertex v in the plane across the beam:
the transverse impact parameter d(v) and the longitudinal one, l(v) = (z - v_z) sin(theta). Their variances
are those of the perigee carried a path s along the track,

    var(d) = s_d^2 + 2 r_dphi s_d s_phi s + s_phi^2 s^2,
    var(l) = s_l^2 - 2 r_ltheta s_l s_theta s / sin(theta) + (s_theta s / sin(theta))^2,

with the correlations r of d0 and phi, and of z0 sin(theta) and theta. A vertex minimises the sum of
d^2/var(d) + l^2/var(l) over its tracks by Gauss-Newton steps. The momenta are not fitted: minimising over
the three numbers of a momentum, v held fixed, leaves of the five of a perigee just these two residuals, so
that this is the fit of P. Billoir, R. Fruehwirth and M. Regler, Nucl. Instrum. Meth. A 241 (1985) 115,
written without its momentum blocks. Neglected are the uncertainty of the curvature, s^2/2 sigma(kappa): 2 um
after 20 mm at 1 GeV, and covariances between the two planes.

The frame: lengths in mm from a point on the line the perigees refer to. Files of ATLAS layout give d0 with
respect to the beam line and z0 to the primary vertex; in that frame the primary vertex is at the origin
within the size of the beam spot and the resolution of its z. Azimuths may count from any direction, such as
the jet's.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.groups import sums
from femtobarn.physics.helix import CURVATURE
from femtobarn.physics.kinematics import theta_of_eta

__all__ = [
    "MeasuredTracks",
    "Residuals",
    "VertexFit",
    "compatible_tracks",
    "fit_vertices",
    "residuals",
]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
UNBOUNDED = 1e3
"""mm; a Gaussian of this width about the origin holds the vertices of parallel tracks and of single ones."""


class MeasuredTracks(NamedTuple):
    """Perigees with what a vertex fit needs of their covariance; every field (T,), mm, radians, GeV.

    `l0` is z0 sin(theta). The covariances are those of d0 with phi and of l0 with theta.
    """

    d0: Array
    l0: Array
    q_over_p: Array
    kappa: Array
    sin_phi: Array
    cos_phi: Array
    sin_theta: Array
    cos_theta: Array
    var_d0: Array
    var_l0: Array
    var_phi: Array
    var_theta: Array
    cov_d0_phi: Array
    cov_l0_theta: Array

    @classmethod
    def of(
        cls,
        d0: Array,
        z0_sin_theta: Array,
        phi: Array,
        theta: Array,
        q_over_p: Array,
        sigma: tuple[Array, Array, Array, Array],
        correlation: tuple[float, float] = (0.0, 0.0),
        field: float = 2.0,
    ) -> Self:
        """From track parameters as files have them.

        Args:
            d0, z0_sin_theta, phi, theta, q_over_p: (T,) perigees in mm, radians, 1/GeV.
            sigma: (T,) each, standard deviations of the first four.
            correlation: of d0 with phi and of z0 sin(theta) with theta; files of ATLAS layout hold none.
            field: magnetic field along z, tesla.
        """
        sin_theta = np.sin(theta)
        s_d0, s_l0, s_phi, s_theta = sigma
        return cls(
            d0, z0_sin_theta, q_over_p, CURVATURE * field * q_over_p / sin_theta,
            np.sin(phi), np.cos(phi), sin_theta, np.cos(theta), s_d0**2, s_l0**2, s_phi**2, s_theta**2,
            correlation[0] * s_d0 * s_phi, correlation[1] * s_l0 * s_theta,
        )  # fmt: skip

    @classmethod
    def in_jet(
        cls,
        parameters: tuple[Array, Array, Array, Array, Array],
        sigma: tuple[Array, Array, Array, Array],
        eta: Array,
        correlation: tuple[float, float] = (0.0, 0.0),
        field: float = 2.0,
    ) -> Self:
        """In the frame of each track's jet, whose axis is at the azimuth 0.

        Args:
            parameters: (T,) each, d0, z0 sin(theta), dphi and deta to the jet, q/p.
            eta: (T,) of the track's jet.
            sigma, correlation, field: see `of`.
        """
        d0, z0_sin_theta, dphi, deta, q_over_p = parameters
        curved = np.where(np.abs(q_over_p) < 1e-6, 1e-6, q_over_p)
        return cls.of(d0, z0_sin_theta, dphi, theta_of_eta(eta + deta), curved, sigma, correlation, field)

    def take(self, index: Index | NDArray[np.bool_]) -> Self:
        """The tracks at these places."""
        return type(self)(*(column[index] for column in self))


class Residuals(NamedTuple):
    """Of tracks at points, every field (T,): impact parameters in mm, their variances, the direction there.

    The gradient of `d` in the point is (sin_phi, -cos_phi, 0), that of `l` is (cos_theta cos_phi, cos_theta
    sin_phi, -sin_theta), with the azimuth phi at the closest approach.
    """

    d: Array
    l: Array  # noqa: E741
    var_d: Array
    var_l: Array
    sin_phi: Array
    cos_phi: Array

    @property
    def chi2(self) -> Array:
        """(T,) d^2 / var(d) + l^2 / var(l)."""
        return self.d**2 / self.var_d + self.l**2 / self.var_l


def residuals(tracks: MeasuredTracks, points: Array) -> Residuals:
    """Impact parameters of T tracks with respect to T points (T, 3), in mm.

    Exact on the helix but for the path, a series good to 1e-6 for turns up to 0.15 radian.
    """
    t = tracks
    x, y, z = points.T
    # The closed forms of `helix.perigee`, from the perigee to the point.
    across = y * t.cos_phi - x * t.sin_phi - t.d0
    along = -(x * t.cos_phi + y * t.sin_phi)
    bend = 2 * across + t.kappa * (across**2 + along**2)
    root = np.sqrt(np.maximum(1 + t.kappa * bend, 1e-12))
    d = -bend / (1 + root)
    sin_phi = (t.sin_phi - t.kappa * (t.d0 * t.sin_phi + x)) / root
    cos_phi = (t.cos_phi - t.kappa * (t.d0 * t.cos_phi - y)) / root
    tangent = along / np.maximum(1 + t.kappa * across, 1e-3)
    turn = np.minimum((t.kappa * tangent) ** 2, 1.0)
    path = -tangent * (1 - turn * (1 / 3 - turn / 5))
    length = path / t.sin_theta
    return Residuals(
        d,
        t.l0 + path * t.cos_theta - z * t.sin_theta,
        t.var_d0 + path * (2 * t.cov_d0_phi + path * t.var_phi),
        t.var_l0 + length * (length * t.var_theta - 2 * t.cov_l0_theta),
        sin_phi,
        cos_phi,
    )


class VertexFit(NamedTuple):
    """V fitted vertices: position (V, 3) in mm, covariance (V, 3, 3), chi2 and degrees of freedom (V,); and
    what each track (T,) adds to the chi2 of its vertex."""

    position: Array
    covariance: Array
    chi2: Array
    ndof: Index
    track_chi2: Array


def fit_vertices(
    tracks: MeasuredTracks,
    vertex: Index,
    count: int,
    constraint: tuple[Array, Array] | None = None,
    iterations: int = 3,
) -> VertexFit:
    """Fit all vertices at once.

    Args:
        tracks: (T,).
        vertex: (T,) the vertex of each track, 0 <= vertex < count.
        count: V, vertices; those without tracks stay at the constraint.
        constraint: position (3,) or (V, 3) and standard deviations (3,) of points the vertices are known to
            be near, such as the beam spot; they count in chi2 and ndof. None: the tracks decide alone.
        iterations: Gauss-Newton steps from the constraint, or the origin. The first is exact for straight
            tracks, so that three leave less than a micron.
    """
    centre, sigma = constraint or (np.zeros(3), np.full(3, UNBOUNDED))
    centre = np.broadcast_to(centre, (count, 3))
    prior = 1 / np.asarray(sigma, dtype=np.float64) ** 2
    position = centre.astype(np.float64)
    for iteration in range(iterations + 1):
        r = residuals(tracks, position[vertex])
        terms = _normal_equations(tracks, r)
        xx, xy, xz, yy, yz, zz, *gradient = (sums(vertex, term, count) for term in terms)
        inverse = _inverse(xx + prior[0], xy, xz, yy + prior[1], yz, zz + prior[2])
        if iteration < iterations:
            off = position - centre
            x, y, z = (gradient[axis] + prior[axis] * off[:, axis] for axis in range(3))
            xx, xy, xz, yy, yz, zz = inverse
            position[:, 0] -= xx * x + xy * y + xz * z
            position[:, 1] -= xy * x + yy * y + yz * z
            position[:, 2] -= xz * x + yz * y + zz * z
    covariance = np.stack(inverse, axis=1)[:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]]
    chi2 = sums(vertex, r.chi2, count)
    ndof = 2 * np.bincount(vertex, minlength=count) - 3
    if constraint is not None:
        chi2 = chi2 + (prior * (position - centre) ** 2).sum(axis=1)
        ndof += 3
    return VertexFit(position, covariance, chi2, np.maximum(ndof, 0), r.chi2)


def _normal_equations(tracks: MeasuredTracks, r: Residuals) -> tuple[Array, ...]:
    """What each track adds to the information xx, xy, xz, yy, yz, zz and to the gradient x, y, z."""
    sine, cosine = tracks.sin_theta, tracks.cos_theta
    wd, wl = 1 / r.var_d, cosine / r.var_l
    rd, rl = wd * r.d, wl * r.l
    along, drop = wl * cosine, -wl * sine
    return (
        wd * r.sin_phi**2 + along * r.cos_phi**2,
        (along - wd) * r.sin_phi * r.cos_phi,
        drop * r.cos_phi,
        wd * r.cos_phi**2 + along * r.sin_phi**2,
        drop * r.sin_phi,
        sine**2 / r.var_l,
        rd * r.sin_phi + rl * r.cos_phi,
        rl * r.sin_phi - rd * r.cos_phi,
        -sine / r.var_l * r.l,
    )


def _inverse(a: Array, b: Array, c: Array, d: Array, e: Array, f: Array) -> tuple[Array, ...]:
    """Inverse of symmetric matrices ((a, b, c), (b, d, e), (c, e, f)), in this order of elements.

    By L D L^T, whose pivots are held above the information of the prior: positive whatever the rounding.
    """
    floor = 1 / UNBOUNDED**2
    l1, l2 = b / a, c / a
    second = np.maximum(d - b * l1, floor)
    m = (e - c * l1) / second
    third = np.maximum(f - c * l2 - m**2 * second, floor)
    # The rows of L^-1: (1), (-l1, 1), (q, -m, 1).
    q = l1 * m - l2
    yy, zz = 1 / second, 1 / third
    return (1 / a + l1**2 * yy + q**2 * zz, -l1 * yy - q * m * zz, q * zz, yy + m**2 * zz, -m * zz, zz)


def compatible_tracks(
    tracks: MeasuredTracks, vertex: Index, count: int, largest_chi2: float
) -> NDArray[np.bool_]:
    """Which tracks stay when each vertex loses its worst one, again and again, until none is too bad.

    Args:
        tracks: (T,).
        vertex: (T,) the vertex of each track.
        count: V, vertices.
        largest_chi2: what a track may add to the chi2 of its vertex (two residuals).

    Returns:
        (T,) bool. A vertex left with a single track has none.
    """
    kept = np.ones(len(vertex), dtype=bool)
    active = np.arange(len(vertex))
    while len(active):
        # Only vertices with more to lose are fitted again, numbered anew.
        which, compact = np.unique(vertex[active], return_inverse=True)
        chi2 = fit_vertices(tracks.take(active), compact, len(which)).track_chi2
        order = np.lexsort((chi2, compact))
        last = np.append(compact[order][1:] != compact[order][:-1], True)
        worst = order[last]
        lonely = np.bincount(compact, minlength=len(which)) == 1
        drop = worst[(chi2[worst] > largest_chi2) | lonely]
        kept[active[drop]] = False
        again = np.zeros(len(which), dtype=bool)
        again[compact[drop]] = True
        active = active[again[compact] & kept[active]]
    return kept
