"""Tiny data of every kind, and what single recipes need otherwise: ``() -> (source, reading options, encoder)``."""

from __future__ import annotations

import numpy as np
import torch
from hetero_source import papers


def clouds():
    """Points near spheres and in clouds, with a class each."""
    points = np.random.default_rng(0).normal(size=(32, 24, 3)).astype(np.float32)
    labels = np.arange(32) % 2
    points[labels == 1] /= np.linalg.norm(points[labels == 1], axis=2, keepdims=True)
    return (points, labels), {"points": 24}, "pointnet-w8"


def sounds():
    """Low and high tones in noise, with a class each."""
    draw = np.random.default_rng(0)
    labels = np.arange(32) % 2
    phase = np.arange(2000) / 8000 * 2 * np.pi
    waves = np.sin(np.where(labels == 0, 300, 1200)[:, None] * phase) + 0.1 * draw.normal(size=(32, 2000))
    return (0.5 * waves.astype(np.float32), labels), {"rate": 8000}, "logmel-convnet-w8"


def sentences():
    """Sentences about fish and about cars, with a class each."""
    words = (["fish", "swim", "sea", "wave", "reef", "blue"], ["car", "road", "oil", "dust", "tyre", "dry"])
    draw = np.random.default_rng(0)
    labels = np.arange(32) % 2
    texts = [" ".join(draw.permutation(words[label])[:5]) for label in labels]
    return (texts, labels), {"vocabulary": 300}, "transformer-w64-d1"


def rows():
    """Two kinds of rows in numbers and categories, some cells of them empty."""
    draw = np.random.default_rng(0)
    labels = np.arange(32) % 2
    columns = {f"n{i}": draw.normal(size=32) + labels for i in range(4)}
    columns["n0"][5] = np.nan
    return (columns | {"kind": draw.choice(["a", "b", "c"], 32)}, labels), {}, "mlp-w16-d2"


def clips():
    """A bright square that moves to the right or to the left, with a class each."""
    labels = np.arange(32) % 2
    films = np.random.default_rng(0).uniform(0, 0.2, size=(32, 4, 10, 10)).astype(np.float32)
    for film, label in zip(films, labels, strict=True):
        for t in range(4):
            left = 1 + t if label else 5 - t
            film[t, 3:7, left : left + 4] += 0.7
    return (films, labels), {}, "r3d-w4"


def motions():
    """Slow and quick waves in three channels, with a class each."""
    draw = np.random.default_rng(0)
    labels = np.arange(32) % 2
    time = np.arange(40) * np.where(labels == 0, 0.2, 0.6)[:, None] + draw.uniform(0, 6, (32, 1))
    waves = np.stack([np.sin(time), np.cos(time), np.sin(time + 1)], axis=2)
    return (waves + 0.1 * draw.normal(size=waves.shape), labels), {}, "convnet1d-w4"


def nodes():
    """Two groups of nodes that are joined within each rather than between them, with a class each."""
    draw = np.random.default_rng(0)
    labels = np.arange(32) % 2
    ends = draw.integers(0, 32, size=(2, 300))
    edges = ends[:, (labels[ends[0]] == labels[ends[1]]) | (draw.uniform(size=300) < 0.1)]
    x = (draw.uniform(size=(32, 8)) + 0.3 * labels[:, None]).astype(np.float32)
    return (x, edges, labels), {}, "gcn-w16"


def captioned():
    """Small pictures, bright above or below, with words that say so, and a class each."""
    labels = np.arange(32) % 2
    pictures = np.random.default_rng(0).integers(0, 100, size=(32, 12, 12, 3), dtype=np.uint8)
    pictures[labels == 0, :6] += 120
    pictures[labels == 1, 6:] += 120
    words = [f"bright {('above', 'below')[label]} {i}" for i, label in enumerate(labels)]
    return ((pictures, labels), words), {}, "convnet-w4+embedding-bag-w8@16"


def choices():
    """Who chose what, of two tastes; without labels."""
    draw = np.random.default_rng(0)
    same = np.arange(18)[:, None] % 2 == np.arange(14) % 2
    chosen = draw.uniform(size=(18, 14)) < np.where(same, 0.6, 0.1)
    chosen[:, 0] = chosen[0] = True
    return np.argwhere(chosen), {}, "lightgcn-w8-d2"


def orders():
    """Users who go through the items in order; without labels."""
    draw = np.random.default_rng(0)
    rows = [[user, (user + t) % 12, t] for user in range(32) for t in range(draw.integers(4, 9))]
    return np.array(rows), {}, "sasrec-w8-d1"


DATA = {
    "graph": nodes,
    "points": clouds,
    "series": motions,
    "audio": sounds,
    "text": sentences,
    "video": clips,
    "table": rows,
    "paired": captioned,
    "interactions": choices,
    "sequences": orders,
}
"""What is not covered by ``test_every_recipe.py``, which is on images."""


def pairs_of_sentences():
    """Each sentence of :func:`sentences` with another of its kind."""
    (texts, labels), reading, encoder = sentences()
    own = {kind: [text for text, label in zip(texts, labels, strict=True) if label == kind] for kind in set(labels)}
    following = {text: group[i - 1] for group in own.values() for i, text in enumerate(group)}
    return [(text, following[text]) for text in texts], reading, encoder


def patches():
    """Those of :func:`clouds`, for an encoder that sees patches."""
    source, reading, _ = clouds()
    return source, reading, "point-transformer-w96-d1-g8-k8"


def spoken():
    """The sounds of :func:`sounds` with words that say which they are."""
    (waves, labels), _, _ = sounds()
    words = [f"a {('low', 'high')[label]} tone {i}" for i, label in enumerate(labels)]
    reading = {"first": "audio:rate=8000"}
    return ((waves, labels), words), reading, "logmel-convnet-w8+embedding-bag-w8@16"


def rings():
    """Rings of nodes, and rings with chords, with a class each."""
    from torch_geometric.data import Data

    made = []
    for i in range(32):
        n = 6 + i % 7
        around = [torch.stack([torch.arange(n), torch.arange(n).roll(-k)]) for k in ((1, 2) if i % 2 else (1,))]
        made.append(Data(edge_index=torch.cat(around, 1), y=torch.tensor(i % 2), num_nodes=n))
    return made, {}, "gin-w8"


def typed_nodes():
    """Papers, their authors and subjects."""
    return papers(count=32), {}, None


def bodies():
    """Skeletons of four joints in one of two postures, swaying."""
    draw = np.random.default_rng(0)
    labels = np.arange(32) % 2
    postures = draw.normal(size=(2, 4, 2))
    time = np.arange(16) * 0.4 + draw.uniform(0, 6.3, (32, 1))
    sway = 0.2 * np.stack([np.sin(time), np.cos(time)], axis=2)[:, :, None] * draw.normal(size=(32, 1, 4, 1))
    return ((postures[labels][:, None] + sway).astype(np.float32), labels), {}, None


def steps():
    """Those of :func:`motions`, for an encoder with features of each step."""
    source, reading, _ = motions()
    return source, reading, "dilated-convnet-w8-d2"


def two_sensors():
    """The three channels of :func:`motions` and three more of a second sensor."""
    (waves, labels), _, _ = motions()
    return (np.concatenate([waves, 2 * waves[..., ::-1]], axis=2), labels), {"parts": "3,3"}, None


def priced():
    """Rows with a price that hangs on two of the columns."""
    x = np.random.default_rng(0).normal(size=(32, 6))
    columns = {f"x{i}": x[:, i] for i in range(6)}
    return columns | {"price": 50 + 10 * x[:, 0] + 5 * x[:, 1]}, {"target_column": "price"}, "mlp-w16-d2"


FOR_RECIPES = {
    "simcse-supervised": pairs_of_sentences,
    "collap": spoken,
    "graphcl": rings,
    "heco": typed_nodes,
    "meow": typed_nodes,
    "skeleton-moco": bodies,
    "halp": bodies,
    "har-hn": two_sensors,
    "supremix": priced,
    "ts2vec": steps,
    "point-mae": patches,
    "point-cmae": patches,
}
"""What recipes of one kind of data need beyond :data:`DATA` of that kind."""

STEADY = {
    "dino": {"momentum": 1.0, "center_momentum": 1.0},
    "moco-v2": {"momentum": 1.0},
    "mochi": {"momentum": 1.0, "start": 0.0},
}
"""Losses that are measured against a moving target fall only later than a few steps: here it stands still."""
