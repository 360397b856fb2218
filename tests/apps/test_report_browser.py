"""The report page in a real browser: no errors, no requests, and everything that moves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from twofold.apps.report import ComparisonData, MethodRuns, ReportData, neighbours, render_comparison, thumbnails, write

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the path"),
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
EVIL = "<img src=x onerror=\"document.title='hacked'\">"
COUNT = 60


def report() -> ReportData:
    rng = np.random.default_rng(0)
    classes = np.arange(COUNT) % 3
    places = np.array([[0.0, 0.0], [8.0, 1.0], [3.0, 9.0]])[classes] + rng.normal(size=(COUNT, 2))
    indices, similarities = neighbours(rng.normal(size=(COUNT, 5)), [0, 1])
    row = {"metrics": {"knn": {"value": 0.8, "low": 0.78, "high": 0.82, "unit": "accuracy"}}}
    base = {"metrics": {"knn": {"value": 0.6, "low": 0.58, "high": 0.62, "unit": "accuracy"}}}
    return ReportData(
        title="SimCLR",
        command="twofold train simclr --a-rather-long-option-that-must-not-widen-the-page " * 4,
        metrics=[
            {"step": step, "loss": 5 - step / 300 + rng.normal() / 9, "effective_rank": 9.0} for step in range(900)
        ],
        loss_chance=5.2,
        evaluation={
            "rows": [{"name": "trained", **row}, {"name": "untrained", **base}, {"name": "raw", **base}],
            "metrics": {"knn": {"title": "20-NN accuracy"}},
            "chance": {"knn": 0.1},
        },
        points=places,
        labels=classes,
        class_names=["cat", EVIL, "a-class-name-without-any-place-to-break-it-" * 3],
        ids=[f"{EVIL}{number}" for number in range(COUNT)],
        thumbnails=thumbnails(torch.from_numpy(rng.integers(0, 256, (COUNT, 3, 12, 12), dtype=np.uint8))),
        neighbours=[
            {"query": q, "neighbours": i.tolist(), "similarities": s.tolist(), "raw_neighbours": i.tolist()}
            for q, i, s in zip([0, 1], indices, similarities, strict=True)
        ],
        warnings=[EVIL],
        python_usage="import twofold",
        cli_usage=["twofold search runs/x"],
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    write(report(), path)
    return path.as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The open report; afterwards, that it logged nothing and asked for nothing but itself."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    trouble: list[str] = []
    tab.on("console", lambda message: trouble.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    tab.on("request", lambda request: trouble.append(request.url) if not request.url.startswith("data:") else None)
    tab.goto(address)
    yield tab
    assert trouble == [address]
    context.close()


def inked_pixels(page: Any) -> int:
    """How many pixels of the map are painted, after the pending frame."""
    return page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
          const canvas = document.getElementById("map-canvas");
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let i = 3; i < data.length; i += 4) if (data[i]) count += 1;
          done(count);
        })))"""
    )


def hover_a_sample(page: Any) -> None:
    """Move the pointer over the map, row by row, until it meets a sample."""
    canvas = page.locator("#map-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for down in range(20, int(box["height"]), 18):
        for across in range(20, int(box["width"]), 18):
            page.mouse.move(box["x"] + across, box["y"] + down)
            if page.locator("#map-tip").is_visible():
                return
    raise AssertionError("no sample under any of the points tried")


def test_sections_and_curves_are_there(page: Any) -> None:
    for part in ("verdict", "training", "evaluation", "map", "neighbours", "use"):
        assert page.locator(f"#{part}").is_visible()
    paths = page.locator(".line-chart path.curve").evaluate_all("paths => paths.map(path => path.getTotalLength())")
    assert len(paths) >= 3
    assert min(paths) > 100


def test_hover_on_the_map_names_the_sample(page: Any) -> None:
    hover_a_sample(page)
    tip = page.locator("#map-tip")
    assert EVIL in tip.locator("small").inner_text()
    assert tip.locator(".thumb").evaluate("node => getComputedStyle(node).backgroundImage").startswith("url(")


def test_legend_hides_and_shows_a_class(page: Any) -> None:
    entry = page.locator(".map-legend [data-label='0']")
    before = inked_pixels(page)
    entry.click()
    page.mouse.move(0, 0)
    assert entry.get_attribute("aria-pressed") == "false"
    assert 0 < inked_pixels(page) < before
    entry.focus()
    page.keyboard.press("Enter")
    assert entry.get_attribute("aria-pressed") == "true"
    assert inked_pixels(page) == before
    page.click("#map-all")
    assert inked_pixels(page) == 0


def test_pictures_replace_points_and_zoom_moves_them(page: Any) -> None:
    before = inked_pixels(page)
    page.click("#map-pictures")
    with_pictures = inked_pixels(page)
    assert with_pictures > before
    page.click("[data-zoom=in]")
    assert inked_pixels(page) != with_pictures
    page.click("[data-zoom=reset]")
    assert inked_pixels(page) == with_pictures


def test_keys_step_through_the_map(page: Any) -> None:
    page.focus("#map-canvas")
    page.keyboard.press("n")
    assert "cat" in page.locator("#map-tip").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#map-tip").is_visible()


def test_chart_reads_values_by_pointer_and_by_key(page: Any) -> None:
    chart = page.locator(".line-chart.large")
    chart.locator(".plot").hover()
    by_pointer = chart.locator(".readout").inner_text()
    assert by_pointer.startswith("step ")
    chart.locator(".plot").focus()
    page.keyboard.press("Home")
    assert chart.locator(".readout").inner_text().startswith("step 0:")
    page.keyboard.press("ArrowRight")
    assert not chart.locator(".readout").inner_text().startswith("step 0:")


@pytest.mark.parametrize("width", [400, 1280])
def test_page_is_no_wider_than_the_window(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_foreign_markup_is_inert(page: Any) -> None:
    hover_a_sample(page)
    assert page.title() == "SimCLR · Twofold"
    assert page.locator("img").count() == 0
    assert page.locator(".warnings li").inner_text() == EVIL


def test_dark_theme_changes_paper_and_points(page: Any) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) != light
    page.emulate_media(media="print")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_comparison_page_opens_and_fits(browser: Any, tmp_path: Path) -> None:
    curves = {seed: [{"step": step, "loss": 3 - step / 50} for step in range(100)] for seed in range(2)}
    methods = [MethodRuns(name, {"knn": {0: 0.7, 1: 0.8}}, curves) for name in ("SimCLR", EVIL)]
    path = tmp_path / "comparison.html"
    path.write_text(render_comparison(ComparisonData("Two", methods, {"knn": {"unit": "accuracy"}})), encoding="utf-8")
    context = browser.new_context(viewport={"width": 400, "height": 800})
    tab = context.new_page()
    trouble: list[str] = []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.goto(path.as_uri())
    tab.locator(".line-chart .plot").hover()
    assert EVIL in tab.locator(".readout").inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    assert trouble == []
    context.close()


def test_the_table_of_real_metrics_needs_no_scrolling(browser, tmp_path) -> None:
    from twofold.evaluation import Encoded, Features, evaluate_encoders

    x, labels = torch.randn(80, 8, generator=torch.Generator().manual_seed(0)), torch.arange(80) % 4
    keys = [i // 2 for i in range(40)]
    sides = Features(x[:40], labels[:40], keys), Features(x[40:], labels[40:], keys)
    names = {"trained": "SimCLR, trained", "untrained": "same encoder, untrained", "raw": "raw images, standardized"}
    evaluation = evaluate_encoders({name: Encoded(label, *sides) for name, label in names.items()}).to_json()
    write(ReportData("SimCLR", evaluation=evaluation), tmp_path / "report.html")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "report.html").as_uri())
    widths = page.locator("#evaluation .scroll").evaluate("box => [box.scrollWidth, box.clientWidth]")
    page.close()
    assert widths[0] <= widths[1]
