"""Strategies for tables of text that are made from parts: what no spoilt file would ever become."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_CELLS = st.one_of(
    st.sampled_from(
        ["a.png", "b.jpg", "a.png", "cat", "", " ", "file_name", "label", '"', '""', '"a', "0", "-1", "1e999"]
    ),
    st.sampled_from(
        ["../a.png", "/dev/null", "/dev/zero", ".", "~", "\x00", "a.png\x00", "\ufeff", "x" * 300, "9" * 5000]
    ),
    st.text(max_size=8),
)
_LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\x0b", "\u2028"])
_JSON = st.recursive(
    st.one_of(
        st.sampled_from(["a.png", "b.jpg", "\ud800", "a\udfff.png", "\x00", "/dev/zero", 10**400, -(2**63), 2**63]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def csv_tables(draw: st.DrawFn) -> bytes:
    """Tables with odd quoting, NULs, byte order marks, mixed line ends and ragged rows."""
    delimiter = draw(st.sampled_from([",", ";", "\t"]))
    header = draw(st.sampled_from(["file_name,label", "path", '"file_name","label"', "label,file_name,file_name", ""]))
    rows = draw(st.lists(st.lists(_CELLS, max_size=4), max_size=6))
    text = draw(st.sampled_from(["", "\ufeff"])) + header.replace(",", delimiter)
    for row in rows:
        quote = draw(st.sampled_from(["", "", '"']))
        text += draw(_LINE_ENDS) + delimiter.join(f"{quote}{cell}{quote}" for cell in row)
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16"])), "replace")


@st.composite
def json_tables(draw: st.DrawFn) -> bytes:
    """JSON Lines whose values are of any kind: nested, huge, lone surrogates, NaN."""
    lines = []
    for _ in range(draw(st.integers(0, 5))):
        names = st.sampled_from(["file_name", "label", "", "x"])
        path = draw(st.sampled_from([{"file_name": "a.png"}, {"file_name": "b.jpg"}, {}]))
        row = path | draw(st.dictionaries(names, _JSON, max_size=3))
        line = json.dumps(row, ensure_ascii=draw(st.booleans()))
        nest = draw(st.sampled_from([0, 0, 0, 0, 50_000]))
        lines.append(line if not nest else line[:-1] + ', "x": ' + "[" * nest + "]" * nest + "}")
    return draw(_LINE_ENDS).join(lines).encode("utf-8", "replace")


_SURPRISES = st.one_of(
    _JSON,
    st.sampled_from(
        [10**12, -1, 0, True, 1e308, 2**31, "os:system", "__main__:Recipe", "hf:x/y", "timm:hf-hub:a/b", "../x"]
    ),
)


@st.composite
def changed_json(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    """A JSON document in which one to three entries, on any level, are something else or gone."""
    changed = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = changed
        while place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.integers(0, 5)):
                place[key] = draw(_SURPRISES)
            else:
                del place[key]
            break
    return json.dumps(changed).encode()
