"""Clips as a modality: encoders, raw features, previews, and training on generated clips."""

from __future__ import annotations

import inspect
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import twofold
from twofold import modalities
from twofold.errors import ConfigError, DataError
from twofold.modalities.video import MODALITY, RAW_SIZE, data
from twofold.modalities.video.encoders import VideoEncoder, make_encoder

SPEC = {
    "modality": "video",
    "channels": 3,
    "size": 16,
    "frames": 8,
    "fps": 8.0,
    "stride": 1,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "samples": 8,
}
QUICK = {"batch_size": 20, "lr": 5e-3, "workers": 0, "precision": "float32"}


def moving(each, seed):
    """A speckled square over a speckled ground that moves right, moves left, blinks, grows or stays: five classes.

    The place, the speckles and the brightness say nothing about the class, so a single frame does not tell it.
    """
    draw = np.random.default_rng(seed)
    clips, labels = [], []
    for i in range(5 * each):
        kind, clip = i % 5, np.repeat(draw.uniform(0, 0.4, (1, 16, 16)), 8, axis=0)
        top, speckles = draw.integers(2, 8), draw.uniform(0.5, 1, (6, 6))
        for t in range(8):
            side = 2 + t // 2 if kind == 3 else 5
            left = {0: 1 + t, 1: 9 - t}.get(kind, 5)
            if kind != 2 or t % 2:
                clip[t, top : top + side, left : left + side] = speckles[:side, :side]
        clips.append(clip)
        labels.append(kind)
    return np.stack(clips).astype(np.float32), labels


@pytest.fixture(scope="module")
def clips():
    return data.read(moving(12, 0))


@pytest.fixture(scope="module")
def held_out():
    return data.read(moving(12, 1))


def test_it_is_found_by_name_and_has_all_that_a_modality_has():
    assert modalities.get("video") is MODALITY
    members = {n for n in vars(modalities.Modality) | modalities.Modality.__annotations__ if not n.startswith("_")}
    assert [name for name in members if not hasattr(MODALITY, name)] == []
    ours, theirs = (inspect.signature(read).parameters for read in (MODALITY.read, data.read))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_training_beats_the_untrained_encoder_and_is_saved(clips, held_out, tmp_path):
    model = twofold.CVRL(encoder="r3d-w4", hidden_dim=64, views="weak").fit(clips, epochs=16, **QUICK)
    report = model.evaluate(clips, test=held_out, metrics=("knn",))
    rows = {row.name: row.metrics["knn"].value for row in report.rows}
    assert set(rows) == {"trained", "untrained", "raw"}
    assert rows["trained"] > rows["untrained"] + 0.2
    assert rows["trained"] > 0.6
    vectors = model.embed(held_out)
    assert vectors.shape == (60, model.encoder.dim)
    model.save(tmp_path / "saved")
    assert torch.equal(twofold.load(tmp_path / "saved").embed(held_out), vectors)


def test_files_are_brought_to_the_form_of_training(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (12, 6, 16, 16, 3), np.uint8)
    model = twofold.SimCLR(modality="video", encoder="frames-convnet-w4")
    model.fit(colours, epochs=1, batch_size=6, workers=0)
    for t, frame in enumerate(colours[0]):
        Image.fromarray(frame).save(tmp_path / f"{t}.png")
    assert torch.allclose(model.embed(tmp_path), model.embed(colours[:1]), atol=1e-3)
    assert torch.allclose(model.embed(colours[:2, ..., :1].repeat(3, -1)), model.embed(colours[:2, ..., 0]), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dim"),
    [("r3d", 256), ("r3d-w8-d2", 64), ("r2plus1d-w4", 32), ("frames-convnet", 256), ("frames-convnet-w8", 64)],
)
def test_encoders_by_name(name, dim):
    encoder = MODALITY.make_encoder(name, SPEC, rebuild={})
    assert (encoder.dim, encoder.rebuild) == (dim, {})
    for frames, size in ((1, 16), (5, 8), (9, 20)):
        assert encoder.eval()(torch.rand(2, frames, 3, size, size)).shape == (2, dim)
    encoder(torch.rand(3, 4, 3, 16, 16)).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize(("name", "count"), [("r3d-w64-d2", 33_371_472), ("r2plus1d-w64-d2", 31_505_325)])
def test_width_64_and_depth_2_are_the_published_networks(name, count):
    """Parameters as torchvision states them for R3D-18 and R(2+1)D-18, without their classifier of 400 classes."""
    with torch.device("meta"):
        encoder = make_encoder(name, SPEC)
    assert sum(p.numel() for p in encoder.parameters()) == count - (512 + 1) * 400


def test_only_what_looks_in_time_tells_the_order_of_frames():
    clip = torch.rand(2, 6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for name, blind in (("r3d-w4", False), ("r2plus1d-w4", False), ("frames-convnet-w4", True)):
        torch.manual_seed(0)
        encoder = make_encoder(name, SPEC).eval()
        assert torch.allclose(encoder(clip), encoder(clip.flip(1)), atol=1e-5) == blind


def test_encoders_normalise_and_take_modules():
    class Itself(nn.Module):
        def forward(self, x):
            return x.flatten(1)

    encoder = make_encoder(Itself(), SPEC)
    assert make_encoder(encoder, SPEC) is encoder
    x = torch.rand(2, 4, 3, 16, 16)
    mean, std = (torch.tensor(SPEC[key]).reshape(1, 1, 3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(encoder(x), ((x - mean) / std).transpose(1, 2).flatten(1))
    assert set(encoder.state_dict()) == {"mean", "std"}


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("r2plus1", "there is no encoder 'r2plus1'; did you mean 'r2plus1d'"),
        ("frames-convnet-d3", r"no option '-d3'; it has -wNUMBER \(width\)"),
        (nn.Conv2d(3, 3, 3), "the encoder Conv2d fails on a batch of shape"),
        (nn.Identity(), r"must give a tensor \(n, dim\)"),
    ],
)
def test_encoders_that_there_are_not(encoder, message):
    with pytest.raises(ConfigError, match=message):
        make_encoder(encoder, SPEC)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 4, 1, 16, 16)])
def test_what_is_no_clip_is_refused(shape):
    with pytest.raises(ValueError, match=r"clips must have shape \(n, frames, 3, size, size\)"):
        VideoEncoder(nn.Flatten(), SPEC)(torch.zeros(shape))


def test_raw_features_are_the_mean_frame_and_the_change():
    batch = {"inputs": torch.zeros(2, 4, 1, 8, 8, dtype=torch.uint8), "length": torch.tensor([4, 2])}
    batch["inputs"][0, ::2, :, :4] = 255  # the upper half blinks, three changes of three
    batch["inputs"][1, :2] = 51  # does not change
    rows = MODALITY.raw_features(batch, SPEC | {"size": 8, "channels": 1})
    mean, change = rows.reshape(2, 2, 8, 8).unbind(1)
    assert torch.allclose(mean[0, :4], torch.tensor(0.5))
    assert torch.allclose(change[0, :4], torch.tensor(1.0))
    assert float(mean[0, 4:].abs().max()) == float(change[0, 4:].abs().max()) == 0
    assert torch.allclose(mean[1], torch.tensor(0.2))
    assert float(change[1].abs().max()) < 1e-6
    large = {"inputs": torch.zeros(2, 4, 3, 64, 64)}
    assert MODALITY.raw_features(large, SPEC | {"size": 64}).shape == (2, 4 * RAW_SIZE**2)


def test_previews_are_middle_frames():
    clips = np.zeros((2, 4, 80, 80), np.uint8)
    clips[0, 2] = 200
    pictures = [Image.open(io.BytesIO(p)) for p in MODALITY.previews(data.read(clips), torch.tensor([0, 1]))]
    assert [(p.format, p.size, p.mode) for p in pictures] == [("PNG", (64, 64), "RGB")] * 2
    assert [p.getpixel((30, 30)) for p in pictures] == [(200,) * 3, (0,) * 3]


def test_what_fits(clips):
    MODALITY.check_fits(clips, SPEC)
    assert MODALITY.reading_for(SPEC) == {"size": 16, "frames": 8, "fps": 8.0, "stride": 1}
    assert MODALITY.reading_with("r3d") == MODALITY.training_defaults(SPEC) == {}
    with pytest.raises(DataError, match="trained on clips, the data is 'image'"):
        MODALITY.check_fits(twofold.data.digits("test"), SPEC)


def test_views_by_preference():
    assert MODALITY.choose_views(SPEC, preferred="multi-crop") == "clips"
    assert MODALITY.choose_views(SPEC, preferred="cvrl") == "cvrl"
    views = MODALITY.make_views(None, SPEC, preferred="simclr", count=3)
    assert (len(views), views.timing.frames) == (3, 4)


def test_names_and_tasks_are_checked_before_there_is_data():
    assert MODALITY.problems(None, None) == MODALITY.problems("r3d-w16", "cvrl-uniform") == []
    encoder, views = MODALITY.problems("resnet18", "simclr")
    assert "there is no encoder 'resnet18'" in encoder
    assert "no views called 'simclr'" in views
    assert MODALITY.task(None, SPEC) is None
    with pytest.raises(ConfigError, match="no task 'sts' for video"):
        MODALITY.task(None, SPEC, name="sts")


def test_the_description_says_what_was_read(clips):
    assert MODALITY.describe(clips) == "60 clips of up to 8 frames, 16 × 16 pixels, grey. 5 classes; 12 clips a class."
