from __future__ import annotations

import io

import pytest

from twofold.training.progress import BarProgress, LineProgress, NullProgress, describe, duration, make_progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_lines_come_seldom_and_the_last_state_is_shown() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress("simclr", every=10, stream=stream, clock=clock) as progress:
        for step in range(21, 31):  # resumed after step 20
            clock.now += 4
            progress.update({"step": step, "epoch": step / 10, "loss": 5.0}, total_steps=30, chance=6.238)
    assert lines(stream) == [
        "simclr · step 23/30 · epoch 2.3 · loss 5 (chance 6.238) · 28s left",
        "simclr · step 26/30 · epoch 2.6 · loss 5 (chance 6.238) · 16s left",
        "simclr · step 29/30 · epoch 2.9 · loss 5 (chance 6.238) · 4s left",
        "simclr · step 30/30 · epoch 3.0 · loss 5 (chance 6.238)",
    ]


def test_values_stay_until_the_next() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress("byol", stream=stream, clock=clock) as progress:
        progress.update({"step": 1, "loss": 1.0, "effective_rank": 12.34, "items_per_second": 830.4}, total_steps=2)
        progress.update({"step": 2, "loss": 0.5}, total_steps=2)
    assert lines(stream) == ["byol · step 2/2 · loss 0.5 · 830/s · rank 12.3"]


def test_notes_and_warnings_come_at_once() -> None:
    stream = io.StringIO()
    progress = LineProgress("x", stream=stream)
    progress.note("Resuming.")
    progress.warn("[collapse]")
    assert lines(stream) == ["Resuming.", "Warning: [collapse]"]


def test_embedding_is_counted_and_a_short_pass_is_silent() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress("x", every=10, stream=stream, clock=clock) as progress:
        progress.advance(50, 100)
        progress.advance(50, 100)
        clock.now += 11
        progress.advance(60, 100)
        progress.advance(40, 100)
    assert lines(stream) == ["x · 60/100 embedded"]


def test_nothing_goes_to_stdout_and_null_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (make_progress("x", quiet=True), NullProgress()):
        with progress:
            progress.update({"step": 1, "loss": 1.0}, total_steps=1)
            progress.warn("careful")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["Warning: careful", "x · step 1/1 · loss 1"]


def test_a_terminal_gets_a_bar_unless_quiet() -> None:
    assert isinstance(make_progress("x", stream=Terminal()), BarProgress)
    assert isinstance(make_progress("x", stream=Terminal(), quiet=True), LineProgress)
    assert isinstance(make_progress("x", stream=io.StringIO()), LineProgress)


def test_the_bar_shows_the_same_and_can_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = BarProgress("simclr", stream=stream)
    for _ in range(2):
        with progress:
            progress.advance(3, 4)
            progress.advance(1, 4)
            progress.update({"step": 8, "loss": 4.5}, total_steps=9, chance=6.25)
            progress.note("[look] here")
            progress.advance(4, 4)
    shown = stream.getvalue()
    assert all(part in shown for part in ("simclr", "8/9", "loss 4.5 (chance 6.25)", "[look] here"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m00s"), (200, "3m20s"), (7510, "2h05m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_missing_values_are_left_out() -> None:
    assert describe({}) == ""
    assert describe({"chance": 3.0, "epoch": None}) == ""
