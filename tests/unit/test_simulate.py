"""Simulation from end to end: reproducible, resumable, physical, and polite about bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest

import femtobarn
from femtobarn.data.splits import fold_of
from femtobarn.errors import InputError
from femtobarn.physics import pdg
from femtobarn.physics.kinematics import delta_r
from femtobarn.physics.truth import ORIGINS, ancestors, decay_parents, origin_labels
from femtobarn.simulation import SimulationSettings, simulate
from femtobarn.simulation.collisions import collisions_of
from femtobarn.simulation.events import BLOCK
from femtobarn.simulation.pythia import generate

# A tiny pool, to be quick.
SETTINGS = SimulationSettings.model_validate({"pileup": {"train": 500, "valid": 500, "test": 500}})
EVENTS = BLOCK + 20


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A small ttbar file made by one process, its summary and its progress."""
    out = tmp_path_factory.mktemp("simulation") / "ttbar.h5"
    steps = []
    summary = simulate("ttbar", EVENTS, out, settings=SETTINGS, progress=lambda *step: steps.append(step))
    return out, summary, steps


def contents(path):
    with h5py.File(path) as file:
        return file["jets"][:], file["tracks"][:]


def test_same_file_whatever_the_number_of_workers(sample, tmp_path):
    simulate("ttbar", EVENTS, tmp_path / "two.h5", settings=SETTINGS, workers=2)
    assert (tmp_path / "two.h5").read_bytes() == sample[0].read_bytes()


def test_first_events_do_not_depend_on_their_number(sample, tmp_path):
    simulate("ttbar", 15, tmp_path / "few.h5", settings=SETTINGS)
    few, many = contents(tmp_path / "few.h5"), contents(sample[0])
    n = len(few[0])
    assert few[0]["eventNumber"].max() <= 14
    assert many[0]["eventNumber"][n] > 14
    assert np.array_equal(few[0], many[0][:n])
    assert np.array_equal(few[1], many[1][:n])


def test_killed_and_resumed_gives_the_same_file(sample, tmp_path):
    out = tmp_path / "killed.h5"
    code = (
        "from femtobarn.simulation import *\n"
        f"s = SimulationSettings.model_validate_json({SETTINGS.model_dump_json()!r})\n"
        f"simulate('ttbar', {EVENTS}, {str(out)!r}, settings=s)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
    first = out.with_name("killed.h5.parts") / "0000000.parquet"
    deadline = time.monotonic() + 60
    while not first.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert first.exists()
    assert not out.exists()
    written = first.stat().st_mtime_ns
    seconds = []
    summary = simulate(
        "ttbar", EVENTS, out, settings=SETTINGS, progress=lambda *_: seconds.append(first.stat())
    )
    assert seconds[0].st_mtime_ns == written, "the finished block was made again"
    assert out.read_bytes() == sample[0].read_bytes()
    assert not first.parent.exists()
    assert summary.jets == sample[1].jets


def test_parts_of_other_settings_are_not_used(sample, tmp_path):
    out = tmp_path / "sample.h5"
    parts = tmp_path / "sample.h5.parts"
    parts.mkdir()
    (parts / "manifest.json").write_text("{}")
    (parts / "0000000.parquet").write_bytes(b"not from this simulation")
    simulate("ttbar", 15, out, settings=SETTINGS)
    assert len(contents(out)[0]) > 0


def test_summary_and_progress(sample):
    out, summary, steps = sample
    assert steps == [(BLOCK, EVENTS), (EVENTS, EVENTS)]
    assert summary.jets == sum(summary.flavours.values()) == len(contents(out)[0])
    assert 4.0 < summary.jets / EVENTS < 5.7
    assert {"pythia", "clustering", "tracker"} <= set(summary.seconds)


def test_rows_are_consistent(sample):
    jets = femtobarn.open(sample[0]).read()
    tracks = jets.tracks
    assert ak.to_numpy(jets.n_tracks).tolist() == ak.to_numpy(ak.num(tracks)).tolist()
    assert ak.min(jets.pt) > 20
    assert ak.max(abs(jets.eta)) < 2.5
    label = ak.to_numpy(jets.HadronConeExclTruthLabelID)
    assert np.array_equal(np.array([5, 4, 0, 15])[ak.to_numpy(jets.flavour_label)], label)
    fold = fold_of("ttbar", 1, 1, 0, ak.to_numpy(jets.eventNumber))
    assert np.array_equal(fold, ak.to_numpy(jets.fold))
    significance = abs(tracks.IP3D_signed_d0_significance)
    assert ak.all(significance[:, 1:] <= significance[:, :-1])
    assert ak.max(abs(tracks.d0)) < 3.5
    assert ak.min(tracks.pt) > 0.5
    assert ak.min(tracks.numberOfPixelHits + tracks.numberOfSCTHits) >= 8
    distance = delta_r(
        *(ak.to_numpy(ak.flatten(x)) for x in ak.broadcast_arrays(tracks.eta, tracks.phi, jets.eta, jets.phi))
    )
    assert distance == pytest.approx(ak.to_numpy(ak.flatten(tracks.dr)), abs=1e-4)
    origin, vertex = ak.flatten(tracks.ftagTruthOriginLabel), ak.flatten(tracks.ftagTruthVertexIndex)
    assert np.array_equal(ak.to_numpy(vertex == -2), ak.to_numpy(origin < ORIGINS.index("Primary")))
    assert np.mean(ak.to_numpy(vertex[origin == ORIGINS.index("Primary")]) == 0) > 0.99
    assert np.mean(ak.to_numpy(vertex[origin == ORIGINS.index("FromBC")]) > 0) > 0.95


def test_physics_of_a_ttbar_sample(sample):
    jets = femtobarn.open(sample[0]).read()
    flavour = ak.to_numpy(jets.flavour_label)
    assert np.mean(flavour == 0) == pytest.approx(0.33, abs=0.06)
    origin = jets.tracks.ftagTruthOriginLabel
    significance = jets.tracks.IP3D_signed_d0_significance
    prompt = ak.to_numpy(ak.flatten(significance[origin == ORIGINS.index("Primary")]))
    assert np.subtract(*np.percentile(prompt, [84.13, 15.87])) / 2 == pytest.approx(1.03, abs=0.06)
    assert abs(np.median(prompt)) < 0.1
    displaced = ak.to_numpy(ak.flatten(significance[origin == ORIGINS.index("FromB")]))
    assert np.median(displaced) > 2
    light = jets[flavour == 2].tracks
    assert ak.mean(light.ftagTruthOriginLabel == ORIGINS.index("FromB")) < 0.02
    bottom = jets[flavour == 0].tracks
    assert ak.mean((bottom.ftagTruthOriginLabel == 3) | (bottom.ftagTruthOriginLabel == 4)) > 0.35
    assert ak.mean(ak.num(jets.tracks)) == pytest.approx(6.7, abs=0.6)


def test_provenance_is_in_the_file(sample):
    with h5py.File(sample[0]) as file:
        config = file.attrs["config"]
        names = [str(x) for x in file["jets"].attrs["flavour_label"]]
    assert '"sqrt_s": 13.6' in config
    assert '"seed": 1' in config
    assert '"pythia8mc"' in config
    assert names == ["bjets", "cjets", "ujets", "taujets"]


def test_origins_agree_with_a_walk_up_the_record():
    record = generate("ttbar", 20, 7, 13.6)
    collisions = collisions_of(record)
    ids, mother = record.pdg_id, record.mother
    kinds = (("b", pdg.has_bottom(ids)), ("c", pdg.has_charm(ids)), ("t", np.abs(ids) == 15))
    daughters = {k: [] for k in range(len(ids))}
    for k, m in enumerate(mother):
        if m >= 0:
            daughters[int(m)].append(k)
    final = np.flatnonzero(record.final)
    expected = []
    for k in final:
        seen, m = set(), int(mother[k])
        while m >= 0 and (pdg.is_hadron(ids[m : m + 1])[0] or abs(ids[m]) == 15):
            for name, member in kinds:
                if member[m] and not any(member[d] for d in daughters[m]):
                    seen.add(name)
            if pdg.is_strange_decaying(ids[m : m + 1])[0]:
                seen.add("s")
            m = int(mother[m])
        expected.append(
            "OtherSecondary" if "s" in seen else "FromBC" if {"b", "c"} <= seen else "FromB" if "b" in seen
            else "FromC" if "c" in seen else "FromTau" if "t" in seen else "Primary"
        )  # fmt: skip
    got = [ORIGINS[k] for k in origin_labels(collisions.word[collisions.final])]
    assert got == expected
    assert set(expected) >= {"FromB", "FromBC", "Primary", "OtherSecondary"}
    assert len(ancestors(np.zeros(len(ids), dtype=np.uint8), decay_parents(ids, mother))) == len(ids)


@pytest.mark.parametrize("process", ["minbias", "zprime", "dijet"])
def test_generation_has_no_memory(process):
    first = generate(process, 5, 11, 13.6)
    generate(process, 3, 12, 13.6)
    again = generate(process, 5, 11, 13.6)
    assert np.array_equal(first.px, again.px)
    assert np.array_equal(first.weight, again.weight)


def test_overlay_replaces_multiparton_interactions(tmp_path):
    summary = simulate("ttbar", BLOCK, tmp_path / "o.parquet", settings=SETTINGS, underlying_event="overlay")
    assert "overlay" in summary.seconds
    assert 4.0 < summary.jets / BLOCK < 5.6
    jets = femtobarn.open(tmp_path / "o.parquet").read()
    assert ak.mean(ak.num(jets.tracks)) == pytest.approx(6.7, abs=0.6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"process": "tt"}, "no process 'tt'"),
        ({"n": 0}, "at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"pileup": -2.0}, "pileup is -2"),
        ({"pileup": float("nan")}, "pileup is nan"),
        ({"workers": 0}, "workers is 0"),
        ({"underlying_event": "half"}, "'full' or 'overlay'"),
        ({"out": "x.csv"}, r"\.csv"),
        ({"out": "."}, "is a folder"),
        (
            {"settings": SimulationSettings(pythia=("Beams:eCMM = 3",))},
            "does not know the setting 'Beams:eCMM = 3'",
        ),
        ({"settings": SimulationSettings(pythia=("Beams:eCM = 8000.",))}, "set sqrt_s"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "no Dask scheduler answers"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = {"process": "ttbar", "n": 5, "out": "x.h5", "settings": SETTINGS} | arguments
    with pytest.raises(InputError, match=says) as caught:
        simulate(call.pop("process"), call.pop("n"), call.pop("out"), **call)
    assert "\n" not in str(caught.value)
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.slow
def test_a_dask_cluster_makes_the_same_file(sample, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        simulate("ttbar", EVENTS, tmp_path / "d.h5", settings=SETTINGS, scheduler=cluster.scheduler_address)
    assert (tmp_path / "d.h5").read_bytes() == sample[0].read_bytes()
