"""Reading sounds: every kind of source, what is decided from it, and what is said about what cannot be read."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import soundfile
import torch

from twofold.errors import ConfigError, DataError, TwofoldError
from twofold.modalities.audio import data
from twofold.modalities.audio.readers import decode as decoding
from twofold.modalities.audio.readers.decode import UnreadableError, decode, read_header
from twofold.modalities.audio.readers.facts import default_rate, default_seconds

RATE = 8000


def tone(seconds=0.5, hertz=440.0, rate=RATE, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(wave, rate=RATE, kind="WAV", subtype=None):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Three classes of two sounds, of 0.3 to 0.8 s."""
    for i, name in enumerate(("bell", "dog", "rain")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for j in range(2):
            soundfile.write(tmp_path / "set" / name / f"{j}.wav", tone(0.3 + 0.1 * (2 * i + j), 300 + 200 * i), RATE)
    return tmp_path / "set"


def test_a_folder_with_classes(folder):
    dataset = data.read(folder)
    assert dataset.class_names == ["bell", "dog", "rain"]
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.ids[3] == "dog/1.wav"
    assert dataset.spec | {"mean": 0, "std": 0} == {
        "modality": "audio",
        "rate": RATE,
        "length": 6400,
        "mels": 64,
        "mean": 0,
        "std": 0,
        "samples": 6,
    }
    json.dumps(dataset.spec)
    batch = dataset.fetch(torch.tensor([5, 0]))
    assert batch["inputs"].shape == (2, 6400)
    assert batch["inputs"].dtype == torch.int16
    assert batch["length"].tolist() == [6400, 2400]
    assert batch["index"].tolist() == [5, 0]
    assert batch["label"].tolist() == [2, 0]
    assert int(batch["inputs"][1, 2400:].abs().max()) == 0
    expected = torch.from_numpy(tone(0.3, 300))
    assert torch.allclose(batch["inputs"][1, :2400] / 32768, expected, atol=1e-4)


def test_parts_of_a_folder(folder, tmp_path):
    for part in ("train", "test"):
        (tmp_path / "parts" / part / "a").mkdir(parents=True)
        (tmp_path / "parts" / part / "b").mkdir()
        for name in ("a", "b"):
            for i in range(2 if part == "train" else 1):
                soundfile.write(tmp_path / "parts" / part / name / f"{i}.wav", tone(), RATE)
    assert len(data.read(tmp_path / "parts")) == 4
    assert "read train/ only; test is left" in data.summary(data.read(tmp_path / "parts"))
    assert len(data.read(tmp_path / "parts", split="test")) == 2
    with pytest.raises(DataError, match="no sub-folder for split 'val'; it holds: test, train"):
        data.read(tmp_path / "parts", split="val")


@pytest.mark.parametrize(
    ("kind", "ending"), [("WAV", "wav"), ("FLAC", "flac"), ("OGG", "ogg"), ("MP3", "mp3"), ("AIFF", "aiff")]
)
def test_formats(kind, ending, tmp_path):
    wave = tone(1.0, 500)
    (tmp_path / f"a.{ending}").write_bytes(encoded(wave, kind=kind))
    dataset = data.read(tmp_path / f"a.{ending}", seconds=1.0)
    made = dataset.fetch(torch.tensor([0]))["inputs"][0].numpy() / 32768
    spectrum = np.abs(np.fft.rfft(made[1000:7000]))
    assert spectrum.argmax() == 500 * 6000 / RATE
    assert np.sqrt(2 * np.mean(made[1000:7000] ** 2)) == pytest.approx(0.5, abs=0.05)


def test_channels_are_averaged_and_rates_are_brought_together(tmp_path):
    stereo = np.stack([tone(0.5, 400), np.zeros(4000, np.float32)], 1)
    soundfile.write(tmp_path / "a.wav", stereo, RATE)
    soundfile.write(tmp_path / "b.wav", tone(0.5, 400, RATE), RATE)
    soundfile.write(tmp_path / "c.wav", tone(0.5, 400, 11025), 11025)
    dataset = data.read(tmp_path)
    assert dataset.spec["rate"] == RATE
    assert "of 3 headers looked at, resampled to 8,000 Hz: 11,025 Hz (1)" in data.summary(dataset)
    a, b, c = dataset.fetch(torch.arange(3))["inputs"].float()
    assert torch.allclose(2 * a, b, atol=2)
    assert torch.allclose(c[200:3800], b[200:3800], atol=40)


def test_long_sounds_are_cut_and_only_their_beginning_is_decoded(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.flac", tone(30.0), RATE)
    asked = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, frames, **how: asked.append(frames) or read(self, frames, **how)
    )
    dataset = data.read(tmp_path, seconds=0.5)
    assert dataset.fetch(torch.tensor([0]))["inputs"].shape == (1, 4000)
    assert sum(asked) == 4001  # decoded once, then kept
    assert data.read(tmp_path).spec["length"] == 10 * RATE


def test_without_a_cache_sounds_are_decoded_again_to_the_same(folder):
    index = torch.tensor([4, 2])
    kept, again = (data.read(folder, cache=cache) for cache in (True, False))
    assert torch.equal(kept.fetch(index)["inputs"], again.fetch(index)["inputs"])
    assert kept.spec == again.spec


def test_sounds_beyond_full_scale_are_scaled_down_to_it():
    loud = decode(encoded(4 * tone(), subtype="FLOAT"), rate=RATE, samples=4000)
    assert int(np.abs(loud.astype(np.int32)).max()) in (32767, 32768)
    assert np.corrcoef(loud, tone())[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"not a sound at all" * 50, "not a sound in a known format"),
        (encoded(np.zeros(0, np.float32)), "holds no samples"),
        (encoded(np.array([0.1, np.nan, 0.2], np.float32), subtype="FLOAT"), "NaN or infinite"),
        (encoded(np.array([0.1, np.inf, 0.2], np.float32), subtype="FLOAT"), "NaN or infinite"),
        (encoded(tone(), rate=300), "claims 300 samples a second"),
        (encoded(tone(), rate=2**31 - 1), "claims 2,147,483,647 samples a second"),
    ],
    ids=["empty", "text", "no samples", "NaN", "infinity", "too slow", "too fast"],  # the files hold the time of day
)
def test_reasons_why_one_sound_cannot_be_used(content, reason, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    for source in (content, str(tmp_path / "a.wav")):
        with pytest.raises(UnreadableError, match=reason):
            decode(source, rate=RATE, samples=4000)
    with pytest.raises(DataError, match=reason):
        data.read(tmp_path)


def test_a_flac_header_that_claims_hours(tmp_path):
    """36 bits of the STREAMINFO block (bytes 21 to 25 of the file) say how many samples there are."""
    content = bytearray(encoded(tone(), kind="FLAC"))
    claimed = 20 * 3600 * RATE
    content[21] = (content[21] & 0xF0) | (claimed >> 32)
    content[22:26] = struct.pack(">I", claimed & 0xFFFFFFFF)
    assert read_header(bytes(content)).seconds == 20 * 3600
    with pytest.raises(UnreadableError, match=r"damaged|claims 72,000.0 s, and 0.5 s are there"):
        decode(bytes(content), rate=RATE, samples=10 * RATE)


def test_a_wav_header_that_claims_hours_gives_what_is_there():
    content = bytearray(encoded(tone()))
    content[40:44] = struct.pack("<I", 2**31)  # the size of the data chunk, as recorders that were cut off leave it
    assert len(decode(bytes(content), rate=RATE, samples=10 * RATE)) == 4000


def test_no_more_is_allocated_than_there_is_to_read(monkeypatch):
    asked = []
    monkeypatch.setattr(decoding, "check_memory", lambda needed, what: asked.append(needed))
    decode(encoded(tone()), rate=RATE, samples=600 * RATE)
    assert asked == [4 * 4000]


def test_partial_damage_is_skipped_and_counted(folder):
    (folder / "dog" / "2.wav").write_bytes(b"RIFF")
    dataset = data.read(folder)
    assert list(dataset.skipped) == ["dog/2.wav"]
    batch = dataset.fetch(torch.arange(7))
    assert batch["index"].tolist() == [0, 1, 2, 3, 5, 6]
    assert len(batch["inputs"]) == len(batch["length"]) == len(batch["label"]) == 6
    assert "1 could not be read so far and are left out, such as dog/2.wav (not a sound" in data.summary(dataset)


def test_mostly_broken_stops(folder):
    for i in range(8):
        (folder / "dog" / f"x{i}.wav").write_bytes(b"RIFF" * 20)
    with pytest.raises(DataError, match=r"8 of the 14 sounds tried could not be read. The first:\n  dog/x0.wav: "):
        data.read(folder)


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("tsv", "\t"), ("csv", ";")])
def test_text_tables(folder, ending, separator):
    rows = [["Path", "species"], ["bell/0.wav", "bell"], ["dog/1.wav", "dog"], ["rain/0.wav", ""]]
    (folder / f"list.{ending}").write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8")
    dataset = data.read(folder / f"list.{ending}", label_column="species")
    assert dataset.labels.tolist() == [0, 1, -1]
    assert dataset.class_names == ["bell", "dog"]
    assert dataset.fetch(torch.arange(3))["length"].tolist() == [2400, 4800, 5600]
    with pytest.raises(DataError, match=r"no column 'sort' \(label_column=\); it has: Path, species"):
        data.read(folder / f"list.{ending}", label_column="sort")


def test_json_lines(folder):
    rows = [{"clip_of": "bell/0.wav", "label": 3}, {"clip_of": "none.wav", "label": 1}, {"clip_of": "rain/1.wav"}]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    dataset = data.read(folder / "list.jsonl", column="clip_of")
    assert dataset.labels.tolist() == [3, 1, -1]
    assert dataset.skipped == {"row 2": "no such file"}
    with pytest.raises(
        DataError, match=r"which column holds the sounds\? Name it with column=; there are: clip_of, la"
    ):
        data.read(folder / "list.jsonl")


@pytest.mark.parametrize("shape", ["bytes", "struct", "path"])
def test_parquet(shape, folder):
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    contents = [(folder / name).read_bytes() for name in ("bell/0.wav", "dog/0.wav")]
    cells = {"bytes": contents, "struct": [{"bytes": c, "path": None} for c in contents], "path": ["bell/0.wav"] * 2}
    parquet.write_table(arrow.table({"recording": cells[shape], "label": ["x", "y"]}), folder / "t.parquet")
    dataset = data.read(folder / "t.parquet")
    assert dataset.class_names == ["x", "y"]
    assert dataset.fetch(torch.arange(2))["length"].tolist()[0] == 2400
    (folder / "t.parquet").write_bytes((folder / "t.parquet").read_bytes()[:-40])
    with pytest.raises(DataError, match=r"t.parquet: damaged, or not a table"):
        data.read(folder / "t.parquet")


@pytest.mark.parametrize("content", ["", "path\n", "\0\xff{", '{"path": '])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_tables_that_are_none(content, name, tmp_path):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=f"{name}"):
        data.read(tmp_path / name)


def test_arrays_in_memory():
    waves = np.stack([tone(), tone(hertz=900), tone(hertz=100)])
    for array in (waves, torch.from_numpy(waves), (waves * 32767).astype(np.int16), waves.astype(np.float64)):
        dataset = data.read(array, rate=RATE)
        assert dataset.spec["rate"] == RATE
        assert torch.allclose(dataset.waves / 32768, torch.from_numpy(waves), atol=2e-4)
    bytes_of_8_bits = (waves * 127 + 128).astype(np.uint8)
    assert torch.allclose(data.read(bytes_of_8_bits, rate=RATE).waves / 32768, torch.from_numpy(waves), atol=0.02)
    labelled = data.read((waves, ["a", "b", "a"]), rate=RATE)
    assert labelled.labels.tolist() == [0, 1, 0]
    assert labelled.fetch(torch.tensor([1]))["label"].tolist() == [1]


def test_a_list_of_clips_of_different_lengths_and_channels():
    stereo = np.stack([tone(0.5), tone(0.5)])
    dataset = data.read([tone(0.3), torch.from_numpy(tone(0.7)), stereo, stereo.T], rate=RATE)
    assert dataset.length.tolist() == [2400, 5600, 4000, 4000]
    assert torch.equal(dataset.waves[2], dataset.waves[3])


def test_array_files(tmp_path):
    waves, labels = np.stack([tone(rate=11025)] * 3), np.array([0, 1, 1])
    np.save(tmp_path / "a.npy", waves)
    np.savez(tmp_path / "a.npz", sounds=waves, labels=labels, rate=11025)
    np.savez(tmp_path / "b.npz", x_train=waves, y_train=labels, x_test=waves[:1], y_test=labels[:1])
    assert data.read(tmp_path / "a.npy", rate=11025).spec["rate"] == 11025
    with pytest.raises(ConfigError, match=r"a.npy does not say its sampling rate: give rate="):
        data.read(tmp_path / "a.npy")
    stated = data.read(tmp_path / "a.npz")
    assert (stated.spec["rate"], stated.labels.tolist()) == (11025, [0, 1, 1])
    brought = data.read(tmp_path / "a.npz", rate=RATE)
    assert int(brought.length[0]) == pytest.approx(4000, abs=2)
    assert data.read(tmp_path / "b.npz", rate=RATE, split="test").labels.tolist() == [0]
    assert "read the array 'x_train'" in data.summary(data.read(tmp_path / "b.npz", rate=RATE))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4), np.float32), r"has shape \(2, 3, 4\); sounds are \(n, samples\)"),
        (np.zeros((0, 4), np.float32), "holds no sound"),
        (np.zeros((10**9, 0), np.float32), "holds no sound"),
        (np.zeros((2, 8), np.int64), "has type int64"),
        (np.zeros((2, 8), complex), "has type complex128"),
        (np.full((2, 8), np.nan), "2 of 2 clips cannot be used. The first: 0 holds samples that are NaN"),
        ([np.zeros((50, 50))], r"clip 0 has shape \(50, 50\)"),
        ([], "an empty list"),
        ([np.zeros(8), "a.wav"], "only paths or only arrays"),
        (7, "cannot read sounds from a int"),
    ],
)
def test_arrays_that_are_no_sounds(array, message):
    with pytest.raises(DataError, match=message):
        data.read(array, rate=RATE)


@pytest.mark.parametrize("rate", [np.array([1, 2]), np.array("x"), np.array(-5), np.array(np.inf)])
def test_an_array_file_with_a_rate_that_is_none(rate, tmp_path):
    np.savez(tmp_path / "a.npz", sounds=np.zeros((2, 8)), rate=rate)
    with pytest.raises(DataError, match=r"a.npz\[rate\] must be one number"):
        data.read(tmp_path / "a.npz")


def test_paths_that_are_no_sounds(folder, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        data.read(tmp_path / "none")
    (tmp_path / "a.m4a").write_bytes(b"x")
    with pytest.raises(DataError, match=r".m4a is not read; convert it first: ffmpeg -i a.m4a a.flac"):
        data.read(tmp_path / "a.m4a")
    (tmp_path / "a.xyz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"files ending in .xyz are not read. Readable: .aif"):
        data.read(tmp_path / "a.xyz")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds no sounds. Found instead: .txt \(1\)"):
        data.read(tmp_path / "other")
    with pytest.raises(DataError, match=r"1 of 2 listed files do not exist: .*b.wav"):
        data.read([folder / "dog" / "0.wav", folder / "b.wav"])
    with pytest.raises(DataError, match="this one mixes them"):
        data.read([folder, folder / "dog" / "0.wav"])


def test_lists_of_files_and_of_folders(folder):
    assert len(data.read([folder / "dog" / "0.wav", str(folder / "rain" / "1.wav")])) == 2
    assert data.read([folder / "dog"]).labels is None
    assert len(data.read([folder, folder])) == 12


def test_a_data_set_is_handed_back_if_the_options_are_its_own(folder):
    dataset = data.read(folder)
    assert data.read(dataset) is dataset
    assert data.read(dataset, rate=RATE, seconds=0.8) is dataset
    with pytest.raises(ConfigError, match="already read at 8000 Hz"):
        data.read(dataset, rate=16000)
    with pytest.raises(ConfigError, match=r"already read with 0.8 s"):
        data.read(dataset, seconds=2)


def test_options_out_of_range_are_all_told_at_once(folder):
    with pytest.raises(ConfigError, match=r"rate=100: .*\n.*seconds=0: the length") as caught:
        data.read(folder, rate=100, seconds=0)
    assert isinstance(caught.value, TwofoldError)
    for wrong in ({"rate": 8000.0}, {"rate": True}, {"seconds": "1"}, {"seconds": float("nan")}):
        with pytest.raises(ConfigError):
            data.read(folder, **wrong)


def test_defaults_from_the_data():
    assert default_rate([44100, 8000, 44100]) == 16000
    assert default_rate([8000, 8000, 44100]) == 8000
    assert default_rate([1000]) == 4000
    assert default_seconds([0.5] * 96 + [9.0] * 4) == pytest.approx(0.5)
    assert default_seconds([3600.0]) == 10
    assert default_seconds([0.001]) == 0.1


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "npz", "npy", "OGG"])
def test_damage_anywhere_gives_our_errors_only(kind, tmp_path):
    """Bytes changed, cut and repeated at random: whatever comes out is a data set or an error of ours."""
    rng = np.random.default_rng(0)
    path = tmp_path / f"a.{kind.lower()}"
    if kind in ("npz", "npy"):
        waves = np.stack([tone(0.05)] * 4)
        np.save(path, waves) if kind == "npy" else np.savez_compressed(path, sounds=waves, rate=RATE)
    else:
        path.write_bytes(encoded(tone(0.2), kind=kind))
    whole = path.read_bytes()
    failed = 0
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), rng.integers(1, 6)):
            content[place] = rng.integers(256)
        path.write_bytes(content[: rng.integers(1, len(content))] if rng.random() < 0.3 else content)
        try:
            data.read(path, rate=RATE if kind == "npy" else None).fetch(torch.tensor([0]))
        except TwofoldError:
            failed += 1
    assert failed > 0
