"""Prototypes and the ways to assign samples to them: Sinkhorn, a moving centre, k-means."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.contrast.checks import check_rows, check_temperature, raise_precision
from twofold.contrast.gather import gather

# Rows of the distance matrix of k-means that are in memory at a time.
_ROWS_AT_A_TIME = 4096


@torch.no_grad()
def sinkhorn(scores: Tensor, *, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Soft assignments with equal mass on every prototype, more of it where the score is higher. No gradient.

    Alternately scales exp(scores / ε), columns to n/K and rows to 1, in the log domain, rows last: so each sample's
    assignment sums to 1 exactly, and the columns are equal up to convergence. Across processes the columns are those
    of all rows. Where n is well below K, prepend the scores of a queue and keep the last n rows of the result.

    Args:
        scores: ``(..., n, K)``, similarities (not costs) of samples and prototypes.
        epsilon: Entropic smoothing ε > 0, in units of the scores; the paper's 0.05. Smaller is closer to one-hot.
        iterations: The paper's 3. With 0 it is a plain softmax of scores / ε, without balance.

    Returns:
        ``(..., n, K)``, at least float32.

    Raises:
        TypeError: If ``scores`` is no floating tensor.
        ValueError: If ``scores`` is no matrix, ``epsilon`` not positive and finite, or ``iterations`` negative.

    Source: Caron et al., NeurIPS 2020, §3.1; Cuturi, NeurIPS 2013.
    """
    check_rows("scores", scores, minimum=1)
    check_temperature(epsilon, "epsilon")
    if iterations < 0:
        raise ValueError(f"iterations must not be negative, got {iterations}.")
    (scores,) = raise_precision(scores)
    log_plan = scores / epsilon
    for _ in range(iterations):
        local_mass = log_plan.logsumexp(dim=-2, keepdim=True)
        log_plan = log_plan - gather(local_mass, dim=-2).logsumexp(dim=-2, keepdim=True)
        log_plan = log_plan - log_plan.logsumexp(dim=-1, keepdim=True)
    return log_plan.softmax(dim=-1)


class Prototypes(nn.Module):
    """Trainable prototypes: the cosine of every embedding and every prototype, a linear layer without bias.

    Call :meth:`normalize_` before every step, as SwAV does: the forward pass takes the prototypes as they are.

    Args:
        dim: Dimensions of the embeddings.
        count: K, the number of prototypes.
        generator: For the random unit vectors they start from; torch's default one without it.

    Source: Caron et al., NeurIPS 2020, §3.1.
    """

    def __init__(self, dim: int, count: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, dim, generator=generator))
        self.normalize_()

    def forward(self, z: Tensor) -> Tensor:
        """Scores ``(..., n, K)`` in at least float32 of embeddings ``(..., n, d)``, which are normalised here."""
        (z,) = raise_precision(z)
        with torch.autocast(z.device.type, enabled=False):
            return F.linear(F.normalize(z, dim=-1), self.weight.to(z.dtype))

    @torch.no_grad()
    def normalize_(self) -> None:
        """Put every prototype back to unit length, in place."""
        self.weight.copy_(F.normalize(self.weight, dim=-1))


class Center(nn.Module):
    """DINO's centre: the running mean of the teacher's raw logits over the samples of all processes.

    Update it after the loss, with logits that are neither centred nor divided by a temperature.

    Args:
        count: K, the number of prototypes.
        momentum: The share of the old centre in the new one, 0 to 1; the paper's 0.9.

    Raises:
        ValueError: If ``momentum`` lies outside 0 to 1.

    Source: Caron et al., ICCV 2021, eq. 4.
    """

    value: Tensor

    def __init__(self, count: int, *, momentum: float = 0.9) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie between 0 and 1, got {momentum!r}.")
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(count))

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Move towards the mean of ``(..., n, K)`` raw teacher logits."""
        local_mean = logits.flatten(0, -2).to(self.value.dtype).mean(dim=0, keepdim=True)
        self.value.lerp_(gather(local_mean).mean(dim=0), 1 - self.momentum)


class Clusters(NamedTuple):
    """What :func:`kmeans` gives."""

    labels: Tensor
    """int64 ``(n,)``: the nearest centroid of each row."""
    centroids: Tensor
    """``(k, d)``."""


@torch.no_grad()
def kmeans(x: Tensor, k: int, *, generator: torch.Generator, iterations: int = 25, spherical: bool = False) -> Clusters:
    """Lloyd's algorithm from a k-means++ start; a cluster that runs empty restarts at the farthest row. No gradient.

    Stops early when no label changes. With fewer distinct rows than k some clusters stay empty. Its result belongs to
    this process's rows; across processes run it on the same rows with equally seeded generators.

    Args:
        x: ``(n, d)``.
        k: Number of clusters, 1 to n.
        generator: The only source of randomness; on any device.
        iterations: Upper limit of Lloyd's steps.
        spherical: Cluster by cosine: rows and centroids are normalised.

    Raises:
        TypeError: If ``x`` is no floating tensor.
        ValueError: If ``x`` has another shape, or ``k`` lies outside 1 to n.

    Source: Lloyd, IEEE Trans. Inf. Theory 1982; Arthur & Vassilvitskii, SODA 2007 (start).
    """
    check_rows("x", x, minimum=1)
    if x.ndim != 2 or not 1 <= k <= len(x):
        raise ValueError(f"x must be (n, d) and k between 1 and n, got x of shape {tuple(x.shape)} and k = {k}.")
    (x,) = raise_precision(x)
    with torch.autocast(x.device.type, enabled=False):
        x = F.normalize(x, dim=-1) if spherical else x
        centroids = _spread_start(x, k, generator)
        labels, distances = _nearest(x, centroids)
        for _ in range(iterations):
            centroids = _means(x, labels, distances, k)
            centroids = F.normalize(centroids, dim=-1) if spherical else centroids
            previous = labels
            labels, distances = _nearest(x, centroids)
            if torch.equal(labels, previous):
                break
    return Clusters(labels, centroids)


def _spread_start(x: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k-means++: each next centroid is a row drawn in proportion to its squared distance from the nearest so far."""
    draws = torch.rand(k, generator=generator, device=generator.device, dtype=torch.float64).to(x.device)
    chosen = x.new_empty(k, x.shape[1])
    distances = x.new_ones(len(x))
    for i in range(k):
        mass = distances.double().cumsum(dim=0)
        position = torch.searchsorted(mass, draws[i] * mass[-1], right=True).clamp(max=len(x) - 1)
        chosen[i] = x[position]
        to_new = (x - chosen[i]).square().sum(dim=1)
        distances = to_new if i == 0 else torch.minimum(distances, to_new)
    return chosen


def _nearest(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's nearest centroid and its squared distance."""
    lengths = centroids.square().sum(dim=1)
    found = [(lengths - 2 * rows @ centroids.T).min(dim=1) for rows in x.split(_ROWS_AT_A_TIME)]
    distances = torch.cat([part.values for part in found]) + x.square().sum(dim=1)
    return torch.cat([part.indices for part in found]), distances.clamp(min=0)


def _means(x: Tensor, labels: Tensor, distances: Tensor, k: int) -> Tensor:
    counts = torch.bincount(labels, minlength=k)
    sums = x.new_zeros(k, x.shape[1]).index_add_(0, labels, x)
    means = sums / counts.clamp(min=1)[:, None]
    empty = counts == 0
    farthest = distances.topk(int(empty.sum())).indices
    means[empty] = x[farthest]
    return means
