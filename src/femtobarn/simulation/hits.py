"""Silicon hits: which layers a track crosses, which hits are missing, split or shared in the jet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from femtobarn.physics.groups import pairs
from femtobarn.physics.helix import Perigee, azimuth_at_radius
from femtobarn.physics.kinematics import wrap
from femtobarn.simulation.table import Table

__all__ = ["HitPattern", "HitSettings", "hit_pattern"]

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


class HitSettings(BaseModel):
    """Barrel geometry of the ATLAS silicon tracker in Run 2 and what its modules miss.

    Radii (mm): insertable b-layer 33.3, pixel layers 50.5, 88.5, 122.5 [JINST 3 (2008) S08003; IBL TDR
    CERN-LHCC-2010-013], four double-sided strip layers. Beyond a barrel's half length discs take over.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pixel_radii: tuple[float, ...] = (33.3, 50.5, 88.5, 122.5)
    pixel_half_lengths: tuple[float, ...] = (332.0, 400.5, 400.5, 400.5)
    strip_radii: tuple[float, ...] = (299.0, 371.0, 443.0, 514.0)
    pixel_efficiency: float = 0.985
    strip_efficiency: float = 0.990
    dead_pixel_modules: tuple[float, ...] = (0.006, 0.03, 0.03, 0.03)
    dead_strip_modules: float = 0.012
    overlap: float = 0.06
    """Chance that two modules of a layer overlap where the track crosses, for one more hit."""
    pixel_merge_width: float = 0.12
    pixel_merge_length: float = 0.60
    strip_merge_width: float = 0.12
    stereo_angle: float = 0.040
    split_efficiency: float = 0.80
    """Chance that a merged pixel cluster is recognised and split among its tracks rather than shared."""
    random_share: float = 0.006
    """Chance per layer of a hit shared with a particle that is no track of the jet."""
    wrong_hit: float = 0.06
    """Chance per pixel layer inside its production radius that a track picks up another's hit."""


@dataclass(frozen=True)
class HitPattern(Table):
    """Counts per track, in the names of the ATLAS files, and whether a rival took the track's hits."""

    innermost: Counts
    next_to_innermost: Counts
    pixel: Counts
    strip: Counts
    innermost_shared: Counts
    innermost_split: Counts
    pixel_shared: Counts
    pixel_split: Counts
    strip_shared: Counts
    pixel_holes: Counts
    strip_holes: Counts
    lost: NDArray[np.bool_]


def hit_pattern(
    track: Perigee,
    pt: Array,
    birth: Array,
    end: Array,
    jet_counts: Counts,
    field: float,
    settings: HitSettings,
    rng: np.random.Generator,
) -> HitPattern:
    """Simulate the hits of tracks ordered by jet; `birth` and `end` bound its radii (mm)."""
    radii = np.asarray(settings.pixel_radii + settings.strip_radii)
    n_pixel, n_strip = len(settings.pixel_radii), len(settings.strip_radii)
    crossed = (radii[:, None] > birth + 0.2) & (radii[:, None] < end)
    # A looping track turns back before its outer layers.
    crossed &= radii[:, None] < 2 * pt / (2.998e-4 * field)
    wrong = (radii[:n_pixel, None] <= birth + 0.2) & (rng.random((n_pixel, len(pt))) < settings.wrong_hit)
    crossed[:n_pixel] |= wrong
    dead_chance = np.asarray(settings.dead_pixel_modules)[:, None]
    dead = rng.random((n_pixel, len(pt))) < dead_chance
    seen = rng.random((n_pixel, len(pt))) < settings.pixel_efficiency
    pixel = crossed[:n_pixel] & ~dead & seen
    extra = pixel & (rng.random(pixel.shape) < settings.overlap)
    strip_dead = rng.random((n_strip, len(pt))) < settings.dead_strip_modules
    sides = rng.random((2, n_strip, len(pt))) < settings.strip_efficiency
    strip = crossed[n_pixel:] & ~strip_dead & sides
    azimuth, z = (np.array(c) for c in zip(*(azimuth_at_radius(track, r, field) for r in radii), strict=True))
    in_barrel = np.abs(z[:n_pixel]) < np.asarray(settings.pixel_half_lengths)[:, None]

    shared, split, lost = _merging(pixel, strip, azimuth, z, radii, pt, jet_counts, settings, rng)
    shared_pixel = shared[:n_pixel] | (pixel & (rng.random(pixel.shape) < settings.random_share))
    split_pixel = split & ~shared_pixel
    strip_shared = shared[n_pixel:] + (strip & (rng.random(strip.shape) < settings.random_share)).sum(axis=0)
    strip_hits = strip.sum(axis=(0, 1)) + 2 * (rng.random(len(pt)) < 4 * settings.overlap) * strip[0, 0]
    pixel_holes = (crossed[:n_pixel] & ~dead & ~seen).sum(axis=0)
    strip_holes = (crossed[n_pixel:] & ~strip_dead & ~sides).sum(axis=(0, 1))
    return HitPattern(
        innermost=(pixel[0] + extra[0]) * in_barrel[0],
        next_to_innermost=(pixel[1] + extra[1]) * in_barrel[1],
        pixel=(pixel + extra.astype(np.int64)).sum(axis=0),
        strip=strip_hits,
        innermost_shared=(shared_pixel[0] & in_barrel[0]).astype(np.int64),
        innermost_split=(split_pixel[0] & in_barrel[0]).astype(np.int64),
        pixel_shared=shared_pixel.sum(axis=0),
        pixel_split=split_pixel.sum(axis=0),
        strip_shared=np.minimum(strip_shared, 2).sum(axis=0),
        pixel_holes=pixel_holes,
        strip_holes=strip_holes,
        lost=lost,
    )


def _merging(
    pixel: NDArray[np.bool_],
    strip: NDArray[np.bool_],
    azimuth: Array,
    z: Array,
    radii: Array,
    pt: Array,
    jet_counts: Counts,
    settings: HitSettings,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Shared hits (layers, tracks), split pixel hits, and tracks lost to a neighbour."""
    n_pixel, tracks = pixel.shape
    first, second = pairs(jet_counts)
    # Only pairs near each other at the outermost pixel layer or nearer in can merge anywhere.
    near = np.abs(wrap(azimuth[1][first] - azimuth[1][second])) < 0.01
    first, second = first[near], second[near]
    across = radii[:, None] * wrap(azimuth[:, first] - azimuth[:, second])
    along = z[:, first] - z[:, second]
    merged = (np.abs(across[:n_pixel]) < settings.pixel_merge_width) & pixel[:, first] & pixel[:, second]
    merged &= np.abs(along[:n_pixel]) < settings.pixel_merge_length
    is_split = merged & (rng.random(merged.shape) < settings.split_efficiency)
    is_shared = merged & ~is_split
    stereo = np.stack([across[n_pixel:], across[n_pixel:] + settings.stereo_angle * along[n_pixel:]])
    strip_shared = (np.abs(stereo) < settings.strip_merge_width) & (np.abs(along[n_pixel:]) < 60.0)
    strip_shared &= strip[:, :, first] & strip[:, :, second]
    # The ambiguity solver gives hits to the better track: the softer of a pair that shares two modules goes.
    modules = is_shared.sum(axis=0) + strip_shared.sum(axis=(0, 1)) / 2
    softer = np.where(pt[first] < pt[second], first, second)
    lost = np.zeros(tracks, dtype=bool)
    lost[softer[(modules >= 2) & (rng.random(len(softer)) < 0.8)]] = True
    alive = ~(lost[first] | lost[second])
    both = np.concatenate([first[alive], second[alive]])
    shared = np.zeros((len(radii), tracks), dtype=np.int64)
    split = np.zeros((n_pixel, tracks), dtype=bool)
    for layer in range(n_pixel):
        np.logical_or.at(split[layer], both, np.tile(is_split[layer, alive], 2))
        np.maximum.at(shared[layer], both, np.tile(is_shared[layer, alive], 2))
    for layer in range(len(radii) - n_pixel):
        counts = strip_shared[:, layer, alive].sum(axis=0)
        np.maximum.at(shared[n_pixel + layer], both, np.tile(counts, 2))
    return shared, split, lost
