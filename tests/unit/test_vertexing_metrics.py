"""Vertices found, by hand: 65 % of the tracks with 50 % purity, single tracks exactly."""

import awkward as ak
import numpy as np
import pytest

from femtobarn.errors import InputError
from femtobarn.evaluate.vertexing import exclusive_vertices, inclusive_vertices, match_vertices

B, BC, PRIMARY, OTHER = 3, 4, 2, 7


def match(truth: list[int], reco: list[int]) -> tuple[list[bool], list[bool], list[float]]:
    """Found, matched and purity for a single jet."""
    result = match_vertices(np.zeros(len(truth), dtype=np.int64), np.array(truth), np.array(reco))
    return result.found.tolist(), result.matched.tolist(), result.purity.tolist()


@pytest.mark.parametrize(
    ("truth", "reco", "found"),
    [
        ([1, 1, 1], [5, 5, 5], True),
        ([1, 1, 1], [5, 5, -1], True),  # two of three tracks: 67 %
        ([1, 1, 1, 1, 1], [5, 5, 5, 2, 2], False),  # three of five: 60 %
        ([1, 1, 1, -1, -1, -1], [5, 5, 5, 5, 5, 5], True),  # half pure
        ([1, 1, 1, -1, -1, -1, -1], [5, 5, 5, 5, 5, 5, 5], False),  # three of seven pure
        ([1, -1], [5, 2], True),  # a single track, alone
        ([1, -1], [5, 5], False),  # a single track with another
        ([1], [-1], False),
    ],
)
def test_found(truth: list[int], reco: list[int], found: bool) -> None:
    assert match(truth, reco)[0] == [found]


def test_purity_and_fakes() -> None:
    found, matched, purity = match([1, 1, 1, 2, 2, -1, -1], [0, 0, 0, 0, 7, 8, 8])
    assert found == [True, False]
    assert matched == [True, False, False]
    assert purity[0] == 0.75
    assert np.isnan(purity[1:]).all()


def test_jets_are_kept_apart() -> None:
    jet = np.array([0, 0, 1, 1])
    result = match_vertices(jet, np.array([1, 1, 1, 1]), np.array([3, 3, 3, 4]))
    assert result.found.tolist() == [True, False]
    assert result.truth_jet.tolist() == [0, 1]
    assert result.reco_jet.tolist() == [0, 1, 1]


def jets() -> tuple[ak.Array, ak.Array]:
    """A b-jet with a B and a B->C vertex beside the primary and a V0; a jet without tracks; a light-jet."""
    origin = ak.Array([[PRIMARY, PRIMARY, B, B, BC, BC, BC, OTHER, OTHER], [], [PRIMARY]])
    truth = ak.Array([[0, 0, 1, 1, 2, 2, 2, 3, 3], [], [0]])
    return truth, origin


def test_exclusive_and_inclusive() -> None:
    truth, origin = jets()
    reco = ak.Array([[0, 0, 1, 1, 1, 1, 1, 2, 2], [], [0]])  # B and C joined in one vertex
    exclusive = exclusive_vertices(truth, origin, reco)
    assert exclusive.found.tolist() == [False, True]  # the C is 60 % of it, the B 40 %
    assert exclusive.matched.tolist() == [False, True, False, False]
    inclusive = inclusive_vertices(truth, origin, ak.Array([[-1, -1, 1, 1, 1, 1, 1, -1, -1], [], [-1]]))
    assert inclusive.found.tolist() == [True]
    assert inclusive.purity.tolist() == [1.0]


def test_predicted_origins_choose_the_secondary_vertices() -> None:
    truth, origin = jets()
    reco = ak.Array([[0, 0, 1, 1, 2, 2, 2, 3, 3], [], [0]])
    heavy, primary = (origin == B) | (origin == BC), origin == PRIMARY
    result = exclusive_vertices(truth, origin, reco, heavy, primary)
    assert result.found.tolist() == [True, True]
    assert result.matched.tolist() == [True, True]  # neither the primary vertex nor the V0 counts as fake
    assert result.reco_jet.tolist() == [0, 0]


def test_heavy_tracks_merged_with_the_primary_vertex_are_no_secondary_vertex() -> None:
    result = exclusive_vertices(ak.Array([[0, 0]]), ak.Array([[B, B]]), ak.Array([[4, 4]]))
    assert len(result.found) == 0
    assert inclusive_vertices(ak.Array([[0, 0]]), ak.Array([[B, B]]), ak.Array([[4, 4]])).found.tolist() == [
        True
    ]


def test_no_vertices_at_all() -> None:
    empty = ak.values_astype(ak.Array([[], []]), "int64")
    result = exclusive_vertices(empty, empty, empty, empty == 1, empty == 1)
    assert all(len(part) == 0 for part in result)


def test_other_tracks_are_refused() -> None:
    with pytest.raises(InputError, match="use the same tracks"):
        exclusive_vertices(ak.Array([[1, 1]]), ak.Array([[B, B]]), ak.Array([[1]]))
