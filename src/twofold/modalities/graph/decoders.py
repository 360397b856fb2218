"""Decoders: one layer from embeddings of nodes back to their features."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from twofold.modalities.graph.backbones import geometric
from twofold.modalities.graph.backbones.attention import Attention
from twofold.modalities.graph.backbones.layers import Convolution
from twofold.modalities.graph.batches import Graph

Kind = Literal["gat", "gcn", "gin", "linear"]


class Decoder(nn.Module):
    """One layer, without activation and norm, so that its output may be any features (Hou et al., KDD 2022).

    Args:
        kind: "gat" (one head), "gcn", "gin", or "linear", which looks at no neighbours.
        width: Of the embeddings.
        features: Of the nodes.
        dropout: Share of the embeddings that are dropped in training.
        attention_dropout: The same of the weights of a "gat".
    """

    def __init__(
        self, kind: Kind, width: int, features: int, *, dropout: float = 0.0, attention_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.kind = kind
        self.dropout = nn.Dropout(dropout)
        self.layer = _layer(kind, width, features, attention_dropout)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        """``(N, features)`` from ``(N, width)``; of the graph only the edges are used."""
        with torch.autocast(h.device.type, enabled=False):
            h = self.dropout(h.float())
            if self.kind == "linear":
                features: Tensor = self.layer(h)
                return features
            edges: Any = graph.edge_index if self.kind == "gin" else graph
            decoded: Tensor = self.layer(h, edges)
        return decoded


def _layer(kind: Kind, width: int, features: int, attention_dropout: float) -> nn.Module:
    if kind == "linear":
        return nn.Linear(width, features)
    made: nn.Module
    if kind == "gat":
        made = Attention(width, features, dropout=attention_dropout)
    elif kind == "gcn":
        made = Convolution(width, features)
    else:
        made = geometric().GINConv(nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, features)))
    return made
