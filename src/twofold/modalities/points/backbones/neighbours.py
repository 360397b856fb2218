"""Farthest point sampling and nearest neighbours of batches of clouds, as tensor operations on any device."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def farthest_points(places: Tensor, count: int) -> Tensor:
    """Points that lie far from one another: each is the farthest from all chosen before it (Qi et al., NeurIPS 2017).

    The first is the farthest from the mean, so that the choice depends on the points and not on their order.

    Args:
        places: (n, p, 3).
        count: How many; if there are fewer different points, some are chosen again.

    Returns:
        int64 (n, count), positions in the cloud. Time O(n p count), memory O(n p).
    """
    places = places.float()
    rows = torch.arange(len(places), device=places.device)
    far = (places - places.mean(1, keepdim=True)).square().sum(2).argmax(1)
    nearest = torch.full(places.shape[:2], torch.inf, device=places.device)
    chosen = []
    for _ in range(count):
        chosen.append(far)
        latest = places[rows, far].unsqueeze(1)
        nearest = torch.minimum(nearest, (places - latest).square().sum(2))
        far = nearest.argmax(1)
    return torch.stack(chosen, 1)


@torch.no_grad()
def nearest_points(queries: Tensor, places: Tensor, k: int) -> Tensor:
    """The `k` nearest of `places` for each query, nearest first.

    Args:
        queries: (n, q, d).
        places: (n, p, d), p >= k.
        k: How many.

    Returns:
        int64 (n, q, k), positions in `places`. Memory O(n q p).
    """
    queries, places = queries.float(), places.float()
    distance = torch.cdist(queries, places, compute_mode="donot_use_mm_for_euclid_dist")
    return distance.topk(k, dim=2, largest=False)[1]


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """Rows of each cloud by number: values (n, p, c), index int64 (n, ...) -> (n, ..., c)."""
    flat = index.flatten(1)
    rows = values.gather(1, flat.unsqueeze(2).expand(-1, -1, values.shape[2]))
    return rows.view(*index.shape, values.shape[2])
