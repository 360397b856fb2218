"""Encoders of sequences of items: a causal transformer over the items' vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.encoders import from_name, measured_dim, parsed

__all__ = ["ENCODERS", "SASRecEncoder", "check_name", "make_encoder"]

_OPTIONS = {"w": "width", "d": "depth", "p": "dropout"}
START = 0.02
"""Deviation of the items' vectors at the start."""


class Block(nn.Module):
    """Causal self-attention and a layer for each place, with norms before (Kang & McAuley, ICDM 2018)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.before_attention, self.before_places = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.places = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: Tensor, hidden: Tensor) -> Tensor:
        """Rows ``(n, places, width)``; ``hidden`` ``(n, places, places)`` is True where a place may not see another."""
        asked = self.before_attention(rows)
        scores = self.queries(asked) @ self.keys(asked).mT / math.sqrt(rows.shape[-1])
        # Not −inf: a place before the first item sees nothing, and its row must stay finite.
        weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
        rows = rows + self.dropout(self.dropout(weights) @ self.values(asked))
        return rows + self.dropout(self.places(self.before_places(rows)))


class SASRecEncoder(nn.Module):
    """Sequences to the state after their last item (Kang & McAuley, ICDM 2018).

    Items' vectors times √width, plus a vector for each place counted from the end, ``depth`` blocks with one head, and
    a norm. A candidate, which is a row with −i in its last place, is taken as the sequence of item i alone.

    Args:
        items: How many items there are; they have the numbers 1 to ``items``, 0 is empty and ``items + 1`` is a mask.
        length: Longest sequence.
        width: Numbers in a vector; the paper's 50 is 64 here.
        depth: Blocks; the paper's 2.
        dropout: In per cent; the paper's 20 (dense data) to 50 (sparse data).

    Attributes:
        dim: ``width``.
        rebuild: {}; the name says all.
    """

    def __init__(self, items: int, length: int, *, width: int = 64, depth: int = 2, dropout: int = 20) -> None:
        super().__init__()
        if not 0 <= dropout < 100:
            raise ConfigError(f"the dropout of an encoder is in per cent, below 100, not {dropout}")
        self.items, self.length, self.dim = items, length, width
        self.rebuild: dict[str, Any] = {}
        self.table = nn.Embedding(items + 2, width, padding_idx=0)
        self.position = nn.Embedding(length, width)
        for embedding in (self.table, self.position):
            nn.init.normal_(embedding.weight, std=START)
        with torch.no_grad():
            self.table.weight[0].zero_()
        self.dropout = nn.Dropout(dropout / 100)
        self.blocks = nn.ModuleList(Block(width, dropout / 100) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, sequences: Tensor) -> Tensor:
        """The state after the last item, ``(n, dim)``."""
        return self.states(sequences.abs())[:, -1]

    def states(self, sequences: Tensor) -> Tensor:
        """The state after each place, ``(n, places, dim)``; of empty places, anything finite.

        Args:
            sequences: int64 ``(n, places)``, 0 before the first item.

        Raises:
            ValueError: If there are more places than the encoder has, or anything but int64 ``(n, places)``.
        """
        if sequences.ndim != 2 or sequences.dtype != torch.int64 or not 0 < sequences.shape[1] <= self.length:
            raise ValueError(
                f"sequences must be int64 (n, at most {self.length}), got {sequences.dtype} {tuple(sequences.shape)}"
            )
        places = sequences.shape[1]
        rows = self.table(sequences) * math.sqrt(self.dim) + self.position.weight[self.length - places :]
        later = torch.ones(places, places, dtype=torch.bool, device=sequences.device).triu(1)
        hidden = later | (sequences == 0)[:, None]
        rows = self.dropout(rows)
        for block in self.blocks:
            rows = block(rows, hidden)
        states: Tensor = self.norm(rows)
        return states

    def vectors(self) -> Tensor:
        """The vectors of items 1 to ``items``, ``(items, dim)``."""
        return self.table.weight[1 : self.items + 1]


def _sasrec(spec: Mapping[str, Any], **options: int) -> nn.Module:
    return SASRecEncoder(len(spec["items"]), int(spec["length"]), **options)


ENCODERS: dict[str, tuple[Callable[..., nn.Module], str]] = {"sasrec": (_sasrec, "wdp")}
"""Name → function of the spec, and the letters of the options it takes."""


def make_encoder(encoder: str | nn.Module, spec: Mapping[str, Any]) -> nn.Module:
    """An encoder by name, or a module of your own.

    Names: ``sasrec`` (64 wide, 2 blocks, dropout of 20 per cent), ``sasrec-w32-d1-p50``.

    Args:
        encoder: A name, or a module from int64 ``(n, places)`` to ``(n, dim)``; items have the numbers from 1, 0 is
            empty, and candidates are rows with −i in the last place.
        spec: Of the data: "items", their names, and "length".

    Raises:
        ConfigError: For an unknown name or option, or a spec that lacks something.
    """
    if missing := [key for key in ("items", "length") if key not in spec]:
        raise ConfigError(f"the spec of sequences lacks {', '.join(missing)}; it has: {', '.join(spec) or 'nothing'}")
    if isinstance(encoder, str):
        return from_name(encoder, spec, ENCODERS, _OPTIONS)
    if not isinstance(getattr(encoder, "dim", None), int):
        encoder.dim = measured_dim(encoder, torch.ones(2, int(spec["length"]), dtype=torch.int64))  # type: ignore[assignment]
    if not hasattr(encoder, "rebuild"):
        encoder.rebuild = {}  # type: ignore[assignment]
    return encoder


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS)
