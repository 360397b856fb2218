"""Small valid files of texts, and what must hold of those that were read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

TEXTS = ["red fish swims", "blue bird sings", "grüner Frosch springt", "", "red bird flies", "x"]
TXT = "\n".join(TEXTS)
CSV = 'text,label\r\nred fish,a\r\n"blue, bird",b\r\ngreen frog,\r\n'
JSONL = '{"text": "red fish", "label": "a"}\n{"text": null}\n{"text": "blue\\nbird", "more": {"x": [1]}}\n'


def read_texts(source: Path) -> None:
    """Read texts, fetch all of them, and check what the contract of data sets promises."""
    from twofold.modalities.text import MODALITY

    dataset: Any = MODALITY.read(source, vocabulary=300)
    batch = dataset.fetch(torch.arange(len(dataset)))
    inputs, index = batch["inputs"], batch["index"]
    assert inputs.shape[0] == len(index)
    assert 1 <= inputs.shape[1] <= dataset.spec["length"]
    assert index.dtype == inputs.dtype == torch.int64
    assert 0 <= int(inputs.min()) <= int(inputs.max()) < dataset.spec["vocabulary"]
    assert bool((inputs[:, 0] != dataset.spec["pad"]).all()), "every text has a token"
    assert len(index) == len(dataset) - len(dataset.skipped) > 0
    shown = [dataset.spec, dataset.class_names, list(dataset.ids), dataset.skipped, MODALITY.describe(dataset)]
    shown.append(MODALITY.previews(dataset, index))
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()


def parquet_of_texts() -> bytes:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    file = io.BytesIO()
    table = arrow.table({"text": [text or None for text in TEXTS], "label": ["a", "b", "c", None, "b", "a"]})
    parquet.write_table(table, file, row_group_size=3)
    return file.getvalue()


def retrieval_set() -> dict[str, bytes]:
    """Documents, and queries without judgements, which training does not read."""
    corpus = [{"_id": str(i), "title": "about", "text": text} for i, text in enumerate(TEXTS)]
    queries = [{"_id": "q", "text": "where is the fish"}]
    return {
        f"{name}.jsonl": "\n".join(map(json.dumps, rows)).encode()
        for name, rows in (("corpus", corpus), ("queries", queries))
    }
