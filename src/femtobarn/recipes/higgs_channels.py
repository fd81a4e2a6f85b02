"""Channels in which a Higgs boson is looked for: which events, and what a physicist computes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import awkward as ak
import numpy as np
import vector
from numpy.typing import NDArray

from femtobarn.physics.kinematics import wrap
from femtobarn.simulation.btagging import tag_efficiency
from femtobarn.simulation.detector import BTagSettings
from femtobarn.simulation.objects import FAKE

__all__ = ["CHANNELS", "Channel", "Selected"]

Floats = NDArray[np.float64]
CENTRAL = 2.5
POINT = 0.70
"""Working point of b-tagging."""
LEAST = 0.02
"""Events whose jets pass it with a smaller probability are thinned out, and weigh more for it."""


class Selected(NamedTuple):
    """Events (n,) that pass, what is computed of each, a factor of its weight, and how many of the objects
    that are looked for are jets in truth."""

    events: ak.Array
    features: dict[str, Floats]
    factor: Floats
    fakes: NDArray[np.int64]

    def where(self, kept: NDArray[np.bool_]) -> Selected:
        """Those that pass another cut."""
        features = {name: values[kept] for name, values in self.features.items()}
        return Selected(self.events[kept], features, self.factor[kept], self.fakes[kept])


@dataclass(frozen=True)
class Channel:
    """One analysis region and its inputs.

    Attributes:
        title: for figures.
        signal: processes of the Higgs boson.
        backgrounds: the others.
        select: events (N,), with two random numbers each in `lottery`, to those selected.
        mass: the feature in which the signal is a peak, its range (GeV), and how many bins an analysis on
            cuts takes.
        window: of the mass in which cuts are optimised.
        cuts: features that an analysis on cuts cuts on, and which side it keeps.
    """

    title: str
    signal: tuple[str, ...]
    backgrounds: tuple[str, ...]
    select: Callable[[ak.Array], Selected]
    mass: tuple[str, float, float, int]
    window: tuple[float, float]
    cuts: Mapping[str, Literal["above", "below", "between"]] = field(default_factory=dict)


def four_vectors(objects: ak.Array, place: int) -> Any:
    """The object at a place of each event's list, as momenta (N,)."""
    found = {
        name: ak.to_numpy(objects[name][:, place]).astype(np.float64) for name in ("pt", "eta", "phi", "mass")
    }
    return vector.array(found)


def missing(events: ak.Array) -> Any:
    """The missing momentum as a massless momentum at eta = 0 (N,)."""
    met, phi = (ak.to_numpy(events[name]).astype(np.float64) for name in ("met", "met_phi"))
    return vector.array({"pt": met, "eta": np.zeros_like(met), "phi": phi, "mass": np.zeros_like(met)})


def transverse_mass(one: Any, other: Any) -> Floats:
    """sqrt(2 pT pT' (1 - cos dphi)), GeV."""
    return np.asarray(np.sqrt(2 * one.pt * other.pt * (1 - np.cos(one.phi - other.phi))))


def leptons_of(events: ak.Array, pt_min: float) -> ak.Array:
    """Electrons and muons above a pT, hardest first."""
    names = ("pt", "eta", "phi", "mass", "charge")
    parts = []
    for kind, flavour in (("electrons", 11), ("muons", 13)):
        one = events[kind][events[kind].pt > pt_min]
        parts.append(ak.zip({n: one[n] for n in names} | {"flavour": ak.full_like(one.pt, flavour)}))
    both = ak.concatenate(parts, axis=1)
    return both[ak.argsort(both.pt, axis=1, ascending=False)]


def first(values: ak.Array) -> Floats:
    """The first of each event's numbers, 0 where there is none (N,)."""
    return np.asarray(ak.to_numpy(ak.fill_none(ak.firsts(values), 0.0)).astype(np.float64))


def tagged_jets(events: ak.Array) -> tuple[ak.Array, Floats]:
    """Events with two or three central jets, two of them called b-jets; and the probability of that.

    Two jets are drawn by the efficiencies of b-tagging, and the event weighs as much as it is likely that
    these or other two of its jets pass and no third one does [truth tagging, as in 1708.03299, Section 5]:
    no simulated event is lost. Chosen jets come first, with `btag` 1.
    """
    central = events.jets[np.abs(events.jets.eta) < CENTRAL]
    count = ak.to_numpy(ak.num(central))
    kept = (count == 2) | (count == 3)
    events, central = events[kept], central[kept]
    flat = ak.flatten(central)
    settings = BTagSettings()
    label = np.array([5, 4, 0, 15])[ak.to_numpy(flat.flavour_label)]
    passes = tag_efficiency(ak.to_numpy(flat.pt).astype(np.float64), label, settings)
    passes = passes[:, settings.efficiency.index(POINT)]
    own = ak.unflatten(passes, ak.num(central))
    e = ak.to_numpy(ak.fill_none(ak.pad_none(own, 3, clip=True), 0.0))
    pairs = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])
    chance = e[:, pairs[:, 0]] * e[:, pairs[:, 1]] * (1 - e[:, pairs[:, 2]])
    total = chance.sum(axis=1)
    first_draw, second_draw = ak.to_numpy(events.lottery).T
    drawn = (first_draw[:, None] * total[:, None] > np.cumsum(chance, axis=1)).sum(axis=1).clip(max=2)
    used = second_draw < total / LEAST
    events, central, order = events[used], central[used], pairs[drawn][used]
    order = ak.from_regular(order)[ak.from_regular(order) < ak.num(central)]
    central = central[order]
    central = ak.with_field(central, ak.values_astype(ak.local_index(central) < 2, np.int8), "btag")
    forward = events.jets[np.abs(events.jets.eta) >= CENTRAL]
    events = ak.with_field(events, ak.concatenate([central, forward], axis=1), "jets")
    return events, np.maximum(total[used], LEAST)


def v_and_two_b_jets(events: ak.Array) -> tuple[ak.Array, Floats]:
    """As `tagged_jets`, one of the two above 45 GeV."""
    events, factor = tagged_jets(events)
    hard = ak.to_numpy(ak.max(events.jets.pt[:, :2], axis=1, mask_identity=False)) > 45
    return events[hard], factor[hard]


def of_two_b_jets(events: ak.Array, boson: Any) -> dict[str, Floats]:
    """What every V(H -> bb) analysis looks at; `boson` is the V, or what is known of it."""
    b1, b2 = four_vectors(events.jets, 0), four_vectors(events.jets, 1)
    pair = b1 + b2
    others = events.jets[:, 2:]
    others = others[np.abs(others.eta) < CENTRAL]
    return {
        "m_bb": pair.mass,
        "dr_bb": b1.deltaR(b2),
        "pt_b1": np.maximum(b1.pt, b2.pt),
        "pt_b2": np.minimum(b1.pt, b2.pt),
        "pt_bb": pair.pt,
        "dphi_v_bb": np.abs(boson.deltaphi(pair)),
        "pt_v": boson.pt,
        "jets": 2.0 + ak.to_numpy(ak.num(others)),
        "pt_j3": first(others.pt),
    }


def zero_leptons(events: ak.Array) -> Selected:
    """Z(H -> bb) with neutrinos [as in 1708.03299]: missing momentum above 150 GeV, away from the jets.

    Multijet events, which these cuts remove in ATLAS, are not simulated.
    """
    none = sum(ak.num(events[kind]) for kind in ("electrons", "muons", "taus")) == 0
    events, factor = v_and_two_b_jets(events[none & (events.met > 150)])
    away = np.abs((events.jets.phi - events.met_phi + np.pi) % (2 * np.pi) - np.pi)
    boson, nearest = missing(events), ak.to_numpy(ak.min(away, axis=1, mask_identity=False))
    features = of_two_b_jets(events, boson)
    features |= {
        "dphi_met_jet": nearest,
        "sum_pt": features["pt_b1"] + features["pt_b2"] + features["pt_j3"],
        "met_significance": boson.pt / np.sqrt(ak.to_numpy(events.sum_et)),
    }
    return Selected(events, features, factor, np.zeros(len(factor), np.int64)).where(nearest > np.pi / 9)


def one_lepton(events: ak.Array) -> Selected:
    """W(H -> bb) with one electron or muon [as in 1708.03299], W bosons above 120 GeV.

    Z bosons of which one lepton is lost are left out, less than a hundredth of the events.
    """
    loose = leptons_of(events, 7.0)
    good = (ak.num(loose) == 1) & (ak.num(events.taus) == 0) & (first(loose.pt) > 27) & (events.met > 30)
    events, factor = v_and_two_b_jets(events[good])
    lepton, neutrino = four_vectors(leptons_of(events, 7.0), 0), missing(events)
    boson = lepton + neutrino
    b1, b2 = four_vectors(events.jets, 0), four_vectors(events.jets, 1)
    features = of_two_b_jets(events, boson) | {
        "met": neutrino.pt,
        "mt_w": transverse_mass(lepton, neutrino),
        "pt_l": lepton.pt,
        "dphi_l_b": np.minimum(np.abs(lepton.deltaphi(b1)), np.abs(lepton.deltaphi(b2))),
        "m_lb": np.minimum((lepton + b1).mass, (lepton + b2).mass),
        "mt_top": np.minimum((boson + b1).mass, (boson + b2).mass),
    }
    return Selected(events, features, factor, np.zeros(len(factor), np.int64)).where(boson.pt > 120)


def two_leptons(events: ak.Array) -> Selected:
    """Z(H -> bb) with two electrons or muons at the Z's mass [as in 1708.03299], Z bosons above 75 GeV."""
    loose = leptons_of(events, 7.0)
    events = events[(ak.num(loose) == 2) & (first(loose.pt) > 27)]
    loose = leptons_of(events, 7.0)
    same = (loose.flavour[:, 0] == loose.flavour[:, 1]) & (loose.charge[:, 0] != loose.charge[:, 1])
    events, factor = v_and_two_b_jets(events[same])
    loose = leptons_of(events, 7.0)
    one, other = four_vectors(loose, 0), four_vectors(loose, 1)
    boson, pair = one + other, four_vectors(events.jets, 0) + four_vectors(events.jets, 1)
    features = of_two_b_jets(events, boson) | {
        "m_ll": boson.mass,
        "deta_v_bb": np.abs(boson.eta - pair.eta),
        "met_significance": ak.to_numpy(events.met / np.sqrt(events.sum_et)).astype(np.float64),
        "pt_l2": other.pt,
    }
    return Selected(events, features, factor, np.zeros(len(factor), np.int64)).where(
        (np.abs(boson.mass - 91) < 10) & (boson.pt > 75)
    )


def forward_pair(jets: ak.Array) -> dict[str, Floats]:
    """What vector-boson fusion looks like: the two hardest jets."""
    two = ak.to_numpy(ak.num(jets) >= 2)
    mass, distance = np.zeros(len(jets)), np.zeros(len(jets))
    if two.any():
        one, other = four_vectors(jets[two], 0), four_vectors(jets[two], 1)
        mass[two], distance[two] = (one + other).mass, np.abs(one.eta - other.eta)
    counts = ak.to_numpy(ak.num(jets)).astype(np.float64)
    return {"jets": np.minimum(counts, 5), "pt_j1": first(jets.pt), "m_jj": mass, "deta_jj": distance}


def two_photons(events: ak.Array) -> Selected:
    """H -> gamma gamma: two photons of 0.35 and 0.25 of their mass, 105 to 160 GeV [as in 1802.04146].

    Photons beside a jet that passes as one are left out: a fifth of the events in ATLAS, but two of ten
    thousand that are simulated.
    """
    events = events[ak.num(events.photons) >= 2]
    one, other = four_vectors(events.photons, 0), four_vectors(events.photons, 1)
    pair = one + other
    across = np.abs(one.px * other.py - one.py * other.px)
    features = {
        "m_yy": pair.mass,
        "pt_y1_over_m": one.pt / pair.mass,
        "pt_y2_over_m": other.pt / pair.mass,
        "eta_y1": one.eta,
        "eta_y2": other.eta,
        "cos_dphi": np.cos(one.deltaphi(other)),
        "pt_yy_over_m": pair.pt / pair.mass,
        "pt_t": 2 * across / np.maximum(np.hypot(one.px - other.px, one.py - other.py), 1e-6),
        "met": ak.to_numpy(events.met).astype(np.float64),
        "leptons": ak.to_numpy(ak.num(events.electrons) + ak.num(events.muons)).astype(np.float64),
        **forward_pair(events.jets[events.jets.pt > 25]),
    }
    fakes = ak.to_numpy(ak.sum(events.photons.origin[:, :2] == FAKE, axis=1)).astype(np.int64)
    found = Selected(events, features, np.ones(len(events)), fakes)
    inside = (pair.mass > 105) & (pair.mass < 160)
    return found.where(inside & (one.pt > 0.35 * pair.mass) & (other.pt > 0.25 * pair.mass))


def lepton_and_tau(events: ak.Array) -> Selected:
    """H -> tau tau, one to an electron or muon, one to hadrons, of opposite charge [as in 1501.04943]."""

    def taus_of(events: ak.Array) -> ak.Array:
        return events.taus[(events.taus.quality >= 2) & (events.taus.pt > 25)]

    loose, tagged = leptons_of(events, 10.0), (events.jets.btag70 == 1) & (events.jets.pt > 25)
    good = (ak.num(loose) == 1) & (first(loose.pt) > 27) & (ak.num(taus_of(events)) == 1)
    events = events[good & ~ak.any(tagged, axis=1)]
    loose, taus, jets = leptons_of(events, 10.0), taus_of(events), events.jets[events.jets.pt > 25]
    lepton, tau, met = four_vectors(loose, 0), four_vectors(taus, 0), missing(events)
    visible, mt = lepton + tau, transverse_mass(lepton, met)
    between = np.abs(wrap(met.phi - lepton.phi)) + np.abs(wrap(met.phi - tau.phi))
    features = {
        "m_tautau": collinear_mass(lepton, tau, met),
        "m_vis": visible.mass,
        "mt_l": mt,
        "mt_tau": transverse_mass(tau, met),
        "pt_l": lepton.pt,
        "pt_tau": tau.pt,
        "met": met.pt,
        "pt_h": (visible + met).pt,
        "dr_l_tau": lepton.deltaR(tau),
        "met_between": between - np.abs(lepton.deltaphi(tau)),
        **forward_pair(jets),
    }
    opposite = ak.to_numpy(loose.charge[:, 0] * taus.charge[:, 0] < 0)
    fakes = ak.to_numpy(taus.origin[:, 0] == FAKE).astype(np.int64)
    return Selected(events, features, np.ones(len(events)), fakes).where(opposite & (mt < 70))


def collinear_mass(lepton: Any, tau: Any, met: Any) -> Floats:
    """Mass of a pair of taus whose neutrinos fly along their visible parts, at least the visible mass, GeV.

    [Ellis, Hinchliffe, Soldate, van der Bij 1988.] Back-to-back taus leave it undefined; shares of the
    momentum are then held between 0.1 and 1.
    """
    area = lepton.px * tau.py - lepton.py * tau.px
    area = np.where(np.abs(area) > 1e-3, area, 1e-3)
    shares = [
        (met.px * tau.py - met.py * tau.px) / area,
        (lepton.px * met.py - lepton.py * met.px) / area,
    ]
    product = np.prod([1 / (1 + np.clip(share, 0.0, 9.0)) for share in shares], axis=0)
    return np.asarray((lepton + tau).mass / np.sqrt(product))


CHANNELS: dict[str, Channel] = {
    "vh_0lepton": Channel(
        "$ZH \\to \\nu\\nu b\\bar{b}$", ("zh_bb", "wh_bb"),
        ("z_jets", "w_jets", "ttbar", "single_top", "zz_bb", "wz_bb"), zero_leptons,
        ("m_bb", 50, 250, 20), (95, 140),
        {"dr_bb": "below", "pt_v": "above", "dphi_v_bb": "above", "jets": "below", "pt_b2": "above"},
    ),
    "vh_1lepton": Channel(
        "$WH \\to \\ell\\nu b\\bar{b}$", ("wh_bb",),
        ("w_jets", "ttbar_1l", "ttbar_2l", "single_top", "wz_bb"), one_lepton,
        ("m_bb", 50, 250, 20), (95, 140),
        {"dr_bb": "below", "pt_v": "above", "mt_top": "above", "jets": "below", "dphi_v_bb": "above"},
    ),
    "vh_2lepton": Channel(
        "$ZH \\to \\ell\\ell b\\bar{b}$", ("zh_bb",), ("z_jets", "ttbar", "zz_bb"), two_leptons,
        ("m_bb", 50, 250, 20), (95, 140),
        {"dr_bb": "below", "pt_v": "above", "met_significance": "below", "dphi_v_bb": "above"},
    ),
    "gamgam": Channel(
        "$H \\to \\gamma\\gamma$", ("higgs_gamgam",), ("diphoton",), two_photons,
        ("m_yy", 105, 160, 55), (121, 129),
        {"pt_t": "above", "pt_yy_over_m": "above", "m_jj": "above", "pt_y2_over_m": "above"},
    ),
    "tautau": Channel(
        "$H \\to \\tau\\tau$", ("higgs_tautau",), ("z_tautau", "w_fakes", "z_fakes", "ttbar"), lepton_and_tau,
        ("m_tautau", 0, 300, 30), (95, 165),
        {"pt_h": "above", "m_jj": "above", "deta_jj": "above", "mt_l": "below", "dr_l_tau": "below"},
    ),
}  # fmt: skip
