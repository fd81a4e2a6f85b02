"""The loop: exact resume after SIGKILL, two processes, average, early stopping, schedules, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_script as script
from pydantic import ValidationError

from femtobarn.errors import InputError
from femtobarn.learn import Training
from femtobarn.learn.reproducible import read_tensors
from femtobarn.tagging.gn1 import GN1

SCRIPT = Path(__file__).with_name("training_script.py")
TINY = Training(epochs=2, batch_size=50, progress="none", accelerator="cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes started: how sums are split over threads changes their last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def start(out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The training of `training_script.py` in a process of its own, what it says in `out/said.txt`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(SCRIPT), str(out), *arguments]
    with (out / "said.txt").open("ab") as said:
        return subprocess.Popen(command, env=environment, stderr=said)


def small(**parameters: Any) -> GN1:
    return GN1(width=8, layers=1, initial=(8,), **parameters)


def samples(size: int = 200) -> tuple[Any, Any]:
    inputs = GN1().default_inputs()
    return script.synthetic(inputs, size, 1), script.synthetic(inputs, 100, 2)


def losses(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in history]


def assert_equal(ours: GN1, theirs: GN1) -> None:
    """The same weights, bit for bit, and the same history."""
    assert ours.state().keys() == theirs.state().keys()
    for key, value in ours.state().items():
        np.testing.assert_array_equal(value, theirs.state()[key], err_msg=key)
    assert losses(ours.history) == losses(theirs.history)


def test_killed_and_resumed_is_the_same(tmp_path: Path) -> None:
    """SIGKILL twice, wherever the training may be, then on to the end: weights and history bit for bit."""
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    places = []
    for kill in range(2):
        process = start(tmp_path)
        begun = checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0
        while process.poll() is None and not (checkpoint.is_file() and checkpoint.stat().st_mtime_ns > begun):
            time.sleep(0.005)
        time.sleep(0.2 + 0.13 * kill)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        state = read_tensors(checkpoint)
        places.append((state["epoch"], state["step"]))
    assert (0, 0) < places[0] < places[1] < (script.TRAINING.epochs, 0), places
    assert any(step for _, step in places)
    assert_equal(script.train(resume=tmp_path / "run"), script.train())


@pytest.mark.parametrize("call", [3, 4, 6])
def test_interrupt_stops_between_steps(tmp_path: Path, call: int) -> None:
    """Ctrl-C within a step, the last step of an epoch or a validation: all goes on from there exactly."""
    train, valid = samples()

    class Interrupted(GN1):
        calls = 0

        def loss(self, output: Any, batch: Any) -> Any:
            Interrupted.calls += 1
            if Interrupted.calls == call:
                signal.raise_signal(signal.SIGINT)
            return super().loss(output, batch)

    settings: Any = {"width": 8, "layers": 1, "initial": (8,), "name": "gn1"}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Interrupted(**settings).fit(train, valid, training=TINY, resume=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    state = read_tensors(tmp_path / "checkpoint.pt")
    assert (state["epoch"], state["step"]) != (0, 0)
    resumed = small().fit(train, valid, training=TINY, resume=tmp_path)
    assert_equal(resumed, small().fit(train, valid, training=TINY))


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    """Data parallel over gloo: the validation loss differs by no more than between seeds."""
    process = start(tmp_path, "devices=2", "epochs=2")
    ones = [script.train(seed=seed, epochs=2).history[-1]["valid_total"] for seed in (1, 2, 3)]
    assert process.wait() == 0, (tmp_path / "said.txt").read_text()
    two = GN1.load(tmp_path / "model").history
    allowed = 3 * np.std(ones, ddof=1) + 0.01 * np.mean(ones)
    assert abs(two[-1]["valid_total"] - np.mean(ones)) < allowed, (two, ones)
    assert two[-1]["train_total"] < two[0]["train_total"]


def test_resume_of_a_finished_run_and_of_another(tmp_path: Path) -> None:
    train, valid = samples()
    first = small().fit(train, valid, training=TINY, resume=tmp_path)
    again = small().fit(train, valid, training=TINY, resume=tmp_path)
    assert again.history == first.history
    assert_equal(first, again)
    for method, training in ((small(vertex_weight=0), TINY), (small(), TINY.with_(learning_rate=0.1))):
        with pytest.raises(InputError, match="other settings"):
            method.fit(train, valid, training=training, resume=tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        small().fit(train, valid, training=TINY, resume=tmp_path)


def test_random_state_of_the_caller_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    small().fit(*samples(), training=TINY)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_early_stopping_keeps_the_best() -> None:
    train, valid = samples(60)
    training = TINY.with_(epochs=60, learning_rate=0.02, patience=3)
    gn1 = small().fit(train, valid, training=training)
    losses = [entry["valid_total"] for entry in gn1.history]
    best = int(np.argmin(losses))
    assert len(losses) < 60 and len(losses) == best + 1 + 3
    shorter = small().fit(train, valid, training=training.with_(epochs=best + 1, patience=None, keep="last"))
    for key, value in gn1.state().items():
        np.testing.assert_array_equal(value, shorter.state()[key], err_msg=key)


def test_average_is_the_average_of_the_weights() -> None:
    """Two steps: torch starts the average at the first weights it sees, those after the first step."""
    train, _ = samples(50)
    one_step = TINY.with_(epochs=1, batch_size=50, keep="last")
    stepped = [small().fit(train, training=one_step.with_(epochs=n)).state() for n in (1, 2)]
    average = small().fit(train, training=one_step.with_(epochs=2, ema=0.75)).state()
    for key in ("heads.jet.0.weight", "pool.gate.0.weight", "initial.0.bias"):
        np.testing.assert_allclose(
            average[key], 0.75 * stepped[0][key] + 0.25 * stepped[1][key], rtol=1e-5, atol=1e-7
        )


def test_mixed_precision_learns_the_same() -> None:
    train, valid = samples()
    full, mixed = (
        small().fit(train, valid, training=TINY.with_(precision=p)).history for p in ("32-true", "bf16-mixed")
    )
    assert mixed[-1]["valid_total"] == pytest.approx(full[-1]["valid_total"], rel=0.02)
    assert mixed[-1]["valid_total"] != full[-1]["valid_total"]


def test_divergence_is_said() -> None:
    with pytest.raises(InputError, match=r"became .*learning_rate"):
        small().fit(*samples(), training=TINY.with_(learning_rate=1e30, optimiser="sgd", epochs=5))


def test_gn1_without_auxiliary_tasks() -> None:
    train, valid = samples()
    gn1 = small(name="gn1_no_aux", origin_weight=0, vertex_weight=0).fit(train, valid, training=TINY)
    assert set(gn1.history[0]) == {
        "epoch",
        "seconds",
        "learning_rate",
        "train_jet",
        "train_total",
        "valid_jet",
        "valid_total",
    }
    said = gn1.predict(valid)
    assert said.fields == ["gn1_no_aux_pb", "gn1_no_aux_pc", "gn1_no_aux_pu", "tracks"]
    assert said.tracks.fields == ["gn1_no_aux_attention"]
    assert (
        sum(
            p.numel()
            for p in GN1(origin_weight=0, vertex_weight=0).network(GN1().default_inputs()).parameters()
        )
        < 120_000
    )


@pytest.mark.parametrize(
    "changes", [{"epochs": 0}, {"optimizer": "adam"}, {"optimiser": "lion"}, {"precision": "8"}]
)
def test_training_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TINY.with_(**changes)


def rates(training: Training, steps: int) -> list[float]:
    optimiser = training.make_optimiser([torch.nn.Parameter(torch.zeros(1))])
    schedule = training.make_schedule(optimiser, steps)
    values = []
    for _ in range(steps):
        values.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return values


def test_schedules() -> None:
    assert rates(TINY, 5) == pytest.approx([1e-3] * 5)
    assert rates(TINY.with_(warmup=0.4), 5) == pytest.approx([1e-3 / 3, 2e-3 / 3, 1e-3, 1e-3, 1e-3])
    cosine = rates(TINY.with_(schedule="cosine", final_rate=1e-4), 100)
    assert cosine[0] == pytest.approx(1e-3) and cosine[50] == pytest.approx(5.5e-4) and cosine[-1] < 1.1e-4
    cycle = rates(
        TINY.with_(schedule="one-cycle", learning_rate=5e-4, initial_rate=1e-7, final_rate=1e-5, warmup=0.1),
        1000,
    )
    assert (
        cycle[0] == pytest.approx(1e-7)
        and max(cycle) == pytest.approx(5e-4, rel=1e-3)
        and cycle[-1] == pytest.approx(1e-5, rel=0.01)
    )
    assert 95 <= int(np.argmax(cycle)) <= 101
