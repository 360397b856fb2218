"""What the user sees while a run goes on, on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TextIO

from twofold.contrast.gather import rank


class Progress:
    """Shows a run to a person; this one shows nothing.

    Use as a context manager around the steps. Every call is cheap enough for every step.
    """

    def update(self, record: Mapping[str, Any], *, total_steps: int, chance: float | None = None) -> None:
        """Show that a training step is done.

        Args:
            record: What was measured; must have ``step`` (steps done, of the whole run). Of the rest, ``epoch``,
                ``loss``, ``items_per_second`` and ``effective_rank`` are shown, until the next value comes.
            total_steps: Steps of the whole run.
            chance: The loss at chance.
        """

    def advance(self, count: int, total: int) -> None:
        """Show that ``count`` more of ``total`` samples are embedded; ends by itself when all are."""

    def note(self, text: str) -> None:
        """Show a line that stays."""

    def warn(self, text: str) -> None:
        """Show a warning that stays."""
        self.note(f"Warning: {text}")

    def close(self) -> None:
        """Show the last state and stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class NullProgress(Progress):
    """Shows nothing."""


class LineProgress(Progress):
    """A plain line at most every ``every`` seconds, and one at the end; for log files and pipes.

    Args:
        recipe: Name shown in front.
        every: Seconds.
        stream: Where lines go; stderr by default.
        clock: Gives seconds.
    """

    def __init__(
        self,
        recipe: str,
        *,
        every: float = 10.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recipe = recipe
        self.every = every
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._began = self._shown_at = clock()
        self._first_step: int | None = None
        self._values: dict[str, Any] = {}
        self._pending = ""
        self._embedded = 0

    def __enter__(self) -> Self:
        self._began = self._shown_at = self._clock()
        return self

    def update(self, record: Mapping[str, Any], *, total_steps: int, chance: float | None = None) -> None:
        """See :meth:`Progress.update`."""
        self._values |= {**record, "chance": chance}
        step = int(record["step"])
        if self._first_step is None:  # a resumed run starts late, and its speed is that of its own steps
            self._first_step = step - 1
        parts = [self.recipe, f"step {step}/{total_steps}", describe(self._values)]
        if step < total_steps:
            seconds = (self._clock() - self._began) / max(1, step - self._first_step) * (total_steps - step)
            parts.append(f"{duration(seconds)} left")
        self._offer(" · ".join(part for part in parts if part))

    def advance(self, count: int, total: int) -> None:
        """See :meth:`Progress.advance`."""
        self._embedded += count
        self._offer(f"{self.recipe} · {self._embedded}/{total} embedded")
        if self._embedded >= total:
            self._embedded, self._pending = 0, ""  # a pass that was too short for a line needs none at its end

    def note(self, text: str) -> None:
        """Write a line at once."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Write the last state, unless it was just written."""
        if self._pending:
            self.note(self._pending)
        self._pending = ""

    def _offer(self, line: str) -> None:
        self._pending = line
        if self._clock() - self._shown_at >= self.every:
            self._shown_at = self._clock()
            self.close()


class BarProgress(Progress):
    """One line that is redrawn in place, by rich.

    Args:
        recipe: Name shown in front.
        stream: A terminal; stderr by default.
    """

    def __init__(self, recipe: str, *, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.recipe = recipe
        self._values: dict[str, Any] = {}
        self._training: TaskID | None = None
        self._embedding: TaskID | None = None
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[measured]}", markup=False),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr if stream is None else stream),
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def update(self, record: Mapping[str, Any], *, total_steps: int, chance: float | None = None) -> None:
        """See :meth:`Progress.update`."""
        self._values |= {**record, "chance": chance}
        step, measured = int(record["step"]), describe(self._values)
        if self._training is None:
            self._bar.start()
            self._training = self._bar.add_task(self.recipe, total=total_steps, completed=step - 1, measured="")
        self._bar.update(self._training, completed=step, measured=measured)

    def advance(self, count: int, total: int) -> None:
        """See :meth:`Progress.advance`."""
        if self._embedding is None:
            self._bar.start()
            self._embedding = self._bar.add_task("embedding", total=total, measured="")
        self._bar.advance(self._embedding, count)
        if next(task for task in self._bar.tasks if task.id == self._embedding).finished:
            self._bar.remove_task(self._embedding)
            self._embedding = None
            if self._training is None:
                self._bar.stop()

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the bar as it stands and give the terminal back."""
        self._bar.stop()
        if self._training is not None:
            self._bar.remove_task(self._training)
        self._training = None


def make_progress(recipe: str, *, quiet: bool = False, every: float = 10.0, stream: TextIO | None = None) -> Progress:
    """A bar in a terminal; lines if the stream (stderr by default) is none, or ``quiet``; nothing but in rank 0.

    Args:
        recipe: Name shown in front.
        quiet: Lines even in a terminal.
        every: Seconds between lines.
        stream: Where to show it.
    """
    if rank() > 0:
        return NullProgress()
    stream = sys.stderr if stream is None else stream
    if quiet or not stream.isatty():
        return LineProgress(recipe, every=every, stream=stream)
    return BarProgress(recipe, stream=stream)


_SHOWN = {
    "epoch": "epoch {:.1f}",
    "loss": "loss {:.4g}",
    "items_per_second": "{:.0f}/s",
    "effective_rank": "rank {:.1f}",
}


def describe(values: Mapping[str, Any]) -> str:
    """The shown values in one short text, such as ``epoch 1.5 · loss 4.31 (chance 6.24) · 830/s · rank 41.0``."""
    parts = {name: form.format(values[name]) for name, form in _SHOWN.items() if values.get(name) is not None}
    if "loss" in parts and values.get("chance") is not None:
        parts["loss"] += f" (chance {values['chance']:.4g})"
    return " · ".join(parts.values())


def duration(seconds: float) -> str:
    """``45s``, ``3m20s`` or ``2h05m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
