"""What a network trains on: samples mixed by fraction, flavours brought to a common (pT, |eta|) spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from femtobarn.data.sample import Sample
from femtobarn.errors import InputError, closest

__all__ = ["mix", "resample", "reweight"]


def mix(
    samples: Mapping[str, Sample], fractions: Mapping[str, float], seed: int = 0, name: str | None = None
) -> Sample:
    """Mix samples by fraction of rows; no row twice, the scarcest sample sets the size.

    Rows of a sample stay in order, the samples are shuffled into one another, so that reading streams.

    Args:
        samples: by name, e.g. {"ttbar": ..., "zprime": ...}; they need the same classes.
        fractions: of the rows, by the same names, adding up to 1; `{"ttbar": 0.6, "zprime": 0.4}`.
        seed: of the choice of rows and of the order.
        name: of the mixture; None: the names joined by "+".

    Raises:
        InputError: for names that do not agree, fractions that do not add up to 1, an empty sample.
    """
    for key in fractions:
        if key not in samples:
            raise InputError(f"there is a fraction for '{key}' but no sample{closest(key, samples)}")
    used = {key: samples[key] for key in samples if fractions.get(key, 0.0) > 0}
    shares = np.array([fractions[key] for key in used])
    if not used or abs(shares.sum() - 1) > 1e-6 or min(fractions.values()) < 0:
        raise InputError(f"fractions {dict(fractions)} must be positive and add up to 1")
    total = min(len(sample) / share for sample, share in zip(used.values(), shares, strict=True))
    sizes = np.floor(shares * total + 1e-9).astype(np.int64)
    for key, size in zip(used, sizes, strict=True):
        if size == 0:
            raise InputError(
                f"{used[key].where}: no row of '{key}' would be in the mixture; use a larger sample"
            )
    rng = np.random.default_rng(seed)
    source = rng.permutation(np.repeat(np.arange(len(used)), sizes))
    rows, weights, first = np.empty(len(source), np.int64), np.ones(len(source), np.float32), 0
    for number, (sample, size) in enumerate(zip(used.values(), sizes, strict=True)):
        part = sample.take(np.sort(rng.permutation(len(sample))[:size]))
        rows[source == number] = first + (part.rows if part.rows is not None else np.arange(len(part)))
        weights[source == number] = 1.0 if part.weights is None else part.weights
        first += sum(len(reader) for reader in sample.readers)
    weighted = any(sample.weights is not None for sample in used.values())
    readers = tuple(reader for sample in used.values() for reader in sample.readers)
    mixture = Sample(readers, name or "+".join(used), rows, weights if weighted else None)
    _ = mixture.schema  # classes that disagree are refused here, not when the first row is read
    return mixture


def resample(
    sample: Sample, label: str, bins: Mapping[str, ArrayLike], target: str | None = None, seed: int = 0
) -> Sample:
    """Choose rows so that every class of `label` has the same number of rows in every bin.

    Rows are counted, whatever their weights: use `reweight` for samples whose weights vary.

    Args:
        sample: rows to choose from; those outside the bins are left out.
        label: an integer field, e.g. "flavour_label".
        bins: edges by field, "abs_eta" for |eta|: `{"pt": [20, 50, 100, 250], "abs_eta": [0, 1, 2.5]}`.
        target: class whose spectrum the others take: rows are left out or, where a class is short, repeated
            as evenly as possible. None: the smallest class of each bin, nothing is repeated.
        seed: of the choice.

    Raises:
        InputError: for fields, edges or a class that do not exist; when no row is left.
    """
    codes, cells, inside, reference = _cells(sample, label, bins, target)
    counts = _table(codes, cells, np.ones(len(cells)))
    spectrum = counts.min(axis=0) if reference is None else counts[reference]
    group = codes * counts.shape[1] + cells
    order = np.lexsort((np.random.default_rng(seed).random(len(group)), group))
    sizes = counts.ravel().astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - starts[group[order]]
    wanted, size = spectrum.astype(np.int64)[cells], sizes[group]
    copies = wanted // size + (rank < wanted % size)
    chosen = sample.take(np.repeat(inside, copies))
    if len(chosen) == 0:
        raise InputError(f"{sample.where}: no bin holds rows of every class of '{label}'; use wider bins")
    return chosen


def reweight(
    sample: Sample,
    label: str,
    bins: Mapping[str, ArrayLike],
    target: str | None = None,
    weight: str | None = None,
) -> Sample:
    """Give rows weights so that every class of `label` has the same weighted spectrum in the bins.

    Args:
        sample: rows; those outside the bins are left out.
        label: an integer field, e.g. "flavour_label".
        bins: edges by field, "abs_eta" for |eta|.
        target: class whose spectrum the others take. None: the mean of the classes' spectra.
        weight: event weight that the rows carry already; the factors found here multiply it
            (`Sample.weights`).

    Raises:
        InputError: for fields, edges or a class that do not exist; when no row lies in the bins.
    """
    codes, cells, inside, reference = _cells(sample, label, bins, target)
    weights = np.ones(len(inside)) if weight is None else sample.column(weight)[inside].astype(np.float64)
    if sample.weights is not None:
        weights = weights * sample.weights[inside]
    sums = _table(codes, cells, weights)
    spectrum = sums.mean(axis=0) if reference is None else sums[reference]
    # Negative weights can leave a bin with nothing to scale; its rows then count for nothing.
    factors = np.divide(spectrum, sums, out=np.zeros_like(sums), where=sums > 0)[codes, cells]
    chosen = sample.take(inside)
    before = 1.0 if chosen.weights is None else chosen.weights
    return Sample(chosen.readers, chosen.name, chosen.rows, (factors * before).astype(np.float32))


def _cells(
    sample: Sample, label: str, bins: Mapping[str, ArrayLike], target: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int | None]:
    """Class and bin of each row inside the bins, the positions of these rows, and the target class."""
    labels = sample.column(label)
    cells, inside = np.zeros(len(labels), np.int64), np.ones(len(labels), np.bool_)
    if not bins:
        raise InputError("bins are empty: give edges by field, such as {'pt': [20, 50, 250]}")
    for name, given in bins.items():
        edges = np.asarray(given, dtype=np.float64)
        if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
            raise InputError(f"bins of '{name}' must be two or more increasing edges, not {edges.tolist()}")
        position = np.searchsorted(edges, sample.column(name), side="right") - 1
        inside &= (position >= 0) & (position < len(edges) - 1)
        cells = cells * (len(edges) - 1) + position
    kept = np.flatnonzero(inside)
    if len(kept) == 0:
        raise InputError(f"{sample.where}: no row lies in the bins of {', '.join(bins)}")
    values, codes = np.unique(labels[kept], return_inverse=True)
    return codes, cells[kept], kept, _reference(sample, label, values.tolist(), target)


def _reference(sample: Sample, label: str, present: Sequence[int], target: str | None) -> int | None:
    if target is None:
        return None
    names = sample.schema.classes.get(label, [])
    known = {names[code] if 0 <= code < len(names) else str(code): at for at, code in enumerate(present)}
    if target not in known:
        raise InputError(f"{sample.where}: '{label}' has no rows of class '{target}'{closest(target, known)}")
    return known[target]


def _table(
    codes: NDArray[np.int64], cells: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of weights per class and bin, (classes, bins)."""
    table = np.zeros((int(codes.max()) + 1, int(cells.max()) + 1))
    np.add.at(table, (codes, cells), weights)
    return table
