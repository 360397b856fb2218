"""Small valid tables of numbers and categories, and what must hold of those that were read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

ROWS_CSV = (
    "age,job,height,when,label\n31,cook,1.8,2020-01-03,a\n,baker,1.75,2021-05-01,b\n47,,1.6,2020-02-02,a\n"
    "52,cook,inf,2022-01-01,b\n"
)


def rows_jsonl() -> bytes:
    """The same kind of rows, some without all keys."""
    rows = [{"age": 31, "job": "cook", "y": 1.5}, {"age": 47.5, "y": 2.25}, {"job": "baker", "y": 0.1, "age": None}]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def rows_parquet() -> bytes:
    """Columns of several types, with gaps."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    columns = {
        "age": arrow.array([31, None, 47, 52], arrow.int16()),
        "height": arrow.array([1.8, 1.75, None, 1.6]),
        "job": arrow.array(["cook", "baker", None, "cook"]).dictionary_encode(),
        "member": arrow.array([True, False, True, None]),
        "target": arrow.array([0.5, 1.5, 2.25, 3.0]),
    }
    file = io.BytesIO()
    parquet.write_table(arrow.table(columns), file)
    return file.getvalue()


def read_rows(source: Path) -> None:
    """Read a table and everything in it, and bring it to its own form once more."""
    from twofold.modalities.table import MODALITY

    dataset: Any = MODALITY.read(source)
    batch = dataset.fetch(torch.arange(len(dataset)))
    assert batch["inputs"].shape == (len(batch["index"]), dataset.spec["columns"])
    assert bool(batch["inputs"].isfinite().all())
    assert len(batch["index"]) + len(dataset.skipped) == len(dataset) > 0
    again: Any = MODALITY.read(source, form=json.loads(json.dumps(dataset.spec, allow_nan=False)))
    assert torch.equal(again.rows, dataset.rows)
    shown = [
        dataset.class_names,
        list(dataset.ids),
        MODALITY.describe(dataset),
        MODALITY.previews(dataset, batch["index"]),
    ]
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode("utf-8", "surrogatepass")
