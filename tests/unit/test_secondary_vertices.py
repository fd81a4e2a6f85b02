"""SV1 and JetFitter on jets whose decays are known."""

import awkward as ak
import numpy as np
import pytest

from decays import CLASSES, jets_of, prompt_and_decay, two_body
from femtobarn.data.sample import from_memory
from femtobarn.errors import InputError
from femtobarn.physics.two_track import ELECTRON, KAON_SHORT, LAMBDA, PION, PROTON
from femtobarn.tagging.jetfitter import JetFitter
from femtobarn.tagging.sv1 import SV1

BOTH = pytest.mark.parametrize(
    "method, flag", [(SV1, "SV1_isDefaults"), (JetFitter, "JetFitter_isDefaults")], ids=["sv1", "jetfitter"]
)


@pytest.fixture(scope="module")
def train():
    """b-jets with two vertices, c-jets with one, light jets with none."""
    rng = np.random.default_rng(1)
    kinds = (((3.0, 6.0), (3, 2), 0), ((2.0,), (2,), 1), ((), (), 2))
    jets = ak.concatenate([prompt_and_decay(rng, 400, *kind)[0] for kind in kinds])
    return from_memory(jets, CLASSES)


@pytest.fixture(scope="module", params=[SV1, JetFitter], ids=["sv1", "jetfitter"])
def fitted(request, train):
    return request.param().fit(train)


def test_flavours_are_told_apart(fitted, train):
    scores = fitted.predict(train)
    p = np.stack([ak.to_numpy(scores[f"{fitted.name}_p{c}"]) for c in "bcu"], axis=1)
    flavour = ak.to_numpy(train.read().flavour_label)
    assert (p.argmax(axis=1) == flavour).mean() > 0.85


def test_sv1_finds_the_vertex(train):
    rng = np.random.default_rng(2)
    jets, vertex = prompt_and_decay(rng, 500, (5.0,), (4,))
    found = SV1().fit(train).predict(jets)
    has = ak.to_numpy(found.SV1_isDefaults) == 0
    assert has.mean() > 0.9
    index = ak.to_numpy(found.tracks.sv1_VertexIndex)
    assert (index[has] >= 0)[vertex[has] == 1].mean() > 0.95
    assert (index >= 0)[vertex == 0].mean() < 0.03
    assert np.median(found.SV1_L3d[has]) == pytest.approx(5.0, abs=0.1)
    assert np.median(found.SV1_Lxy[has]) == pytest.approx(5.0 / np.cosh(0.3), abs=0.1)
    assert np.median(found.SV1_NGTinSvx[has]) == 4 and np.median(found.SV1_N2Tpair[has]) >= 4
    assert np.median(found.SV1_deltaR[has]) < 0.02
    assert np.median(found.SV1_significance3d[has]) > 20
    assert 0.35 < np.median(found.SV1_efracsvx[has]) < 0.65
    assert np.min(found.SV1_masssvx[has]) > 2 * PION


def test_jetfitter_finds_the_chain(train):
    rng = np.random.default_rng(3)
    jets, vertex = prompt_and_decay(rng, 500, (4.0, 12.0), (3, 2))
    found = JetFitter().fit(train).predict(jets)
    assert np.mean(found.JetFitter_nVTX == 2) > 0.7
    index = ak.to_numpy(found.tracks.jetfitter_VertexIndex)
    two = ak.to_numpy(found.JetFitter_nVTX == 2) & ak.to_numpy(found.JetFitter_nSingleTracks == 0)
    assert (index[two][vertex[two] == 1] == 0).mean() > 0.95
    assert (index[two][vertex[two] == 2] == 1).mean() > 0.95
    assert (index[vertex == 0] >= 0).mean() < 0.03


def test_jetfitter_takes_a_single_track(train):
    rng = np.random.default_rng(4)
    jets, vertex = prompt_and_decay(rng, 500, (4.0, 15.0), (3, 1))
    found = JetFitter().fit(train).predict(jets)
    alone = ak.to_numpy(found.JetFitter_nSingleTracks == 1) & ak.to_numpy(found.JetFitter_nVTX == 1)
    assert alone.mean() > 0.6
    index = ak.to_numpy(found.tracks.jetfitter_VertexIndex)
    assert (index[alone][vertex[alone] == 2] == 1).mean() > 0.9


@pytest.mark.parametrize(
    "decay, window",
    [
        ((KAON_SHORT, PION, PION, 20.0), "kaon_window"),
        ((LAMBDA, PROTON, PION, 20.0), "hyperon_window"),
        ((0.01, ELECTRON, ELECTRON, 33.3), "photon_mass"),
    ],
    ids=["kaon", "lambda", "photon"],
)
@BOTH
def test_unwanted_decays_are_vetoed(train, method, flag, decay, window):
    jets = two_body(np.random.default_rng(5), 300, *decay)
    off = {"material_radii": ()} if method is SV1 else {}
    with_veto = method(**off).fit(train).predict(jets)[flag]
    # Without this veto they are found, so that it is the veto that works.
    without = method(**off, **{window: 0.0}).fit(train).predict(jets)[flag]
    if window != "photon_mass":  # electron pairs are all but parallel: some have no vertex at all
        assert np.mean(without) < 0.5
    assert np.mean(with_veto) > 0.9


def test_material_is_vetoed(train):
    rng = np.random.default_rng(6)
    jets = two_body(rng, 300, 1.2, PION, PION, 24.0 * np.cosh(0.3))
    assert np.mean(SV1().fit(train).predict(jets).SV1_isDefaults) > 0.6
    assert np.mean(SV1(material_radii=()).fit(train).predict(jets).SV1_isDefaults) < 0.2


@BOTH
def test_defaults_without_tracks(train, method, flag):
    none = jets_of(np.random.default_rng(7), np.zeros(5, int), np.zeros((0, 3)), np.zeros((0, 3)),
                   np.zeros(0), np.zeros(5))  # fmt: skip
    found = method().fit(train).predict(none)
    assert found[flag].tolist() == [1] * 5
    prefix = flag.removesuffix("isDefaults")
    for field in found.fields:
        if field.startswith(prefix) and field != flag:
            assert np.isin(ak.to_numpy(found[field]), [-1, 0]).all()
    assert ak.sum(ak.num(found.tracks)) == 0


@BOTH
def test_missing_flavour_is_named(train, method, flag):
    part = from_memory(train.read()[:400], CLASSES)
    with pytest.raises(InputError, match="class c, u"):
        method().fit(part)


@BOTH
def test_other_templates_are_refused(train, method, flag, tmp_path):
    method().fit(train).save(tmp_path / "model")
    with pytest.raises(InputError, match="do not fit"):
        method(bins=7).restore(method.load(tmp_path / "model").state())
