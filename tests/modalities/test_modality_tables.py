"""Tables of any kind of data: rows that cannot be read keep their place, and readers leave them out and count them."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from twofold import modalities
from twofold.errors import DataError
from twofold.modalities import tables
from twofold.modalities.events import Columns, read_events
from twofold.modalities.text.tasks import task_of

SHORT, LONG = "1 cell, the header has 2", "3 cells, the header has 2"


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["good", "good", "short", "long", "blank", "lines"]), st.integers(-999, 999))
    ),
    suffix=st.sampled_from([".csv", ".tsv"]),
)
def test_rows_keep_their_places(rows, suffix, tmp_path_factory):
    mark = "," if suffix == ".csv" else "\t"
    written = {
        "good": lambda i: f"w{i}{mark}{i}",
        "short": lambda i: f"w{i}",
        "long": lambda i: mark.join([f"w{i}", str(i), "more"]),
        "blank": lambda i: "",
        "lines": lambda i: f'"w\n{i}"{mark}{i}',
    }
    path = tmp_path_factory.mktemp("table") / f"a{suffix}"
    path.write_text("\n".join([f"word{mark}number", *(written[kind](i) for kind, i in rows), ""]))
    kept = [(kind, i) for kind, i in rows if kind != "blank"]  # blank lines are no rows
    expected = {place: {"short": SHORT, "long": LONG}[kind] for place, (kind, _) in enumerate(kept) if kind in _BAD}
    if 2 * len(expected) > len(kept):
        with pytest.raises(DataError, match=f"{len(expected)} of {len(kept)} rows cannot be read"):
            tables.load(path, ["word", "number"])
        return
    table, broken = tables.load(path, ["number", "word"])
    assert broken == expected
    assert table.column("number").to_pylist() == [None if kind in _BAD else i for kind, i in kept]
    words = [None if kind in _BAD else f"w\n{i}" if kind == "lines" else f"w{i}" for kind, i in kept]
    assert table.column("word").to_pylist() == words


_BAD = ("short", "long")


def test_names_are_found_whatever_the_rows(tmp_path):
    path = tmp_path / "a.csv"
    for rows in ("a;1\n" * 5, "only one\n" + "a;1\n" * 5):
        path.write_text("\ufeffword;number\n" + rows, encoding="utf-8")
        assert tables.column_names(path) == (["word", "number"], [])


@pytest.mark.parametrize(
    ("header", "fine"),
    [("5.1,3.5,1.4", False), ("-1,nan,2", False), ("0,1,2", True), ("1,2,3", True), ("5.1,b,2", True)],
)
def test_values_are_not_taken_for_names(header, fine, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,2,3\n")
    if fine:
        assert tables.column_names(path)[0] == header.split(",")
    else:
        with pytest.raises(
            DataError, match=f"the first line must name the columns, and it holds numbers: {header[:3]}"
        ):
            tables.column_names(path)


def test_a_broken_row_may_be_no_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("word,number\nbär,1\n".encode() + b"\xff\n" + "bär,2\n".encode() + b"b\xe4r,3\n")
    table, broken = tables.load(path, ["word", "number"])
    assert broken == {1: SHORT}
    assert table.column("word").to_pylist() == ["bär", None, "bär", "b\ufffdr"]
    assert table.column("number").to_pylist() == [1, None, 2, 3]


def test_json_lines_keep_their_places(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = ['{"a": 1}', '{"a": ', "", "[1]", '{"a": 4, "b": "x"}', '{"a": 5}']
    path.write_text("\n".join(lines))
    assert tables.column_names(path) == (["a", "b"], [])
    table, broken = tables.load(path, ["a"])
    assert broken == {1: "not JSON", 2: "no JSON object"}
    assert table.column("a").to_pylist() == [1, None, None, 4, 5]
    path.write_text('{"a": 1}\n{"a": "word"}')  # each line is sound, but they do not go together
    with pytest.raises(DataError, match=r"a\.jsonl: damaged"):
        tables.load(path, ["a"])


def test_some_tables_must_be_whole(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3\n4,5\n")
    assert tables.load(path, ["a"]).told() == [
        "rows that cannot be read are left out (1), such as row 2 (1 cell, the header has 2)"
    ]
    assert tables.load(path, ["a"]).sound_rows().column("a").to_pylist() == [1, 4]
    with pytest.raises(DataError, match=r"1 of 3 rows cannot be read, such as row 2 \(1 cell"):
        tables.load_whole(path, ["a"])


def _sound(folder):
    soundfile.write(folder / "s.wav", np.sin(np.arange(4000) / 9), 8000)
    return ["audio,label", "s.wav,a", "s.wav", "s.wav,b", "s.wav,a"]


def _video(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        for i in range(4):
            Image.new("RGB", (16, 16), (60 * i, 0, 90)).save(folder / name / f"{i}.png")
    return ["video,label", "one,a", "one", "two,b", "one,a"]


SOURCES = {
    "text": lambda folder: ["text,label", "a red ball,x", "a blue ball", "two dogs,y", "two cats,x"],
    "table": lambda folder: ["height,age", "1,30", "2", "3,50", "4,20", "5,10"],
    "audio": _sound,
    "video": _video,
}


@pytest.mark.parametrize("modality", SOURCES)
def test_readers_leave_broken_rows_out(modality, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(SOURCES[modality](tmp_path)))
    dataset = modalities.get(modality).read(path)
    every = dataset.fetch(torch.arange(len(dataset)))
    assert dataset.skipped == {"row 2": SHORT}
    assert every["index"].tolist() == [i for i in range(len(dataset)) if i != 1]


def test_a_broken_row_is_no_gap_in_a_column(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("height,age\n1,30\n2\n3,50\n4,20\n")
    dataset = modalities.get("table").read(path)
    assert dataset.spec["columns"] == 2  # none of them marks gaps
    assert "Rows are left out (1), such as row 2 (1 cell, the header has 2)" in modalities.get("table").describe(
        dataset
    )


def test_pairs_with_a_broken_row(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("question,answer\nwhy,so\nhow\nwhen,now\nwhere,here\n")
    reading = {"first": "text", "second": "text", "first_column": "question", "second_column": "answer"}
    dataset = modalities.get("paired").read(path, **reading)
    assert dataset.skipped == {"row 2": SHORT}
    assert list(dataset.ids) == ["row 1", "row 3", "row 4"]


def test_a_series_goes_on_behind_a_broken_row(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("series,time,x\n" + "".join(f"a,{i},{i}\n" if i != 7 else "a,7\n" for i in range(40)))
    told = modalities.get("series").describe(modalities.get("series").read(path))
    assert "rows that cannot be read are left out (1), such as row 8 (2 cells, the header has 3)" in told


def test_events_with_broken_rows(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("user,item,rating\na,x,5\na,y\nb,x,1\nb,y,4\n,x,5\nc,z,5\n")
    first = {"row 2": "2 cells, the header has 3"}
    assert read_events(path, Columns()).skipped == first | {"row 5": "no user"}
    assert read_events(path, Columns(least=4)).skipped == first | {"row 5": "no user"}
    assert len(read_events([path, path], Columns()).skipped) == 4
    assert read_events([path, path], Columns()).skipped["row 8"] == "2 cells, the header has 3"


def test_edges_are_left_out_but_nodes_are_needed(tmp_path):
    (tmp_path / "edges.csv").write_text("source,target\n0,1\n1\n1,2\n2,0\n")
    dataset = modalities.get("graph").read(tmp_path)
    assert dataset.graph.edges == 6
    assert "edges that cannot be read are left out (1), such as row 2" in modalities.get("graph").describe(dataset)
    (tmp_path / "nodes.csv").write_text("id,f\n0,1\n1\n2,3\n")
    with pytest.raises(DataError, match=r"nodes\.csv: 1 of 3 rows cannot be read, such as row 2"):
        modalities.get("graph").read(tmp_path)


def test_scores_of_pairs_with_a_broken_row_are_left_out(tmp_path):
    path = tmp_path / "scores.csv"
    rows = ["a b,a c,3", "d,e,1", "f,f", "g h,g h,5", "i,j,0"]
    path.write_text("\n".join(["sentence1,sentence2,score", *rows]))
    dataset = modalities.get("text").read([" ".join("abcdefghij")] * 8)
    task = task_of(path, dataset.spec, name="similarity", reading={})
    assert task is not None
    found = task.baselines["Word overlap"]()["spearman"]
    assert found.n == 4
    assert found.note == "1 pairs without text or score are left out"
