"""Networks on heterogeneous graphs: meta-path propagation, attention over neighbours of each type (HeCo, MEOW).

All take a ``HeteroBatch`` and give one row a sample, ``(n, dim)``. They compute in float32 under autocast too: sums
over hundreds of neighbours need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.modalities.graph.hetero.batches import HeteroBatch, HeteroGraph
from twofold.modalities.graph.hetero.sparse import normalized, propagate

GAIN = 1.414
"""Of the initial weights, as in HeCo's code."""
WIDTH = 64


class TypeProjection(nn.Module):
    """Each type's features, scaled and projected to a common width: ELU(drop(W_t x + b_t)).

    A type without features has a learned vector a node instead of W x. Features that may be negative are standardized
    by the moments of the data; of others the reader has made each row sum to 1, as the papers do.

    Args:
        spec: Facts of the data set.
        width: Of the result.
        dropout: Share of the result that is dropped in training; 0.3 in HeCo.
    """

    def __init__(self, spec: Mapping[str, Any], width: int, *, dropout: float = 0.3) -> None:
        super().__init__()
        self.width = width
        self.forms: dict[str, Any] = dict(spec["types"])
        self.linear, self.tables = nn.ModuleDict(), nn.ParameterDict()
        for kind, form in self.forms.items():
            if form["features"]:
                self.linear[_key(kind)] = linear(form["features"], width)
            else:
                table = torch.empty(form["nodes"], width)
                self.tables[_key(kind)] = nn.Parameter(nn.init.xavier_normal_(table, gain=GAIN))
        self.dropout = nn.Dropout(dropout)

    def forward(self, graph: HeteroGraph, kind: str) -> Tensor:
        """Rows ``(nodes, width)`` of one type."""
        key = _key(kind)
        if key in self.tables:
            return F.elu(self.dropout(self.tables[key]))
        form, x = self.forms[kind], graph.x[kind]
        if form["normalize"] == "columns":
            x = (x - form["mean"]) / form["std"]
        return F.elu(self.dropout(self.linear[key](x)))

    def share(self, other: TypeProjection) -> None:
        """Use the layers of another one for the types that both know."""
        for key in self.linear.keys() & other.linear.keys():
            self.linear[key] = other.linear[key]
        for key in self.tables.keys() & other.tables.keys():
            self.tables[key] = other.tables[key]


class SemanticAttention(nn.Module):
    """Weighs several embeddings of the same nodes: β = softmax_P(mean_i a·tanh(W h_i^P + b)), z = Σ_P β_P h^P.

    The weights are the same for all nodes (Wang et al., WWW 2019, eqs. 7-9).

    Args:
        width: Of the embeddings.
        dropout: On a, in training; 0.5 in HeCo.
    """

    def __init__(self, width: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.linear = linear(width, width)
        self.query = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, width), gain=GAIN))
        self.dropout = nn.Dropout(dropout)

    def forward(self, embeddings: Sequence[Tensor]) -> Tensor:
        """``(n, width)`` of P embeddings ``(n, width)``."""
        query = self.dropout(self.query).flatten()
        scores = torch.stack([torch.tanh(self.linear(h)).mean(0) @ query for h in embeddings])
        weights = scores.softmax(0)
        return torch.stack([weight * h for weight, h in zip(weights, embeddings, strict=True)]).sum(0)


class MetaPathGCN(nn.Module):
    """HeCo's meta-path view: one graph convolution on each meta-path, then semantic attention.

    h^P = PReLU(Â_P H W_P + b_P), z = Σ_P β_P h^P (Wang et al., KDD 2021, eqs. 5-7). Each pair of a meta-path counts
    once, however many ways join it.

    Args:
        spec: Facts of the data set.
        width: Of all layers; the paper's 64.
        feature_dropout: See :class:`TypeProjection`.
        attention_dropout: See :class:`SemanticAttention`.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        width: int = WIDTH,
        *,
        feature_dropout: float = 0.3,
        attention_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.dim = width
        self.rebuild: dict[str, Any] = {}
        self.target = str(spec["target"])
        self.features = TypeProjection(_only(spec, [self.target]), width, dropout=feature_dropout)
        self.paths = list(spec["metapaths"])
        self.layers = nn.ModuleList(GraphConvolution(width) for _ in self.paths)
        self.attention = SemanticAttention(width, dropout=attention_dropout)

    def forward(self, batch: HeteroBatch) -> Tensor:
        """``(n, dim)``."""
        with full_precision(batch):
            h = self.features(batch.graph, self.target)
            each = [layer(h, adjacency(batch.graph, path)) for layer, path in zip(self.layers, self.paths, strict=True)]
            return batch.rows_of(self.attention(each))


class SchemaAttention(nn.Module):
    """HeCo's network schema view: attention over the direct neighbours of each type, then over the types.

    h_i^t = ELU(Σ_j α_ij h_j) over the neighbours j of type t, α_i = softmax_j LeakyReLU(a_t·[h_i, h_j])
    (Wang et al., KDD 2021, eqs. 2-4). A node without neighbours of a type has zeros there.

    Args:
        spec: Facts of the data set.
        width: Of all layers; the paper's 64.
        feature_dropout: See :class:`TypeProjection`.
        attention_dropout: On a_t, in training, and see :class:`SemanticAttention`.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        width: int = WIDTH,
        *,
        feature_dropout: float = 0.3,
        attention_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.dim = width
        self.rebuild: dict[str, Any] = {}
        self.target, self.neighbours = str(spec["target"]), list(spec["neighbours"])
        self.features = TypeProjection(_only(spec, [self.target, *self.neighbours]), width, dropout=feature_dropout)
        self.queries = nn.ParameterDict()
        for kind in self.neighbours:
            self.queries[_key(kind)] = nn.Parameter(nn.init.xavier_normal_(torch.empty(2, width), gain=GAIN))
        self.dropout = nn.Dropout(attention_dropout)
        self.attention = SemanticAttention(width, dropout=attention_dropout)

    def forward(self, batch: HeteroBatch) -> Tensor:
        """``(n, dim)``."""
        with full_precision(batch):
            own = self.features(batch.graph, self.target)
            return batch.rows_of(self.attention([self._of_type(batch.graph, own, kind) for kind in self.neighbours]))

    def _of_type(self, graph: HeteroGraph, own: Tensor, kind: str) -> Tensor:
        asker, asked = graph.between(self.target, kind)
        others = self.features(graph, kind)
        query = self.dropout(self.queries[_key(kind)])
        scores = F.leaky_relu((own @ query[0])[asker] + (others @ query[1])[asked], 0.01)
        weights = softmax_by(scores, asker, len(own))
        return F.elu(others.new_zeros(own.shape).index_add_(0, asker, weights[:, None] * others[asked]))


class ContextGCN(nn.Module):
    """MEOW's fine-grained view: on each meta-path, nodes that know what lies on the way, in a shared GCN.

    h^P = ELU(H + drop(Σ_t W_P,t ctx_t)) with the mean ctx_t of the nodes of each type t on the way to the middle of the
    meta-path; then a GCN of two layers that all meta-paths share, unit length, and semantic attention (Yu et al., SDM
    2023, §4.2). A meta-path that is given by its pairs alone has no context.

    Args:
        spec: Facts of the data set.
        width: Of all layers; the paper's 64.
        feature_dropout: On features and contexts; 0.2 in the authors' code.
        attention_dropout: See :class:`SemanticAttention`.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        width: int = WIDTH,
        *,
        feature_dropout: float = 0.2,
        attention_dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.dim = width
        self.rebuild: dict[str, Any] = {}
        self.target = str(spec["target"])
        self.ways = {name: _way(chain) for name, chain in spec["metapaths"].items()}
        kinds = dict.fromkeys(kind for way in self.ways.values() for kind in way)
        self.features = TypeProjection(_only(spec, [self.target, *kinds]), width, dropout=feature_dropout)
        self.contexts = nn.ModuleDict(
            {_key(name): nn.ModuleList(linear(width, width) for _ in way[1:]) for name, way in self.ways.items()}
        )
        self.dropout = nn.Dropout(feature_dropout)
        self.layers = nn.ModuleList([GraphConvolution(width), GraphConvolution(width, activated=False)])
        self.attention = SemanticAttention(width, dropout=attention_dropout)

    def forward(self, batch: HeteroBatch, *more: HeteroBatch) -> Tensor:
        """``(n, dim)``; further views of the same nodes take part in the attention as further meta-paths."""
        with full_precision(batch):
            each = [h for view in (batch, *more) for h in self.by_path(view.graph)]
            return batch.rows_of(self.attention(each))

    def by_path(self, graph: HeteroGraph) -> list[Tensor]:
        """One embedding ``(nodes, dim)`` of unit length for each meta-path."""
        h = {kind: self.features(graph, kind) for kind in self.features.forms}
        return [self._along(name, graph, h) for name in self.ways]

    def _along(self, name: str, graph: HeteroGraph, h: Mapping[str, Tensor]) -> Tensor:
        rows = h[self.target]
        way = self.ways[name]
        for depth, layer in enumerate(cast(nn.ModuleList, self.contexts[_key(name)]), 1):
            context = h[way[depth]]
            for near, far in reversed(list(pairwise(way[: depth + 1]))):
                context = mean_over(graph.between(near, far), context, graph.counts[near])
            rows = rows + self.dropout(layer(context))
        matrix = adjacency(graph, name)
        rows = F.elu(rows)
        for layer in self.layers:
            rows = layer(rows, matrix)
        return F.normalize(F.layer_norm(rows, rows.shape), dim=1)  # over all nodes, as in the authors' code


class CoarseGCN(nn.Module):
    """MEOW's coarse view: one graph convolution along the mean of all meta-paths.

    Args:
        spec: Facts of the data set.
        features: The projection of the target's features, shared with the fine view.
    """

    def __init__(self, spec: Mapping[str, Any], features: TypeProjection) -> None:
        super().__init__()
        self.target, self.paths = str(spec["target"]), list(spec["metapaths"])
        self.features = features
        self.layer = GraphConvolution(features.width)

    def forward(self, batch: HeteroBatch) -> Tensor:
        """``(n, width)``."""
        with full_precision(batch):
            matrices = [adjacency(batch.graph, name) for name in self.paths]
            return batch.rows_of(self.layer(self.features(batch.graph, self.target), *matrices))


class GraphConvolution(nn.Module):
    """PReLU(Â H W + b), with the mean of several Â; the last layer of a stack goes without PReLU."""

    def __init__(self, width: int, *, activated: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        nn.init.xavier_normal_(self.linear.weight, gain=GAIN)
        self.bias = nn.Parameter(torch.zeros(width))
        self.activation: nn.Module = nn.PReLU() if activated else nn.Identity()

    def forward(self, h: Tensor, *matrices: Tensor) -> Tensor:
        """``(nodes, width)`` of ``(nodes, width)`` and one Â or several."""
        projected = self.linear(h)
        mean = torch.stack([propagate(matrix, projected) for matrix in matrices]).mean(0)
        result: Tensor = self.activation(mean + self.bias)
        return result


def full_precision(batch: HeteroBatch) -> torch.autocast:
    """A context without autocast."""
    return torch.autocast(batch.graph.device.type, enabled=False)


def adjacency(graph: HeteroGraph, name: str) -> Tensor:
    """Â of a meta-path, kept with the graph."""
    return graph.remember(("adjacency", name), lambda _: normalized(graph.paths[name]))


def softmax_by(scores: Tensor, owner: Tensor, count: int) -> Tensor:
    """The softmax among the entries of each owner.

    Args:
        scores: ``(e,)``.
        owner: int64 ``(e,)``, in 0..count − 1.
        count: How many owners there are.
    """
    top = scores.new_full((count,), -torch.inf).scatter_reduce_(0, owner, scores.detach(), "amax")
    weights = (scores - top[owner]).exp()
    return weights / weights.new_zeros(count).index_add_(0, owner, weights)[owner]


def mean_over(edges: Tensor, rows: Tensor, count: int) -> Tensor:
    """The mean of the second ends' rows at each first end, ``(count, d)``; zeros where there is none."""
    near, far = edges
    sizes = torch.bincount(near, minlength=count).clamp(min=1)
    return rows.new_zeros(count, rows.shape[1]).index_add_(0, near, rows[far]) / sizes[:, None]


def _way(chain: Sequence[str]) -> list[str]:
    """The types from the target to the middle of a chain; of a meta-path without chain, none."""
    return list(chain[: len(chain) // 2 + 1])


def _only(spec: Mapping[str, Any], kinds: Sequence[str]) -> dict[str, Any]:
    return {"types": {kind: spec["types"][kind] for kind in kinds}}


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with Xavier's normal weights, as in HeCo's code."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight, gain=GAIN)
    return layer


def _key(name: str) -> str:
    """A name as the name of a module, which must not hold a dot."""
    return f"of {name}".replace(".", "·")
