"""Tables of every kind of source become the same rows; what is wrong with a table is said."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as arrow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_wine

from twofold.dataset import Subset
from twofold.errors import ConfigError, DataError
from twofold.modalities.table import data
from twofold.modalities.table.columns import FIRST, MAX_CATEGORIES, MISSING, UNKNOWN, Form, find_form


def frame(rows=60):
    """Numbers with gaps, categories with gaps, a class and a price."""
    draw = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "age": draw.integers(18, 90, rows).astype(float),
            "height": draw.normal(170, 10, rows).round(3),
            "job": draw.choice(["baker", "cook", "smith"], rows, p=[0.5, 0.3, 0.2]),
            "kind": draw.choice(["cat", "dog"], rows),
            "price": draw.uniform(1, 9, rows).round(4),
        }
    )
    made.loc[3, "age"] = np.nan
    made["job"] = made["job"].astype(object)
    made.loc[4, "job"] = None
    return made


WISHES = {"label_column": "kind", "target_column": "price"}


@pytest.fixture(scope="module")
def whole():
    return data.read(frame(), **WISHES)


def test_rows_are_numbers_then_marks_of_gaps_then_codes(whole):
    age, job = frame()["age"], frame()["job"]
    assert whole.form.names == ["age", "height", "job"]
    filled = age.fillna(age.median())
    assert np.allclose(whole.rows[:, 0], (filled - filled.mean()) / filled.std(ddof=0), atol=1e-5)
    assert whole.rows[:, 2].tolist() == age.isna().astype(float).tolist()
    assert whole.form.categories[0].values == job.value_counts().index.tolist()
    codes = {None: MISSING} | {name: FIRST + i for i, name in enumerate(whole.form.categories[0].values)}
    assert whole.rows[:, 3].tolist() == [codes[None if value is None else value] for value in job]
    assert whole.form.owners == [0, 1, 0, 2]
    assert torch.allclose(torch.tensor(whole.form.blank)[:1], whole.rows[3, :1])
    assert whole.form.blank[2:] == [1.0, MISSING]


def test_labels_and_target_are_no_features(whole):
    assert whole.class_names == ["cat", "dog"]
    assert [whole.class_names[i] for i in whole.labels.tolist()] == frame()["kind"].tolist()
    assert torch.equal(whole.target, torch.tensor(frame()["price"].to_numpy(), dtype=torch.float32))
    assert whole.spec["target"] == {
        "low": pytest.approx(frame()["price"].min()),
        "high": pytest.approx(frame()["price"].max()),
    }
    batch = whole.fetch(torch.tensor([5, 2]))
    assert set(batch) == {"inputs", "index", "label", "target"}
    assert torch.equal(batch["inputs"], whole.rows[[5, 2]])
    json.dumps([whole.spec, whole.class_names, list(whole.ids)], allow_nan=False)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "semicolon.csv"])
def test_files_hold_the_same_rows(ending, whole, tmp_path):
    path = tmp_path / f"table.{ending}"
    write = {
        "csv": lambda: frame().to_csv(path, index=False),
        "semicolon.csv": lambda: frame().to_csv(path, index=False, sep=";"),
        "tsv": lambda: frame().to_csv(path, index=False, sep="\t"),
        "jsonl": lambda: frame().to_json(path, orient="records", lines=True),
        "parquet": lambda: frame().to_parquet(path),
    }
    write[ending]()
    read = data.read(path, **WISHES)
    assert torch.allclose(read.rows, whole.rows, atol=1e-5)
    assert torch.equal(read.labels, whole.labels)
    assert torch.allclose(read.target, whole.target)


def test_what_lies_in_memory_holds_the_same_rows(whole):
    table = frame()
    records = [
        {name: None if value is None or value != value else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]
    sources = [
        {name: table[name].tolist() for name in table},
        {name: table[name].to_numpy() for name in table},
        records,
        arrow.Table.from_pandas(table),
        table.astype({"job": "category", "kind": "category"}),
    ]
    for source in sources:
        read = data.read(source, **WISHES)
        assert torch.allclose(read.rows, whole.rows, atol=1e-5)
        assert torch.equal(read.labels, whole.labels)


def test_arrays_with_and_without_labels():
    x = np.random.default_rng(0).normal(size=(30, 4))
    plain = data.read(x)
    assert plain.labels is plain.target is None
    assert plain.rows.shape == (30, 4)
    for array in (x.astype(np.float32), torch.tensor(x), x.tolist()):
        assert torch.allclose(data.read(array).rows, plain.rows, atol=1e-5)
    named = data.read((x, np.array(["a", "b", "c"] * 10)))
    assert named.class_names == ["a", "b", "c"]
    numbered = data.read((x, np.arange(30) % 3))
    assert numbered.labels.tolist() == [0, 1, 2] * 10
    measured = data.read((x, x[:, 0] * 3.5))
    assert measured.labels is None
    assert torch.allclose(measured.target, torch.tensor(x[:, 0] * 3.5, dtype=torch.float32))


def test_what_scikit_learn_gives():
    wine = data.read(load_wine())
    assert wine.form.names == list(load_wine().feature_names)
    assert torch.equal(wine.rows, data.read(load_wine(as_frame=True)).rows)
    assert wine.labels.bincount().tolist() == [59, 71, 48]


@pytest.mark.parametrize(
    ("values", "measured"),
    [
        ([0, 1, 2] * 20, False),
        ([0.5, 1, 2] * 20, True),
        (list(range(60)), True),
        ([i % 40 for i in range(1000)], False),
    ],
)
def test_a_usual_name_holds_classes_or_measurements(values, measured):
    read = data.read({"x": np.random.default_rng(0).normal(size=len(values)), "target": values})
    assert (read.target is not None) == measured
    assert (read.labels is not None) != measured
    assert any("taken for a number to predict" in note for note in read.notes) == measured


def test_columns_that_say_nothing_are_left_out_and_told():
    draw = np.random.default_rng(0)
    columns = {
        "x": draw.normal(size=40),
        "number": np.arange(40) + 100,
        "name": [f"person {i}" for i in range(40)],
        "constant": np.full(40, 7),
        "empty": [None] * 40,
        "same": ["a"] * 40,
        "nested": [[1, 2]] * 40,
    }
    read = data.read(columns)
    assert read.form.names == ["x"]
    told = " ".join(read.notes)
    for name in set(columns) - {"x"}:
        assert f"column '{name}' is left out: " in told
    assert "it counts the rows" in told
    assert "40 different values" in told
    kept = data.read(columns, numeric="number", categorical="name")
    assert set(kept.form.names) == {"x", "number", "name"}


def test_infinite_values_are_missing_ones():
    read = data.read({"x": [1.0, np.inf, 3.0, -np.inf, 5.0, 1e200], "y1": [1, 2, 3, 4, 5, 6.5]})
    assert read.rows[:, 2].tolist() == [0, 1, 0, 1, 0, 1]
    assert read.form.numbers[0].median == 3
    assert "3 infinite values of column 'x' count as missing" in read.notes


def test_text_that_reads_as_numbers_is_numbers_and_signs_of_gaps_are_gaps():
    read = data.read({"x": [" 1.5", "?", "NA", "2", "-3e2"], "mixed": ["1", "two", "3", "two", "1"]})
    assert [one.name for one in read.form.numbers] == ["x"]
    assert read.rows[:, 1].tolist() == [0, 1, 1, 0, 0]
    assert [one.name for one in read.form.categories] == ["mixed"]
    forced = data.read({"x": ["1", "two", "3", "4"]}, numeric="x")
    assert forced.rows[:, 1].tolist() == [0, 1, 0, 0]


def test_dates_are_days():
    days = pd.to_datetime(["2020-01-01", "2020-01-03", None, "2020-01-07"])
    one = data.read({"when": days, "x": [1.0, 2, 3, 5]}).form.numbers[0]
    assert one.median == (pd.Timestamp("2020-01-03") - pd.Timestamp("1970-01-01")).days
    assert one.gaps


def test_of_many_categories_the_most_frequent_are_told_apart():
    values = [f"c{i}" for i in range(MAX_CATEGORIES + 50) for _ in range(2)] + ["c299"] * 5
    read = data.read({"c": values})
    assert len(read.form.categories[0].values) == MAX_CATEGORIES
    assert read.form.categories[0].values[0] == "c299"
    assert int((read.rows[:, 0] == UNKNOWN).sum()) == 2 * 50
    assert "256 most frequent" in " ".join(read.notes)


def test_empty_rows_are_left_out_and_counted():
    read = data.read({"x": [1.0, None, 3.0, 4.0], "c": ["a", None, None, "b"]})
    assert len(read) == 4
    assert read.skipped == {"row 2": "all its cells are empty"}
    assert read.fetch(torch.arange(4))["index"].tolist() == [0, 2, 3]
    with pytest.raises(DataError, match="3 of 5 rows hold no value"):
        data.read({"x": [1.0, None, None, None, 2.0]})


def test_new_rows_take_the_form_of_the_training(whole):
    new = frame().iloc[:4].copy()
    new["age"] += 1000
    new["job"] = ["miller", "baker", None, "smith"]
    read = data.read(new[["job", "height", "age"]], form=whole.spec)
    first = whole.form.numbers[0]
    assert read.form == whole.form
    expected = (new["age"].fillna(first.median).to_numpy() - first.mean) / first.std
    assert np.allclose(read.rows[:, 0], expected, atol=1e-4)
    assert read.rows[:, 3].tolist()[:3] == [UNKNOWN, FIRST, MISSING]
    assert read.labels is read.target is None
    again = data.read(new, form=whole.spec)
    assert again.class_names is not None
    assert again.target is not None


def test_a_data_set_that_is_read_already_is_brought_to_a_form(whole):
    part = data.read(frame().iloc[:20], **WISHES)
    assert part.form != whole.form
    assert torch.equal(data.read(part, form=whole.spec).rows, whole.rows[:20])
    subset = data.read(Subset(part, torch.tensor([7, 3])), form=whole.spec)
    assert torch.equal(subset.fetch(torch.tensor([0, 1]))["inputs"], whole.rows[[7, 3]])
    assert torch.equal(data.targets_of(subset), whole.target[[7, 3]])
    assert data.read(whole) is whole


def test_far_values_stay_finite():
    spec = data.read({"x": [1.0, 1.0000001, 0.9999999]}).spec
    assert bool(data.read({"x": [1e99, -1e99, 5.0]}, form=spec).rows.isfinite().all())


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ({"x": [1.0, 2.0]}, {"numeric": "age"}, r"has no column 'age' \(numeric=\); it has: x"),
        ({"x": [1.0, 2.0]}, {"label_column": "kind"}, r"has no column 'kind' \(label_column=\)"),
        ({"x": [1.0, 2.0]}, {"target_column": "price"}, r"has no column 'price' \(target_column=\)"),
        ({"x": [1, 2], "t": ["a", "b"]}, {"target_column": "t"}, "holds no numbers to predict"),
        ({"x": ["a", "b", "c"]}, {"numeric": "x"}, "no column of numbers .* such as 'a', 'b', 'c'"),
        ({"x": [1, 2], "y": [1]}, {}, "columns are of different lengths: x 2, y 1"),
        ({"x": []}, {}, "has no rows"),
        ({}, {}, "has no columns"),
        ({"x": [1.0, 1.0]}, {}, "no column is left to learn from: column 'x' is left out: all its values are equal"),
        ([[1, 2], [3]], {}, "row 2 has 1 values, the first has 2"),
        (np.zeros((2, 3, 4)), {}, r"shape \(2, 3, 4\); a table is \(rows, columns\)"),
        ((np.eye(4), [1, 2]), {}, "2 labels for 4 rows"),
        ((np.eye(4), np.eye(4)), {}, "must be one value a row"),
        ([], {}, "cannot read a table from an empty list"),
        (7, {}, "cannot read a table from a int"),
        (["a.csv", "b.csv"], {}, "one table is read at a time"),
    ],
)
def test_what_is_no_table_is_refused(source, options, message):
    with pytest.raises(DataError, match=message):
        data.read(source, **options)


def test_faulty_files_are_named(tmp_path):
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n1,2\n3\n4\n")
    with pytest.raises(DataError, match=r"ragged\.csv: 2 of 3 rows cannot be read, such as row 2 \(1 cell, the header"):
        data.read(ragged)
    twice = tmp_path / "twice.csv"
    twice.write_text("a,a\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"twice\.csv has several columns called a"):
        data.read(twice)
    with pytest.raises(DataError, match=r"is a folder; name one of its tables: ragged\.csv, twice\.csv"):
        data.read(tmp_path)
    (tmp_path / "table.xlsx").write_text("")
    with pytest.raises(DataError, match=r"tables are read from \.csv"):
        data.read(tmp_path / "table.xlsx")
    with pytest.raises(DataError, match="does not exist"):
        data.read(tmp_path / "none.csv")


def test_other_columns_than_in_training_are_told(whole):
    with pytest.raises(DataError, match="has no column height, which the encoder was trained on; it has: age, job"):
        data.read(frame()[["age", "job"]], form=whole.spec)
    wrong = frame()
    wrong["height"] = ["tall"] * len(wrong)
    with pytest.raises(DataError, match="column 'height' must hold numbers, as in training; it holds"):
        data.read(wrong, form=whole.spec)
    trained = data.read(np.random.default_rng(0).normal(size=(9, 3))).spec
    with pytest.raises(DataError, match="has 4 columns, the encoder was trained on 3"):
        data.read(np.ones((9, 4)), form=trained)
    with pytest.raises(DataError, match="no form of a table"):
        data.read(frame(), form={"answers": {}})


def test_a_column_is_one_thing():
    with pytest.raises(ConfigError, match="age: a column can stand in one of"):
        data.read(frame(), numeric="age, height", categorical="age")
    with pytest.raises(ConfigError, match="kind: a column can stand in one of"):
        data.read(frame(), label_column="kind", categorical="kind")


def test_the_summary_says_what_was_read(whole):
    assert data.summary(whole) == (
        "60 rows with 3 columns, 2 of numbers and 1 of categories; gaps in age are filled with the median and marked. "
        f"A target from {frame()['price'].min():g} to {frame()['price'].max():g}. "
        f"2 classes (cat, dog); {min(whole.labels.bincount())}-{max(whole.labels.bincount())} rows a class."
    )
    assert whole.snippet(3) == f"age -, height {frame()['height'][3]:.4g}, job {frame()['job'][3]}"


CELLS = st.one_of(st.none(), st.floats(), st.integers(-(10**30), 10**30), st.text(max_size=3), st.booleans())


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    st.integers(1, 8).flatmap(lambda n: st.dictionaries(st.text(max_size=2), st.lists(CELLS, min_size=n, max_size=n)))
)
def test_whatever_the_cells_rows_are_finite_or_there_is_a_message(columns):
    try:
        read = data.read(columns)
    except DataError:
        return
    assert bool(read.rows.isfinite().all())
    assert read.rows.shape == (len(read), read.spec["columns"])
    json.dumps(read.spec, allow_nan=False)
    assert torch.equal(data.read(columns, form=json.loads(json.dumps(read.spec))).rows, read.rows)


def test_the_form_survives_json(whole):
    assert Form.of(json.loads(json.dumps(whole.spec))) == whole.form
    assert find_form(arrow.table({"a": [1, 2]}), ["a"])[0].names == ["a"]
