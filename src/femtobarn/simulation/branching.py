"""Jets of an analytic branching model: the likelihood ratio of the two classes is exact for every jet.

A hard core radiates softer particles one after the other, at falling angles, as in the primary Lund plane
[1807.04758]. With t = ln(R / theta), the emissions are a Poisson process of density rate + slope t on
0 < t < ln(R / theta_min). Each takes a fraction z of what the core has left, with p(z) ~ z^(-1 - tilt). Its
azimuth psi about the core remembers that of the emission before, a stand-in for recoil and spin correlations:
p(psi | psi') = (1 + a cos(psi - psi')) / 2 pi. The two classes differ in rate, slope, tilt and a.

From a jet's particles the emissions follow without a choice: the core is the hardest, and the angles to it
give the order. So

    ln L = sum_k ln[(rate + slope t_k) p(z_k)] - int (rate + slope t) dt
           + sum_k>1 ln(1 + a cos(psi_k - psi_k-1))

The first part knows emissions one by one, the second pairs of them that follow each other: what a tagger
misses is seen from which of the two it gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from femtobarn.physics.kinematics import cartesian, delta_r, pt_eta_phi, wrap

__all__ = [
    "CLASSES", "Branching", "Emissions", "LogLikelihood", "Radiation", "branching_jets", "emissions_of",
           "log_likelihood"]  # fmt: skip

Array = NDArray[np.float64]
CLASSES = ("background", "signal")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Radiation(_Settings):
    """How one class radiates; symbols of the module's text.

    Attributes:
        rate: emissions per unit of t at the largest angle.
        slope: by how much this changes per unit of t.
        tilt: of the spectrum of momentum fractions.
        memory: a, how much an azimuth remembers the one before, -1 to 1.
    """

    rate: float = Field(gt=0)
    slope: float
    tilt: float
    memory: float = Field(ge=-1, le=1)


class Branching(_Settings):
    """Two classes of jets.

    Attributes:
        signal: of one class.
        background: of the other.
        radius: R, the largest angle.
        smallest: theta_min, the smallest.
        fractions: range of z. The core is the hardest particle as long as it keeps more than the largest z.
        pt: range of the jets' transverse momentum (GeV), flat.
        eta: largest |eta| of the core.
    """

    signal: Radiation = Radiation(rate=0.8, slope=0.5, tilt=0.15, memory=0.8)
    background: Radiation = Radiation(rate=1.55, slope=0.0, tilt=-0.15, memory=0.0)
    radius: float = 0.8
    smallest: float = 0.04
    fractions: tuple[float, float] = (0.005, 0.1)
    pt: tuple[float, float] = (500.0, 1000.0)
    eta: float = 1.5

    @property
    def depth(self) -> float:
        """Largest t."""
        return float(np.log(self.radius / self.smallest))


class Emissions(NamedTuple):
    """Emissions of jets, flat, by rising t.

    Attributes:
        jet: (K,) the jet of each.
        t: (K,) ln(R / theta).
        z: (K,) fraction of what the core had left.
        psi: (K,) azimuth about the core.
    """

    jet: NDArray[np.int64]
    t: Array
    z: Array
    psi: Array


class LogLikelihood(NamedTuple):
    """ln L of each jet (N,) for one class, in two parts that add up."""

    emissions: Array
    azimuths: Array


def branching_jets(
    count: int, seed: int, model: Branching | None = None
) -> tuple[ak.Array, Mapping[str, list[str]]]:
    """Jets of both classes in equal parts, with the exact log-likelihood ratios signal to background.

    Gives records with `jet_label`, `mcEventWeight` (all one), `eventNumber`, `candidates` (`px, py, pz,
    energy` in GeV, by falling pT, massless), `llr` and its parts `llr_emissions` and `llr_azimuths`; and the
    names of the classes. The ratios are those of the particles as they are given, to their float32 precision.
    """
    model = model or Branching()
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count).astype(np.int8)
    parts = [_emissions(model, getattr(model, name), label == k, rng) for k, name in enumerate(CLASSES)]
    order = np.lexsort((np.concatenate([p.t for p in parts]), np.concatenate([p.jet for p in parts])))
    emissions = Emissions(*(np.concatenate(columns)[order] for columns in zip(*parts, strict=True)))
    counts, pt, eta, phi = _particles(model, emissions, count, rng)
    jets = np.repeat(np.arange(count), counts)
    falling = np.lexsort((-pt, jets))
    momenta = [x[falling].astype(np.float32) for x in (*cartesian(pt, eta, phi), pt * np.cosh(eta))]
    candidates = ak.unflatten(ak.zip(dict(zip(("px", "py", "pz", "energy"), momenta, strict=True))), counts)
    seen = emissions_of(candidates, model)
    signal, background = (log_likelihood(seen, count, r, model) for r in (model.signal, model.background))
    emitted, turned = signal.emissions - background.emissions, signal.azimuths - background.azimuths
    fields = {
        "jet_label": label,
        "mcEventWeight": np.ones(count, np.float32),
        "eventNumber": np.arange(count, dtype=np.int64),
        "llr": emitted + turned,
        "llr_emissions": emitted,
        "llr_azimuths": turned,
        "candidates": candidates,
    }
    return ak.zip(fields, depth_limit=1), {"jet_label": list(CLASSES)}


def emissions_of(candidates: ak.Array, model: Branching) -> Emissions:
    """The emissions that made these candidates: the inverse of the generation."""
    counts = ak.to_numpy(ak.num(candidates))
    jet = np.repeat(np.arange(len(counts)), counts)
    px, py, pz = (ak.to_numpy(ak.flatten(candidates[name])).astype(np.float64) for name in ("px", "py", "pz"))
    pt, eta, phi = pt_eta_phi(px, py, pz)
    first = (np.cumsum(counts) - counts)[counts > 0]
    core = np.lexsort((-pt, jet))[first]
    of = np.cumsum(counts > 0)[jet] - 1  # the core of each particle
    emitted = np.ones(len(jet), bool)
    emitted[core] = False
    theta = delta_r(eta, phi, eta[core][of], phi[core][of])
    psi = np.arctan2(wrap(phi - phi[core][of]), eta - eta[core][of])
    order = np.lexsort((-theta, jet))
    order = order[emitted[order]]
    # What the core had left before an emission is its end plus this and all later emissions.
    later = np.cumsum(pt[order][::-1])[::-1]
    beyond = np.append(later, 0.0)[np.searchsorted(jet[order], jet[order], side="right")]
    left = pt[core][of[order]] + later - beyond
    return Emissions(jet[order], np.log(model.radius / theta[order]), pt[order] / left, psi[order])


def log_likelihood(emissions: Emissions, jets: int, radiation: Radiation, model: Branching) -> LogLikelihood:
    """ln L of each of `jets` jets, the density of (t, z, psi), without what is the same for both classes."""
    low, high = model.fractions
    tilt = radiation.tilt
    norm = np.log(high / low) if tilt == 0 else (low**-tilt - high**-tilt) / tilt
    one = np.log(radiation.rate + radiation.slope * emissions.t)
    one -= (1 + tilt) * np.log(emissions.z) + np.log(norm)
    single = np.bincount(emissions.jet, one, jets).astype(np.float64) - _expected(radiation, model.depth)
    follows = emissions.jet[1:] == emissions.jet[:-1]
    turn = emissions.psi[1:] - emissions.psi[:-1]
    pair = np.log1p(radiation.memory * np.cos(turn[follows]))
    return LogLikelihood(single, np.bincount(emissions.jet[1:][follows], pair, jets).astype(np.float64))


def _expected(radiation: Radiation, depth: float) -> float:
    """Mean number of emissions."""
    return radiation.rate * depth + radiation.slope * depth**2 / 2


def _emissions(
    model: Branching, radiation: Radiation, chosen: NDArray[np.bool_], rng: np.random.Generator
) -> Emissions:
    """Draw the emissions of the jets that are of one class, in order."""
    numbers = np.flatnonzero(chosen)
    counts = rng.poisson(_expected(radiation, model.depth), len(numbers))
    jet, size = np.repeat(numbers, counts), int(counts.sum())
    t = _solve(radiation, model.depth, rng.random(size))
    t = t[np.lexsort((t, jet))]
    low, high = (edge**-radiation.tilt if radiation.tilt else np.log(edge) for edge in model.fractions)
    drawn = low + (high - low) * rng.random(size)
    z = drawn ** (-1 / radiation.tilt) if radiation.tilt else np.exp(drawn)
    turn = _turns(radiation.memory, size, rng)
    starts = np.append(True, jet[1:] != jet[:-1])[:size]
    turn[starts] = rng.uniform(-np.pi, np.pi, int(starts.sum()))
    total = np.cumsum(turn)
    before = np.where(starts, total - turn, 0.0)[np.maximum.accumulate(np.where(starts, np.arange(size), 0))]
    return Emissions(jet, t, z, np.asarray(wrap(total - before)))


def _solve(radiation: Radiation, depth: float, share: Array) -> Array:
    """t below which a share of the expected emissions lies."""
    a, b = radiation.slope / 2, radiation.rate
    total = share * _expected(radiation, depth)
    return total / b if a == 0 else (np.sqrt(b * b + 4 * a * total) - b) / (2 * a)


def _turns(memory: float, size: int, rng: np.random.Generator) -> Array:
    """Angles of density (1 + a cos x) / 2 pi: a cosine for a share |a| of them, flat for the others."""
    flat = rng.uniform(-np.pi, np.pi, size)
    # |cos(x / 2)|^2 has the density (1 + cos x) / 2 pi: accept x, or else its opposite.
    peaked = np.where(rng.random(size) < np.cos(flat / 2) ** 2, flat, flat + np.pi)
    turned = peaked if memory >= 0 else peaked + np.pi
    return np.where(rng.random(size) < abs(memory), turned, rng.uniform(-np.pi, np.pi, size))


def _particles(
    model: Branching, emissions: Emissions, jets: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array, Array, Array]:
    """Particles per jet, and flat pT (GeV), eta and phi: of each jet the core, then its emissions."""
    jet, z = emissions.jet, emissions.z
    counts = np.bincount(jet, minlength=jets)
    kept = np.log1p(-z)
    total = np.cumsum(kept)
    starts = np.append(0.0, total)[np.cumsum(counts) - counts]
    share = z * np.exp(total - kept - starts[jet])
    end = np.exp(np.bincount(jet, kept, jets))
    pt, eta = rng.uniform(*model.pt, jets), rng.uniform(-model.eta, model.eta, jets)
    phi = rng.uniform(-np.pi, np.pi, jets)
    theta = model.radius * np.exp(-emissions.t)
    columns = (
        (end * pt, share * pt[jet]),
        (eta, eta[jet] + theta * np.cos(emissions.psi)),
        (phi, wrap(phi[jet] + theta * np.sin(emissions.psi))),
    )
    order = np.argsort(np.concatenate([np.arange(jets), jet]), kind="stable")
    flat = [np.concatenate(column)[order] for column in columns]
    return counts + 1, flat[0], flat[1], flat[2]
