"""How the representation is doing while it is trained, and in plain words when it is not doing well."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from twofold.contrast.objectives.geometry import alignment, effective_rank, standard_deviation, uniformity

ROWS = 256
"""Samples that are looked at, at most."""
COLLAPSED_SPREAD = 0.1
"""Below this share of the spread of a uniform distribution on the sphere, embeddings are called collapsed."""
COLLAPSED_RANK = 2.0
"""Below this effective rank too: nearly all of the variance lies along one line."""
LEAST_STEPS = 20
"""Before so many steps nothing is said about a loss at chance."""
AT_CHANCE = 0.98
"""A loss above this share of that of chance says that nothing was learned yet."""


@torch.no_grad()
def measure(rows: list[Tensor]) -> dict[str, float]:
    """Spread, effective rank, uniformity and alignment of the embeddings of one or two views, ``(n, dim)`` each.

    Nothing if a row is not finite: the next step will say so.
    """
    if not all(bool(part.isfinite().all()) for part in rows):
        return {}
    health = {
        "effective_rank": float(effective_rank(rows[0])),
        "uniformity": float(uniformity(rows[0])),
        "spread": float(standard_deviation(rows[0])),
    }
    if len(rows) == 2 and rows[0].shape == rows[1].shape:
        health["alignment"] = float(alignment(torch.stack(rows)))
    return health


def collapse(health: dict[str, float], shape: Any) -> str | None:
    """A warning if the embeddings, of this shape, have collapsed to a point or to a line."""
    spread, rank = health["spread"], health["effective_rank"]
    if spread < COLLAPSED_SPREAD:
        what = f"they spread {spread:.3f} of what is possible"
    elif rank < COLLAPSED_RANK and min(shape) > 4:
        what = f"their effective rank is {rank:.2f} of {min(shape)}, so nearly all lie on one line"
    else:
        return None
    return (
        f"The embeddings have collapsed: {what}. Usual causes: too high a learning rate, a missing stop-gradient or "
        "predictor, views that hide everything."
    )


def stuck(loss: float, chance: float | None) -> str | None:
    """A warning if the loss sits at chance."""
    if not chance or not loss > AT_CHANCE * chance:
        return None
    return (
        f"Half-way, the loss {loss:.3f} still sits at chance ({chance:.3f}): nothing has been learned yet. Usual "
        "causes: too low or too high a learning rate, too high a temperature, views that share nothing."
    )
