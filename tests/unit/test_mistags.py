"""What fools a tagger: contents by hand, shares and rates by counting."""

import awkward as ak
import numpy as np
import pytest

from femtobarn.evaluate.flavour_scores import FlavourScores, Jets
from femtobarn.evaluate.mistags import CONTENTS, contents, mistag_metrics, mistag_rows
from toys import toy_jets

PILEUP, FAKE, PRIMARY, B, TAU, OTHER = 0, 1, 2, 3, 6, 7
BY_HAND = [
    ("nothing", []),
    ("nothing", [(PRIMARY, 0, 1.0), (OTHER, 3, -5.0), (B, 1, 2.9)]),
    ("resolution", [(PRIMARY, 0, 3.1), (B, 1, -4.0)]),
    ("pile-up", [(PILEUP, -2, 4.0), (PRIMARY, 0, 9.0)]),
    ("fake", [(FAKE, -2, 4.0), (PILEUP, -2, 4.0)]),
    ("secondary track", [(OTHER, 3, 4.0), (OTHER, 4, 5.0), (FAKE, -2, 9.0)]),
    ("secondary track", [(OTHER, -2, 4.0), (OTHER, -2, 5.0)]),
    ("secondary track", [(OTHER, -1, 4.0), (PRIMARY, 0, 0.0)]),
    ("secondary vertex", [(OTHER, 3, 4.0), (OTHER, 3, 0.0)]),
    ("secondary track", [(OTHER, 3, 4.0), (PRIMARY, 3, 9.0)]),
    ("secondary vertex", [(TAU, 3, 4.0), (TAU, 3, 4.0), (PRIMARY, 0, 0.0)]),
    ("heavy flavour", [(B, 1, 3.1), (OTHER, 3, 4.0), (OTHER, 3, 4.0)]),
]


def jets_of(tracks: list[list[tuple[int, int, float]]], labels: list[int]) -> Jets:
    names = ("ftagTruthOriginLabel", "ftagTruthVertexIndex", "IP3D_signed_d0_significance")
    flat = np.array([track for jet in tracks for track in jet], dtype=np.float64).reshape(-1, 3)
    columns = dict(zip(names, flat.T, strict=True))
    columns = {
        name: column if "signed" in name else column.astype(np.int64) for name, column in columns.items()
    }
    inner = ak.unflatten(ak.zip(columns), [len(jet) for jet in tracks])
    return Jets(ak.Array({"HadronConeExclTruthLabelID": labels, "tracks": inner}), weight=None)


def test_first_content_by_hand() -> None:
    names, tracks = zip(*BY_HAND, strict=True)
    jets = jets_of([*tracks, [], []], [0] * len(tracks) + [5, 4])
    assert [list(CONTENTS)[k] for k in contents(jets)[: len(names)]] == list(names)


def test_shares_and_rejections() -> None:
    jets, rng = Jets(toy_jets(6000, weighted=True)), np.random.default_rng(1)
    # A tagger that is fooled by what is displaced.
    b = np.where(jets.flavour == "b", rng.uniform(0.2, 1, len(jets)), 0.4 * rng.random(len(jets)))
    b[(jets.flavour == "u") & (contents(jets) == 2)] += 0.2
    scores = FlavourScores("toy", b, np.full(len(b), 0.01), 1 - b, label="Toy")
    metrics = mistag_metrics(jets, [scores], "toys", {"b_efficiency": 0.8, "f_c": 0.05}, 0.05)
    found = {(m.name, m.at["content"]): m for m in metrics}
    light, weights = jets.flavour == "u", jets.weights
    cut = jets.survival(scores.discriminant_b(0.05), "b").threshold(0.8)
    tagged = light & (scores.discriminant_b(0.05) >= cut)
    here = light & (contents(jets) == 2)
    share, kept = (found[what, "secondary track"] for what in ("mistag_share", "content_rejection"))
    assert share.value == pytest.approx(weights[tagged & here].sum() / weights[tagged].sum())
    assert kept.value == pytest.approx(weights[here].sum() / weights[tagged & here].sum())
    assert share.error and kept.error and 0 < share.error < 0.1
    assert kept.value < 0.5 * (found["content_rejection", "nothing"].value or 0)
    assert sum(m.value or 0 for m in metrics if m.name == "mistag_share") == pytest.approx(1)
    columns, table = mistag_rows(metrics, {"toy": "Toy", "other": "Other"})
    assert columns == ["displaced track", "Toy: share", "Toy: rejection"]
    assert [row[0] for row in table] == list(CONTENTS)


def test_errors_are_the_spread_of_samples() -> None:
    values = []
    for seed in range(60):
        jets, rng = Jets(toy_jets(1500, seed=seed, weighted=True)), np.random.default_rng(seed)
        b = rng.normal(1.5 * (jets.flavour == "b"), 1)
        b = 1 / (1 + np.exp(-b - 0.5 * (contents(jets) < 6)))
        scores = FlavourScores("toy", b, np.full(len(b), 0.01), 1 - b)
        metrics = mistag_metrics(jets, [scores], "toys", {"b_efficiency": 0.7}, 0.05)
        found = {m.name: m for m in metrics if m.at["content"] == "secondary track"}
        values.append([(m.value, m.error) for m in (found["mistag_share"], found["content_rejection"])])
    value, error = np.moveaxis(np.array(values), -1, 0)
    np.testing.assert_allclose(value.std(axis=0) / error.mean(axis=0), 1, atol=0.3)


def test_no_light_jet_is_tagged() -> None:
    jets = jets_of([[], [], []], [5, 4, 0])
    scores = FlavourScores("toy", np.array([0.9, 0.1, 0.1]), np.full(3, 0.1), np.array([0.1, 0.8, 0.8]))
    (metric,) = mistag_metrics(jets, [scores], "toys", {"b_efficiency": 0.7}, 0.05)
    assert (metric.name, metric.at["content"], metric.value) == ("content_rejection", "nothing", None)
    assert metric.lower_limit and metric.lower_limit >= 1
