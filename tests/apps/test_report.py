"""The report pages without a browser: verdicts, escaping, missing parts, size, atomic writing, comparisons."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twofold.apps.report import (
    ComparisonData,
    MethodRuns,
    ReportData,
    neighbours,
    render,
    render_comparison,
    thumbnails,
    write,
)
from twofold.apps.report.comparison import comparison, paired_difference
from twofold.apps.report.page import shorten
from twofold.apps.report.tables import results
from twofold.errors import DataError

NASTY = "<script>alert(1)</script>\"'&"


def evaluation(trained: float = 0.8, raw: float = 0.6) -> dict[str, Any]:
    def row(name: str, label: str, value: float) -> dict[str, Any]:
        entry = {"value": value, "low": value - 0.02, "high": value + 0.02, "unit": "accuracy"}
        return {"name": name, "label": label, "metrics": {"knn": entry}}

    return {
        "protocol": {"split": "80 % bank, 20 % test"},
        "chance": {"knn": 0.1},
        "rows": [
            row("trained", "SimCLR, trained", trained),
            row("untrained", "Untrained", 0.5),
            row("raw", "Raw pixels", raw),
        ],
        "metrics": {"knn": {"title": "20-NN accuracy", "higher_is_better": True, "interval": "95 % bootstrap"}},
    }


def full_report(count: int = 40, /, **changes: Any) -> ReportData:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(count, 6))
    indices, similarities = neighbours(embeddings, [0, 1], k=4)
    fields: dict[str, Any] = {
        "title": "SimCLR",
        "metrics": [{"step": step, "loss": 5 / (step + 1), "lr": 1e-3} for step in range(50)],
        "loss_chance": 5.5,
        "evaluation": evaluation(),
        "points": rng.normal(size=(count, 2)),
        "labels": np.arange(count) % 3,
        "class_names": ["cat", "dog", "owl"],
        "ids": [f"{row}.png" for row in range(count)],
        "thumbnails": thumbnails(torch.from_numpy(rng.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8))),
        "neighbours": [
            {"query": q, "neighbours": i.tolist(), "similarities": s.tolist(), "raw_neighbours": i[::-1].tolist()}
            for q, i, s in zip([0, 1], indices, similarities, strict=True)
        ],
        "command": "twofold train simclr digits",
        "python_usage": "import twofold",
        "cli_usage": ["twofold search runs/x"],
    }
    return ReportData(**(fields | changes))


def two_methods() -> ComparisonData:
    curves = {seed: [{"step": step, "loss": 3.0 / (step + 1)} for step in range(20)] for seed in range(3)}
    base = MethodRuns("SimCLR", {"knn": {0: 0.70, 1: 0.72, 2: 0.74}}, curves)
    other = MethodRuns("DCL", {"knn": {0: 0.80, 1: 0.83, 2: 0.83}}, curves)
    return ComparisonData(
        "Two", [base, other], {"knn": {"title": "20-NN accuracy", "unit": "accuracy"}}, chance={"knn": 0.1}
    )


# Verdicts


@pytest.mark.parametrize(
    ("trained", "tone", "title"),
    [
        (0.8, "better", "Training paid off."),
        (0.61, "unclear", "No clear gain over raw pixels."),
        (0.55, "worse", "raw pixels"),
    ],
)
def test_verdict_says_what_the_intervals_say(trained: float, tone: str, title: str) -> None:
    outcome = results(evaluation(trained))
    assert outcome is not None
    assert outcome.verdict is not None
    assert outcome.verdict.tone == tone
    assert title in outcome.verdict.title
    assert "against 50.0\u00a0% untrained and 60.0\u00a0% raw pixels; chance is 10.0\u00a0%" in outcome.verdict.sentence


def test_verdict_prefers_given_paired_differences() -> None:
    paired = evaluation(0.61) | {
        "differences": [{"metric": "knn", "against": "raw", "value": 0.01, "low": 0.004, "high": 0.016}]
    }
    outcome = results(paired)
    assert outcome is not None
    assert outcome.verdict is not None
    assert [gain.tone for gain in outcome.verdict.gains] == ["better", "better"]
    assert outcome.verdict.gains[1].span == "interval +0.4 to +1.6"


def test_lower_can_be_better() -> None:
    reverse = evaluation(0.3, raw=0.9)
    reverse["metrics"]["knn"]["higher_is_better"] = False
    outcome = results(reverse)
    assert outcome is not None
    assert outcome.verdict is not None
    assert outcome.verdict.tone == "better"
    assert [cell.best for cell in outcome.table.rows[0].cells if cell] == [True, False, False]


# Pages


def test_full_page_has_all_sections_and_loads_nothing() -> None:
    html = render(full_report())
    for part in ("verdict", "training", "evaluation", "map", "neighbours", "use"):
        assert f'id="{part}"' in html
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", html)
    assert "Training paid off." in html


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"metrics": []}, "training"),
        ({"metrics": [{"step": 1, "loss": math.nan}]}, "training"),
        ({"evaluation": None}, "evaluation"),
        ({"evaluation": {"rows": []}}, "evaluation"),
        ({"points": None}, "map"),
        ({"neighbours": []}, "neighbours"),
        ({"python_usage": "", "cli_usage": []}, "use"),
    ],
)
def test_missing_part_leaves_only_its_section_out(changes: dict[str, Any], gone: str) -> None:
    html = render(full_report(**changes))
    parts = {"training", "evaluation", "map", "neighbours", "use"}
    assert {part for part in parts if f'<section id="{part}"' in html} == parts - {gone}


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": None, "class_names": None},
        {"labels": [-1] * 40},
        {"class_names": None},
        {"ids": []},
        {"thumbnails": []},
        {"thumbnails": [], "snippets": ["some words"] * 40},
    ],
)
def test_samples_may_lack_anything(changes: dict[str, Any]) -> None:
    html = render(full_report(**changes))
    assert '<section id="map"' in html
    assert '<section id="neighbours"' in html
    assert ("map-legend" in html) or changes.get("labels", 1) != 1


def test_title_alone_makes_a_page() -> None:
    html = render(ReportData(title="SimCLR"))
    assert "<h1>SimCLR</h1>" in html
    assert "<section" not in html


def test_everything_foreign_is_escaped() -> None:
    names = ("title", "paper", "idea", "command", "started", "python_usage", "raw_name")
    nasty_fields: dict[str, Any] = dict.fromkeys(names, NASTY)
    data = full_report(
        **nasty_fields,
        class_names=[NASTY] * 3,
        ids=[NASTY] * 40,
        config={NASTY: NASTY},
        dataset={NASTY: NASTY},
        versions={NASTY: NASTY},
        warnings=[NASTY],
        cli_usage=[NASTY],
        evaluation=evaluation() | {"protocol": {NASTY: NASTY}},
        metrics=[{"step": 1, "loss": 1.0, NASTY: 2.0}],
    )
    html = render(data)
    assert "<script>alert" not in html
    assert html.count("alert(1)") > 50  # all of it is there, but inert


def test_page_data_is_strict_json() -> None:
    data = full_report(metrics=[{"step": step, "loss": math.nan if step == 5 else 1.0} for step in range(10)])
    blocks = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', render(data), flags=re.DOTALL)
    assert len(blocks) == 2

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert all(json.loads(block, parse_constant=refuse) for block in blocks)
    assert "The loss was not finite at 1 logged steps, first at step 5." in render(data)


def test_misfitting_parts_are_all_named() -> None:
    with pytest.raises(DataError, match=r"labels has 39 entries, not 40.*query 99 point outside"):
        render(full_report(labels=[0] * 39, neighbours=[{"query": 99, "neighbours": [], "similarities": []}]))


@pytest.mark.slow
def test_large_noisy_page_stays_below_three_megabytes() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 256, (1500, 3, 48, 48), dtype=np.uint8))
    keys = ["loss", "effective_rank", "alignment", "uniformity", "lr", "items_per_second", "a", "b", "c"]
    metrics = [{"step": step} | {key: rng.random() for key in keys} for step in range(5000)]
    data = full_report(1500, thumbnails=thumbnails(noise), metrics=metrics)
    assert len(render(data).encode()) < 3_000_000


def test_snippets_are_cut_at_a_word() -> None:
    assert shorten("a  b\nc") == "a b c"
    assert shorten("word " * 100, 12) == "word word…"


# Writing


def test_write_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    write(ReportData(title="first"), target)
    assert "<h1>first</h1>" in target.read_text(encoding="utf-8")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write(ReportData(title="second"), target)
    assert "<h1>first</h1>" in target.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_names_that_are_no_text_do_not_keep_the_page_from_being_written(tmp_path: Path) -> None:
    write(full_report(ids=["bad\udcff.png"] * 40), tmp_path / "report.html")
    assert "bad?.png" in (tmp_path / "report.html").read_text(encoding="utf-8")


# Comparisons


def test_paired_difference_is_the_textbook_interval() -> None:
    mean, gap = paired_difference({0: 1.0, 1: 3.0, 2: 5.0, 7: 9.0}, {0: 0.0, 1: 1.0, 2: 2.0})
    assert mean == 2.0
    assert gap is not None
    half = 4.302652729749462 * 1.0 / math.sqrt(3)  # t(0.975, 2 degrees), standard deviation 1
    assert (gap["low"], gap["high"]) == pytest.approx((2 - half, 2 + half))
    assert paired_difference({0: 2.0}, {0: 1.0}) == (1.0, None)
    assert math.isnan(paired_difference({0: 2.0}, {1: 1.0})[0])


def test_comparison_judges_against_the_first_method() -> None:
    view = comparison(two_methods())
    assert [row.means[0].best for row in view.rows if row.means[0]] == [False, True]
    shift = view.rows[1].shifts[0]
    assert view.rows[0].shifts == [None]
    assert shift is not None
    assert (shift.text, shift.tone) == ("+10.0\u00a0points", "better")


def test_comparison_page_has_its_parts_and_escapes() -> None:
    data = two_methods()
    data.methods = [data.methods[0], MethodRuns(NASTY, data.methods[1].values, data.methods[1].curves)]
    data.protocol = {"split": NASTY}
    html = render_comparison(data)
    for part in ("results", "differences", "seeds", "training", "protocol"):
        assert f'<section id="{part}"' in html
    assert "<script>alert" not in html
    assert html.count('class="single"') == 6


def test_comparison_of_one_method_with_one_seed() -> None:
    html = render_comparison(ComparisonData("One", [MethodRuns("SimCLR", {"knn": {0: 0.5}})], {"knn": {}}))
    assert 'id="differences"' not in html
    assert "1 seed" in html


def test_comparison_needs_methods_of_different_names() -> None:
    with pytest.raises(DataError, match="different names"):
        render_comparison(ComparisonData("None", [], {}))
