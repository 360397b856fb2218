"""Reading clips: films, animations, sequences of pictures, tables, arrays; their times, and what is damaged."""

from __future__ import annotations

import csv
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from twofold.errors import ConfigError, DataError
from twofold.modalities.pixels.decode import UnreadableError
from twofold.modalities.video import data
from twofold.modalities.video.readers import films, pictures
from twofold.modalities.video.readers.files import frames_of
from twofold.modalities.video.readers.form import Form, Pace

FORM = Form(size=16, channels=3, frames=64, fps=100.0)
CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9", ".avi": "mpeg4", ".mkv": "libx264", ".mpg": "mpeg1video"}


def levels(count, height=32, width=32):
    """Frames whose brightness says their number: 10, 20, 30 ..."""
    return [np.full((height, width, 3), 10 * (i + 1), np.uint8) for i in range(count)]


def film(path, frames, *, rate=25, codec=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=Fraction(rate))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def animation(path, frames, duration=100):
    first, *others = [Image.fromarray(frame) for frame in frames]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=others, duration=duration, loop=0, **options)
    return path


def sequence(folder, frames, name="{:03d}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(i + 1))
    return folder


def brightness(dataset, index=0):
    """The mean brightness of each frame that is the clip's own, in tens."""
    batch = dataset.fetch(torch.tensor([index]))
    own = batch["inputs"][0, : int(batch["length"][0])].float()
    return (own.mean((1, 2, 3)) / 10).round().int().tolist()


@pytest.mark.parametrize("suffix", CODECS)
def test_films_of_all_containers(suffix, tmp_path):
    path = film(tmp_path / f"a{suffix}", levels(6))
    dataset = data.read(path, size=16, fps=25)
    assert dataset.spec["size"] == 16
    assert brightness(dataset) == [1, 2, 3, 4, 5, 6]
    inputs = dataset.fetch(torch.tensor([0]))["inputs"]
    assert (inputs.dtype, inputs.shape) == (torch.uint8, (1, 6, 3, 16, 16))
    assert brightness(data.read(path.read_bytes() and path, size=16, fps=25, frames=3)) == [1, 2, 3]


def test_a_film_is_thinned_out_to_a_rate_and_then_by_the_stride(tmp_path):
    path = film(tmp_path / "a.mp4", levels(20), rate=24)
    assert brightness(data.read(path, fps=8)) == [1, 4, 7, 10, 13, 16, 19]
    assert brightness(data.read(path, fps=8, stride=2)) == [1, 7, 13, 19]
    assert brightness(data.read(path, fps=240)) == list(range(1, 21))
    assert data.read(path).spec["fps"] == 8


@given(times=st.lists(st.floats(0.001, 2), min_size=1, max_size=30), fps=st.floats(0.5, 60), stride=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_no_two_frames_of_one_slot_are_kept(times, fps, stride):
    shown = np.cumsum(times).tolist()
    pace = Pace(Form(8, 1, 99, fps, stride))
    kept = [time for time in shown if pace.keeps(time)]
    assert kept[0] == shown[0]
    slots = [int((time - shown[0]) * fps + 1e-3) for time in kept]
    assert len(set(slots)) == len(slots)
    if stride == 1:
        assert set(slots) == {int((time - shown[0]) * fps + 1e-3) for time in shown}


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_animations_keep_their_own_times(suffix, tmp_path):
    path = animation(tmp_path / f"a{suffix}", levels(5), duration=[100, 100, 300, 100, 100])
    assert len(pictures.read_animation(str(path), FORM).pixels) == 5
    kept = pictures.read_animation(str(path), Form(16, 3, 64, 5.0)).pixels.mean((1, 2, 3)) / 10
    assert kept.round().astype(int).tolist() == [1, 3, 4, 5]  # of 0, 100, 200, 500, 600 ms: the slots 0, 1, 2, 3


def test_transparent_sprites_lie_on_white(tmp_path):
    frames = [np.zeros((8, 8, 4), np.uint8), np.full((8, 8, 4), 255, np.uint8)]
    frames[1][..., :3] = 100
    folder = sequence(tmp_path / "clip", frames)
    inputs = data.read(folder, size=8).fetch(torch.tensor([0]))["inputs"][0]
    assert bool((inputs[0] == 255).all())
    assert bool((inputs[1] == 100).all())


def test_numbered_pictures_of_one_folder_are_clips(tmp_path):
    sequence(tmp_path, levels(11), "orc-walk-{}.png")  # 10 and 11 come after 9
    sequence(tmp_path, levels(3), "orc-die_{:02d}.png")
    Image.fromarray(levels(1)[0]).save(tmp_path / "orc.png")
    Image.fromarray(levels(1)[0]).save(tmp_path / "elf-1.png")
    dataset = data.read(tmp_path)
    assert dataset.ids == ["orc-die", "orc-walk"]
    assert brightness(dataset, 1) == list(range(1, 12))
    assert "2 pictures" in data.summary(dataset)
    assert brightness(data.read(tmp_path, stride=4), 1) == [1, 5, 9]


def test_folders_of_frames_in_class_folders(tmp_path):
    for name in ("jump/a", "jump/b", "run/a"):
        sequence(tmp_path / name, levels(3))
    dataset = data.read(tmp_path)
    assert dataset.ids == ["jump/a", "jump/b", "run/a"]
    assert dataset.class_names == ["jump", "run"]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert data.read(tmp_path / "run" / "a").ids == ["a"]
    assert data.read([tmp_path / "run", tmp_path / "jump"]).ids == [
        f"{tmp_path}/{name}" for name in ("run/a", "jump/a", "jump/b")
    ]
    assert [Path(name).name for name in frames_of(tmp_path / "run" / "a")] == ["001.png", "002.png", "003.png"]


def test_splits_and_class_folders_of_films(tmp_path):
    for name in ("train/cat/1", "train/dog/1", "test/cat/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        film(tmp_path / f"{name}.mp4", levels(9))
    Image.fromarray(levels(1)[0]).save(tmp_path / "train" / "cat" / "1.jpg")
    dataset = data.read(tmp_path)
    assert dataset.ids == ["cat/1.mp4", "dog/1.mp4"]
    assert dataset.labels.tolist() == [0, 1]
    assert "1 pictures beside the clips" in data.summary(dataset)
    assert data.read(tmp_path, split="test").ids == ["cat/1.mp4"]


def test_the_form_is_chosen_from_the_data(tmp_path):
    for i in range(20):
        sequence(tmp_path / f"{i:02d}", levels(3 if i else 9, 50, 70))
    spec = data.read(tmp_path).spec
    assert {name: spec[name] for name in ("size", "frames", "channels", "samples")} == {
        "size": 48,
        "frames": 9,
        "channels": 3,
        "samples": 20,
    }
    batch = data.read(tmp_path, frames=5).fetch(torch.tensor([0, 1]))
    assert batch["length"].tolist() == [5, 3]
    assert batch["inputs"].shape == (2, 5, 3, 48, 48)
    assert int(batch["inputs"][1, 3:].max()) == 0
    assert torch.allclose(batch["aspect"], torch.tensor(70 / 50))


def test_the_moments_are_those_of_the_frames(tmp_path):
    sequence(tmp_path / "a", levels(4))
    spec = data.read(tmp_path / "a").spec
    assert spec["mean"] == pytest.approx([25 / 255] * 3, abs=1e-5)
    assert spec["std"] == pytest.approx([np.std([10, 20, 30, 40]) / 255] * 3, abs=1e-5)


def test_a_film_that_was_recorded_lying_is_turned(tmp_path):
    frames = levels(4, 32, 64)
    for frame in frames:
        frame[:16] = 250  # the upper half is bright
    path = film(tmp_path / "a.mp4", frames)
    upright = films.read_film(str(path), FORM)
    identity, quarter = ([1, 0, 0, 0, 1, 0, 0, 0, 0x4000], [0, 1, 0, -1, 0, 0, 0, 0, 0x4000])
    packed = [struct.pack(">9i", *(value << 16 for value in matrix)) for matrix in (identity, quarter)]
    content = path.read_bytes()
    assert content.count(packed[0]) == 2  # the film's own, and the track's
    turned = films.read_film(packed[1].join(content.rsplit(packed[0], 1)), FORM)
    assert (upright.aspect, turned.aspect) == (2, 0.5)
    assert upright.pixels[0, 0, :8].mean() > 200 > 100 > upright.pixels[0, 0, 8:].mean()
    assert turned.pixels[0, 0, :, 8:].mean() > 200 > 100 > turned.pixels[0, 0, :, :8].mean()  # clockwise


def test_tables_of_paths(tmp_path):
    film(tmp_path / "a.mp4", levels(4))
    sequence(tmp_path / "frames", levels(5))
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "label"), ("a.mp4", "x"), ("frames", "y"), ("frames", "y"), ("no.mp4", "x"), (str(tmp_path), "x")]
        )
    dataset = data.read(tmp_path / "clips.csv", fps=25)
    batch = dataset.fetch(torch.arange(5))
    assert batch["index"].tolist() == [0, 1, 2]
    assert batch["length"].tolist() == [4, 5, 5]
    assert (batch["label"].tolist(), dataset.class_names) == ([0, 1, 1], ["x", "y"])
    assert dataset.skipped["row 4"] == "no such file"
    assert "no sequences of numbered pictures" in dataset.skipped["row 5"]


def test_films_within_a_parquet_file(tmp_path):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    content = film(tmp_path / "a.mp4", levels(4)).read_bytes()
    moving = animation(tmp_path / "a.gif", levels(5)).read_bytes()
    table = arrow.table({"film": [{"bytes": content, "path": None}, {"bytes": moving, "path": "a.gif"}]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert data.read(tmp_path / "a.parquet", fps=25).fetch(torch.arange(2))["length"].tolist() == [4, 5]


def test_arrays_with_channels_first_last_or_none():
    clips = np.random.default_rng(0).integers(0, 256, (3, 5, 12, 12, 3), np.uint8)
    last = data.read((clips, ["a", "b", "a"]))
    first = data.read(np.moveaxis(clips, -1, 2))
    tensor = data.read(torch.from_numpy(np.moveaxis(clips, -1, 2).copy()))
    floats = data.read(clips.astype(np.float32) / 255)
    wanted = torch.from_numpy(clips).permute(0, 1, 4, 2, 3)
    for dataset in (last, first, tensor, floats):
        assert torch.equal(dataset.fetch(torch.arange(3))["inputs"], wanted)
    assert last.class_names == ["a", "b"]
    grey = data.read(clips[..., 0])
    assert grey.spec["channels"] == 1
    assert torch.equal(grey.fetch(torch.arange(3))["inputs"], wanted[:, :, :1])


def test_where_both_places_fit_tensors_have_channels_first_and_arrays_last():
    both = np.zeros((2, 4, 3, 9, 3), np.uint8)
    assert data.read(torch.from_numpy(both), size=8).fetch(torch.tensor([0]))["aspect"].item() == pytest.approx(1 / 3)
    assert data.read(both, size=8).fetch(torch.tensor([0]))["aspect"].item() == pytest.approx(3)
    assert data.read(both.transpose(0, 1, 3, 2, 4).copy(), size=8).fetch(torch.tensor([0]))["aspect"].item() < 1


def test_lists_of_clips_of_different_lengths_and_array_files(tmp_path):
    clips = [np.full((t, 10, 20, 3), 10 * t, np.uint8) for t in (2, 4, 3)]
    assert data.read(clips).fetch(torch.arange(3))["length"].tolist() == [2, 4, 3]
    np.save(tmp_path / "a.npy", np.stack([clips[1]] * 2))
    assert len(data.read(tmp_path / "a.npy")) == 2
    np.savez(tmp_path / "a.npz", videos_train=np.stack([clips[1]] * 2), y_train=np.array([3, 4]), videos_test=clips[0])
    dataset = data.read(tmp_path / "a.npz")
    assert dataset.labels.tolist() == [3, 4] or dataset.class_names == ["3", "4"]
    assert "videos_train" in data.summary(dataset)


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.zeros((2, 4, 8, 8, 2), np.uint8), r"clips of shape \(4, 8, 8, 2\)"),
        (np.zeros((2, 8, 8), np.uint8), r"clips of shape \(8, 8\)"),
        (np.zeros((2, 4, 8, 8), np.int64), "has type int64; clips are uint8"),
        (np.zeros((0, 4, 8, 8), np.uint8), "holds no clips"),
        (np.full((2, 4, 8, 8), 2.0), r"outside of \[0, 1\]"),
        (np.full((2, 4, 8, 8), np.nan), "NaN"),
        (np.zeros((2, 1, 8, 8), np.uint8), "holds 1 frame, and a clip needs two"),
        ([np.zeros((4, 8, 8), np.uint8), "a.mp4"], "only paths or only arrays"),
        ([], "an empty list holds no clips"),
        (7, "cannot read clips from a int"),
    ],
)
def test_what_is_no_clip_is_refused(clips, message):
    with pytest.raises(DataError, match=message):
        data.read(clips)


def test_options_are_checked_together(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)size=4.*frames=1.*fps=0.*stride=1.5"):
        data.read(np.zeros((2, 4, 8, 8), np.uint8), size=4, frames=1, fps=0, stride=1.5)
    dataset = data.read(np.zeros((2, 4, 8, 8), np.uint8))
    assert data.read(dataset, size=8) is dataset
    with pytest.raises(ConfigError, match="size=16: this data set was already read with 8"):
        data.read(dataset, size=16)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"#EXTM3U\nhttp://example.org/a.ts\n", "not a film in a known container"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a film in a known container"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "damaged|holds no moving picture"),
        (b"\x1a\x45\xdf\xa3" + bytes(60), "damaged"),
    ],
)
def test_files_that_are_no_films(content, reason, tmp_path):
    with pytest.raises(UnreadableError, match=reason):
        films.read_film(content, FORM)


def test_sound_without_pictures_and_codecs_that_there_are_not(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(UnreadableError, match="holds no moving picture"):
        films.read_film(str(tmp_path / "a.mp4"), FORM)
    content = film(tmp_path / "b.avi", levels(5)).read_bytes()
    assert content.count(b"FMP4") >= 2
    with pytest.raises(UnreadableError, match="codec is not known"):
        films.read_film(content.replace(b"FMP4", b"QQQQ"), FORM)


def noise(count, size=64):
    return list(np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".webm"])
def test_films_whose_end_is_missing(suffix, tmp_path):
    content = film(tmp_path / f"a{suffix}", noise(30)).read_bytes()
    assert len(films.read_film(content, FORM).pixels) == 30
    with pytest.raises(UnreadableError, match="damaged"):
        films.read_film(content[: len(content) // 4], FORM)


def test_damaged_clips_are_skipped_and_counted(tmp_path):
    for i in range(5):
        film(tmp_path / f"{i}.mp4", levels(4))
    (tmp_path / "2.mp4").write_bytes(b"not a film")
    broken = sequence(tmp_path / "frames" / "x", levels(3))
    (broken / "002.png").write_bytes(b"\x89PNG broken")
    dataset = data.read(tmp_path, fps=25)
    assert dataset.fetch(torch.arange(5))["index"].tolist() == [0, 1, 3, 4]
    assert list(dataset.skipped) == ["2.mp4"]
    assert "1 could not be read" in data.summary(dataset)
    with pytest.raises(DataError, match=r"frame 002.png"):
        data.read(broken)


def test_more_than_half_broken_stops(tmp_path):
    film(tmp_path / "a.mp4", levels(9))
    for i in range(2):
        (tmp_path / f"{i}.mp4").write_bytes(b"no film at all")
    with pytest.raises(DataError, match="2 of the 3 clips tried could not be read"):
        data.read(tmp_path)


def test_a_film_that_is_too_short_for_the_rate_says_so(tmp_path):
    with pytest.raises(DataError, match="holds 1 frame at 8 a second, and a clip needs two"):
        data.read(film(tmp_path / "a.mp4", levels(3)))


def test_pictures_without_numbers_are_no_clips(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(levels(1)[0]).save(tmp_path / name)
    with pytest.raises(DataError, match="holds 2 pictures and no clips"):
        data.read(tmp_path)
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"files ending in \.txt are not read"):
        data.read(tmp_path / "a.txt")


def test_claims_are_checked_before_anything_is_decoded(tmp_path, monkeypatch):
    path = film(tmp_path / "a.mp4", levels(4))
    monkeypatch.setattr(films, "MAX_PIXELS", 32 * 32 - 1)
    with pytest.raises(UnreadableError, match="too large: it claims 32 × 32 pixels"):
        films.film_size(str(path))
    monkeypatch.undo()
    monkeypatch.setattr(films, "free_memory", lambda: 1000)
    with pytest.raises(UnreadableError, match=r"may need 32\.0 KiB of memory, 1,000 bytes are free"):
        films.read_film(str(path), FORM)


def test_without_a_cache_every_fetch_decodes_the_same(tmp_path):
    for i in range(3):
        sequence(tmp_path / str(i), noise(4, 16))
    kept, fresh = data.read(tmp_path, cache=True), data.read(tmp_path, cache=False)
    index = torch.tensor([2, 0, 2])
    for _ in range(2):
        assert torch.equal(kept.fetch(index)["inputs"], fresh.fetch(index)["inputs"])
