"""The page of speed shows the committed results, targets are judged by their figures, and the guard sees a fall."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "speed"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"speed_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def harness():
    return load("harness")


@pytest.fixture(scope="module")
def results():
    page = load("page")
    return {
        name: json.loads(path.read_text()) for name in page.ORDER if (path := page.RESULTS / f"{name}.json").is_file()
    }


def row_of(harness, ours: float, theirs: float, *targets):
    return harness.value({"n": 8}, "s", {"twofold": ours, "peer": theirs}, targets=targets)


def test_the_page_shows_the_results(results):
    """If this fails: python benchmarks/speed/page.py"""
    page = load("page")
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.page(results)
    shown = [name for name in page.CURVES if f"speed/{name}.svg" in text]
    assert shown
    assert all((page.PICTURES / f"{name}.svg").is_file() for name in shown)


def test_every_target_of_the_results_is_judged_by_its_figures(results):
    judged = [target for result in results.values() for row in result["rows"] for target in row["targets"]]
    assert len(judged) > 50
    for target in judged:
        if target["got"] is not None:
            assert target["met"] == (
                target["got"] >= target["at_least"] if "at_least" in target else target["got"] <= target["at_most"]
            )


def test_results_are_complete_runs_of_one_machine(results):
    raced = [result for name, result in results.items() if not name.endswith("_quality")]  # these measure accuracies
    assert len({result["machine"]["processor"] for result in raced}) == 1
    assert not any("--quick" in result["command"] for result in results.values())


@pytest.mark.parametrize(
    ("target", "got", "met"),
    [
        ({"against": "peer", "at_least": 2.0}, 3.0, True),
        ({"against": "peer", "at_least": 3.5}, 3.0, False),
        ({"against": "peer", "at_most": 0.5}, 1 / 3, True),
        ({"against": "peer", "at_most": 0.3}, 1 / 3, False),
        ({"at_most": 2.5}, 2.0, True),
        ({"at_most": 1.5}, 2.0, False),
        ({"against": "nobody", "at_least": 2.0}, None, None),
    ],
)
def test_targets(harness, target, got, met):
    row = row_of(harness, 2.0, 6.0, harness.Target(**target))
    assert row["ratios"]["peer"]["median"] == 3.0
    assert row["targets"][0]["got"] == pytest.approx(got)
    assert row["targets"][0]["met"] is met


def test_races_are_run_in_turns_and_ratios_taken_in_each_round(harness):
    order = []
    row = harness.race(
        {"n": 1},
        {name: lambda name=name: order.append(name) for name in ("twofold", "peer")},
        rounds=2,
        least_seconds=0,
    )
    assert order[:2] == ["twofold", "peer"], "unmeasured calls"
    assert order[2:] == ["twofold", "peer", "peer", "twofold"], "the second round begins with the other one"
    assert row["arms"]["peer"]["rounds"] == 2
    assert row["ratios"]["peer"]["low"] <= row["ratios"]["peer"]["median"] <= row["ratios"]["peer"]["high"]


def test_exponents(harness):
    assert harness.exponent([1, 2, 4], [3, 12, 48]) == 2.0
    assert harness.exponent([10, 100], [5, 50]) == 1.0


def test_the_guard_sees_a_fall_and_nothing_else(harness):
    guard = load("guard")
    before = {"rows": [row_of(harness, 1.0, 4.0)]}
    assert guard.regressions(before, before) == []
    noisy = {"rows": [row_of(harness, 1.2, 4.0)]}
    assert guard.regressions(before, noisy) == []
    slower = {"rows": [row_of(harness, 1.5, 4.0)]}
    assert guard.regressions(before, slower) == ["{'n': 8}: peer 4.00x → 2.67x"]
    elsewhere = copy.deepcopy(slower)
    elsewhere["rows"][0]["case"] = {"n": 9}
    assert guard.regressions(before, elsewhere) == []
