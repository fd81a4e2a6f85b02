"""Labels on event records small enough to check by eye, and against a walk through a real one."""

import numpy as np
import pytest

from femtobarn.physics import pdg
from femtobarn.physics.truth import (
    BOTTOM,
    CHARM,
    ORIGINS,
    TAU,
    ancestors,
    decay_parents,
    merge_vertices,
    origin_labels,
    weakly_decaying,
)

# index:            0    1     2     3    4    5     6    7    8     9   10   11   12    13
RECORD = np.array([21, 513, 511, -411, 13, 310, 211, 211, 211, -15, 211, 443, -13, 3122])
# B* -> B, B -> D- mu K_S pi, K_S -> pi, D -> pi, tau -> pi, J/psi (from the B) -> mu, prompt Lambda.
MOTHER = np.array([-1, 0, 1, 2, 2, 2, 2, 5, 3, 0, 9, 2, 11, 0])


def test_weakly_decaying_hadrons_are_the_last_of_their_kind():
    parent = decay_parents(RECORD, MOTHER)
    assert np.flatnonzero(weakly_decaying(pdg.has_bottom(RECORD), parent)).tolist() == [2]
    assert np.flatnonzero(weakly_decaying(pdg.has_charm(RECORD), parent)).tolist() == [3]
    assert parent[1] == -1, "a gluon is no ancestor"
    assert not pdg.has_charm(RECORD)[11], "hidden charm is no charm"


def test_origins_of_a_handmade_record():
    parent = decay_parents(RECORD, MOTHER)
    own = np.zeros(len(RECORD), dtype=np.uint8)
    own[2], own[3], own[9], own[5] = BOTTOM, CHARM, TAU, 8
    names = [ORIGINS[k] for k in origin_labels(ancestors(own, parent))]
    assert [names[k] for k in (4, 6, 7, 8, 10, 12, 13)] == [
        "FromB", "FromB", "OtherSecondary", "FromBC", "FromTau", "FromB", "Primary",
    ]  # fmt: skip


def test_long_chains_and_loops():
    parent = np.arange(-1, 5000)
    own = np.zeros(5001, dtype=np.uint8)
    own[0], own[2500] = 1, 4
    words = ancestors(own, parent)
    assert words[0] == 0
    assert np.all(words[1:2501] == 1)
    assert np.all(words[2501:] == 5)
    with pytest.raises(ValueError, match="own ancestor"):
        ancestors(np.zeros(2, dtype=np.uint8), np.array([1, 0]))


@pytest.mark.parametrize(
    ("code", "bottom", "charm", "charge"),
    [(511, 1, 0, 0), (-521, 1, 0, -1), (5122, 1, 0, 0), (541, 1, 0, 1), (553, 0, 0, 0), (10411, 0, 1, 1),
     (-421, 0, 1, 0), (4122, 0, 1, 1), (443, 0, 0, 0), (4, 0, 0, 2 / 3), (4101, 0, 0, 1 / 3), (211, 0, 0, 1),
     (2212, 0, 0, 1), (-11, 0, 0, 1), (3334, 0, 0, -1), (22, 0, 0, 0), (1000020040, 0, 0, 2)],
)  # fmt: skip
def test_numbers_of_particles(code, bottom, charm, charge):
    codes = np.array([code])
    assert pdg.has_bottom(codes)[0] == bool(bottom)
    assert pdg.has_charm(codes)[0] == bool(charm)
    assert pdg.charge(codes)[0] == pytest.approx(charge)


def test_classes_agree_with_the_particle_package():
    from particle import Particle
    from particle.pdgid import functions as known

    codes = np.array(
        [int(p.pdgid) for p in Particle.all() if known.is_hadron(p.pdgid) and abs(p.pdgid) < 10**7]
    )
    assert np.all(pdg.is_hadron(codes))
    bottom = np.array([known.has_bottom(c) for c in codes])
    charm = np.array([known.has_charm(c) for c in codes])
    hidden = np.isin(np.abs(codes) // 10 % 1000, (44, 55))
    assert np.array_equal(pdg.has_bottom(codes), bottom & ~hidden)
    assert np.array_equal(pdg.has_charm(codes), charm & ~bottom & ~hidden)


def test_vertices_merge_along_chains_jet_by_jet():
    offsets = np.array([0, 6, 6, 8])
    x = np.array([0.05, 0.50, 0.58, 0.66, 9.0, 0.0, 0.55, 0.05])
    position = np.column_stack([x, np.zeros(8), np.zeros(8)])
    has_vertex = np.array([True, True, True, True, True, False, True, True])
    # The second jet's vertex at 0.55 is its own first one; points within 0.1 mm in a row are one vertex.
    assert merge_vertices(offsets, position, has_vertex).tolist() == [0, 1, 1, 1, 2, -2, 1, 0]


def test_vertices_of_no_tracks():
    assert len(merge_vertices(np.array([0, 0]), np.zeros((0, 3)), np.zeros(0, dtype=bool))) == 0
