"""A lepton, missing transverse momentum and four jets: what t tbar, or a Higgs boson with two W, leave.

Four-vectors are arrays (N, 4) of px, py, pz, E in GeV, of massless objects unless said.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from femtobarn.physics.kinematics import cartesian, pt_eta_phi, wrap

__all__ = ["Resonances", "Semileptonic", "four_vectors", "invariant_mass", "neutrino", "observables"]

Array = NDArray[np.float64]

W_MASS, TOP_MASS = 80.4, 173.0
W_WIDTH, TOP_WIDTH = 15.0, 20.0
"""What a detector leaves of the masses: the resolution of pairs and triples of jets, GeV."""


class Resonances(NamedTuple):
    """Masses of the chain H0 -> W H+, H+ -> W h, h -> bb that top quarks are told from, GeV.

    The values are those of Baldi, Sadowski, Whiteson, Nature Comm. 5 (2014) 4308.
    """

    light: float = 125.0
    charged: float = 325.0
    heavy: float = 425.0


class Semileptonic(NamedTuple):
    """The objects of N events.

    Attributes:
        lepton: (N, 4).
        met: (N, 2), px and py of the missing momentum.
        jets: (N, 4, 4), in any order.
        tags: (N, 4), the b-tag of each jet: 0 for none, the higher the surer.
    """

    lepton: Array
    met: Array
    jets: Array
    tags: Array


def four_vectors(pt: Array, eta: Array, phi: Array) -> Array:
    """Massless four-vectors (..., 4)."""
    return np.stack([*cartesian(pt, eta, phi), pt * np.cosh(eta)], axis=-1)


def invariant_mass(vector: Array) -> Array:
    """Mass of (..., 4) four-vectors; zero where rounding makes the square negative."""
    return np.asarray(np.sqrt(np.maximum(vector[..., 3] ** 2 - np.sum(vector[..., :3] ** 2, axis=-1), 0)))


def neutrino(lepton: Array, met: Array, mass: float = W_MASS) -> tuple[Array, Array]:
    """The two neutrinos (N, 2, 4) that make a W of the given mass with the lepton, smaller |pz| first.

    With mu = m^2/2 + pT(l).pT(nu), pz = [mu pz(l) +- E(l) sqrt(mu^2 - pT(l)^2 pT(nu)^2)] / pT(l)^2; where the
    transverse mass is above m the root is not real and left out. Also gives the discriminant under it, (N,).
    """
    squared = np.sum(lepton[:, :2] ** 2, axis=1)
    mu = mass**2 / 2 + np.sum(lepton[:, :2] * met, axis=1)
    missing = np.sum(met**2, axis=1)
    discriminant = mu**2 - squared * missing
    root = lepton[:, 3] * np.sqrt(np.maximum(discriminant, 0)) / squared
    middle = mu * lepton[:, 2] / squared
    pz = np.stack([middle - root, middle + root], axis=1)
    pz = np.take_along_axis(pz, np.argsort(np.abs(pz), axis=1), axis=1)
    xy = np.broadcast_to(met[:, None], (len(met), 2, 2))
    energy = np.sqrt(missing[:, None] + pz**2)
    return np.concatenate([xy, pz[..., None], energy[..., None]], axis=2), discriminant


def observables(event: Semileptonic, masses: Resonances | None = None) -> dict[str, Array]:
    """What separates the Higgs cascade from top pairs, each (N,), GeV and radians.

    The two jets tagged best, the harder of equals, are taken for b1 and b2, the others for q1 and q2, each
    pair in order of pT; H = b1 + b2, W = q1 + q2, V = lepton + neutrino. There are momenta, masses and angles
    of single objects, of all pairs and of what resonances could be made of, the fit of either hypothesis over
    all assignments, decay angles, and the shape of the whole. No observable depends on the azimuth or on the
    sign of pseudorapidity.
    """
    masses = masses or Resonances()
    neutrinos, discriminant = neutrino(event.lepton, event.met)
    jets, tags = _by_role(event)
    b1, b2, q1, q2 = (jets[:, k] for k in range(4))
    lepton, nu = event.lepton, neutrinos[:, 0]
    seen = {"b1": b1, "b2": b2, "q1": q1, "q2": q2, "lepton": lepton}
    found: dict[str, Array] = {"tag_b1": tags[:, 0], "tag_b2": tags[:, 1]}
    found["met"] = _pt(nu)
    for name, one in seen.items():
        found[f"pt_{name}"], found[f"eta_{name}"] = _pt(one), np.abs(_eta(one))
        found[f"dphi_met_{name}"] = _dphi(one, nu)
    for (name, one), (other, two) in combinations(seen.items(), 2):
        found[f"m_{name}_{other}"], found[f"dr_{name}_{other}"] = invariant_mass(one + two), _dr(one, two)
    found["mt"] = np.sqrt(2 * _pt(lepton) * _pt(nu) * (1 - np.cos(_dphi(lepton, nu))))
    found["discriminant"] = np.cbrt(discriminant)
    found |= _composites(jets, lepton, neutrinos)
    found |= _hypotheses(event, neutrinos, masses)
    found |= _shape(jets, lepton, nu)
    return found


def _by_role(event: Semileptonic) -> tuple[Array, Array]:
    """Jets (N, 4, 4) and their tags (N, 4) as b1, b2, q1, q2."""
    pt = _pt(event.jets)
    order = np.lexsort((-pt, -event.tags), axis=1)
    for pair in (order[:, :2], order[:, 2:]):
        hardness = np.take_along_axis(pt, pair, axis=1)
        swapped = hardness[:, 0] < hardness[:, 1]
        pair[swapped] = pair[swapped, ::-1]
    return np.take_along_axis(event.jets, order[..., None], axis=1), np.take_along_axis(event.tags, order, 1)


def _composites(jets: Array, lepton: Array, neutrinos: Array) -> dict[str, Array]:
    """Candidates of the resonances: masses with either neutrino, momenta, distances, decay angles."""
    b1, b2, q1, q2 = (jets[:, k] for k in range(4))
    h, w = b1 + b2, q1 + q2
    found = {"m_b1_w": invariant_mass(b1 + w), "m_b2_w": invariant_mass(b2 + w)}
    found["m_hw"] = invariant_mass(h + w)
    for number in range(2):
        v = lepton + neutrinos[:, number]
        which = {"b1_v": b1 + v, "b2_v": b2 + v, "hv": h + v, "hwv": h + w + v, "wv": w + v}
        found |= {f"m_{name}_{number}": invariant_mass(one) for name, one in which.items()}
    v = lepton + neutrinos[:, 0]
    whole = h + w + v
    parts = {"h": h, "w": w, "v": v, "hw": h + w, "hv": h + v, "hwv": whole}
    found |= {f"pt_{name}": _pt(one) for name, one in parts.items()}
    for (name, one), (other, two) in combinations({"h": h, "w": w, "v": v}.items(), 2):
        found[f"dr_{name}_{other}"] = _dr(one, two)
        found[f"deta_{name}_{other}"] = np.abs(_eta(one) - _eta(two))
    found["dr_tops_1"], found["dr_tops_2"] = _dr(b1 + w, b2 + v), _dr(b2 + w, b1 + v)
    found["cos_b"], found["cos_q"] = np.abs(_decay_cosine(b1, h)), np.abs(_decay_cosine(q1, w))
    found["cos_lepton"] = _decay_cosine(lepton, v)
    for name, parent in {"hw": h + w, "hv": h + v, "hwv": whole}.items():
        found[f"cos_h_{name}"] = _decay_cosine(h, parent)
    return found


def _hypotheses(event: Semileptonic, neutrinos: Array, masses: Resonances) -> dict[str, Array]:
    """ln chi^2 of top pairs and of the cascade, the least over all assignments of jets, and its masses."""
    jets, tags = event.jets, event.tags
    tops, cascade = [], []
    for number in range(2):
        v = event.lepton + neutrinos[:, number]
        for one, other in permutations(range(4), 2):
            q = jets.sum(axis=1) - jets[:, one] - jets[:, other]
            w, tagged = invariant_mass(q), tags[:, one] + tags[:, other]
            hadronic, leptonic = invariant_mass(q + jets[:, one]), invariant_mass(v + jets[:, other])
            chi2 = ((w - W_MASS) / W_WIDTH) ** 2
            chi2 += ((hadronic - TOP_MASS) / TOP_WIDTH) ** 2 + ((leptonic - TOP_MASS) / TOP_WIDTH) ** 2
            tops.append(np.stack([chi2, w, hadronic, leptonic, tagged]))
            h = jets[:, one] + jets[:, other]
            light, heavy = invariant_mass(h), invariant_mass(h + q + v)
            charged = invariant_mass(h + q) if one < other else invariant_mass(h + v)
            chi2 = ((w - W_MASS) / W_WIDTH) ** 2 + ((light - masses.light) / 15) ** 2
            chi2 += ((charged - masses.charged) / 35) ** 2 + ((heavy - masses.heavy) / 45) ** 2
            cascade.append(np.stack([chi2, w, light, charged, heavy, tagged]))
    top = _least(tops, ("chi2", "w", "hadronic", "leptonic", "tags"), "tops")
    found = top | _least(cascade, ("chi2", "w", "h", "hc", "h0", "tags"), "cascade")
    found["chi2_ratio"] = found["tops_chi2"] - found["cascade_chi2"]
    return found


def _least(candidates: list[Array], names: tuple[str, ...], prefix: str) -> dict[str, Array]:
    """Of candidates (K, N), chi^2 in the first row, the values of the best of each event."""
    every = np.stack(candidates)
    best = every[np.argmin(every[:, 0], axis=0), :, np.arange(every.shape[2])]
    best[:, 0] = np.log(best[:, 0] + 1e-3)
    return {f"{prefix}_{name}": best[:, k] for k, name in enumerate(names)}


def _shape(jets: Array, lepton: Array, nu: Array) -> dict[str, Array]:
    """Sums of transverse momenta and the eigenvalues of the momentum tensor."""
    ht = _pt(jets).sum(axis=1)
    every = np.concatenate([jets, lepton[:, None], nu[:, None]], axis=1)[..., :3]
    tensor = np.einsum("nka,nkb->nab", every, every) / np.sum(every**2, axis=(1, 2))[:, None, None]
    values = np.linalg.eigvalsh(tensor)
    visible = jets.sum(axis=1) + lepton
    return {
        "ht": ht,
        "st": ht + _pt(lepton) + _pt(nu),
        "centrality": ht / jets[..., 3].sum(axis=1),
        "m_visible": invariant_mass(visible),
        "eta_visible": np.abs(_eta(visible)),
        "sphericity": 1.5 * (values[:, 0] + values[:, 1]),
        "aplanarity": 1.5 * values[:, 0],
    }


def _pt(vector: Array) -> Array:
    return np.asarray(np.hypot(vector[..., 0], vector[..., 1]))


def _eta(vector: Array) -> Array:
    return pt_eta_phi(vector[..., 0], vector[..., 1], vector[..., 2])[1]


def _dphi(one: Array, other: Array) -> Array:
    return np.abs(wrap(np.arctan2(one[:, 1], one[:, 0]) - np.arctan2(other[:, 1], other[:, 0])))


def _dr(one: Array, other: Array) -> Array:
    return np.asarray(np.hypot(_eta(one) - _eta(other), _dphi(one, other)))


def _decay_cosine(daughter: Array, parent: Array) -> Array:
    """Cosine between the daughter in the parent's rest frame and the parent's flight."""
    velocity = parent[:, :3] / parent[:, 3:]
    squared = np.minimum(np.sum(velocity**2, axis=1), 1 - 1e-9)
    gamma = 1 / np.sqrt(1 - squared)
    along = np.sum(velocity * daughter[:, :3], axis=1)
    shift = (gamma - 1) * along / np.maximum(squared, 1e-12) - gamma * daughter[:, 3]
    momentum = daughter[:, :3] + shift[:, None] * velocity
    size = np.linalg.norm(momentum, axis=1) * np.linalg.norm(velocity, axis=1)
    return np.asarray(np.sum(momentum * velocity, axis=1) / np.maximum(size, 1e-9))
