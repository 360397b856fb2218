"""Image encoders by name: `make_encoder`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.encoders import from_name, measured_dim, parsed
from twofold.modalities.image.backbones.convolutional import MLP, ConvNet, PatchNet
from twofold.modalities.image.backbones.pretrained import MAX_SIDE, SOURCES
from twofold.modalities.image.backbones.resnet import BasicBlock, Bottleneck, ResNet
from twofold.modalities.image.backbones.vit import VisionTransformer
from twofold.modalities.transformers_models import shortened
from twofold.options import did_you_mean

__all__ = ["ENCODERS", "ImageEncoder", "make_encoder"]

SMALL_PICTURE = 64
"""Up to this side, in pixels, residual networks get the stem for small pictures."""

_MLP_PIXELS = 3 * 64 * 64
_OPTIONS = {"w": "width", "p": "patch", "d": "depth"}
_FLAGS = {"sincos": "p"}
_ELSEWHERE = tuple(f"{source}:NAME" for source in SOURCES)


class ImageEncoder(nn.Module):
    """Pictures (n, channels, s, s) with values in [0, 1] to features (n, dim): normalise, then the backbone.

    Works in the channels-last memory format too. State: `mean`, `std` and `backbone.*`.

    Args:
        backbone: (n, channels, s, s), normalised, to (n, dim).
        dim: How many numbers it gives a picture.
        mean: Per channel, subtracted.
        std: Per channel, divided by; > 0.
        size: Pictures are resized to this side first, antialiased; None: left as they are.
        rebuild: What `make_encoder` needs to build the backbone again without weights or network; {} if its name
            says all.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        dim: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        size: int | None = None,
        rebuild: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        self.size = size
        self.rebuild: dict[str, Any] = dict(rebuild or {})
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim)."""
        return self.backbone(self._prepared(images))

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps (n, dim, h, w), for methods that compare places; not every backbone has them.

        Raises:
            ConfigError: If the backbone has no `maps`.
        """
        maps = getattr(self.backbone, "maps", None)
        if not callable(maps):
            raise ConfigError(
                f"{type(self.backbone).__name__} has no feature maps, which this method needs; choose a convnet, "
                "resnet or vit encoder, or give your module a method maps(images) -> (n, dim, h, w)"
            )
        return maps(self._prepared(images))

    def _prepared(self, images: Tensor) -> Tensor:
        channels = self.mean.shape[1]
        if images.dim() != 4 or images.shape[1] not in (1, channels):
            raise ValueError(f"images must have shape (n, {channels}, s, s), got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise TypeError(f"images must be floats in [0, 1], got {images.dtype}; divide uint8 by 255")
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return (images - self.mean) / self.std  # one grey channel broadcasts to those the backbone expects


def make_encoder(
    name: str | nn.Module, spec: Mapping[str, Any], *, rebuild: Mapping[str, Any] | None = None
) -> ImageEncoder:
    """An encoder by name, or around a module of your own.

    Names (a suffix such as -w16 or -p4 sets an option):

    - ``convnet`` (three convolutions, 128 features), ``convnet-w64`` (first layer 64 wide instead of 32);
    - ``patchnet`` (strided stem, two convolutions, four pooled places, 768 features): several times faster than
      ``convnet``; ``patchnet-w32`` (stem 32 wide instead of 48);
    - ``resnet18``, ``resnet34``, ``resnet50``, ``resnet18-w16`` (first stage 16 wide instead of 64); up to 64 px with
      the stem for small pictures;
    - ``vit-tiny`` (192 wide, 3 heads), ``vit-small`` (384 wide, 6 heads), 12 blocks; ``vit-tiny-p4-d6`` (patches of
      4 px, 6 blocks); by default the patch is the divisor of the size that is nearest to an eighth of it;
      ``-sincos`` for fixed positions;
    - ``mlp`` for tiny pictures, ``mlp-w512``;
    - ``hf:NAME_OR_FOLDER``, ``timm:NAME``, ``torchvision:NAME``: with their pre-trained weights, unless ``@scratch``
      follows the name.

    Random weights are drawn from torch's global generator; to choose them, call this inside ``torch.random.fork_rng()``
    after ``torch.manual_seed``.

    Args:
        name: A name, or a module (n, channels, s, s) -> (n, dim) that takes pictures normalised by the spec's mean and
            std; its `dim` is read from it, or found with a blank picture. An `ImageEncoder` is handed back as it is.
        spec: Of the data: "channels", "size", "mean", "std".
        rebuild: The `rebuild` of an encoder made earlier from the same name and spec: builds the same architecture
            with random weights, without network or files. Empty or None: as the name says.

    Returns:
        The encoder, with `dim` and `rebuild` (JSON-able; {} unless the name is of another library).

    Raises:
        ConfigError: For an unknown name or option, or a spec that lacks something.
        MissingExtraError: If the name's library is not installed.
    """
    if isinstance(name, ImageEncoder):
        return name
    _check_spec(spec)
    if isinstance(name, nn.Module):
        return _around(name, spec, rebuild={})
    check_name(name)
    prefix, colon, rest = name.partition(":")
    if not colon:
        own = from_name(name, spec, ENCODERS, _OPTIONS, flags=_FLAGS, elsewhere=_ELSEWHERE)
        return _around(own, spec, rebuild={})
    outside = SOURCES[prefix](rest, spec, rebuild or {})
    stated = {"mean": outside.mean, "std": outside.std}
    _check_spec({**spec, **stated, "channels": len(outside.mean) if isinstance(outside.mean, list) else 0})
    return _around(outside.network, {**spec, **stated}, rebuild=outside.rebuild, size=outside.size)


def _around(
    backbone: nn.Module, spec: Mapping[str, Any], *, rebuild: dict[str, Any], size: int | None = None
) -> ImageEncoder:
    if spec["channels"] not in (1, len(spec["mean"])):  # one grey channel is repeated
        raise ConfigError(f"the encoder expects {len(spec['mean'])} channels, the pictures have {spec['channels']}")
    encoder = ImageEncoder(backbone, 0, mean=spec["mean"], std=spec["std"], size=size, rebuild=rebuild)
    stated = getattr(backbone, "dim", None)
    encoder.dim = stated if isinstance(stated, int) else measured_dim(encoder, _blank(spec))
    return encoder


def _blank(spec: Mapping[str, Any]) -> Tensor:
    return torch.zeros(2, spec["channels"], spec["size"], spec["size"])


def _convnet(spec: Mapping[str, Any], *, width: int = 32) -> nn.Module:
    return ConvNet(spec["channels"], width)


def _patchnet(spec: Mapping[str, Any], *, width: int = 48) -> nn.Module:
    return PatchNet(spec["channels"], width)


def _mlp(spec: Mapping[str, Any], *, width: int = 256) -> nn.Module:
    pixels = spec["channels"] * spec["size"] ** 2
    if pixels > _MLP_PIXELS:
        raise ConfigError(f"encoder 'mlp' is for pictures up to 64 × 64, these are {spec['size']} × {spec['size']}")
    return MLP(pixels, width)


def _resnet(block: type[BasicBlock] | type[Bottleneck], *depths: int) -> Callable[..., nn.Module]:
    def build(spec: Mapping[str, Any], *, width: int = 64) -> nn.Module:
        return ResNet(block, depths, spec["channels"], width=width, small=spec["size"] <= SMALL_PICTURE)

    return build


def _vit(dim: int, heads: int) -> Callable[..., nn.Module]:
    def build(spec: Mapping[str, Any], *, patch: int | None = None, depth: int = 12, sincos: bool = False) -> nn.Module:
        size = spec["size"]
        return VisionTransformer(
            size,
            spec["channels"],
            patch=patch or _default_patch(size),
            dim=dim,
            depth=depth,
            heads=heads,
            positions="sincos" if sincos else "learnable",
        )

    return build


ENCODERS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "convnet": (_convnet, "w"),
    "patchnet": (_patchnet, "w"),
    "resnet18": (_resnet(BasicBlock, 2, 2, 2, 2), "w"),
    "resnet34": (_resnet(BasicBlock, 3, 4, 6, 3), "w"),
    "resnet50": (_resnet(Bottleneck, 3, 4, 6, 3), "w"),
    "vit-tiny": (_vit(192, 3), "pd"),
    "vit-small": (_vit(384, 6), "pd"),
    "mlp": (_mlp, "w"),
}
"""Name → function of the spec, and the letters of the options it takes."""


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder can have this name; whether data suits it, or a library has it, shows later."""
    prefix, colon, _ = name.partition(":")
    if not colon:
        parsed(name, ENCODERS, _OPTIONS, flags=_FLAGS, elsewhere=_ELSEWHERE)
    elif prefix not in SOURCES:
        raise ConfigError(f"encoder {name!r}: no source {prefix!r}{did_you_mean(prefix, SOURCES)}")


def _default_patch(size: int) -> int:
    """The divisor of `size` nearest to size / 8; the smaller one of two that are as near."""
    return min((p for p in range(1, size + 1) if size % p == 0), key=lambda p: (abs(p - size / 8), p))


def _check_spec(spec: Mapping[str, Any]) -> None:
    missing = [key for key in ("channels", "size", "mean", "std") if key not in spec]
    if missing:
        raise ConfigError(f"the spec of image data lacks {', '.join(missing)}; it has: {', '.join(spec) or 'nothing'}")
    problems = [
        f"spec[{key!r}] must be a whole number in 1..{MAX_SIDE}, got {shortened(spec[key])}"
        for key in ("channels", "size")
        if type(spec[key]) is not int or not 1 <= spec[key] <= MAX_SIDE
    ]
    problems += [
        f"spec[{key!r}] must be a list of finite numbers, got {shortened(spec[key])}"
        for key in ("mean", "std")
        if not isinstance(spec[key], list | tuple) or not all(_is_finite(value) for value in spec[key])
    ]
    if not problems:
        problems += [
            f"spec[{key!r}] has {len(spec[key])} values for {spec['channels']} channels"
            for key in ("mean", "std")
            if len(spec[key]) != spec["channels"]
        ]
        if any(value <= 0 for value in spec["std"]):
            problems.append(f"spec['std'] must be positive in every channel, got {spec['std']}")
    if problems:
        raise ConfigError(problems)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < math.inf
