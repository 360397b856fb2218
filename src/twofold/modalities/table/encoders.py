"""Encoders of table rows by name: `make_encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.modalities.encoders import Builder, from_name, measured_dim, parsed
from twofold.modalities.table.columns import Form

__all__ = ["ENCODERS", "CategoryEmbeddings", "TableEncoder", "TableMLP", "make_encoder", "one_hot_rows"]

_OPTIONS = {"w": "width", "d": "depth"}
_MAX_EMBEDDING = 32


class CategoryEmbeddings(nn.Module):
    """Rows with each code of a category replaced by a learned vector; numbers come first and stay.

    A category of k codes gets a vector of min(32, ⌈k/2⌉) numbers. That of unknown categories begins at zero, and stays
    there if training meets none.

    Args:
        numbers: How many columns, the first ones, are no codes.
        sizes: How many codes each further column has.
    """

    def __init__(self, numbers: int, sizes: list[int]) -> None:
        super().__init__()
        self.numbers, self.sizes = numbers, sizes
        tables = [nn.Embedding(size, min(_MAX_EMBEDDING, (size + 1) // 2)) for size in sizes]
        for table in tables:
            with torch.no_grad():
                table.weight[0].zero_()
        self.tables = nn.ModuleList(tables)
        self.dim = numbers + sum(table.embedding_dim for table in tables)

    def forward(self, rows: Tensor) -> Tensor:
        """``(n, dim)`` from ``(n, columns)``."""
        codes = rows[:, self.numbers :].long().unbind(1)
        known = [code.clamp(0, size - 1) for code, size in zip(codes, self.sizes, strict=True)]
        vectors = [table(code) for table, code in zip(self.tables, known, strict=True)]
        return torch.cat([rows[:, : self.numbers], *vectors], 1)


class TableMLP(nn.Sequential):
    """Embedded categories, then linear layers with ReLU, the last one too (as SCARF's encoder: Bahri et al., 2022).

    Args:
        spec: Of the data.
        width: Of every layer; the paper's 256.
        depth: How many layers; the paper's 4.
    """

    def __init__(self, spec: Mapping[str, Any], *, width: int = 256, depth: int = 4) -> None:
        embeddings = _embeddings(spec)
        layers: list[nn.Module] = []
        for i in range(depth):
            linear = nn.Linear(width if i else embeddings.dim, width)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
        super().__init__(embeddings, *layers)


class TableEncoder(nn.Module):
    """Rows ``(n, columns)`` of a table's data set to features ``(n, dim)``.

    Args:
        backbone: From such rows to ``(n, dim)``.
        spec: Of the data.
    """

    def __init__(self, backbone: nn.Module, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self.columns = int(spec["columns"])
        self.rebuild: dict[str, Any] = {}
        self.dim = measured_dim(self, torch.tensor(Form.of(spec).blank).expand(2, -1))

    def forward(self, rows: Tensor) -> Tensor:
        """Features ``(n, dim)``."""
        if rows.dim() != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"rows must have shape (n, {self.columns}), got {tuple(rows.shape)}")
        features: Tensor = self.backbone(rows)
        return features


def _embeddings(spec: Mapping[str, Any]) -> CategoryEmbeddings:
    sizes = [one.codes for one in Form.of(spec).categories]
    return CategoryEmbeddings(int(spec["columns"]) - len(sizes), sizes)


ENCODERS: dict[str, tuple[Builder, str]] = {"mlp": (TableMLP, "wd")}
"""Name → function of the spec, and the letters of the options it takes."""


def make_encoder(encoder: str | nn.Module, spec: Mapping[str, Any]) -> TableEncoder:
    """An encoder by name, or around a module of your own.

    ``mlp`` has four layers of 256; ``mlp-w64-d2`` two of 64.

    Args:
        encoder: A name, or a module ``(n, columns) -> (n, dim)`` that takes rows as the data set gives them:
            standardized numbers, marks of gaps, codes of categories (`CategoryEmbeddings` or `one_hot_rows` turn those
            into vectors). A `TableEncoder` is handed back as it is.
        spec: Of the data.

    Raises:
        ConfigError: For an unknown name or option, or a module that does not fit.
    """
    if isinstance(encoder, TableEncoder):
        return encoder
    backbone = encoder if isinstance(encoder, nn.Module) else from_name(encoder, spec, ENCODERS, _OPTIONS)
    return TableEncoder(backbone, spec)


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS)


def one_hot_rows(rows: Tensor, spec: Mapping[str, Any]) -> Tensor:
    """Rows with each code of a category as a one-hot vector, ``(n, d)``: what needs no learning."""
    sizes = [one.codes for one in Form.of(spec).categories]
    start = rows.shape[1] - len(sizes)
    codes = rows[:, start:].long()
    hot = [nn.functional.one_hot(codes[:, i], size).to(rows.dtype) for i, size in enumerate(sizes)]
    return torch.cat([rows[:, :start], *hot], 1)
