from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from twofold import errors
from twofold.errors import DataError, MissingExtraError
from twofold.training import metrics_log
from twofold.training.metrics_log import MetricsLog, TensorBoardLog, read, to_csv


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = MetricsLog(tmp_path / "run" / "metrics.jsonl")
    for step in range(1, 6):
        log.write({"step": step, "loss": torch.tensor(0.5) / step})
    log.close()
    return log.path


def test_each_record_is_readable_at_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1, "loss": float("nan")})
    assert read(log.path) == [{"step": 1, "loss": None}]
    log.write({"step": 2, "note": "é"})
    assert read(log.path)[1] == {"step": 2, "note": "é"}
    log.close()


def test_truncating_and_going_on_gives_what_an_uninterrupted_run_has(path: Path) -> None:
    whole = path.read_bytes()
    log = MetricsLog(path)
    log.truncate_after(3)
    assert [record["step"] for record in read(path)] == [1, 2, 3]
    for step in (4, 5):
        log.write({"step": step, "loss": torch.tensor(0.5) / step})
    log.close()
    assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", ['{"step": 6, "lo', '{"step": 6}', "\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_a_torn_last_line_is_reported_and_then_removed(path: Path, tail: str) -> None:
    with path.open("ab") as file:
        file.write(tail.encode()[:15])
    with pytest.warns(UserWarning, match=r"metrics\.jsonl: the last line is unfinished"):
        assert [record["step"] for record in read(path)] == [1, 2, 3, 4, 5]
    log = MetricsLog(path)
    log.write({"step": 6})
    log.close()
    assert [record["step"] for record in read(path)] == [1, 2, 3, 4, 5, 6]


def test_other_broken_lines_are_named(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{oops", *lines[2:]]) + "\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: not valid JSON"):
        MetricsLog(path)
    path.write_text("[1]\n")
    with pytest.raises(DataError, match=r"line 1: a record is a JSON object, not \[1\]"):
        read(path)
    with pytest.raises(DataError, match="cannot be read"):
        read(path.with_name("gone"))


def test_csv_has_all_columns(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write({"step": 1, "loss": 2.5})
    log.write({"step": 2, "rank": 3.0, "loss": 2.0})
    log.close()
    to_csv(log.path, tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"step": "1", "loss": "2.5", "rank": ""}, {"step": "2", "loss": "2.0", "rank": "3.0"}]


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLog(tmp_path)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": 0.5 * step, "note": "text", "lr": None})
    log.truncate_after(1)
    log.write({"step": 2, "loss": 9.0})
    log.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5), (2, 9.0)]


def test_tensorboard_missing_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(errors.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"Writing TensorBoard logs needs tensorboard.*twofold\[tensorboard\]"):
        metrics_log.TensorBoardLog(tmp_path)
