"""Encoders by name from transformers, timm and torchvision, and how to build them again without weights or network.

Each function returns an `Outside`: the network, the size and normalisation its weights expect, and a JSON-able
`rebuild` from which the same function makes the same architecture offline.

A `rebuild` may come from a file that somebody else wrote. It leads only to architectures that the libraries have
themselves: never to their hubs, to another folder, or to code that a configuration names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError, require
from twofold.modalities.transformers_models import (
    SCRATCH,
    as_facts,
    built_again,
    choose_attention,
    refuse_elsewhere,
    shortened,
)

_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
MAX_SIDE = 4096
"""Pixels: the largest side that an encoder may expect."""


@dataclass
class Outside:
    """A network from another library, and how to feed it.

    Attributes:
        network: (n, channels, s, s), normalised, to (n, dim).
        rebuild: JSON-able facts that build it again without its weights.
        size: The side it expects, or None if any will do.
        mean: Per channel, in [0, 1].
        std: Per channel, in [0, 1].
    """

    network: nn.Module
    rebuild: dict[str, Any]
    size: int | None
    mean: list[float]
    std: list[float]


class Pooled(nn.Module):
    """A transformers vision model, reduced to one vector a picture.

    Args:
        model: The model.
        pooling: "pooler" takes `pooler_output`; "mean" averages `last_hidden_state` over all tokens or places.
    """

    def __init__(self, model: nn.Module, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim)."""
        output = self.model(pixel_values=images)
        if self.pooling == "pooler":
            return output.pooler_output.flatten(1)
        hidden = output.last_hidden_state
        return hidden.mean(1) if hidden.dim() == 3 else hidden.mean((2, 3))


class Flattened(nn.Module):
    """A network whose maps (n, dim, 1, 1) or vectors come out as (n, dim)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim)."""
        return self.model(images).flatten(1)


def from_transformers(name: str, spec: Mapping[str, Any], rebuild: Mapping[str, Any]) -> Outside:
    """A vision model of Hugging Face's transformers, from the hub or a local folder.

    Only safetensors weights are loaded and no code that comes with them is run. Of a two-tower model (CLIP, SigLIP)
    the vision tower is taken. Where the checkpoint has no weights for the model's pooler, tokens are averaged instead,
    since a pooler with random weights would spoil the features.
    """
    library = require("transformers", extra="transformers", purpose=f"the encoder 'hf:{name}'")
    if rebuild:
        return _rebuilt(library, name, rebuild)
    bare, scratch = name.removesuffix(SCRATCH), name.endswith(SCRATCH)
    options = {"trust_remote_code": False, "local_files_only": Path(bare).is_dir()}
    try:
        config = library.AutoConfig.from_pretrained(bare, **options)
        whole, config = config, getattr(config, "vision_config", config)
        for part in (whole, config):  # what says where kernels come from is no part of the dictionary
            refuse_elsewhere({**part.to_dict(), "attn_implementation": part._attn_implementation}, f"hf:{name}")
        facts = _processing(library, bare, config, spec, options["local_files_only"])
        if scratch:
            model, pooler = library.AutoModel.from_config(config), True
        else:
            model, loading = library.AutoModel.from_pretrained(
                bare, config=config, use_safetensors=True, output_loading_info=True, **options
            )
            pooler = not any("pooler" in key for key in loading["missing_keys"])
        model = model.float()  # checkpoints may be stored in half precision
        pooler = pooler and _gives_pooled(model, config, facts["size"])
    except ConfigError:
        raise
    except Exception as error:  # the library raises whatever a configuration leads it to
        raise ConfigError(
            f"encoder 'hf:{name}' could not be loaded; is it a vision model with safetensors weights, and is the name "
            f"or folder right? Pickled weights are not read, and code that comes with a model is not run: if you trust "
            f"it, load it yourself and pass the module as the encoder. ({type(error).__name__}: {error})"
        ) from error
    facts["config"] = as_facts(config)
    facts["pooling"] = "pooler" if pooler else "mean"
    return _pooled(model.train(), facts)


def _rebuilt(library: Any, name: str, rebuild: Mapping[str, Any]) -> Outside:
    """The architecture that a `rebuild` describes, with random weights."""
    facts = {key: rebuild.get(key) for key in ("config", "pooling", "size", "mean", "std")}
    config, side = facts["config"], facts["size"]
    sized = side is None or (type(side) is int and 1 <= side <= MAX_SIDE)
    if not isinstance(config, dict) or facts["pooling"] not in ("pooler", "mean") or not sized:
        raise ConfigError(f"encoder 'hf:{name}': what it should be built again from is damaged: {shortened(rebuild)}")
    return _pooled(built_again(library, config, f"hf:{name}"), facts)


def from_timm(name: str, spec: Mapping[str, Any], rebuild: Mapping[str, Any]) -> Outside:
    """A timm model without its classifier, made for the channels of `spec`."""
    timm = require("timm", extra="timm", purpose=f"the encoder 'timm:{name}'")
    scratch, bare = name.endswith(SCRATCH), _library_name("timm", name.removesuffix(SCRATCH), rebuild)
    channels = int(spec["channels"])
    try:
        model = timm.create_model(bare, pretrained=not scratch and not rebuild, num_classes=0, in_chans=channels)
    except (RuntimeError, OSError, ValueError) as error:
        raise ConfigError(
            f"encoder 'timm:{name}' could not be made ({error}); timm.list_models() lists names"
        ) from error
    expected = model.pretrained_cfg
    size = int(expected["input_size"][-1]) if expected.get("fixed_input_size") else None
    mean, std = (_for_channels([float(v) for v in expected[key]], channels) for key in ("mean", "std"))
    return Outside(Flattened(model), {"timm": bare}, size, mean, std)


def from_torchvision(name: str, spec: Mapping[str, Any], rebuild: Mapping[str, Any]) -> Outside:
    """A torchvision classification model whose last linear layer is left out."""
    models = require("torchvision.models", extra="timm", purpose=f"the encoder 'torchvision:{name}'")
    scratch, bare = name.endswith(SCRATCH), _library_name("torchvision", name.removesuffix(SCRATCH), rebuild)
    if bare not in models.list_models(module=models):  # detectors and the like fetch weights even if none are asked for
        raise ConfigError(f"encoder 'torchvision:{name}': torchvision has no classification model of that name")
    try:
        model = models.get_model(bare, weights=None if scratch or rebuild else "DEFAULT")
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(f"encoder 'torchvision:{name}' could not be made ({error})") from error
    linear = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ConfigError(f"encoder 'torchvision:{name}' has no final linear layer to leave out; choose a classifier")
    parent, _, leaf = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), leaf, nn.Identity())
    fixed = getattr(model, "image_size", None)
    return Outside(Flattened(model), {"torchvision": bare}, fixed, _IMAGENET["mean"], _IMAGENET["std"])


def _library_name(library: str, name: str, rebuild: Mapping[str, Any]) -> str:
    """The name of a model in a library: the one that was typed, or of a `rebuild` one that is no address of a hub."""
    if not rebuild:
        return name
    again = rebuild.get(library)
    if not isinstance(again, str) or not re.fullmatch(r"[\w.]+", again):
        raise ConfigError(
            f"encoder '{library}:{name}' cannot be built again from {shortened(rebuild)}: that is no name of "
            f"{library}'s own models; build the model yourself, and pass the module as the encoder"
        )
    return again


SOURCES: dict[str, Callable[[str, Mapping[str, Any], Mapping[str, Any]], Outside]] = {
    "hf": from_transformers,
    "timm": from_timm,
    "torchvision": from_torchvision,
}
"""Prefix of a name to the function that makes its network."""


def _pooled(model: nn.Module, facts: dict[str, Any]) -> Outside:
    if facts["pooling"] == "mean" and getattr(model, "pooler", None) is not None:
        setattr(model, "pooler", None)  # noqa: B010 - unused parameters would break training on several processes
    for name, parameter in model.named_parameters():
        if name.endswith("mask_token"):  # only used in masked pre-training
            parameter.requires_grad_(False)
    choose_attention(model)
    return Outside(Pooled(model, facts["pooling"]), facts, facts["size"], facts["mean"], facts["std"])


def _gives_pooled(model: nn.Module, config: Any, size: int | None) -> bool:
    """Whether the model's output has a pooled vector."""
    picture = torch.zeros(1, int(getattr(config, "num_channels", 3)), size or 64, size or 64)
    with torch.no_grad():
        output = model.eval()(pixel_values=picture)
    return getattr(output, "pooler_output", None) is not None


def _processing(library: Any, name: str, config: Any, spec: Mapping[str, Any], local: bool) -> dict[str, Any]:
    """Size, mean and std as the model's processor states them; without one, the model's size and the data's moments."""
    try:
        # The dictionary only: some processors need torchvision to be made.
        stated, _ = library.ImageProcessingMixin.get_image_processor_dict(name, local_files_only=local)
    except (OSError, ValueError):
        stated = {}
    channels = int(getattr(config, "num_channels", 3))
    size = _side(stated.get("crop_size") if stated.get("do_center_crop") else stated.get("size"))
    normalised = stated.get("do_normalize", True) and "image_mean" in stated
    return {
        "size": size or _side(getattr(config, "image_size", None)),
        "mean": _for_channels(list(stated["image_mean"] if normalised else spec["mean"]), channels),
        "std": _for_channels(list(stated["image_std"] if normalised else spec["std"]), channels),
    }


def _side(stated: Any) -> int | None:
    """One number from {"height": h, "width": w}, {"shortest_edge": s}, [h, w] or s."""
    if isinstance(stated, Mapping):
        stated = stated.get("height") or stated.get("shortest_edge")
    if isinstance(stated, list | tuple):
        stated = stated[0]
    return int(stated) if stated else None


def _for_channels(values: list[float], channels: int) -> list[float]:
    """`values` for that many channels: repeated or averaged where the numbers differ (grey against RGB)."""
    if len(values) == channels:
        return values
    return [sum(values) / len(values)] * channels
