"""Regions of the search with rapidity-mass matrices: the background, cuts on a score, and what they gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from femtobarn.errors import InputError
from femtobarn.recipes.rmm_samples import MASSES, Events
from femtobarn.statistics.significance import asimov

__all__ = ["SUM", "Background", "Gain", "background_of", "cut", "gain", "scalar_sum", "shortest"]

Array = NDArray[np.float64]
SUM = "scalar_sum"
"""What a score is to beat: the sum of all transverse momenta."""
STRENGTH = 2.0
"""Significance s/sqrt(b) that a signal is given in its mass window before any cut on the score."""
FEWEST = 3.0
"""Effective simulated events below which a background is not known, and a gain has only a lower limit."""


class Background(NamedTuple):
    """The background searched: all its sources together.

    Attributes:
        masses: (N, 9) GeV.
        weight: (N,) pb.
        source: (N,) the place of its source.
        scalar_sum: (N,) GeV: the transverse momenta of all objects and the missing one.
    """

    masses: NDArray[np.float32]
    weight: Array
    source: NDArray[np.int64]
    scalar_sum: Array


class Gain(NamedTuple):
    """What a cut makes of the significance of a signal in its mass window.

    Attributes:
        efficiency, efficiency_error: of the cut for the signal in the window.
        background: pb that pass, in the window.
        effective: simulated events behind it.
        ratio, error: significance after the cut over that before; NaN where the background is not known.
        lower_limit: of the ratio, at about 95 %, where it is not.
    """

    efficiency: float
    efficiency_error: float
    background: float
    effective: float
    ratio: float
    error: float
    lower_limit: float | None


def background_of(cocktail: Mapping[str, Events]) -> Background:
    """All sources together."""
    parts = list(cocktail.values())
    source = np.repeat(np.arange(len(parts)), [len(events.weight) for events in parts])
    return Background(np.concatenate([events.masses for events in parts]),
                      np.concatenate([events.weight for events in parts]), source,
                      np.concatenate([scalar_sum(events) for events in parts]))  # fmt: skip


def scalar_sum(events: Events) -> Array:
    """Transverse momenta (N,) of all objects and the missing one."""
    total = ak.to_numpy(events.rows.met).astype(np.float64)
    for kind in ("jets", "bjets", "muons", "electrons", "photons"):
        total = total + ak.to_numpy(ak.sum(events.rows[kind].pt, axis=1))
    return np.asarray(total)


def cut(score: Array, weight: Array, size: float) -> float:
    """The score above which events of a cross-section `size`, in the units of the weights, are left.

    Raises:
        InputError: when the score is the same for all events, or all of them are less than `size`.
    """
    if not np.ptp(score) > 0:
        raise InputError("the score is the same for all events, so that no cut on it tells them apart")
    order = np.argsort(-score, kind="stable")
    above = np.cumsum(weight[order])
    if above[-1] < size:
        raise InputError(f"all events together have {above[-1]:.3g} pb, less than a region of {size:g} pb")
    return float(score[order[np.searchsorted(above, size)]])


def shortest(values: NDArray[np.float32], share: float = 0.5) -> tuple[float, float]:
    """The shortest interval that holds a share of the values above zero: the mass window of a signal.

    Raises:
        InputError: when hardly a value is above zero.
    """
    ordered = np.sort(values[values > 0])
    count = max(2, round(share * len(ordered)))
    if len(ordered) < 2 * count - 1 or len(ordered) < 4:
        raise InputError(
            f"{len(ordered)} events with both objects are too few to find the window of a signal"
        )
    width = ordered[count - 1 :] - ordered[: len(ordered) - count + 1]
    first = int(width.argmin())
    return float(ordered[first]), float(ordered[first + count - 1])


def gain(mass: str, window: tuple[float, float], signal: tuple[Events, Array], background: Background,
         score: Array, threshold: float, luminosity: float) -> Gain:  # fmt: skip
    """What a cut on a score gains for a signal of s/sqrt(b) = `STRENGTH` before it, in its mass window.

    Args:
        mass: the pair mass looked at, one of `MASSES`.
        window: in GeV.
        signal: its events and their scores.
        background: all of it.
        score: (N,) of the background.
        threshold: of the score.
        luminosity: 1/pb.
    """
    place = MASSES.index(mass)
    in_window = [
        (m >= window[0]) & (m <= window[1]) for m in (signal[0].masses[:, place], background.masses[:, place])
    ]
    seen = max(int(in_window[0].sum()), 1)
    share = float((signal[1][in_window[0]] > threshold).sum()) / seen
    share_error = float(np.sqrt(max(share * (1 - share), 1 / seen) / seen))
    everything = background.weight[in_window[1]] * luminosity
    passed = everything[score[in_window[1]] > threshold]
    before, total, variance = float(everything.sum()), float(passed.sum()), float((passed**2).sum())
    strength = STRENGTH * float(np.sqrt(before))
    effective = total**2 / variance if variance > 0 else 0.0
    z, z_error = _significance(strength, before, 0.0, float((everything**2).sum()))
    if effective >= FEWEST:
        after, error = _significance(strength * share, total, (strength * share_error) ** 2, variance)
        ratio = after / z
        error = float(np.hypot(error / z, ratio * z_error / z))
        return Gain(share, share_error, total / luminosity, effective, ratio, error, None)
    # No more than three events on average where none was seen: three of the weights of those that pass.
    others = background.weight[score > threshold] * luminosity
    most = total + FEWEST * float(others.mean() if len(others) else everything.mean())
    limit = _significance(max(share - 1.64 * share_error, 0.0) * strength, most, 0.0, 0.0)[0] / z
    return Gain(share, share_error, total / luminosity, effective, np.nan, np.nan, limit)


def _significance(s: float, b: float, var_s: float, var_b: float) -> tuple[float, float]:
    """Asimov significance and its error."""
    found = asimov(s, b, var_s, var_b)
    return float(found.value), float(found.error)
