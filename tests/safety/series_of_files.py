"""Small valid files of series, and what must hold of those that were read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from shapes_and_sounds import check

TS = "@problemName x\n@timeStamps false\n@classLabel true up down\n@data\n1,2,3:4,?,6:up\n7,8:9,1e1:down\n1,2:3,4:up\n"
ROWS = [f"{s},{t},{t}.5,{s},{'up' if s % 2 else ''}" for s in range(4) for t in (1, 0)]
LONG = "\n".join(["series,time,x,y,label", *ROWS])


def read_series(source: Path) -> None:
    """Read series and everything in them."""
    from twofold.modalities.series import MODALITY

    dataset: Any = MODALITY.read(source)
    check(dataset, (dataset.spec["length"], dataset.spec["channels"]), MODALITY.describe(dataset))


def ragged() -> bytes:
    """Three series of different lengths one after the other, with labels and groups, as .npz."""
    file = io.BytesIO()
    steps = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
    np.savez(file, values=steps, offsets=[0, 3, 7, 12], labels=np.array(["a", "b", "a"]), groups=np.arange(3))
    return file.getvalue()


@st.composite
def ts_texts(draw: st.DrawFn) -> bytes:
    """Headers in odd orders, lines of odd numbers."""
    keys = [
        "@timeStamps true",
        "@timestamps false",
        "@classLabel true a b",
        "@classLabel",
        "@targetLabel true",
        "@x",
        "#",
    ]
    head = draw(st.lists(st.sampled_from(keys), max_size=4))
    number = st.sampled_from(["1", "-2.5", "1e400", "nan", "?", "inf", "", " ", "1_0", "x", "0x1", "٣", "(1,2)"])
    channel = st.lists(number, min_size=1, max_size=4).map(",".join)
    line = st.lists(st.one_of(channel, st.sampled_from(["a", "b", "c"])), max_size=4).map(":".join)
    ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return ends.join([*head, "@data", *draw(st.lists(line, max_size=5))]).encode("utf-8", "replace")
