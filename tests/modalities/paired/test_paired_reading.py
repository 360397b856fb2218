"""Every form in which people have pairs, and what is said of those that are none."""

import csv
import io
import json
import tarfile

import numpy as np
import pytest
import torch

from twofold import modalities
from twofold.errors import ConfigError, DataError
from twofold.modalities.paired import MODALITY, OneSide, Pairs

SMALL = {"first": "image:size=8"}


def table(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


def text_of(pairs, i):
    return pairs.second.text(pairs.second_rows[i][0])


def test_a_folder_with_a_listing(picture_folder, captions):
    table(picture_folder / "metadata.csv", {"file_name": [f"{i}.png" for i in range(8)], "caption": captions})
    pairs = MODALITY.read(picture_folder, **SMALL)
    assert len(pairs) == 8
    assert [text_of(pairs, i) for i in range(8)] == captions
    assert pairs.first.ids[3].endswith("3.png")
    assert MODALITY.describe(pairs).startswith("8 pairs of image and text.")
    batch = pairs.fetch(torch.tensor([6, 1]))
    assert batch["inputs"]["first"].shape == (2, 3, 8, 8)
    assert torch.equal(batch["inputs"]["first"][1], pairs.first.fetch(torch.tensor([1]))["inputs"][0])
    assert torch.equal(batch["inputs"]["second"][0], pairs.second.fetch(torch.tensor([6]))["inputs"][0])


@pytest.mark.parametrize("name", ["list.csv", "list.tsv"])
def test_a_table_with_classes_keys_and_wrong_texts(picture_folder, captions, name):
    columns = {
        "image": [f"{i}.png" for i in range(8)],
        "text": captions,
        "label": list("abababab"),
        "key": [0, 0, 1, 1, 2, 2, 3, 3],
        "wrong": [*captions[1:], ""],
    }
    pairs = MODALITY.read(table(picture_folder / name, columns), swap_column="wrong", **SMALL)
    assert pairs.class_names == ["a", "b"]
    assert pairs.labels.tolist() == [0, 1] * 4
    assert pairs.keys == columns["key"]
    wrong, owners = pairs.swapped
    assert [(sample, wrong.text(place)) for sample, place in owners.tolist()] == list(enumerate(captions[1:]))
    part = pairs.subset(torch.tensor([5, 7]))
    assert [(s, wrong.text(p)) for s, p in part.swapped[1].tolist()] == [(0, captions[6])]


def test_json_lines_with_several_texts(picture_folder, captions):
    lines = [{"path": f"{i}.png", "captions": [captions[i], f"again {i}"][: 1 + i % 2]} for i in range(8)]
    (picture_folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    pairs = MODALITY.read(picture_folder / "a.jsonl", **SMALL)
    assert [len(rows) for rows in pairs.second_rows] == [1, 2] * 4
    batch = pairs.fetch(torch.tensor([0, 1]))
    assert batch["inputs"]["second"].shape[:2] == (2, 2)
    assert batch["second_count"].tolist() == [1, 2]
    alone, first, second = (batch["inputs"]["second"][i, k] for i, k in ((0, 1), (1, 0), (1, 1)))
    assert torch.equal(alone, batch["inputs"]["second"][0, 0])
    assert not torch.equal(first, second)


def test_parquet_with_encoded_pictures(tmp_path, pngs, captions):
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = [{"bytes": png, "path": None} for png in pngs]
    captions = [*captions[:5], None, *captions[6:]]
    pq.write_table(pa.table({"image": cells, "caption": captions, "label": [0, 1] * 4}), tmp_path / "a.parquet")
    pairs = MODALITY.read(tmp_path / "a.parquet", **SMALL)
    assert len(pairs) == 7
    assert pairs.skipped == {"row 6": "caption is empty"}
    assert [text_of(pairs, i) for i in range(7)] == [one for one in captions if one]
    one = pairs.fetch(torch.tensor([6]))["inputs"]["first"][0]
    assert torch.equal(one, pairs.first.fetch(torch.tensor([7]))["inputs"][0])


def shard(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_shards(tmp_path, pngs, captions):
    members = []
    for i, (png, caption) in enumerate(zip(pngs, captions, strict=True)):
        members += [(f"x/{i:03}.png", png), (f"x/{i:03}.cls", str(i % 2).encode())]
        members += [(f"x/{i:03}.txt", caption.encode())] if i != 4 else []
    shard(tmp_path / "a-0.tar", members[:12])
    shard(tmp_path / "a-1.tar", members[12:])
    pairs = MODALITY.read(tmp_path, **SMALL)
    assert len(pairs) == 7
    assert pairs.ids[0] == "a-0.tar:x/000"
    assert pairs.labels.tolist() == [0, 1, 0, 1, 1, 0, 1]
    assert "no pair: its files end in cls, png" in pairs.skipped["a-1.tar:x/004"]
    assert [text_of(pairs, i) for i in range(7)] == captions[:4] + captions[5:]
    assert len(MODALITY.read([tmp_path / "a-0.tar", tmp_path / "a-1.tar"], **SMALL)) == 7
    with pytest.raises(DataError, match="most samples are no pairs of jpg and"):
        MODALITY.read(tmp_path, first_column="jpg", **SMALL)


def test_what_a_shard_claims_is_not_believed(tmp_path, pngs):
    path = shard(tmp_path / "a.tar", [("a.png", pngs[0]), ("a.txt", b"words")])
    content = bytearray(path.read_bytes())
    content[124:136] = b"77777777777\0"  # the size of the first file: 8 GiB
    content[148:156] = b"        "
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"8,589,934,591 bytes is claimed|damaged"):
        MODALITY.read(path, **SMALL)


def test_links_in_shards_lead_nowhere(tmp_path, pngs, captions):
    secret = tmp_path / "secret.txt"
    secret.write_text("not for you")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for i, png in enumerate(pngs):
            info = tarfile.TarInfo(f"../../{i}.png")
            info.size = len(png)
            archive.addfile(info, io.BytesIO(png))
            info = tarfile.TarInfo(f"../../{i}.txt")
            info.type, info.linkname = tarfile.SYMTYPE, str(secret)
            archive.addfile(info)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="most samples are no pairs"):
        MODALITY.read(path, **SMALL)
    assert sorted(tmp_path.rglob("*")) == before


def test_files_that_share_a_name(picture_folder, captions):
    for i in range(8):
        if i != 2:
            (picture_folder / f"{i}.txt").write_text(captions[i])
    pairs = MODALITY.read(picture_folder, **SMALL)
    assert [text_of(pairs, i) for i in range(7)] == captions[:2] + captions[3:]
    assert pairs.skipped == {"2": "the text is empty"}


def test_split_folders(tmp_path, pngs, captions):
    for split, start in (("train", 0), ("test", 4)):
        (tmp_path / split).mkdir()
        names = [f"{i}.png" for i in range(start, start + 4)]
        for i, name in enumerate(names):
            (tmp_path / split / name).write_bytes(pngs[start + i])
        table(tmp_path / split / "metadata.csv", {"file_name": names, "text": captions[start : start + 4]})
    assert text_of(MODALITY.read(tmp_path, **SMALL), 0) == captions[0]
    assert text_of(MODALITY.read(tmp_path, split="test", **SMALL), 0) == captions[4]
    with pytest.raises(DataError, match="no sub-folder for split 'val'"):
        MODALITY.read(tmp_path, split="val", **SMALL)


def test_lists_arrays_and_lists_of_pairs(picture_folder, arrays, captions):
    (pictures, labels), texts = arrays
    pairs = MODALITY.read(((pictures, labels), texts))
    assert pairs.labels.tolist() == labels.tolist()
    paths = [picture_folder / f"{i}.png" for i in range(8)]
    assert len(MODALITY.read((paths, captions), **SMALL)) == 8
    pairs = MODALITY.read(list(zip(paths, captions, strict=True)), **SMALL)
    assert text_of(pairs, 5) == captions[5]
    assert len(set(MODALITY.read((pictures, pairs.second)).keys)) == 8
    twice = [*texts[:7], texts[0]]
    keys = MODALITY.read((pictures, modalities.get("text").read(twice))).keys
    assert keys[7] == keys[0]
    assert len(set(keys)) == 7
    pairs = MODALITY.read((pictures, texts, list("xyxyxyxy")))
    assert pairs.class_names == ["x", "y"]


def test_two_modalities_that_are_no_text(arrays):
    (pictures, _), _ = arrays
    waves = np.random.default_rng(0).normal(size=(8, 4000)).astype(np.float32)
    pairs = MODALITY.read((pictures, waves), second="audio:rate=8000")
    batch = pairs.fetch(torch.arange(3))
    assert batch["inputs"]["second"].shape == (3, pairs.second.spec["length"])
    assert pairs.spec["second"]["modality"] == "audio"
    twins = MODALITY.read((pictures, pictures[::-1].copy()), second="image")
    assert torch.equal(
        twins.fetch(torch.tensor([0]))["inputs"]["second"], twins.first.fetch(torch.tensor([7]))["inputs"]
    )


def test_missing_files_and_empty_texts_are_left_out_and_counted(picture_folder, captions):
    names = [f"{i}.png" for i in range(8)]
    names[2], captions = "gone.png", [*captions[:5], " ", *captions[6:]]
    pairs = MODALITY.read(table(picture_folder / "a.csv", {"image": names, "text": captions}), **SMALL)
    assert len(pairs) == 6
    assert "gone.png does not exist" in pairs.skipped["row 3"]
    assert pairs.skipped["row 6"] == "text is empty"
    assert "2 are left out so far" in MODALITY.describe(pairs)


def test_a_broken_picture_is_left_out_of_a_batch(picture_folder, captions):
    (picture_folder / "3.png").write_bytes(b"no picture")
    columns = {"image": [f"{i}.png" for i in range(8)], "text": captions, "label": list("abababab")}
    pairs = MODALITY.read(table(picture_folder / "a.csv", columns), **SMALL)
    batch = pairs.fetch(torch.tensor([7, 3, 0]))
    assert batch["index"].tolist() == [7, 0]
    assert batch["label"].tolist() == [1, 0]
    assert len(batch["inputs"]["first"]) == len(batch["inputs"]["second"]) == 2
    own = pairs.second.fetch(torch.tensor([0]))["inputs"][0]
    assert torch.equal(batch["inputs"]["second"][1, : len(own)], own)
    assert any("3.png" in name for name in pairs.skipped)
    assert len(pairs.fetch(torch.tensor([3]))["index"]) == 0


def test_a_broken_second_side_is_left_out_too(picture_folder, arrays):
    (pictures, _), _ = arrays
    (picture_folder / "1.png").write_bytes(b"no picture")
    paths = [str(picture_folder / f"{i}.png") for i in range(8)]
    pairs = MODALITY.read((pictures, paths), second="image:size=8")
    assert len(pairs.fetch(torch.tensor([1]))["index"]) == 0
    batch = pairs.fetch(torch.tensor([2, 1, 4]))
    assert batch["index"].tolist() == [2, 4]
    assert torch.equal(batch["inputs"]["first"], pairs.first.fetch(torch.tensor([2, 4]))["inputs"])
    assert torch.equal(batch["inputs"]["second"], pairs.second.fetch(torch.tensor([2, 4]))["inputs"])


def test_pairs_that_share_an_item_share_a_key(picture_folder):
    names = ["0.png", "0.png", "1.png", "2.png", "3.png"]
    texts = ["a cat", "a tabby", "a cat", "a dog", "an owl"]
    pairs = MODALITY.read(table(picture_folder / "a.csv", {"image": names, "text": texts}), **SMALL)
    assert pairs.keys[0] == pairs.keys[1] == pairs.keys[2]
    assert len(set(pairs.keys)) == 3
    assert len(pairs.first) == 4  # each picture once


def test_one_side_alone(arrays, captions):
    texts = MODALITY.read(captions, side="second")
    assert texts.spec["second"]["modality"] == "text"
    assert set(texts.fetch(torch.arange(2))["inputs"]) == {"second"}
    pairs = MODALITY.read(arrays)
    pictures = MODALITY.read(pairs, side="first")
    assert isinstance(pictures, OneSide)
    assert pictures.labels.tolist() == pairs.labels.tolist()
    assert MODALITY.read(pairs) is pairs
    assert len(MODALITY.read((arrays[0], texts.dataset), side="first")) == 8  # what is no pictures is pairs
    with pytest.raises(ConfigError, match="no pairs with that side"):
        MODALITY.read(texts, side="first")


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (([1.0], ["a"]), {"first": "img"}, ConfigError, "no modality 'img'.*image"),
        (([1.0], ["a"]), {"first": "paired"}, ConfigError, "no modality 'paired' to make pairs of"),
        (([1.0], ["a"]), {"first": "image:sice=3"}, ConfigError, "no reading option 'sice'; did you mean 'size'"),
        (([1.0], ["a"]), {"first": "image:size"}, ConfigError, "'size' is no option; write image:option=value"),
        (([1.0], ["a"]), {"first": "image:size=big"}, ConfigError, "size must be int or none, got 'big'"),
        (([1.0], ["a"]), {"side": "third"}, ConfigError, "'both', 'first' or 'second'"),
        ([], {}, DataError, "an empty list holds no pairs"),
        (("a", "b", "c", "d"), {}, DataError, "4 sources: give two"),
        (3, {}, DataError, "cannot read pairs from a int"),
        ((np.zeros((3, 8, 8, 3), np.uint8), ["a", "b"]), {}, DataError, "3 images and 2 texts cannot be paired"),
        ("nowhere", {}, DataError, "does not exist"),
    ],
)
def test_what_is_no_source_is_told(source, options, error, message):
    with pytest.raises(error, match=message):
        MODALITY.read(source, **options)


def test_what_is_wrong_with_a_table_is_told(picture_folder, captions):
    names = [f"{i}.png" for i in range(8)]
    path = table(picture_folder / "a.csv", {"image": names, "words": captions})
    with pytest.raises(
        DataError, match=r"which column holds the texts\? Name it with second_column=; there are: image"
    ):
        MODALITY.read(path, **SMALL)
    with pytest.raises(DataError, match=r"no column 'title' \(second_column=\)"):
        MODALITY.read(path, second_column="title", **SMALL)
    with pytest.raises(DataError, match="both sides would be column 'image'"):
        MODALITY.read(path, second_column="image", **SMALL)
    path = table(picture_folder / "b.csv", {"image": ["x.png"] * 8, "text": captions})
    with pytest.raises(DataError, match=r"8 of 8 rows are no pairs, such as row 1: .*x\.png does not exist"):
        MODALITY.read(path, **SMALL)
    path = table(picture_folder / "c.csv", {"image": range(8), "text": captions})
    with pytest.raises(DataError, match="column 'image' holds int, and images are read from paths"):
        MODALITY.read(path, **SMALL)
    path = table(picture_folder / "d.csv", {"image": names, "text": captions, "wrong": [""] * 8})
    with pytest.raises(DataError, match="column 'wrong' holds no text"):
        MODALITY.read(path, swap_column="wrong", **SMALL)
    with pytest.raises(DataError, match="holds several tables"):
        MODALITY.read(picture_folder, **SMALL)


def test_what_cannot_be_told_apart(picture_folder):
    with pytest.raises(ConfigError, match="cannot be told apart by their endings"):
        MODALITY.read(picture_folder, second="image")
    with pytest.raises(DataError, match="hold no pairs"):
        MODALITY.read(picture_folder / "0.png")
    with pytest.raises(DataError, match="8 of 8 rows are no pairs, such as 0: the text is empty"):
        MODALITY.read(picture_folder)


def test_wrong_links_are_refused(arrays):
    (pictures, _), texts = arrays
    one, other = MODALITY.read((pictures, texts)).first, MODALITY.read((pictures, texts)).second
    with pytest.raises(DataError, match="pairs name items"):
        Pairs(one, other, first_rows=torch.tensor([8]), second_rows=[[0]])
    with pytest.raises(DataError, match="at least one of the second"):
        Pairs(one, other, first_rows=torch.tensor([0]), second_rows=[[]])
    with pytest.raises(DataError, match="There are no pairs"):
        Pairs(one, other, first_rows=torch.empty(0, dtype=torch.int64), second_rows=[])
