"""Models of Hugging Face's transformers: what may be built from a configuration that somebody else wrote.

A configuration leads only to architectures that the library has itself: never to its hub, to another folder, or to code
that the configuration names.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from twofold.errors import ConfigError, require
from twofold.nn.attention import attend, explicit_is_faster

_ATTENTION = "twofold"
"""What our attention is called in the library's register."""
SCRATCH = "@scratch"
"""Suffix of a name whose architecture is wanted with random weights."""

_LARGEST = 10_000_000  # of whole numbers in a configuration: the library makes lists as long as some of them
_NOT_ARCHITECTURE = {
    "auto_map",
    "_name_or_path",
    "name_or_path",
    "dtype",
    "torch_dtype",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation_internal",
}
"""Entries that say how or from where a model was loaded."""
_ELSEWHERE: dict[str, Callable[[Any], bool]] = {
    "attn_implementation": lambda value: isinstance(value, str) and "/" in value,  # a kernel of the hub: code
    "_attn_implementation": lambda value: isinstance(value, str) and "/" in value,
    "_attn_implementation_internal": lambda value: isinstance(value, str) and "/" in value,
    "quantization_config": bool,
    "use_kernels": bool,
    "kernel_config": bool,
    "use_timm_backbone": bool,
    "use_pretrained_backbone": bool,
    "backbone": lambda value: value is not None,
    "model_type": lambda value: isinstance(value, str) and "timm" in value,
}
"""Entry → whether its value makes transformers fetch, import or run something else."""


def as_facts(config: Any) -> dict[str, Any]:
    """A model's configuration as plain values."""
    facts: dict[str, Any] = json.loads(json.dumps(config.to_dict(), default=str))
    return facts


def built_again(library: Any, config: Any, name: str) -> nn.Module:
    """The architecture of a configuration, :func:`as_facts`, with random weights in float32; nothing is fetched.

    Raises:
        ConfigError: If the configuration leads elsewhere, or nothing can be built from it.
    """
    if not isinstance(config, dict):
        raise ConfigError(f"encoder {name!r}: what it should be built again from is damaged: {shortened(config)}")
    refuse_elsewhere(config, name)
    try:
        made = library.AutoConfig.for_model(**_architecture(config))
        model: nn.Module = library.AutoModel.from_config(made, trust_remote_code=False)
    except Exception as error:  # the library raises whatever a configuration leads it to
        raise ConfigError(
            f"encoder {name!r} could not be built again ({type(error).__name__}: {error}); if its model is not one of "
            "this version of transformers, build it yourself and pass the module as the encoder"
        ) from error
    return model.float()


def refuse_elsewhere(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration that leads out of transformers: to kernels of the hub, to timm, or to a quantizer.

    Raises:
        ConfigError: Naming the entry.
    """
    pending: list[Any] = [config]
    while pending:
        part = pending.pop()
        pending += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        if isinstance(part, int) and abs(part) > _LARGEST:
            raise ConfigError(f"encoder {name!r}: no number in its configuration can be as large as {shortened(part)}")
        found = [key for key, leads in _ELSEWHERE.items() if isinstance(part, dict) and leads(part.get(key))]
        if found:
            raise ConfigError(
                f"encoder {name!r}: {found[0]!r} is {shortened(part[found[0]])} in its configuration, which leads to "
                "code or files outside transformers; build the model yourself, and pass the module as the encoder"
            )


def choose_attention(model: Any) -> None:
    """Let a model that uses torch's fused attention use :func:`twofold.nn.attention.attend` instead.

    Nothing happens with models that have attention of another kind, and with versions of the library (before 4.53)
    whose attention cannot be registered.
    """
    library = require("transformers", extra="transformers", purpose="its models")
    if not hasattr(library, "AttentionInterface") or not hasattr(library, "AttentionMaskInterface"):
        return
    can_change = getattr(model, "_can_set_attn_implementation", lambda: False)
    if getattr(getattr(model, "config", None), "_attn_implementation", None) != "sdpa" or not can_change():
        return
    fused = library.AttentionInterface()["sdpa"]
    library.AttentionMaskInterface.register(_ATTENTION, library.AttentionMaskInterface()["sdpa"])
    library.AttentionInterface.register(_ATTENTION, functools.partial(_attention, fused))
    model.set_attn_implementation(_ATTENTION)


def _attention(
    fused: Callable[..., Any],
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention as the library's models call it; what is not known here goes to the library's own function."""
    special = any(more.get(name) is not None for name in ("position_bias", "softcap", "cache"))
    causal = attention_mask is None and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    special |= causal and query.shape[2] != key.shape[2]
    if special or not explicit_is_faster(query, dropout):
        told = {"dropout": dropout, "scaling": scaling, "is_causal": is_causal}
        attended: tuple[Tensor, None] = fused(module, query, key, value, attention_mask, **told, **more)
        return attended
    groups = query.shape[1] // key.shape[1]
    key, value = (rows.repeat_interleave(groups, 1) if groups > 1 else rows for rows in (key, value))
    mixed = attend(query, key, value, mask=attention_mask, dropout=dropout, scale=scaling, causal=causal)
    return mixed.transpose(1, 2).contiguous(), None


def shortened(value: Any) -> str:
    """At most 80 characters of what a value looks like."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _architecture(config: Any) -> Any:
    """A configuration without the entries that are no part of the architecture, on all levels."""
    if isinstance(config, list):
        return [_architecture(item) for item in config]
    if not isinstance(config, dict):
        return config
    return {key: _architecture(value) for key, value in config.items() if key not in _NOT_ARCHITECTURE}
