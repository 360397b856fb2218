"""Sounds as a modality: encoders, raw features, previews, and recipes that learn from generated sounds."""

from __future__ import annotations

import inspect
import io
import math

import pytest
import soundfile
import torch
from PIL import Image
from torch import nn

import twofold
from twofold import modalities
from twofold.errors import ConfigError, DataError
from twofold.modalities.audio import CEPSTRA, MODALITY, data
from twofold.modalities.audio.encoders import AudioEncoder, make_encoder, positions
from twofold.modalities.audio.pictures import spectrogram_png
from twofold.modalities.audio.spectrogram import MELS

RATE, SECONDS = 8000, 0.6
SPEC = {"modality": "audio", "rate": RATE, "length": 4800, "mels": MELS, "mean": -12.0, "std": 4.0, "samples": 8}
QUICK = {"epochs": 25, "batch_size": 40, "lr": 2e-3, "workers": 0, "precision": "float32"}


def generated(each, seed):
    """Chirps up and down, clicks, noise bands, tones: five classes whose pitch, level and place say nothing.

    They come as (waveforms, labels).
    """
    draw = torch.Generator().manual_seed(seed)
    time = torch.arange(4800) / RATE
    clips, labels = [], []
    for i in range(5 * each):
        kind = i % 5
        pitch = 300 * 2 ** (3 * float(torch.rand(1, generator=draw)))
        sweep = 1500 * (1 + float(torch.rand(1, generator=draw)))
        noise = torch.randn(4800, generator=draw)
        if kind < 2:
            wave = torch.sin(
                2 * math.pi * (pitch * time + (sweep / 2 * time**2 if kind else sweep * (0.6 - time / 2) * time))
            )
        elif kind == 2:
            wave = noise * (torch.remainder(time * (4 + pitch / 300), 1) < 0.03)
        elif kind == 3:
            wave = noise * torch.sin(2 * math.pi * pitch / 4 * time)
        else:
            wave = sum(torch.sin(2 * math.pi * pitch * k * time) / k for k in (1, 2, 3))
        level = 10 ** (-2.5 * float(torch.rand(1, generator=draw)))
        clips.append(level * wave / wave.abs().max() + 1e-3 * torch.randn(4800, generator=draw))
        labels.append(kind)
    return torch.stack(clips), labels


@pytest.fixture(scope="module")
def sounds():
    return data.read(generated(16, 0), rate=RATE)


@pytest.fixture(scope="module")
def held_out():
    return data.read(generated(16, 1), rate=RATE)


@pytest.fixture(scope="module")
def trained(sounds):
    return twofold.SimCLR(modality="audio", encoder="logmel-convnet-w8").fit(sounds, **QUICK)


def test_it_is_found_by_name_and_has_all_that_a_modality_has():
    assert modalities.get("audio") is MODALITY
    members = {n for n in vars(modalities.Modality) | modalities.Modality.__annotations__ if not n.startswith("_")}
    assert [name for name in members if not hasattr(MODALITY, name)] == []
    ours, theirs = (inspect.signature(read).parameters for read in (MODALITY.read, data.read))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_training_beats_the_untrained_encoder_on_sounds_it_has_not_heard(trained, sounds, held_out):
    report = trained.evaluate(sounds, test=held_out, metrics=("knn",))
    rows = {row.name: row.metrics["knn"].value for row in report.rows}
    assert set(rows) == {"trained", "untrained", "raw"}
    assert rows["trained"] > rows["untrained"] + 0.05
    assert rows["trained"] > 0.6


def test_saved_and_loaded_it_embeds_as_before(trained, held_out, tmp_path):
    rows = trained.embed(held_out)
    assert rows.shape == (80, trained.encoder.dim)
    trained.save(tmp_path / "saved")
    assert torch.equal(twofold.load(tmp_path / "saved").embed(held_out), rows)


def test_files_are_brought_to_the_rate_and_length_of_training(trained, held_out, tmp_path):
    for i, wave in enumerate(held_out.waves[:4]):
        soundfile.write(tmp_path / f"{i}.flac", torch.cat([wave, wave]).numpy(), RATE)
    assert torch.allclose(trained.embed(tmp_path), trained.embed(held_out)[:4], atol=1e-3)
    soundfile.write(tmp_path / "4.wav", held_out.waves[0].repeat_interleave(2).numpy(), 2 * RATE)
    assert trained.embed(tmp_path).shape == (5, trained.encoder.dim)


@pytest.mark.parametrize("recipe", ["byol", "moco-v2", "vicreg", "swav", "dino", "supcon"])
def test_recipes_run_unchanged(recipe, make_recipe, sounds):
    options = {"encoder": "logmel-convnet-w4", "modality": "audio"}
    model = make_recipe(recipe, **options).fit(sounds, **QUICK | {"epochs": 1})
    assert bool(torch.isfinite(model.embed(sounds)).all())


def test_a_short_sound_is_embedded_as_its_repetition(trained):
    wave = generated(1, 5)[0][4]
    short, repeated = (data.read([row], rate=RATE, seconds=SECONDS) for row in (wave[:2400], wave[:2400].repeat(2)))
    assert torch.allclose(trained.embed(short), trained.embed(repeated), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "dim"),
    [("logmel-convnet", 1024), ("logmel-convnet-w8", 256), ("ast-tiny-d1", 192), ("ast-tiny-w64-d2", 64)],
)
def test_encoders_by_name(name, dim):
    encoder = MODALITY.make_encoder(name, SPEC, rebuild={})
    assert (encoder.dim, encoder.rebuild) == (dim, {})
    for frames in (2, 17, 61, 200):
        assert encoder.eval()(torch.randn(2, 1, MELS, frames)).shape == (2, dim)
    encoder(torch.randn(4, 1, MELS, 61)).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_encoders_normalise():
    class Itself(nn.Module):
        def forward(self, x):
            return x.flatten(1)

    encoder = make_encoder(Itself(), SPEC)
    assert encoder.dim == MELS * 61
    assert make_encoder(encoder, SPEC) is encoder
    x = -12 + 4 * torch.randn(2, 1, MELS, 61, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(encoder(x), (x.flatten(1) + 12) / 4)
    assert set(encoder.state_dict()) == {"mean", "std"}


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("logmel-conv", "there is no encoder 'logmel-conv'; did you mean 'logmel-convnet'"),
        ("logmel-convnet-d3", r"no option '-d3'; it has -wNUMBER \(width\)"),
        ("ast-tiny-w100", "multiple of 64, not 100"),
        (nn.Linear(3, 3), "the encoder Linear fails on a batch of shape"),
        (nn.Identity(), r"must give a tensor \(n, dim\)"),
    ],
)
def test_encoders_that_there_are_not(encoder, message):
    with pytest.raises(ConfigError, match=message):
        make_encoder(encoder, SPEC)


@pytest.mark.parametrize("shape", [(2, MELS, 20), (2, 3, MELS, 20), (2, 1, 20, MELS)])
def test_what_is_no_spectrogram_is_refused(shape):
    with pytest.raises(ValueError, match=r"spectrograms must have shape \(n, 1, 64, frames\)"):
        AudioEncoder(nn.Flatten(), 1, mean=0, std=1)(torch.zeros(shape))


def test_positions_differ_everywhere():
    places = positions(64, 4, 9).flatten(1).T
    assert float(torch.pdist(places).min()) > 0.1
    assert torch.equal(positions(64, 4, 9)[:, :, :5], positions(64, 4, 5))


def test_raw_features_do_not_see_padding(sounds):
    batch = sounds.fetch(torch.arange(4))
    assert MODALITY.raw_features(batch, sounds.spec).shape == (4, 2 * CEPSTRA)
    short = {"inputs": batch["inputs"].clone(), "length": torch.full((4,), 2400)}
    other = {"inputs": batch["inputs"].clone(), "length": torch.full((4,), 2400)}
    other["inputs"][:, 2400:] = 1000
    assert torch.equal(MODALITY.raw_features(short, sounds.spec), MODALITY.raw_features(other, sounds.spec))
    without = MODALITY.raw_features({"inputs": batch["inputs"]}, sounds.spec)
    assert torch.allclose(without, MODALITY.raw_features(batch, sounds.spec))


def test_previews_are_spectrograms_with_low_tones_below(sounds):
    pictures = MODALITY.previews(sounds, torch.tensor([4, 0]))
    assert [Image.open(io.BytesIO(p)).size for p in pictures] == [(64, 64)] * 2
    spectrogram = torch.full((MELS, 30), -20.0)
    spectrogram[5] = 0
    picture = Image.open(io.BytesIO(spectrogram_png(spectrogram))).convert("L")
    bright = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(64, 64)
    assert int(bright.float().mean(1).argmax()) in range(57, 60)


def test_what_fits(sounds):
    MODALITY.check_fits(sounds, SPEC)
    assert MODALITY.reading_for(SPEC) == {"rate": RATE, "seconds": SECONDS}
    with pytest.raises(DataError, match="trained at 16000 Hz, the sounds have 8000 Hz"):
        MODALITY.check_fits(sounds, SPEC | {"rate": 16000})
    with pytest.raises(DataError, match="trained on sounds, the data is 'image'"):
        MODALITY.check_fits(twofold.data.digits("test"), SPEC)


def test_views_by_preference():
    assert MODALITY.choose_views(SPEC, preferred="multi-crop") == "sounds"
    assert MODALITY.choose_views(SPEC, preferred="byol-a") == "byol-a"
    assert len(MODALITY.make_views(None, SPEC, preferred="simclr", count=3)) == 3
    with pytest.raises(ConfigError, match="no views called 'sound'; did you mean 'sounds'"):
        MODALITY.make_views("sound", SPEC, preferred="simclr", count=2)


def test_names_are_checked_before_there_is_data():
    assert MODALITY.problems(None, None) == MODALITY.problems("logmel-convnet-w16", "cola") == []
    encoder, views = MODALITY.problems("resnet18", "simclr")
    assert "there is no encoder 'resnet18'" in encoder
    assert "no views called 'simclr'" in views


def test_the_description_says_what_was_read(sounds):
    assert MODALITY.describe(sounds) == "80 sounds of up to 0.6 s at 8,000 Hz, mono. 5 classes; 16 sounds a class."
