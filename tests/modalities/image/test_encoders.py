"""Encoders by name: shapes, names of parameters, normalisation, and rebuilding without weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.image.backbones.resnet import BasicBlock, Bottleneck
from twofold.modalities.image.backbones.vit import Attention, VisionTransformer, sincos_positions
from twofold.modalities.image.encoders import ENCODERS, ImageEncoder, make_encoder


def spec(size: int = 32, channels: int = 3) -> dict[str, Any]:
    return {"channels": channels, "size": size, "mean": [0.4] * channels, "std": [0.2] * channels, "samples": 10}


def pictures(size: int = 32, channels: int = 3, count: int = 2) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "size", "channels", "dim"),
    [
        ("convnet", 32, 3, 128),
        ("convnet", 8, 1, 128),
        ("convnet-w64", 28, 1, 256),
        ("resnet18-w8", 8, 1, 64),
        ("resnet18-w8", 65, 3, 64),
        ("resnet18", 32, 3, 512),
        ("resnet34-w8", 32, 3, 64),
        ("resnet50-w8", 32, 3, 256),
        ("vit-tiny-d2", 28, 1, 192),
        ("vit-tiny-p4-d1", 32, 3, 192),
        ("vit-small-d1-sincos", 32, 3, 384),
        ("mlp", 8, 1, 256),
        ("mlp-w64", 16, 3, 64),
    ],
)
def test_every_name_gives_features_and_gradients(name: str, size: int, channels: int, dim: int):
    encoder = make_encoder(name, spec(size, channels))
    features = encoder(pictures(size, channels))
    assert features.shape == (2, dim)
    assert encoder.dim == dim
    assert encoder.rebuild == {}
    if "resnet" in name:  # a last batch norm of zero stops the gradient of its block at the start
        for module in encoder.modules():
            if isinstance(module, BasicBlock):
                nn.init.ones_(module.bn2.weight)
            if isinstance(module, Bottleneck):
                nn.init.ones_(module.bn3.weight)
        features = encoder(pictures(size, channels))
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).sum().backward()
    for parameter_name, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name
            assert parameter.grad.abs().sum() > 0 or "qkv.bias" in parameter_name, parameter_name


@pytest.mark.parametrize("name", ["convnet", "resnet18-w8", "resnet50-w8", "vit-tiny-d1"])
def test_channels_last_gives_the_same(name: str):
    encoder = make_encoder(name, spec()).eval()
    expected = encoder(pictures())
    encoder = encoder.to(memory_format=torch.channels_last)
    images = pictures().to(memory_format=torch.channels_last)
    torch.testing.assert_close(encoder(images), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["convnet", "resnet18-w8", "vit-tiny-d1"])
def test_features_are_pooled_maps_or_stand_beside_them(name: str):
    encoder = make_encoder(name, spec()).eval()
    maps = encoder.maps(pictures())
    assert maps.shape[:2] == (2, encoder.dim)
    if "vit" in name:
        tokens = encoder.backbone.tokens(encoder._prepared(pictures()))
        torch.testing.assert_close(maps.flatten(2).transpose(1, 2), tokens[:, 1:])
    else:
        torch.testing.assert_close(maps.mean((2, 3)), encoder(pictures()))


def test_normalisation_is_inside():
    class Echo(nn.Module):
        dim = 3

        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))

    facts = spec() | {"mean": [0.1, 0.2, 0.3], "std": [0.5, 1.0, 2.0]}
    got = make_encoder(Echo(), facts)(torch.ones(1, 3, 4, 4))
    torch.testing.assert_close(got, torch.tensor([[1.8, 0.8, 0.35]]))


def test_the_seed_decides_the_weights():
    def weights(seed: int) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return make_encoder("convnet", spec()).backbone.layers[0].weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_an_encoder_comes_back_from_its_name_and_state():
    first, second = (make_encoder("resnet18-w8", spec()) for _ in range(2))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second.eval()(pictures()), first.eval()(pictures()))
    assert {"mean", "std"} <= set(first.state_dict())


# --- residual networks ------------------------------------------------------------------------------------------------

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
RESNET18 = {
    "conv1.weight",
    *(f"bn1.{entry}" for entry in _NORM),
    *(f"layer{s}.{b}.conv{c}.weight" for s in (1, 2, 3, 4) for b in (0, 1) for c in (1, 2)),
    *(f"layer{s}.{b}.bn{c}.{entry}" for s in (1, 2, 3, 4) for b in (0, 1) for c in (1, 2) for entry in _NORM),
    *(f"layer{s}.0.downsample.0.weight" for s in (2, 3, 4)),
    *(f"layer{s}.0.downsample.1.{entry}" for s in (2, 3, 4) for entry in _NORM),
}


def test_resnet18_has_torchvisions_parameters():
    backbone = make_encoder("resnet18", spec(224)).backbone
    state = backbone.state_dict()
    assert set(state) == RESNET18
    shapes = {
        name: tuple(state[name].shape) for name in ("conv1.weight", "layer2.0.conv1.weight", "layer4.1.conv2.weight")
    }
    assert shapes == {
        "conv1.weight": (64, 3, 7, 7),
        "layer2.0.conv1.weight": (128, 64, 3, 3),
        "layer4.1.conv2.weight": (512, 512, 3, 3),
    }
    assert state["layer3.0.downsample.0.weight"].shape == (256, 128, 1, 1)
    # Known sizes of the published networks, without their classifiers of 1000 classes.
    assert sum(p.numel() for p in backbone.parameters()) == 11_689_512 - 513_000


def test_resnet50_has_the_published_size():
    backbone = make_encoder("resnet50", spec(224)).backbone
    assert sum(p.numel() for p in backbone.parameters()) == 25_557_032 - 2_049_000
    assert backbone.layer1[0].downsample is not None
    assert backbone.layer2[0].conv2.stride == (2, 2)
    assert backbone.layer2[0].conv1.stride == (1, 1)


def test_resnets_choose_their_stem_by_size():
    small, large = make_encoder("resnet18-w8", spec(64)), make_encoder("resnet18-w8", spec(65))
    assert small.maps(pictures(64)).shape == (2, 64, 8, 8)
    assert large.maps(pictures(64)).shape == (2, 64, 2, 2)
    assert small.backbone.conv1.kernel_size == (3, 3)
    assert isinstance(small.backbone.maxpool, nn.Identity)


def test_every_residual_block_starts_as_the_identity():
    block = BasicBlock(8, 8, 1)
    maps = pictures(6, 8).abs()
    torch.testing.assert_close(block(maps), maps)


# --- vision transformers ----------------------------------------------------------------------------------------------


def test_half_precision_on_cpus_takes_the_explicit_attention(monkeypatch: pytest.MonkeyPatch):
    layer = Attention(16, 2)
    tokens = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    full = layer(tokens)

    def refuse(*_: Any, **__: Any) -> Tensor:
        raise AssertionError("the fused kernel was called")

    monkeypatch.setattr(F, "scaled_dot_product_attention", refuse)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(tokens)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), full, atol=0.02, rtol=0.05)
    with pytest.raises(AssertionError, match="was called"):
        layer(tokens)


def test_vit_small_has_the_published_size():
    backbone = VisionTransformer(224, 3, patch=16, dim=384, heads=6)
    assert sum(p.numel() for p in backbone.parameters()) == 22_050_664 - 385_000  # DeiT-S without its classifier


@pytest.mark.parametrize(("size", "grid"), [(32, 8), (28, 7), (8, 8), (224, 8), (96, 8)])
def test_the_default_patch_is_near_an_eighth(size: int, grid: int):
    assert make_encoder("vit-tiny-d1", spec(size)).backbone.grid == grid


def test_vits_take_other_sizes_too():
    encoder = make_encoder("vit-tiny-p4-d1", spec(32)).eval()
    assert encoder(pictures(16)).shape == (2, 192)
    assert encoder.maps(pictures(16)).shape == (2, 192, 4, 4)
    with pytest.raises(ValueError, match="do not divide into patches of 4"):
        encoder(pictures(30))


def test_patches_must_divide_the_size():
    with pytest.raises(
        ConfigError, match="patch size 5 does not divide the picture size 32; possible: 1, 2, 4, 8, 16, 32"
    ):
        make_encoder("vit-tiny-p5", spec(32))


def test_sincos_positions_are_fixed_distinct_and_symmetric():
    grid = sincos_positions(5, 32).view(5, 5, 32)
    assert torch.unique(grid.view(25, 32), dim=0).shape == (25, 32)
    torch.testing.assert_close(grid[2, 4, :16], grid[4, 2, 16:])  # columns first, rows second
    encoder = make_encoder("vit-tiny-d1-sincos", spec())
    assert not encoder.backbone.pos_embed.requires_grad
    assert make_encoder("vit-tiny-d1", spec()).backbone.pos_embed.requires_grad


# --- names and modules of one's own -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "no encoder 'resnet19'; did you mean 'resnet18'"),
        ("resent18-w16", "did you mean 'resnet18'"),
        ("something", "there are: convnet"),
        ("resnet18-p4", r"resnet18 has no option '-p4'; it has -wNUMBER \(width\)"),
        ("resnet18-w0", "no option '-w0'"),
        ("convnet-sincos", "no option '-sincos'"),
        ("hg:some/model", "no source 'hg'"),
        ("mlp", "up to 64 × 64, these are 65 × 65"),
    ],
)
def test_unknown_names_are_explained(name: str, message: str):
    with pytest.raises(ConfigError, match=message):
        make_encoder(name, spec(65))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": [0.5]}, r"spec\['mean'\] has 1 values for 3 channels"),
        ({"std": [0.1, 0.0, 0.1]}, "must be positive"),
        ({"mean": [0.5], "std": [0.0]}, "3 problems"),
    ],
)
def test_bad_specs_are_explained(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        make_encoder("convnet", spec() | changes)
    with pytest.raises(ConfigError, match="lacks channels, mean, std"):
        make_encoder("convnet", {"size": 3})


def test_bad_pictures_are_explained():
    encoder = make_encoder("convnet", spec())
    with pytest.raises(ValueError, match=r"\(n, 3, s, s\), got \(2, 4, 32, 32\)"):
        encoder(torch.rand(2, 4, 32, 32))
    with pytest.raises(TypeError, match=r"floats in \[0, 1\], got torch.uint8"):
        encoder(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="no feature maps"):
        make_encoder("mlp", spec(8)).maps(pictures(8))


def test_modules_of_ones_own_are_measured_and_left_as_they_were():
    norm = nn.BatchNorm2d(3)
    module = nn.Sequential(norm, nn.Dropout(), nn.AdaptiveAvgPool2d(2), nn.Flatten()).train()
    module[1].eval()
    encoder = make_encoder(module, spec())
    assert encoder.dim == 12
    assert encoder.backbone is module
    assert (norm.training, module[1].training) == (True, False)
    assert int(norm.num_batches_tracked) == 0
    assert make_encoder(encoder, {}) is encoder


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Conv2d(3, 4, 3), r"must give a tensor \(n, dim\), it gave shape \(2, 4, 30, 30\)"),
        (nn.Linear(7, 4), r"Linear fails on a batch of shape \(2, 3, 32, 32\)"),
    ],
)
def test_modules_that_do_not_fit(module: nn.Module, message: str):
    with pytest.raises(ConfigError, match=message):
        make_encoder(module, spec())


def test_all_names_are_listed_in_the_docstring():
    assert all(f"``{name}``" in (make_encoder.__doc__ or "") for name in ENCODERS)
    assert isinstance(make_encoder("convnet", spec()), ImageEncoder)
