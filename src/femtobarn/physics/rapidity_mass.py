"""The rapidity-mass matrix of an event and its aggregates [Chekanov, NIM A 931 (2019) 92, 1805.11650].

Objects stand in the order missing transverse momentum, then T types of up to N_t objects each, falling in pT.
Above the diagonal are masses, below it rapidity differences, on it transverse energies and their imbalances;
what is absent is zero. Every function here takes any types and multiplicities.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray

from femtobarn.physics.object_list import padded_objects

__all__ = [
    "ATLAS_PAIRS",
    "ATLAS_TYPES",
    "aggregates",
    "cells",
    "pair_masses",
    "rapidity_mass_inputs",
    "rapidity_mass_matrix",
]

ATLAS_TYPES = {"jets": 10, "bjets": 10, "muons": 5, "electrons": 5, "photons": 5}
"""Types and multiplicities of PRL 132 (2024) 081801."""
ATLAS_PAIRS = (
    ("jets", 0, "jets", 1), ("jets", 0, "bjets", 0), ("jets", 0, "muons", 0), ("jets", 0, "electrons", 0),
    ("jets", 0, "photons", 0), ("bjets", 0, "bjets", 1), ("bjets", 0, "muons", 0),
    ("bjets", 0, "electrons", 0), ("bjets", 0, "photons", 0),
)  # fmt: skip
"""The nine pairs whose masses are searched for bumps there: type and rank of the one and of the other."""
LONGITUDINAL = 0.15
"""Factor of cosh(y) - 1 in the aggregates, which keeps it below one."""

Pair = tuple[str, int, str, int]
Array = NDArray[np.float64]
Index = NDArray[np.int64]
Matrix = NDArray[np.float32]


def rapidity_mass_matrix(
    missing: Array, missing_phi: Array, objects: Array, types: Mapping[str, int], sqrt_s: float = 13_000.0
) -> Matrix:
    """The matrices (N, K+1, K+1) of N events with room for K objects.

    Row and column 0 belong to the missing transverse momentum E, the others to objects in their order:
    [0,0] = E/sqrt(s); [0,k] = mT(E,k)/sqrt(s) with mT^2 = (ET+E)^2 - (sum px)^2 - (sum py)^2, 0 without
    missing momentum; [k,0] = cosh(y_k) - 1; [k,k] = ET/sqrt(s) for the first object of its type and
    (ET_{k-1} - ET_k)/(ET_{k-1} + ET_k) for the others; [i,j] = m_ij/sqrt(s) above the diagonal and
    cosh((y_i - y_j)/2) - 1 below it.

    Args:
        missing, missing_phi: (N,) missing transverse momentum (GeV) and its azimuth.
        objects: (N, K, 4) pt, eta, phi, mass as from `padded_objects`; pt = 0 is an empty place.
        types: name and number of objects of each type; the numbers add up to K.
        sqrt_s: GeV.

    Raises:
        ValueError: when the numbers do not add up to K.
    """
    size = objects.shape[1] + 1
    flat = _flat(missing, missing_phi, objects, types, sqrt_s, np.arange(size**2))
    return flat.reshape(len(objects), size, size)


def _flat(
    missing: Array, missing_phi: Array, objects: Array, types: Mapping[str, int], sqrt_s: float, column: Index
) -> Matrix:
    """Matrices as rows; `column` says where each cell goes, -1: nowhere."""
    sizes = np.array(list(types.values()), dtype=np.int64)
    if objects.shape[1:] != (int(sizes.sum()), 4):
        raise ValueError(f"objects have shape {objects.shape}, the types ask for (N, {sizes.sum()}, 4)")
    first = np.zeros(objects.shape[1], dtype=np.bool_)
    first[np.cumsum(sizes) - sizes] = True
    flat = np.zeros((len(objects), int(column.max()) + 1), dtype=np.float32)
    columns = [np.asarray(x, dtype=np.float64) for x in (missing, missing_phi)]
    objects = np.ascontiguousarray(objects, dtype=np.float64)
    square = np.asarray(column, dtype=np.int64).reshape(len(first) + 1, len(first) + 1)
    _fill(columns[0], columns[1], objects, first, 1 / sqrt_s, square, flat)
    return flat


@njit(nogil=True, cache=True, error_model="numpy")  # type: ignore[untyped-decorator]
def _fill(missing: Array, missing_phi: Array, objects: Array, first: NDArray[np.bool_], unit: float,
          column: Index, flat: Matrix) -> None:  # fmt: skip
    """Fill the rows; `unit` is 1/sqrt(s)."""
    size = objects.shape[1]
    px, py, pz = np.empty(size), np.empty(size), np.empty(size)
    energy, mass2, et = np.empty(size), np.empty(size), np.empty(size)
    half, place = np.empty(size), np.empty(size, dtype=np.int64)
    for event in range(len(objects)):
        out = flat[event]
        met = missing[event]
        met_x, met_y = met * np.cos(missing_phi[event]), met * np.sin(missing_phi[event])
        _put(out, column[0, 0], met * unit)
        filled = 0
        for k in range(size):
            pt = objects[event, k, 0]
            if pt <= 0:
                continue
            n, eta, phi, mass = filled, objects[event, k, 1], objects[event, k, 2], objects[event, k, 3]
            px[n], py[n], pz[n] = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
            p2 = pt * pt + pz[n] * pz[n]
            mass2[n] = mass * mass
            energy[n] = np.sqrt(p2 + mass2[n])
            et[n] = energy[n] * pt / np.sqrt(p2)
            # exp(y/2): products and quotients of it are all the hyperbolic cosines there are.
            half[n] = np.sqrt((energy[n] + abs(pz[n])) / np.sqrt(pt * pt + mass2[n]))
            if pz[n] < 0:
                half[n] = 1 / half[n]
            place[n] = k + 1
            filled += 1
            square = half[n] * half[n]
            _put(out, column[k + 1, 0], 0.5 * (square + 1 / square) - 1)
            if met > 0:
                mt2 = (et[n] + met) ** 2 - (px[n] + met_x) ** 2 - (py[n] + met_y) ** 2
                _put(out, column[0, k + 1], np.sqrt(max(mt2, 0.0)) * unit)
            if first[k]:
                _put(out, column[k + 1, k + 1], et[n] * unit)
            elif n > 0 and place[n - 1] == k:
                _put(out, column[k + 1, k + 1], (et[n - 1] - et[n]) / (et[n - 1] + et[n]))
        for j in range(1, filled):
            inverse = 1 / half[j]
            for i in range(j):
                ratio = half[i] * inverse
                _put(out, column[place[j], place[i]], 0.5 * (ratio + 1 / ratio) - 1)
                product = energy[i] * energy[j] - px[i] * px[j] - py[i] * py[j] - pz[i] * pz[j]
                squared = mass2[i] + mass2[j] + 2 * product
                _put(out, column[place[i], place[j]], np.sqrt(max(squared, 0.0)) * unit)


@njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _put(out: Matrix, where: int, value: float) -> None:
    """Write one cell if it goes anywhere."""
    if where >= 0:
        out[where] = value


def cells(types: Mapping[str, int], without: Iterable[Pair] = ()) -> NDArray[np.bool_]:
    """Which cells (K+1, K+1) are inputs: all but the masses of the pairs in `without`.

    With `ATLAS_TYPES` and `ATLAS_PAIRS` there are 1287.

    Raises:
        ValueError: when a pair is not in the matrix.
    """
    kept = np.ones((sum(types.values()) + 1,) * 2, dtype=np.bool_)
    for pair in without:
        kept[_cell(types, pair)] = False
    return kept


def pair_masses(
    matrix: Matrix, types: Mapping[str, int], pairs: Iterable[Pair] = ATLAS_PAIRS, sqrt_s: float = 13_000.0
) -> Matrix:
    """Masses (N, pairs) in GeV, read off the matrices; 0 where one of the two objects is absent."""
    places = [_cell(types, pair) for pair in pairs]
    rows, columns = np.array(places).T
    return np.asarray(matrix[:, rows, columns] * np.float32(sqrt_s))


def _cell(types: Mapping[str, int], pair: Pair) -> tuple[int, int]:
    """Row and column of a pair's mass."""
    starts = dict(zip(types, np.cumsum([1, *types.values()]).tolist(), strict=False))
    places = []
    for name, rank in (pair[:2], pair[2:]):
        if not 0 <= rank < types.get(name, 0):
            raise ValueError(f"there is no object {rank} of type '{name}' in a matrix of {dict(types)}")
        places.append(starts[name] + rank)
    return min(places), max(places)


def rapidity_mass_inputs(
    events: object, types: Mapping[str, int] = ATLAS_TYPES, without: Iterable[Pair] = ATLAS_PAIRS,
    sqrt_s: float = 13_000.0, missing: tuple[str, str] = ("met", "met_phi"),
) -> Matrix:  # fmt: skip
    """Inputs (N, cells) of a network straight from awkward events.

    Args:
        events: records with the fields `missing` and a collection per type (`pt`, `eta`, `phi`, and `mass`
            unless massless), falling in pT or not.
        types: collections and how many objects of each; further ones are left out.
        without: pairs whose masses are left out.
        sqrt_s: GeV.
        missing: fields of the missing transverse momentum and its azimuth.
    """
    kept = cells(types, without).ravel()
    met, met_phi = (np.asarray(events[name], dtype=np.float64) for name in missing)  # type: ignore[index]
    column = np.where(kept, np.cumsum(kept) - 1, -1)
    return _flat(met, met_phi, padded_objects(events, types), types, sqrt_s, column)


def aggregates(matrix: Matrix, types: Mapping[str, int]) -> Matrix:
    """The matrix in brief, RMM-C46 for five types: a root of the sum of squares of each of its blocks.

    The missing momentum; then by type the diagonal, the transverse masses and, times 0.15, the longitudinal
    cells; then the rapidity blocks of all pairs of types, and the mass blocks in the same order (0,0), (1,0),
    (1,1), (2,0), ... Source: github.com/wasikatcern/Map2RMM-C46, whose code reads the rapidity blocks of two
    different types where the mass blocks stand and the other way round; here each holds what its name says.

    Returns:
        (N, 1 + 3 T + T (T + 1)).
    """
    ends = np.cumsum([1, *types.values()])
    blocks = [slice(a, b) for a, b in itertools.pairwise(ends)]
    square = matrix.astype(np.float64) ** 2
    diagonal = np.einsum("nkk->nk", square)
    columns = [square[:, 0, 0]]
    columns += [diagonal[:, block].sum(1) for block in blocks]
    columns += [square[:, 0, block].sum(1) for block in blocks]
    columns += [LONGITUDINAL**2 * square[:, block, 0].sum(1) for block in blocks]
    below, above = np.tril(square, -1), np.triu(square, 1)
    pairs = [(later, earlier) for later in range(len(blocks)) for earlier in range(later + 1)]
    columns += [below[:, blocks[i], blocks[j]].sum((1, 2)) for i, j in pairs]
    columns += [above[:, blocks[j], blocks[i]].sum((1, 2)) for i, j in pairs]
    return np.sqrt(np.stack(columns, axis=1)).astype(np.float32)
