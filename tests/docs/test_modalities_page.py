"""The table of every modality is that of the committed results, and its verdicts say what the figures say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from twofold.modalities import MODALITIES
from twofold.recipes.catalogue import RECIPES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page():
    path = ROOT / "benchmarks" / "modalities" / "page.py"
    spec = importlib.util.spec_from_file_location("modalities_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_results(page):
    """If this fails: python benchmarks/modalities/page.py"""
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.rows())


def test_every_modality_has_rows_of_at_least_three_seeds(page):
    rows = page.rows()
    assert {row["modality"] for row in rows} == set(MODALITIES)
    assert all(row["seeds"] >= 3 for row in rows)
    assert all(row["recipe"].split(",")[0] in RECIPES or row.get("note") for row in rows), "a name that needs a word"


def test_verdicts(page):
    def said(trained, untrained, raw=None, *, better=True, other=None):
        row = {"trained": {"mean": trained, "deviation": 1.0}, "untrained": {"mean": untrained, "deviation": 0.5}}
        row |= {"raw": raw and {"mean": raw, "deviation": 0.0}, "higher_is_better": better}
        return page.verdict(row | {"other": {"BM25": {"mean": other, "deviation": 0}} if other is not None else {}})

    assert said(50, 40) == "gains"
    assert said(50, 40, 45) == "gains"
    assert said(50, 40, 49.5) == "within spread"
    assert said(50, 40, 55) == "no gain"
    assert said(50, 40, 45, other=60) == "no gain"
    assert said(3, 5, better=False) == "gains"
    assert said(5, 3, better=False) == "no gain"
