"""Series in .ts files and in tables with a row a step."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from twofold.errors import DataError
from twofold.modalities.series import MODALITY

HEAD = "@problemName Two\n@timeStamps false\n@univariate false\n@classLabel true up down\n@data\n"


def whole(dataset):
    return dataset.fetch(torch.arange(len(dataset)))


@pytest.fixture
def ts(tmp_path):
    def write(text, name="a.ts"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.fixture
def table(tmp_path):
    def write(text, name="a.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_ts_with_two_channels(ts):
    dataset = MODALITY.read(ts("# a comment\n" + HEAD + "1,2,3:4,5,6:up\n\n7,8,9:1e1,-11,.5:down\n"))
    assert whole(dataset)["inputs"].tolist() == [
        [[1, 4], [2, 5], [3, 6]], [[7, 10], [8, -11], [9, 0.5]],
    ]  # fmt: skip
    assert dataset.class_names == ["up", "down"]
    assert dataset.labels.tolist() == [0, 1]


def test_ts_of_different_lengths_with_missing_values(ts):
    path = ts(HEAD + "1,?,3:4,5,6:up\n1,NaN,3,4:1,2,3,?:down\n")
    dataset = MODALITY.read(path, length=4)
    rows = whole(dataset)["inputs"]
    assert rows[1].tolist() == [[1, 1], [2, 2], [3, 3], [4, 3]]
    torch.testing.assert_close(rows[0, :, 0], torch.tensor([1, 5 / 3, 7 / 3, 3]))
    assert dataset.filled == 3


def test_ts_without_classes_and_with_targets(ts):
    plain = MODALITY.read(ts("@problemName x\n@univariate true\n@classLabel false\n@data\n1,2\n3,4\n"))
    assert (plain.labels, plain.spec["channels"]) == (None, 1)
    target = MODALITY.read(ts("@targetLabel true\n@data\n1,2:0.75\n3,4:0.1\n"))
    assert target.labels is None
    assert "@targetLabel) are numbers to be predicted" in MODALITY.describe(target)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3:4,5:up", "its channels have different lengths: 2, 3"),
        ("1,2,x:4,5,6:up", "a value is no number"),
        ("1,2,3:4,5,6:left", "its class 'left' is not among those of @classLabel"),
        ("(0,1),(1,2):(0,3),(1,4):up", "it has time stamps"),
        ("up", "it has a label and no channels"),
    ],
)
def test_a_bad_line_is_left_out_and_named(ts, line, reason):
    good = "1,2,3:4,5,6:up\n"
    dataset = MODALITY.read(ts(HEAD + good + line + "\n" + good))
    assert len(dataset) == 2
    assert reason in dataset.skipped["line 7"]
    with pytest.raises(DataError, match="holds no series that can be read"):
        MODALITY.read(ts(HEAD + line + "\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("Stamps false", "Stamps true") + "1:1:up\n", "time stamps .* are not read"),
        ("1,2,3\n", "line 1 is neither @... nor a comment"),
        ("@problemName x\n", "it has no line @data"),
        ("", "it has no line @data"),
        ("@classLabel true\n@data\n1:a\n", "must be followed by the names of the classes"),
        (HEAD, "there are no lines after @data"),
        ("@univariate true\n@data\n1:2\n", "it has 2 channels, and the header says @univariate true"),
    ],
)
def test_ts_files_that_are_none(ts, text, message):
    with pytest.raises(DataError, match=message):
        MODALITY.read(ts(text))


def test_a_folder_of_ts_files_has_splits(ts, tmp_path):
    ts(HEAD + "1,2:3,4:up\n" * 3, "Two_TRAIN.ts")
    ts(HEAD + "1,2:3,4:up\n" * 2, "Two_TEST.ts")
    assert len(MODALITY.read(tmp_path)) == 3
    assert len(MODALITY.read(tmp_path, split="test")) == 2
    with pytest.raises(DataError, match=r"0 files NAME_VAL\.ts; it holds: Two_TEST\.ts, Two_TRAIN\.ts"):
        MODALITY.read(tmp_path, split="val")


LONG = "subject,trial,time,ax,ay,note,label\n" + "".join(
    f"{s},{s}{k},{t},{t + 10 * k},{s},n,{'sit' if k else 'run'}\n" for s in (1, 2) for k in (0, 1) for t in (2, 0, 1)
)


def test_a_long_table_has_recordings_in_the_order_of_time(table):
    dataset = MODALITY.read(table(LONG))
    assert dataset.ids == ["10", "11", "20", "21"]
    assert whole(dataset)["inputs"][1].tolist() == [[10, 1], [11, 1], [12, 1]]
    assert dataset.spec["names"] == ["ax", "ay"]
    assert dataset.groups == ["1", "1", "2", "2"]
    assert [dataset.class_names[i] for i in dataset.labels.tolist()] == ["run", "sit", "run", "sit"]
    assert "4 recordings were not in the order of time and were sorted" in MODALITY.describe(dataset)
    swapped = MODALITY.read(table(LONG), channels="ay,ax")
    assert swapped.spec["names"] == ["ay", "ax"]


def test_other_columns_by_name_and_other_formats(tmp_path, table):
    text = LONG.replace("trial", "run no").replace("time", "when")
    options = {"series_column": "run no", "time_column": "when", "channels": "ax,ay"}
    assert len(MODALITY.read(table(text), **options)) == 4
    tabbed = table(text.replace(",", "\t"), "a.tsv")
    assert len(MODALITY.read(tabbed, **options)) == 4
    columns = {"id": ["a", "a", "b", "b"], "timestamp": pa.array([2, 1, 5, 9], pa.timestamp("us")), "x": [1.0, 2, 3, 4]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert whole(MODALITY.read(tmp_path / "a.parquet"))["inputs"][:, :, 0].tolist() == [[2, 1], [3, 4]]


def test_the_class_of_a_window_is_that_of_most_of_its_steps(table):
    rows = "".join(f"{t},{t}.5,{'walk' if t < 5 else 'run'}\n" for t in range(12))
    path = table("time,x,label\n" + rows)
    dataset = MODALITY.read(path, window=4)
    assert [dataset.class_names[i] for i in dataset.labels.tolist()] == ["walk", "run", "run"]
    assert "the class changes within 1 recordings" in MODALITY.describe(MODALITY.read(path))


def test_times_that_repeat_or_are_missing_leave_their_recording_out(table):
    dataset = MODALITY.read(
        table("id,time,x\na,1,1\na,1,2\nb,1,1\nb,2,2\nc,1,1\nc,3,4\nd,,1\nd,2,1\ne,1,1\n"), length=2
    )
    assert dataset.ids == ["b", "c", "e"]
    assert dataset.skipped == {"a": "1 times come more than once, such as 1", "d": "a row has no time"}


def test_missing_cells_are_gaps(table):
    dataset = MODALITY.read(table("time,x,y\n0,1,5\n1,,5\n2,3,5\n"))
    assert whole(dataset)["inputs"][0, :, 0].tolist() == [1, 2, 3]
    assert dataset.filled == 1
    lost = MODALITY.read(table("id,time,x\na,0,1\n,0,7\na,1,2\n"))
    assert "1 rows without a name of their recording" in MODALITY.describe(lost)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("time,x\n", {}, "has no rows"),
        ("time,x\n0,1\n", {"series_column": "trial"}, r"no column 'trial' \(series_column=\); it has: time, x"),
        ("time,x\n0,1\n", {"channels": "x,z"}, r"no column 'z' \(channels=\)"),
        ("time,x\n0,1\n", {"channels": "x,x"}, "names a column twice"),
        ("time,x\n0,a\n", {"channels": "x"}, r"column 'x' \(channels=\) holds string, not numbers"),
        ("time,x\n0,a\n", {}, "no columns of numbers to be channels"),
        ("time,x\nsoon,1\n", {}, "times are numbers, dates or time stamps"),
        ("id,time,x\na,1,1\na,1,2\n", {}, "has no recording that can be used: a: 1 times come more than once"),
    ],
)
def test_tables_that_cannot_be_read(table, text, options, message):
    with pytest.raises(DataError, match=message):
        MODALITY.read(table(text), **options)


def test_a_file_of_a_folder_is_one_recording(tmp_path):
    (tmp_path / "a.csv").write_text("id,x\na,1\na,2\nb,1\nb,2\n")
    with pytest.raises(DataError, match="it holds 2 recordings; in a folder, a file is one"):
        MODALITY.read(tmp_path)
