"""Samples mixed by fraction; flavours brought to a common spectrum by rows or by weights."""

import awkward as ak
import numpy as np
import pytest

from femtobarn.data import Sample, from_memory, mix, resample, reweight
from femtobarn.errors import InputError
from jets import CLASSES, make_jets

BINS = {"pt": [20, 60, 120, 250], "abs_eta": [0, 1, 2.5]}


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Flavours of different abundance and spectrum."""
    rng = np.random.default_rng(5)
    jets = make_jets(8000)
    flavour = rng.choice(3, 8000, p=[0.2, 0.1, 0.7]).astype(np.int8)
    pt = (20 + rng.exponential(30 * (1 + flavour), 8000)).astype(np.float32)
    return from_memory(ak.with_field(ak.with_field(jets, pt, "pt"), flavour, "flavour_label"), CLASSES)


def spectra(sample: Sample, weights: np.ndarray | None = None) -> list[np.ndarray]:
    flavour, pt, eta = (sample.column(name) for name in ("flavour_label", "pt", "abs_eta"))
    return [
        np.histogram2d(
            pt[flavour == code], eta[flavour == code], [BINS["pt"], BINS["abs_eta"]],
            weights=None if weights is None else weights[flavour == code],
        )[0]
        for code in range(3)
    ]  # fmt: skip


def test_mixture(sample: Sample) -> None:
    first, second = sample.head(3000), sample.take(np.arange(3000, 5000))
    mixture = mix({"ttbar": first, "zprime": second}, {"ttbar": 0.75, "zprime": 0.25}, seed=3)
    numbers = mixture.column("eventNumber")
    assert mixture.name == "ttbar+zprime" and len(numbers) == 4000 == len(set(numbers))
    assert (numbers < 3000).sum() == 3000 and (numbers >= 3000).sum() == 1000
    # Shuffled into one another: the share is the same along the mixture.
    assert abs((numbers[:1000] < 3000).mean() - 0.75) < 0.05
    assert np.all(np.diff(numbers[numbers < 3000]) > 0)
    again = mix({"ttbar": first, "zprime": second}, {"ttbar": 0.75, "zprime": 0.25}, seed=3)
    other = mix({"ttbar": first, "zprime": second}, {"ttbar": 0.75, "zprime": 0.25}, seed=4)
    assert np.array_equal(numbers, again.column("eventNumber"))
    assert not np.array_equal(numbers, other.column("eventNumber"))


def test_scarcest_sets_the_size(sample: Sample) -> None:
    mixture = mix({"a": sample, "b": sample.head(100)}, {"a": 0.6, "b": 0.4})
    assert len(mixture) == 250
    assert len(mix({"a": sample, "b": sample.head(100)}, {"a": 1.0})) == 8000


def test_mixture_keeps_weights(sample: Sample) -> None:
    weighted = reweight(sample, "flavour_label", BINS)
    mixture = mix({"a": weighted, "b": sample.head(1000)}, {"a": 0.5, "b": 0.5})
    assert mixture.weights is not None and len(mixture.weights) == len(mixture)
    by_number = dict(zip(weighted.column("eventNumber"), weighted.weights, strict=True))
    assert weighted.weights is not None
    changed = mixture.weights != 1
    numbers = mixture.column("eventNumber")[changed]
    assert np.array_equal(mixture.weights[changed], [by_number[number] for number in numbers])


@pytest.mark.parametrize(
    ("fractions", "match"),
    [({"a": 0.5}, "add up to 1"), ({"a": 0.5, "c": 0.5}, "'c'"), ({"a": 1.5, "b": -0.5}, "positive")],
)
def test_fractions_that_make_no_sense(sample: Sample, fractions: dict[str, float], match: str) -> None:
    with pytest.raises(InputError, match=match):
        mix({"a": sample, "b": sample}, fractions)


def test_resampled_without_repetition(sample: Sample) -> None:
    before = np.minimum.reduce(spectra(sample))
    chosen = resample(sample, "flavour_label", BINS, seed=1)
    for spectrum in spectra(chosen):
        assert np.array_equal(spectrum, before)
    assert len(set(chosen.column("eventNumber"))) == len(chosen)
    assert not np.array_equal(chosen.rows, resample(sample, "flavour_label", BINS, seed=2).rows)


def test_resampled_to_a_class(sample: Sample) -> None:
    target = spectra(sample)[0]
    chosen = resample(sample, "flavour_label", BINS, target="bjets")
    for spectrum in spectra(chosen):
        assert np.array_equal(spectrum, target)
    flavour, numbers = chosen.column("flavour_label"), chosen.column("eventNumber")
    counts = np.unique(numbers[flavour == 0], return_counts=True)[1]
    assert np.all(counts == 1)


def test_reweighted(sample: Sample) -> None:
    weights = sample.column("mcEventWeight").astype(np.float64)
    target = spectra(sample, weights)[0]
    for name, expected in (("bjets", target), (None, np.mean(spectra(sample, weights), axis=0))):
        chosen = reweight(sample, "flavour_label", BINS, target=name, weight="mcEventWeight")
        total = chosen.weights * chosen.column("mcEventWeight").astype(np.float64)
        for spectrum in spectra(chosen, total):
            np.testing.assert_allclose(spectrum, expected, rtol=1e-5)


def test_bins_that_make_no_sense(sample: Sample) -> None:
    with pytest.raises(InputError, match="increasing"):
        resample(sample, "flavour_label", {"pt": [50, 20]})
    with pytest.raises(InputError, match="no row lies"):
        reweight(sample, "flavour_label", {"pt": [5000, 6000]})
    with pytest.raises(InputError, match=r"'bjet'.*'bjets'"):
        resample(sample, "flavour_label", BINS, target="bjet")
    with pytest.raises(InputError, match=r"'ppt'.*'pt'"):
        resample(sample, "flavour_label", {"ppt": [20, 50]})
