"""Tables of events: columns, lists, values in memory, and every fault told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from twofold.errors import DataError
from twofold.modalities.events import Columns, read_events

PLAIN = [("ann", "tea", 3), ("bob", "tea", 1), ("ann", "jam", 2), ("bob", "ham", 5)]


def rows(events):
    times = [None] * len(events.users) if events.times is None else events.times.tolist()
    users = [events.user_names[u] for u in events.users.tolist()]
    items = [events.item_names[i] for i in events.items.tolist()]
    return list(zip(users, items, times, strict=True))


def table(path, header="user,item,time", lines=PLAIN, comma=","):
    body = "\n".join(comma.join(map(str, line)) for line in lines)
    path.write_text(f"{header}\n{body}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "header", "comma"),
    [
        ("a.csv", "user,item,time", ","),
        ("a.csv", "userId;movieId;timestamp", ";"),
        ("a.tsv", "reviewerID\tasin\tunixReviewTime", "\t"),
        ("a.inter", "user_id:token\titem_id:token\ttimestamp:float", "\t"),
    ],
)
def test_usual_names_of_columns(tmp_path, name, header, comma):
    path = table(tmp_path / name, header, comma=comma)
    assert rows(read_events(path, Columns(timed=True))) == PLAIN
    assert [row[2] for row in rows(read_events(path, Columns()))] == [None] * 4


def test_json_lines_and_parquet(tmp_path):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    columns = {"customer_id": [1, 2, 1], "sku": ["x", "y", "y"], "date": np.array(["2024-01-02"] * 3, "datetime64[D]")}
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    lines = [
        json.dumps({"customer_id": u, "sku": i}) for u, i in zip(columns["customer_id"], columns["sku"], strict=True)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    read = read_events(tmp_path / "a.parquet", Columns(timed=True))
    assert rows(read) == [("1", "x", 1704153600.0), ("2", "y", 1704153600.0), ("1", "y", 1704153600.0)]
    assert [row[:2] for row in rows(read_events(tmp_path / "a.jsonl", Columns()))] == [row[:2] for row in rows(read)]


def test_lists_of_events_and_lists_of_items(tmp_path):
    (tmp_path / "events.txt").write_text("7 10 5 100\n7 11 3 50\n8 10 1 70\n")
    (tmp_path / "lens.dat").write_text("7::10::5::100\n7::11::3::50\n8::10::1::70\n")
    (tmp_path / "items.txt").write_text("7 10 11\n8 10 12 12\n\n9\n")
    expected = [("7", "10", 100.0), ("7", "11", 50.0), ("8", "10", 70.0)]
    assert rows(read_events(tmp_path / "events.txt", Columns(timed=True))) == expected
    assert rows(read_events(tmp_path / "lens.dat", Columns(timed=True))) == expected
    assert rows(read_events(tmp_path / "events.txt", Columns(timed=True, least=3))) == expected[:2]
    items = [("7", "10", None), ("7", "11", None), ("8", "10", None), ("8", "12", None), ("8", "12", None)]
    assert rows(read_events(tmp_path / "items.txt", Columns(timed=True))) == items


def test_values_in_memory(tmp_path):
    array = np.array([[1, 5, 9], [2, 5, 8]])
    expected = [("1", "5", 9.0), ("2", "5", 8.0)]
    assert rows(read_events(array, Columns(timed=True))) == expected
    assert rows(read_events(torch.from_numpy(array), Columns(timed=True))) == expected
    assert rows(read_events({"uid": [1, 2], "iid": ["5", "5"], "ts": [9, 8.0]}, Columns(timed=True))) == expected
    floats = {
        "u": np.array([1.0, 2.0]),
        "item": [5, 5],
        "ts": [9, 8],
    }  # as pandas holds whole numbers beside missing ones
    assert rows(read_events(floats, Columns(user="u", timed=True))) == expected


def test_several_files_are_one(tmp_path):
    first, second = table(tmp_path / "a.csv", lines=PLAIN[:2]), table(tmp_path / "b.csv", lines=PLAIN[2:])
    assert rows(read_events([first, second], Columns(timed=True))) == PLAIN


def test_faulty_rows_are_skipped_and_counted(tmp_path):
    lines = [*PLAIN, ("", "tea", 1), ("ann", "", 1), ("ann", "tea", -4), ("bob", " ", 2)]
    events = read_events(table(tmp_path / "a.csv", lines=lines), Columns(timed=True))
    assert rows(events) == PLAIN
    assert events.skipped == {"row 5": "no user", "row 6": "no item", "row 7": "a negative time", "row 8": "no item"}
    holes = {"user": [1.0, np.nan, 2.0], "item": [1, 2, 3], "time": [1.0, 2.0, np.nan]}
    with pytest.raises(DataError, match=r"the table: 2 of 3 rows are faulty, such as row 2 \(no user\)"):
        read_events(holes, Columns(timed=True))
    assert rows(read_events(holes, Columns())) == [("1", "1", None), ("2", "3", None)]


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        (
            "a.csv",
            "a,b\n1,2\n",
            Columns(),
            r"which column holds the users\? Name it with user_column=; there are: a, b",
        ),
        ("a.csv", "user,b\n1,2\n", Columns(), r"which column holds the items\?"),
        ("a.csv", "user,item\n1,2\n", Columns(least=3), r"which column holds the ratings\?"),
        ("a.csv", "user,item\n1,2\n", Columns(user="who"), r"has no column 'who' \(user_column=\); it has: user, item"),
        ("a.csv", "user,item\n1,2\n", Columns(item="user"), "column 'user' cannot hold both users and items"),
        ("a.csv", "user,item\n1.5,2\n", Columns(), "the users are fractions; ids are text or whole numbers"),
        ("a.csv", "user,item\ntrue,2\n", Columns(), "the users are of type bool; ids are text or whole numbers"),
        ("a.csv", "user,item,time\n1,2,soon\n", Columns(timed=True), "damaged, or not a table of its kind"),
        ("a.csv", "user,item,rating\n1,2,good\n", Columns(least=1), "the ratings are of type string, not numbers"),
        ("a.csv", "user,item,rating\n1,2,3\n", Columns(least=4), "no event has a rating of at least min_rating"),
        ("a.csv", "user,item\n", Columns(), "has no events"),
        ("a.csv", "", Columns(), "damaged, or not a table of its kind"),
        ("a.txt", "", Columns(), "has no events"),
        ("a.txt", "1 2 3 4 5\n1 2\n", Columns(), "a line has 5 words, and users stand on several lines"),
        ("a.txt", "\xff\n", Columns(), "has no events|damaged"),
        ("a.xls", "x", Columns(), "files ending in .xls are not read as events. Readable: .csv"),
    ],
)
def test_bad_input_is_told(tmp_path, name, content, columns, message):
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=message) as caught:
        read_events(tmp_path / name, columns)
    assert name in str(caught.value)


def test_bad_values_in_memory_are_told(tmp_path):
    with pytest.raises(DataError, match=r"an array of events must be whole numbers \(m, 2\)"):
        read_events(np.zeros((3, 2)), Columns())
    with pytest.raises(DataError, match="cannot read events from a int: give a file"):
        read_events(3, Columns())
    with pytest.raises(DataError, match="the columns differ in length"):
        read_events({"user": [1, 2], "item": [1]}, Columns())
    with pytest.raises(DataError, match="is a folder; name the file"):
        read_events(tmp_path, Columns())
    with pytest.raises(DataError, match="does not exist"):
        read_events(tmp_path / "none.csv", Columns())
