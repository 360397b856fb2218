"""Encoders of graphs by name: `make_encoder`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.encoders import from_name, measured_dim, parsed
from twofold.modalities.graph.backbones.layers import GAT, GCN, GIN, SAGE
from twofold.modalities.graph.batches import Batch, Graph, NodeBatch
from twofold.modalities.graph.features import Features

__all__ = ["ENCODERS", "GraphEncoder", "check_name", "make_encoder"]

AnyFeatures = TypeVar("AnyFeatures", Tensor, Features)

_OPTIONS = {
    "w": "width",
    "i": "inner",
    "d": "depth",
    "p": "dropout",
    "a": "attention_dropout",
    "h": "heads",
    "m": "momentum",
}
_FLAGS = {"relu": "r", "bn": "b", "linear": "l"}


class GraphEncoder(nn.Module):
    """Nodes of a graph, or graphs, to features ``(n, dim)``: normalize, the backbone, then the samples' rows.

    Of nodes, the rows are those of the targets. Of graphs, they are sums over the nodes for ``gin``, means otherwise.

    Args:
        backbone: ``backbone(x, graph)`` gives features of nodes, ``(N, dim)``; has an attribute ``dim``.
        spec: Of the data: "features", and "mean" and "std" where its columns are to be normalized.
        pool: "sum" or "mean".

    Attributes:
        dim: Width of the features.
        rebuild: {}; the name says all.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, backbone: nn.Module, spec: Mapping[str, Any], *, pool: str = "mean") -> None:
        super().__init__()
        self.backbone = backbone
        self.features = int(spec["features"])
        self.pool = pool
        self.dim = int(backbone.dim)  # type: ignore[arg-type]
        self.rebuild: dict[str, Any] = {}
        scaled = spec.get("normalize") == "columns"
        for name in ("mean", "std"):
            values = torch.tensor(spec[name], dtype=torch.float32) if scaled else None
            self.register_buffer(name, values)

    def forward(self, batch: Batch) -> Tensor:
        """Features ``(n, dim)``."""
        sparse = self.mean is None and isinstance(batch, NodeBatch) and getattr(self.backbone, "takes_features", False)
        x = self.checked(batch.graph.features) if sparse else self.normalized(batch.x)
        return self.rows_of(self.backbone(x, batch.graph), batch)

    def rows_of(self, nodes: Tensor, batch: Batch) -> Tensor:
        """One row a sample, from features of nodes ``(N, dim)``."""
        if isinstance(batch, NodeBatch):
            return batch.rows_of(nodes)
        return batch.sum_of(nodes) if self.pool == "sum" else batch.mean_of(nodes)

    def normalized(self, x: Tensor) -> Tensor:
        """Features as the backbone takes them."""
        x = self.checked(x)
        return x if self.mean is None or self.std is None else (x - self.mean) / self.std

    def checked(self, x: AnyFeatures) -> AnyFeatures:
        """The same, if there are as many as the encoder takes.

        Raises:
            ValueError: If there are not.
        """
        if len(x.shape) != 2 or x.shape[1] != self.features:
            raise ValueError(f"nodes must have {self.features} features, got shape {tuple(x.shape)}")
        return x


class _Geometric(nn.Module):
    """A module of the user's own that takes (x, edge_index), as PyTorch Geometric's do."""

    def __init__(self, network: nn.Module, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        pair = [torch.zeros(2, int(spec["features"])), torch.tensor([[0, 1], [1, 0]])]
        self.dim = measured_dim(_Unpacked(network), pair)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        nodes: Tensor = self.network(x, graph.edge_index)
        return nodes


def _stack(kind: Callable[..., nn.Module], *, pool: str = "mean") -> Callable[..., nn.Module]:
    def build(spec: Mapping[str, Any], **options: Any) -> nn.Module:
        return GraphEncoder(kind(int(spec["features"]), **options), spec, pool=pool)

    return build


ENCODERS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "gcn": (_stack(GCN), "widrbmlp"),
    "sage": (_stack(SAGE), "wdbp"),
    "gat": (_stack(GAT), "widbmlpah"),
    "gin": (_stack(GIN, pool="sum"), "wdp"),
}
"""Name → function of the spec, and the letters of the options it takes."""


def make_encoder(encoder: str | nn.Module, spec: Mapping[str, Any]) -> nn.Module:
    """An encoder by name, or around a module of your own.

    Names (a suffix sets an option):

    - ``gcn`` (two graph convolutions, 512 and 256 wide, PReLU), ``gcn-w128-relu``, ``gcn-d1-w512`` (DGI's),
      ``gcn-w128-bn`` (with batch norm, as in BGRL), ``gcn-w128-i512`` (the layer before is 512 wide),
      ``gcn-bn-m1-linear`` (running statistics that follow by 1 % a step; no norm or activation after the last layer);
    - ``sage``, ``gat``: the same with mean aggregation, and with attention over neighbours; ``gat-p20-a10`` drops 20 %
      of each layer's inputs, as any of these can, and 10 % of the attention's weights; ``gat-h2`` has two heads, not
      four;
    - ``gin`` (three layers, 32 wide each, side by side; graphs are sums over their nodes), ``gin-w64-d2``.

    A module of your own takes ``(x, edge_index)`` and gives a row a node, as PyTorch Geometric's modules do; of graphs
    the mean over nodes is taken. One whose ``forward`` takes a single argument gets the whole batch, and gives a row a
    sample; it must have an attribute ``dim``.

    Raises:
        ConfigError: If there is no such name or option, or the module does not fit.
        MissingExtraError: If PyTorch Geometric is not installed.
    """
    if isinstance(encoder, str):
        return from_name(encoder, spec, ENCODERS, _OPTIONS, flags=_FLAGS)
    if hasattr(encoder, "dim") and hasattr(encoder, "rebuild"):
        return encoder
    if len(_positional(encoder)) >= 2:
        return GraphEncoder(_Geometric(encoder, spec), spec)
    if not isinstance(getattr(encoder, "dim", None), int):
        raise ConfigError(
            f"the encoder {type(encoder).__name__} takes a whole batch, so it must have an attribute dim: the width of "
            "the rows that it gives. Or let its forward take (x, edge_index)"
        )
    encoder.rebuild = {}  # type: ignore[assignment]
    return encoder


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS, flags=_FLAGS)


def _positional(module: nn.Module) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(module.forward).parameters.values() if p.kind in kinds]


class _Unpacked(nn.Module):
    """A network that takes what it takes as one list."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, parts: list[Tensor]) -> Tensor:
        nodes: Tensor = self.backbone(*parts)
        return nodes
