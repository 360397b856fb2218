"""Text encoders by name, from token numbers to features: `make_encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.encoders import Builder, from_name, measured_dim, parsed
from twofold.modalities.text.backbones.pretrained import from_transformers
from twofold.modalities.text.backbones.small import EmbeddingBag, TokenTransformer
from twofold.modalities.text.tokens import LENGTHS, PREFIX

__all__ = ["ENCODERS", "TextEncoder", "make_encoder"]

_OPTIONS = {"w": "width", "d": "depth"}
_LARGEST = 10_000_000


class TextEncoder(nn.Module):
    """Token numbers ``(n, tokens)`` to features ``(n, dim)``.

    Args:
        backbone: int64 ``(n, tokens)``, padded, to ``(n, dim)``; any number of tokens up to the data's length.
        dim: How many numbers it gives a text.
        vocabulary: Token numbers are below it.
        rebuild: What `make_encoder` needs to build the backbone again without weights or network; {} if its name
            says all.
    """

    def __init__(
        self, backbone: nn.Module, dim: int, *, vocabulary: int, rebuild: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim, self.vocabulary = dim, vocabulary
        self.rebuild: dict[str, Any] = dict(rebuild or {})

    def forward(self, ids: Tensor) -> Tensor:
        """Features ``(n, dim)``."""
        if ids.dim() != 2 or ids.is_floating_point():
            raise ValueError(
                f"texts must be token numbers (n, tokens), got {ids.dtype} of shape {tuple(ids.shape)}; "
                "twofold.modalities.text.MODALITY reads and tokenizes them"
            )
        return self.backbone(ids)


def make_encoder(
    name: str | nn.Module, spec: Mapping[str, Any], *, rebuild: Mapping[str, Any] | None = None
) -> TextEncoder:
    """An encoder by name, or around a module of your own.

    Names (a suffix such as -w128 sets an option):

    - ``transformer`` (256 features, 4 blocks), ``transformer-w128-d2`` (128 features, 2 blocks);
    - ``embedding-bag`` (the mean of word vectors, 256 features), ``embedding-bag-w128``;
    - ``hf:NAME_OR_FOLDER``: a model of transformers or sentence-transformers with its weights, unless ``@scratch``
      follows the name. The data must have been read with its tokenizer, as recipes do by themselves.

    Random weights are drawn from torch's global generator.

    Args:
        name: A name, or a module ``(n, tokens) -> (n, dim)`` that takes token numbers, int64, padded with the spec's
            "pad"; its `dim` is read from it, or found with a blank text. A `TextEncoder` is handed back as it is.
        spec: Of the data: "vocabulary", "length", "pad", and for ``hf:`` "tokenizer_origin".
        rebuild: The `rebuild` of an encoder made earlier from the same name and spec: builds the same architecture
            with random weights, without network or files.

    Raises:
        ConfigError: For an unknown name or option, a spec that lacks something, or data of another tokenizer.
        MissingExtraError: If transformers is needed and not installed.
    """
    if isinstance(name, TextEncoder):
        return name
    _check_spec(spec)
    facts: Mapping[str, Any] = {}
    if isinstance(name, nn.Module):
        backbone = name
    elif name.startswith(PREFIX):
        backbone, facts = from_transformers(name, spec, rebuild or {})
    else:
        backbone = from_name(name, spec, ENCODERS, _OPTIONS, elsewhere=[f"{PREFIX}NAME"])
    encoder = TextEncoder(backbone, 0, vocabulary=spec["vocabulary"], rebuild=facts)
    stated = getattr(backbone, "dim", None)
    encoder.dim = stated if isinstance(stated, int) else measured_dim(encoder, _blank(spec))
    return encoder


def _transformer(spec: Mapping[str, Any], *, width: int = 256, depth: int = 4) -> nn.Module:
    return TokenTransformer(spec["vocabulary"], spec["length"], spec["pad"], width=width, depth=depth)


def _bag(spec: Mapping[str, Any], *, width: int = 256) -> nn.Module:
    return EmbeddingBag(spec["vocabulary"], spec["pad"], width=width)


ENCODERS: dict[str, tuple[Builder, str]] = {
    "transformer": (_transformer, "wd"),
    "embedding-bag": (_bag, "w"),
}
"""Name → function of the spec, and the letters of the options it takes."""


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder can have this name."""
    if not name.startswith(PREFIX):
        parsed(name, ENCODERS, _OPTIONS, elsewhere=[f"{PREFIX}NAME"])


def _blank(spec: Mapping[str, Any]) -> Tensor:
    other = 0 if spec["pad"] else 1
    return torch.full((2, min(spec["length"], 8)), min(other, spec["vocabulary"] - 1))


def _check_spec(spec: Mapping[str, Any]) -> None:
    bounds = {"vocabulary": (1, _LARGEST), "length": LENGTHS, "pad": (0, _LARGEST)}
    problems = [
        f"the spec of texts must have {key!r}, a whole number in {low}..{high}, got {str(spec.get(key))[:80]!r}"
        for key, (low, high) in bounds.items()
        if type(spec.get(key)) is not int or not low <= spec[key] <= high
    ]
    if not problems and spec["pad"] >= spec["vocabulary"]:
        problems.append(f"spec['pad'] is {spec['pad']}, beyond the vocabulary of {spec['vocabulary']}")
    if problems:
        raise ConfigError(problems)
