"""The pictures of a report: which samples it shows, where they lie on the map, and what is nearest to what."""

from __future__ import annotations

from typing import Any

import torch

from twofold.apps.report import choose_items, choose_queries, layout, neighbours
from twofold.dataset import Dataset, Subset
from twofold.recipes import running
from twofold.recipes.base import Recipe

NEIGHBOURS = 8


def gallery(recipe: Recipe, dataset: Dataset, *, seed: int) -> dict[str, Any]:
    """The fields of :class:`twofold.apps.report.ReportData` that show samples.

    Args:
        recipe: A trained recipe.
        dataset: Where the samples come from; at most 1500 are shown.
        seed: Of the choice of samples and of the map.
    """
    chosen = torch.as_tensor(choose_items(len(dataset), seed))
    embedded = running.embed(recipe, Subset(dataset, chosen))
    index = chosen[embedded.index]
    labels = None if dataset.labels is None else dataset.labels[index]
    raw = running.raw_features(embedded, recipe)
    queries = choose_queries(len(index), seed, None if labels is None else labels.numpy())
    nearest, similarity = neighbours(embedded.rows, queries, k=NEIGHBOURS)
    raw_nearest, raw_similarity = neighbours(raw, queries, k=NEIGHBOURS)
    previews = recipe.modality.previews(dataset, index)
    pictures = bool(previews) and isinstance(previews[0], bytes)
    return {
        "points": layout(embedded.rows, seed),
        "labels": None if labels is None else labels.numpy(),
        "class_names": dataset.class_names,
        "ids": [dataset.ids[i] for i in index.tolist()],
        "thumbnails" if pictures else "snippets": previews,
        "neighbours": [
            {
                "query": int(query),
                "neighbours": nearest[row].tolist(),
                "similarities": similarity[row].tolist(),
                "raw_neighbours": raw_nearest[row].tolist(),
                "raw_similarities": raw_similarity[row].tolist(),
            }
            for row, query in enumerate(queries)
        ],
        "raw_name": recipe.modality.raw,
    }
