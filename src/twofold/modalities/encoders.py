"""What encoders of all modalities share: names with options, and modules of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.options import did_you_mean

Builder = Callable[..., nn.Module]
"""``builder(spec, **options) -> network``."""
Known = Mapping[str, tuple[Builder, str]]
"""Name → builder, and the letters of the options it takes."""


def from_name(name: str, spec: Mapping[str, Any], known: Known, options: Mapping[str, str], **more: Any) -> nn.Module:
    """The network of a name such as ``convnet-w16``, for data with these facts; see :func:`parsed`."""
    builder, chosen = parsed(name, known, options, **more)
    return builder(spec, **chosen)


def parsed(
    name: str,
    known: Known,
    options: Mapping[str, str],
    *,
    flags: Mapping[str, str] | None = None,
    elsewhere: Iterable[str] = (),
) -> tuple[Builder, dict[str, Any]]:
    """The builder that a name stands for, one of ``known``, and its keywords, one for each suffix of the name.

    Args:
        name: What the user wrote.
        known: Name → builder, and the letters of the options it takes.
        options: Letter → keyword of the builder, such as ``{"w": "width"}``; the value is the number that follows.
        flags: Word → letter of an option that a builder must take to know the flag, which is passed as True.
        elsewhere: Further names to suggest, such as ``hf:NAME``.

    Raises:
        ConfigError: If there is no such name or option.
    """
    flags = flags or {}
    base = max((word for word in known if f"{name}-".startswith(f"{word}-")), key=len, default=None)
    if base is None:
        words = "|".join([r"[a-z]\d+", *flags])
        raise ConfigError(
            f"there is no encoder {name!r}{did_you_mean(re.sub(f'(-({words}))+$', '', name), [*known, *elsewhere])}"
        )
    builder, letters = known[base]
    chosen: dict[str, Any] = {}
    for suffix in name[len(base) :].split("-")[1:]:
        match = re.fullmatch(r"([a-z])([1-9]\d{0,3})", suffix)
        if match and match[1] in letters:
            chosen[options[match[1]]] = int(match[2])
        elif suffix in flags and flags[suffix] in letters:
            chosen[suffix] = True
        else:
            possible = [f"-{letter}NUMBER ({options[letter]})" for letter in letters if letter in options]
            possible += [f"-{word}" for word, letter in flags.items() if letter in letters]
            raise ConfigError(
                f"encoder {name!r}: {base} has no option '-{suffix}'; it has {', '.join(possible) or 'none'}"
            )
    return builder, chosen


def name_problems(
    encoder: str | None, views: str | None, *, check: Callable[[str], Any], presets: Iterable[str]
) -> list[str]:
    """What is wrong with the names of an encoder and of views.

    Args:
        encoder: A name, or None for the default.
        views: A name, or None for the default.
        check: Raises a ConfigError if no encoder has a name.
        presets: The names of views.
    """
    found: list[str] = []
    if encoder is not None:
        try:
            check(encoder)
        except ConfigError as error:
            found += error.problems
    presets = list(presets)
    if views is not None and views not in presets:
        found.append(f"There are no views called {views!r}{did_you_mean(views, presets)}")
    return found


def measured_dim(encoder: nn.Module, blank: Any) -> int:
    """The width of the features that an encoder gives; its modes and statistics stay as they were.

    Args:
        encoder: To ``(n, dim)``.
        blank: What the encoder eats, of two samples, on the CPU; a tensor, or a dictionary or list of tensors.

    Raises:
        ConfigError: If the encoder fails on it, or gives something else than ``(n, dim)``.
    """
    name = type(getattr(encoder, "backbone", encoder)).__name__
    modes = [(module, module.training) for module in encoder.modules()]
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            features = encoder.eval()(_on(blank, device))
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise ConfigError(f"the encoder {name} fails on {_described(blank)}: {error}") from error
    finally:
        for module, training in modes:
            module.training = training
    if not isinstance(features, Tensor) or features.dim() != 2:
        what = f"shape {tuple(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
        raise ConfigError(
            f"the encoder {name} must give a tensor (n, dim), it gave {what}; wrap it in one that pools or flattens"
        )
    return int(features.shape[1])


def _on(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: _on(item, device) for name, item in value.items()}
    return [_on(item, device) for item in value]


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a batch of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return "a batch of " + ", ".join(f"{name} {tuple(item.shape)}" for name, item in value.items())
    return "a batch of " + ", ".join(str(tuple(item.shape)) for item in value)
