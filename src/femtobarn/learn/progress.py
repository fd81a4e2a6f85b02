"""What a training tells while it runs, and how it is asked to stop."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Literal, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Interrupt", "Reporter"]


class Reporter:
    """Shows a run of `steps` steps on stderr."""

    def __init__(
        self, name: str, steps: int, done: int, mode: Literal["auto", "bar", "lines", "none"]
    ) -> None:
        if mode == "auto":
            mode = "bar" if sys.stderr.isatty() else "lines"
        self._name, self._mode = name, mode
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        if mode == "bar":
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, TextColumn("{task.fields[loss]}"), console=self._console)
            self._task = self._progress.add_task(f"train {name}", total=steps, completed=done, loss="")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def step(self, loss: float) -> None:
        """One step was done."""
        if self._progress is not None:
            self._progress.update(self._task, advance=1, loss=f"loss {loss:.4f}")

    def epoch(self, entry: dict[str, float], epochs: int) -> None:
        """One epoch was done; `entry` is its line of the history."""
        if self._mode == "none":
            return
        losses = " ".join(f"{key} {value:.4f}" for key, value in entry.items() if key.endswith("_total"))
        seconds = f"{entry['seconds']:.0f} s"
        self._console.print(f"{self._name}: epoch {entry['epoch']:.0f}/{epochs} {losses} ({seconds})")


class Interrupt:
    """Within it, Ctrl-C asks instead of interrupting: `asked` says so, for a moment when nothing is lost.

    A second Ctrl-C interrupts at once.
    """

    asked = False

    def __enter__(self) -> Self:
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
