"""Small valid tables of events, and what must hold of those that were read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

CSV = "user,item,rating,time\nann,tea,3,9\nbob,jam,5,2\nann,jam,1,7\nbob,tea,4,3\nann,ham,2,11\n"
INTER = CSV.replace(",", "\t").replace(
    "user\titem\trating\ttime", "user_id:token\titem_id:token\trating:float\ttimestamp:float"
)
LISTS = "1 10 11 12\n2 11 10\n3 12 13 10\n"
EVENTS = "1 10 3 9\n2 11 5 2\n1 11 1 7\n2 10 4 3\n"


def read_events(source: Path) -> None:
    """Read a graph of users and items, and users' sequences, and everything in them."""
    from twofold.modalities.interactions import MODALITY as GRAPHS
    from twofold.modalities.sequences import MODALITY as SEQUENCES

    graph: Any = GRAPHS.read(source)
    nodes = graph.fetch(torch.arange(len(graph)))["inputs"]
    assert len(nodes) == len(graph) == len(graph.ids)
    assert graph.graph.propagate(torch.ones(len(graph), 2)).isfinite().all()
    sequences: Any = SEQUENCES.read(source)
    inputs = sequences.fetch(torch.arange(len(sequences)))["inputs"]
    assert inputs.shape == (len(sequences), sequences.spec["length"])
    assert 0 <= int(inputs.min()) <= int(inputs.max()) <= len(sequences.spec["items"])
    assert bool((inputs[:, -1] > 0).all())
    told = [graph.spec, sequences.spec, graph.skipped, GRAPHS.describe(graph), SEQUENCES.describe(sequences)]
    json.dumps(told, allow_nan=False, ensure_ascii=False).encode()


def parquet() -> bytes:
    """The same events as in CSV."""
    import pyarrow as arrow
    import pyarrow.parquet as table

    file = io.BytesIO()
    columns = {
        "user_id": [1, 2, 1, 2, 1],
        "item_id": ["tea", "jam", "jam", "tea", "ham"],
        "ts": [9.0, 2.0, 7.0, None, 11.0],
    }
    table.write_table(arrow.table(columns), file, row_group_size=2)
    return file.getvalue()
