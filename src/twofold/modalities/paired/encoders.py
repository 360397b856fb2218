"""Encoders of pairs: one tower a modality, and a linear projection of each into a space that they share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from twofold.errors import ConfigError, DataError
from twofold.modalities import Modality
from twofold.modalities.paired.runs import RUN, read_run, tower_of_run
from twofold.modalities.paired.sides import SIDES, sides_of

DEFAULT = "default+default"
DEFAULT_DIM = 256
_FORM = (
    "an encoder of pairs is FIRST+SECOND, such as convnet-w32+default; @128 after it sets the dimensions of the shared "
    f"space ({DEFAULT_DIM} without it)"
)


class PairEncoder(nn.Module):
    """Two towers f₁, f₂ and projections W₁, W₂ without bias (Radford et al., ICML 2021, section 2.3).

    Called with ``{"first": inputs}`` or ``{"second": inputs}`` it gives W f(inputs), ``(n, dim)``, not normalized.
    Called with both it gives the mean of their directions, of unit length: a query composed of both.

    Args:
        first: Tower with rows ``(n, first.dim)``.
        second: Tower with rows ``(n, second.dim)``.
        dim: Dimensions of the shared space.
    """

    def __init__(self, first: nn.Module, second: nn.Module, dim: int = DEFAULT_DIM) -> None:
        super().__init__()
        self.first, self.second, self.dim = first, second, dim
        self.first_projection: nn.Module = _projection(_dim(first), dim)
        self.second_projection: nn.Module = _projection(_dim(second), dim)
        self.locked: str | None = None

    @property
    def rebuild(self) -> dict[str, Any]:
        """What :func:`make_encoder` needs to build both towers again without files or network."""
        return {side: dict(getattr(self.tower(side), "rebuild", {})) for side in SIDES}

    def tower(self, side: str) -> nn.Module:
        """The tower of "first" or "second", without its projection."""
        tower: nn.Module = getattr(self, side)
        return tower

    def embed(self, side: str, inputs: Any) -> Tensor:
        """Projected rows of one side, ``(n, dim)``."""
        projected: Tensor = getattr(self, f"{side}_projection")(self.tower(side)(inputs))
        return projected

    def forward(self, view: Mapping[str, Any]) -> Tensor:
        """Rows ``(n, dim)`` of one side, or of both together."""
        rows = [self.embed(side, view[side]) for side in SIDES if side in view]
        if not rows:
            raise ValueError(f"a view of pairs has a key 'first' or 'second' or both, this one has {sorted(view)}")
        return (
            rows[0] if len(rows) == 1 else F.normalize(F.normalize(rows[0], dim=1) + F.normalize(rows[1], dim=1), dim=1)
        )

    def lock(self, side: str) -> None:
        """Freeze one tower: no gradient, evaluation mode, and its own features are the shared space.

        The projection of the other side is drawn anew, into that space.

        Raises:
            ValueError: If the side is neither "first" nor "second".
        """
        if side not in SIDES:
            raise ValueError(f"side must be 'first' or 'second', got {side!r}")
        other = SIDES[1 - SIDES.index(side)]
        self.locked, self.dim = side, _dim(self.tower(side))
        self.tower(side).requires_grad_(False).eval()
        setattr(self, f"{side}_projection", nn.Identity())
        setattr(self, f"{other}_projection", _projection(_dim(self.tower(other)), self.dim))

    def train(self, mode: bool = True) -> PairEncoder:
        """As every module's; a locked tower stays in evaluation mode, so that its batch statistics do not move."""
        super().train(mode)
        if self.locked is not None:
            self.tower(self.locked).eval()
        return self


def make_encoder(
    encoder: str | nn.Module, spec: Mapping[str, Any], *, rebuild: Mapping[str, Any] | None = None
) -> nn.Module:
    """Two towers by name, or modules of your own.

    Args:
        encoder: ``FIRST+SECOND`` or ``FIRST+SECOND@DIM``, each a name of its modality, ``default``, or ``run:FOLDER``
            for the encoder of a trained run, with its weights; or an
            ``nn.ModuleDict`` of "first" and "second"; or a module that takes views of pairs and has a ``dim``.
        spec: Of pairs, with the facts of both sides.
        rebuild: The ``rebuild`` of an encoder made earlier from the same name and spec.

    Raises:
        ConfigError: If a name does not exist, or a module does not fit.
    """
    modality = sides_of(spec)
    if set(modality) != set(SIDES):
        raise ConfigError(f"an encoder of pairs needs the facts of both sides, these are of {', '.join(modality)} only")
    if isinstance(encoder, nn.ModuleDict):
        if set(encoder) != set(SIDES):
            raise ConfigError(f"an encoder of pairs needs the towers 'first' and 'second', got {sorted(encoder)}")
        chosen: dict[str, str | nn.Module] = {side: encoder[side] for side in SIDES}
        dim = DEFAULT_DIM
    elif isinstance(encoder, nn.Module):
        return _own(encoder)
    else:
        *names, dim = parsed(encoder)
        chosen = dict(zip(SIDES, names, strict=True))
    made = {
        side: _tower(
            chosen[side], modality[side], dict(spec[side]), None if rebuild is None else rebuild.get(side) or {}
        )
        for side in SIDES
    }
    return PairEncoder(made["first"], made["second"], dim)


def asked_by(name: str, modality: Modality) -> dict[str, Any]:
    """Reading options that a tower asks for: its tokenizer, or what the run that it comes from was trained on."""
    if name.startswith(RUN):
        return modality.reading_for(read_run(name.removeprefix(RUN), modality).spec)
    return modality.reading_with(modality.default_encoder if name == "default" else name)


def _tower(
    chosen: str | nn.Module, modality: Modality, spec: dict[str, Any], facts: Mapping[str, Any] | None
) -> nn.Module:
    """A tower; ``facts`` are None when it is made for the first time, else what it is built from again.

    Raises:
        DataError: If facts that are needed are missing: building again fetches nothing.
    """
    name = modality.default_encoder if chosen == "default" else chosen
    if isinstance(name, nn.Module):
        return modality.make_encoder(name, spec, rebuild={})
    if facts is not None and ":" in name and not facts:
        raise DataError(f"the encoder {name!r} is named without the facts that it is built from again")
    if name.startswith(RUN):
        return tower_of_run(name.removeprefix(RUN), modality, spec, facts)
    return modality.make_encoder(name, spec, rebuild=dict(facts or {}))


def parsed(name: str) -> tuple[str, str, int]:
    """The two names of ``FIRST+SECOND@DIM`` and the dimensions of the shared space.

    Raises:
        ConfigError: If it is no such name.
    """
    match = re.fullmatch(r"([^+]+)\+([^+]+?)(?:@([1-9]\d{0,4}))?", name)
    if match is None:
        raise ConfigError(f"encoder {name!r}: {_FORM}")
    return match[1], match[2], int(match[3] or DEFAULT_DIM)


def _own(encoder: nn.Module) -> nn.Module:
    if not isinstance(getattr(encoder, "dim", None), int):
        raise ConfigError(
            f"the encoder {type(encoder).__name__} needs an attribute dim (the width of its rows), and must take "
            "{'first': inputs}, {'second': inputs} or both; or give nn.ModuleDict({'first': ..., 'second': ...})"
        )
    if not hasattr(encoder, "rebuild"):
        encoder.rebuild = {}  # type: ignore[assignment]
    return encoder


def _projection(width: int, dim: int) -> nn.Linear:
    """Drawn with deviation width^-½, as CLIP's."""
    projection = nn.Linear(width, dim, bias=False)
    if not projection.weight.is_meta:  # where torch would import half of its compiler to draw nothing
        nn.init.normal_(projection.weight, std=width**-0.5)
    return projection


def _dim(tower: nn.Module) -> int:
    dim = getattr(tower, "dim", None)
    if not isinstance(dim, int):
        raise ConfigError(f"the tower {type(tower).__name__} has no attribute dim, the width of its rows")
    return dim
