"""Self-contained pages: one HTML file with its styles, scripts and pictures inside, readable from disk and offline."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.apps.report.charts import PALETTE_SIZE
from twofold.apps.report.comparison import comparison
from twofold.apps.report.data import ComparisonData, Items, Neighbourhood, ReportData
from twofold.apps.report.pictures import Sheet, sheet
from twofold.apps.report.quantities import duration, number, value_text
from twofold.apps.report.tables import results
from twofold.apps.report.training import loss_warnings, training_charts
from twofold.errors import DataError

if TYPE_CHECKING:
    from jinja2 import Environment

MAP_UNITS = 9999  # map coordinates are whole numbers from 0 to this
SHAPES = ("circle", "square", "triangle", "diamond")
MAX_SNIPPET = 240


def render(data: ReportData) -> str:
    """The report page of one run. A part without data has no section.

    Raises:
        DataError: If the parallel lists of ``data`` do not fit together.
    """
    items = data.items()
    pictures = sheet(data.thumbnails) if data.thumbnails else None
    snippets = [shorten(text) for text in data.snippets]
    return _page(
        "report.html",
        ["page.js", "charts.js", "map.js"],
        data=data,
        items=items,
        facts=_facts(data, seed=data.seed),
        warnings=[*data.warnings, *loss_warnings(data.metrics)],
        training=training_charts(data.metrics, data.loss_chance),
        results=results(data.evaluation) if data.evaluation else None,
        sheet=pictures,
        snippets=snippets,
        map=_map(items, pictures, snippets),
        neighbours=[_neighbour_row(row, items, data.raw_name) for row in data.neighbours],
        agreement=_agreement(data.neighbours, items),
    )


def render_comparison(data: ComparisonData) -> str:
    """The page that sets methods side by side; the first is the one that the others are measured against.

    Raises:
        DataError: If there is no method, or two have the same name.
    """
    names = [method.name for method in data.methods]
    if not names or len(set(names)) < len(names):
        raise DataError(f"A comparison needs methods of different names, not {names}.")
    return _page(
        "comparison.html",
        ["page.js", "charts.js"],
        data=data,
        facts=_facts(data, methods=len(names)),
        warnings=data.warnings,
        comparison=comparison(data),
    )


def write(data: ReportData | ComparisonData, path: Path) -> None:
    """Render a page into ``path``, whole or not at all: the file gets its name only when it is complete and on disk."""
    html = render(data) if isinstance(data, ReportData) else render_comparison(data)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(html.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes files for its owner alone
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def shorten(text: str, limit: int = MAX_SNIPPET) -> str:
    """Text on one line, cut at a word after at most ``limit`` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[:limit].rsplit(" ", 1)[0] + "…"


def _page(template: str, scripts: Sequence[str], **context: Any) -> str:
    from markupsafe import Markup

    script = "\n".join(_asset(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    html = (
        _environment()
        .get_template(template)
        .render(
            **context,
            styles=Markup(_asset("page.css")),
            script=Markup(script),
            script_digest=digest,
        )
    )
    # A file name may hold bytes that are no text (lone surrogates); they must not keep the page from being written.
    return html.encode("utf-8", "replace").decode("utf-8")


def _asset(name: str) -> str:
    return files("twofold.apps").joinpath("templates", name).read_text(encoding="utf-8")


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from jinja2.utils import htmlsafe_json_dumps

    environment = Environment(
        loader=PackageLoader("twofold.apps", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        value_text=value_text,
        json=lambda value: htmlsafe_json_dumps(value, allow_nan=False, separators=(",", ":")),
    )
    return environment


def _facts(data: ReportData | ComparisonData, **more: int | None) -> dict[str, Any]:
    facts = dict(data.dataset) | {name.capitalize(): value for name, value in more.items() if value is not None}
    if data.started:
        facts["Started"] = data.started
    if data.seconds is not None:
        facts["Took"] = duration(data.seconds)
    return facts


@dataclass(frozen=True)
class LegendEntry:
    """A class on the map: its number, name, colour, marker and how often it is there."""

    label: int
    name: str
    slot: int
    shape: str
    count: int


@dataclass(frozen=True)
class MapView:
    """The map section: what the legend lists and what the script draws."""

    legend: list[LegendEntry]
    count: int
    payload: dict[str, Any]


def _map(items: Items, pictures: Sheet | None, snippets: Sequence[str]) -> MapView | None:
    if items.points is None or not len(items.points):
        return None
    count = len(items.points)
    corner = items.points.min(axis=0)
    extent = max(float(np.ptp(items.points, axis=0).max()), 1e-12)
    places = np.rint((items.points - corner) / extent * MAP_UNITS).astype(np.int64)
    labels = [items.label(index) for index in range(count)]
    legend = _legend(labels, items.class_names)
    payload = {
        "units": MAP_UNITS,
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "labels": labels,
        "names": [items.name(index) for index in range(count)],
        "classes": {entry.label: [entry.name, entry.slot, entry.shape] for entry in legend},
        "snippets": list(snippets[:count]),
        "sheet": [pictures.columns, pictures.rows] if pictures else None,
    }
    return MapView(legend, count, payload)


def _legend(labels: Sequence[int], class_names: Sequence[str]) -> list[LegendEntry]:
    present = sorted({label for label in labels if label >= 0})
    entries = [
        LegendEntry(
            label,
            class_names[label],
            1 + k % PALETTE_SIZE,
            SHAPES[k // PALETTE_SIZE % len(SHAPES)],
            labels.count(label),
        )
        for k, label in enumerate(present)
    ]
    if entries and -1 in labels:
        entries.append(LegendEntry(-1, "no label", 0, "circle", labels.count(-1)))
    return entries


@dataclass(frozen=True)
class Neighbour:
    """One neighbour as shown; ``same`` is ``None`` where a label is missing."""

    index: int
    similarity: float | None
    same: bool | None


def _neighbour_row(row: Neighbourhood, items: Items, raw_name: str) -> dict[str, Any]:
    query = int(row["query"])
    groups = [("encoder", row["neighbours"], row["similarities"])]
    if len(row.get("raw_neighbours", ())):
        groups.append((raw_name, row["raw_neighbours"], row.get("raw_similarities", ())))
    return {
        "query": query,
        "groups": [
            {
                "name": name,
                "found": [
                    Neighbour(int(index), _at(similarities, rank), _same(items, query, int(index)))
                    for rank, index in enumerate(indices)
                ],
            }
            for name, indices, similarities in groups
        ],
    }


def _at(similarities: Sequence[float], rank: int) -> float | None:
    return float(similarities[rank]) if rank < len(similarities) else None


def _same(items: Items, query: int, other: int) -> bool | None:
    if items.label(query) < 0 or items.label(other) < 0:
        return None
    return items.label(query) == items.label(other)


def _agreement(rows: Sequence[Neighbourhood], items: Items) -> Mapping[str, float]:
    """Share of the shown neighbours that have their query's class, for the encoder and for the raw features."""
    shares = {}
    found = {"encoder": [row["neighbours"] for row in rows], "raw": [row.get("raw_neighbours", ()) for row in rows]}
    for name, lists in found.items():
        pairs = [(row["query"], index) for row, indices in zip(rows, lists, strict=True) for index in indices]
        marks = [_same(items, int(query), int(index)) for query, index in pairs]
        known = [mark for mark in marks if mark is not None]
        if known:
            shares[name] = sum(known) / len(known)
    return shares
