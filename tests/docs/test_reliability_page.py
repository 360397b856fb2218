"""The figures on the pages are those of the committed results."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page():
    path = ROOT / "benchmarks" / "reliability" / "page.py"
    spec = importlib.util.spec_from_file_location("reliability_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["reliability.md", "scaling.md"])
def test_the_page_shows_the_results(name, page):
    """If this fails: python benchmarks/reliability/page.py"""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert "<!-- figures: " in text
    assert page.with_figures(text) == text


def test_every_result_is_shown_somewhere(page):
    shown = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in page.PAGES)
    results = {path.stem for path in page.RESULTS.glob("*.json")}
    assert results == set(page.FIGURES)
    assert all(f"<!-- figures: {name} -->" in shown for name in results)
