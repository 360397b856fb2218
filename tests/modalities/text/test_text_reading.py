"""Texts from lines, tables, folders, lists and data sets; what is no text, and what is damaged."""

from __future__ import annotations

import json

import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.modalities.text import MODALITY
from twofold.modalities.text.dataset import MAX_LENGTH
from twofold.modalities.text.readers.lines import LONGEST
from twofold.modalities.text.tokens import Tokenizer, named, trained

WORDS = ["red fish swims", "blue bird sings", "red bird flies", "green fish sleeps"]


def read(source, **options):
    return MODALITY.read(source, **({"vocabulary": 300} | options))


def texts_of(dataset):
    return [dataset.text(i) for i in range(len(dataset))]


def test_lines_of_a_file(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufeffred fish\n\n  blue bird  \r\n\t\ngrün\n".encode())
    dataset = read(path)
    assert texts_of(dataset) == ["red fish", "blue bird", "grün"]
    assert list(dataset.ids) == ["line 1", "line 3", "line 5"]
    assert "2 blank lines were left out" in MODALITY.describe(dataset)
    assert texts_of(read([path, path])) == texts_of(dataset) * 2


def test_bytes_that_are_no_text_are_replaced_and_counted(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"good one\nbad \xff one\nanother good\n")
    dataset = read(path)
    assert texts_of(dataset)[1] == "bad \ufffd one"
    assert "1 texts hold bytes that are no UTF-8" in MODALITY.describe(dataset)
    path.write_bytes("grün\nblöd\nsüß\n".encode("latin-1"))
    with pytest.raises(DataError, match="3 of 3 texts are no UTF-8; convert it first, such as: iconv"):
        read(path)
    path.write_bytes("one\ntwo\n".encode("utf-16"))
    with pytest.raises(DataError, match="no UTF-8"):
        read(path)


def test_of_a_giant_line_the_beginning_is_kept(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"short\n" + b"x" * (3 * LONGEST) + b"\nafter\n")
    dataset = read(path)
    assert [len(text) for text in texts_of(dataset)] == [5, LONGEST, 5]
    assert "of 1 texts only the first" in MODALITY.describe(dataset)
    assert dataset.fetch(torch.arange(3))["inputs"].shape[1] <= MAX_LENGTH


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_tables(tmp_path, suffix):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    path = tmp_path / f"table.{suffix}"
    labels = ["fish", "bird", "bird", "fish"]
    if suffix == "parquet":
        parquet.write_table(arrow.table({"Text": WORDS, "category": labels}), path)
    elif suffix == "jsonl":
        rows = [{"Text": text, "category": label} for text, label in zip(WORDS, labels, strict=True)]
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        mark = "\t" if suffix == "tsv" else ","
        path.write_text("\n".join(mark.join(row) for row in [("Text", "category"), *zip(WORDS, labels, strict=True)]))
    dataset = read(path)
    assert texts_of(dataset) == WORDS
    assert dataset.class_names == ["bird", "fish"]
    assert dataset.labels.tolist() == [1, 0, 0, 1]
    batch = dataset.fetch(torch.tensor([2, 0]))
    assert batch["index"].tolist() == [2, 0]
    assert batch["label"].tolist() == [0, 1]
    assert texts_of(read(path, column="category")) == labels


def test_columns_that_are_not_there_are_told(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,label\none,two,0\nthree,four,1\n")
    with pytest.raises(DataError, match=r"which column holds the texts.*there are: a, b, label"):
        read(path)
    with pytest.raises(DataError, match=r"no column 'c' \(column=\); it has: a, b, label"):
        read(path, column="a,c")
    with pytest.raises(DataError, match=r"no column 'c' \(label_column=\)"):
        read(path, column="a", label_column="c")


def test_several_columns_are_the_views_of_a_sample(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("question,answer\nred fish,swims far away\nblue bird,sings\n,lost\ngreen frog,jumps\n")
    dataset = read(path, column="question, answer")
    assert dataset.spec["columns"] == 2
    batch = dataset.fetch(torch.arange(4))
    assert batch["inputs"].ndim == 3
    assert batch["inputs"].shape[:2] == (3, 2)
    assert batch["index"].tolist() == [0, 1, 3]
    assert dataset.skipped == {"row 3": "no text in column 1"}
    alone = read(path, column="answer", tokenizer=dataset.spec["tokenizer"], length=dataset.spec["length"])
    expected = alone.fetch(torch.tensor([0, 1, 3]))["inputs"]
    assert torch.equal(batch["inputs"][:, 1, : expected.shape[1]], expected)
    assert torch.equal(
        MODALITY.prepare(batch, dataset.spec), batch["inputs"][:, 0][:, : (batch["inputs"][:, 0] != 0).sum(1).max()]
    )
    assert MODALITY.choose_views(dataset.spec, preferred="simclr") == "given"


def test_empty_cells_are_skipped_and_too_many_stop(tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text('{"text": "one"}\n{"text": null}\n{"text": "  "}\n{"text": "two"}\n{"text": "three"}\n')
    dataset = read(path)
    assert set(dataset.skipped) == {"row 2", "row 3"}
    assert dataset.fetch(torch.arange(5))["index"].tolist() == [0, 3, 4]
    path.write_text('{"text": "one"}\n{"text": ""}\n{"text": ""}\n')
    with pytest.raises(DataError, match="2 of 3 samples hold no text, such as row 2"):
        read(path)


def test_json_that_is_no_utf8_is_replaced_and_counted(tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_bytes(b'{"text": "fine"}\n{"text": "bad \xff one"}\n{"text": "good"}\n')
    dataset = read(path)
    assert texts_of(dataset)[1] == "bad \ufffd one"
    assert "1 texts hold bytes that are no UTF-8" in MODALITY.describe(dataset)


def test_cells_that_are_no_text(tmp_path):
    path = tmp_path / "table.jsonl"
    path.write_text('{"text": ["a", "b"]}\n')
    with pytest.raises(DataError, match="row 1, holds list, not text"):
        read(path)
    path = tmp_path / "table.csv"
    path.write_text("text\n12\n7\n")
    assert texts_of(read(path)) == ["12", "7"]


def test_folders_of_classes_of_splits_and_of_documents(tmp_path):
    for split in ("train", "test"):
        for name in ("fish", "bird"):
            (tmp_path / "classes" / split / name).mkdir(parents=True)
            (tmp_path / "classes" / split / name / "1.txt").write_text(f"a {name}\nin two lines")
    dataset = read(tmp_path / "classes")
    assert dataset.class_names == ["bird", "fish"]
    assert texts_of(dataset) == ["a bird\nin two lines", "a fish\nin two lines"]
    assert len(read(tmp_path / "classes", split="test")) == 2
    (tmp_path / "splits").mkdir()
    for split, count in (("train", 3), ("test", 2)):
        (tmp_path / "splits" / f"{split}.csv").write_text("text\n" + "some words\n" * count)
    assert (len(read(tmp_path / "splits")), len(read(tmp_path / "splits", split="test"))) == (3, 2)
    with pytest.raises(DataError, match="no split 'val'"):
        read(tmp_path / "splits", split="val")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no texts"):
        read(tmp_path / "empty")


def test_what_is_in_memory(tmp_path):
    import datasets
    import numpy as np

    assert texts_of(read(WORDS)) == WORDS
    labelled = read((WORDS, ["b", "a", "a", "b"]))
    assert (labelled.labels.tolist(), labelled.class_names) == ([1, 0, 0, 1], ["a", "b"])
    assert texts_of(read(np.array(WORDS))) == WORDS
    pairs = read([("red fish", "rouge"), ("blue bird", "bleu")])
    assert pairs.spec["columns"] == 2
    assert texts_of(read(["fine", "lone \ud800 surrogate"]))[1] == "lone ? surrogate"
    hub = datasets.Dataset.from_dict({"sentence": WORDS, "label": [1, 0, 0, 1]})
    hub = hub.cast_column("label", datasets.ClassLabel(names=["bird", "fish"]))
    assert read(hub).class_names == ["bird", "fish"]
    parts = datasets.DatasetDict({"train": hub, "test": hub.select([0, 1])})
    assert len(read(parts, split="test")) == 2
    hub.save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="load_from_disk"):
        read(tmp_path / "saved")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "an empty list"),
        ([1, 2], "item 0 of the list is '1'"),
        ([("a", "b"), ("c",)], "item 1 of the list"),
        (3, "cannot read texts from a int"),
        ("a sentence of words", "is no path; to read it as a text, give a list"),
        ("nowhere.txt", "does not exist"),
        ((["a", "b"], [1]), "1 for 2 samples"),
    ],
)
def test_sources_that_are_none(source, message):
    with pytest.raises(DataError, match=message):
        read(source)


def test_files_of_another_kind(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match=r"files ending in .pdf are not read. Readable: .txt"):
        read(tmp_path / "a.pdf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "length=1"),
        ({"vocabulary": 10}, "vocabulary=10"),
        ({"vocabulary": 400, "tokenizer": "hf:x"}, "give one of them"),
        ({"vocabulary": None, "tokenizer": "nowhere.json"}, "give hf:NAME"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ConfigError, match=message):
        read(WORDS, **options)


def test_the_tokenizer_is_a_function_of_the_texts_and_whole_in_the_spec():
    first, again = (trained(WORDS * 20, 320) for _ in range(2))
    assert first == again
    assert first != trained(WORDS[:2] * 20, 320)
    dataset = read(WORDS)
    assert json.loads(json.dumps(dataset.spec)) == dataset.spec
    other = read(["RED  fish", "unseen wörds ☃"], **MODALITY.reading_for(dataset.spec))
    assert other.spec["tokenizer"] == dataset.spec["tokenizer"]
    ours, theirs = (one.fetch(torch.tensor([0]))["inputs"][0] for one in (dataset, other))
    assert theirs[:2].tolist() == ours[:2].tolist(), "upper case does not matter"
    MODALITY.check_fits(other, dataset.spec)
    with pytest.raises(DataError, match="tokens of another tokenizer"):
        MODALITY.check_fits(read(WORDS[:2] * 9), dataset.spec)


def test_special_tokens_that_stand_in_a_text_are_text():
    dataset = read(["<pad> fish", "<mask>"])
    assert int(dataset.fetch(torch.arange(2))["inputs"][:, :3].min()) > 1


def test_data_that_is_read_already_is_brought_to_another_tokenizer():
    dataset, other = read(WORDS), read(WORDS[:2] * 9)
    again = read(dataset, **MODALITY.reading_for(other.spec))
    assert again.spec["tokenizer"] == other.spec["tokenizer"]
    assert texts_of(again) == WORDS
    assert read(dataset, vocabulary=None) is dataset


def test_lengths_cut_texts_and_default_covers_most():
    dataset = read([*WORDS, "long " * 500], length=6)
    assert dataset.fetch(torch.tensor([4]))["inputs"].shape == (1, 6)
    assert read([f"{word} " * 300 for word in WORDS]).spec["length"] == MAX_LENGTH
    assert "3 texts were cut to 128 tokens" in MODALITY.describe(read(["word " * 300] * 3))
    assert "cut" not in MODALITY.describe(read([f"{word} " * 8 for word in WORDS]))


@pytest.mark.parametrize("text", ["{}", "{", '{"padding": {"pad_id": 0}, "added_tokens": []}', '{"padding": null}'])
def test_a_damaged_tokenizer_is_refused(text):
    with pytest.raises(DataError, match="tokenizer is damaged"):
        named(text)


def test_a_tokenizer_from_a_file(tmp_path):
    made = trained(WORDS * 5, 300)
    path = tmp_path / "tokenizer.json"
    document = json.loads(made.json)
    document["padding"] = None
    path.write_text(json.dumps(document))
    loaded = named(str(path))
    assert loaded.facts(16)["pad"] == 0
    assert [row.tolist() for row in loaded.encode(WORDS, 16)[0]] == [row.tolist() for row in made.encode(WORDS, 16)[0]]
    path.write_text("no tokenizer")
    with pytest.raises(DataError, match="no tokenizer, or damaged"):
        named(str(path))


def test_a_tokenizer_that_frames_texts_needs_room_for_it():
    tokenizers = pytest.importorskip("tokenizers")
    library = tokenizers.Tokenizer.from_str(trained(WORDS, 300).json)
    frame = [("<pad>", 0), ("<mask>", 1)]
    library.post_processor = tokenizers.processors.TemplateProcessing("<pad> $A <mask>", special_tokens=frame)
    with pytest.raises(DataError, match="adds 2 tokens to every text"):
        Tokenizer(library.to_str(), "test").facts(2)
