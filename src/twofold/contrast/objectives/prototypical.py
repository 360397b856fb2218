"""Contrast with the centroids of several clusterings instead of with samples: ProtoNCE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.contrast.checks import check_rows, check_temperature, raise_precision, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.prototypes import Clusters


def prototype_contrast(
    z: Tensor,
    clusterings: Sequence[Clusters],
    concentrations: Sequence[Tensor],
    *,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """ProtoNCE: each sample's cluster, in a softmax over all clusters of a clustering, averaged over clusterings.

    ℓ_i = mean over t of −log [ exp(z_i·c_k(i)/φ_k(i)) / Σ_k exp(z_i·c_k/φ_k) ]   (Li et al., ICLR 2021, eq. 11)

    The paper's sum over all clusters, not over some negatives. Nothing of the clusters gets a gradient.

    Args:
        z: ``(n, d)``.
        clusterings: Each with labels int64 ``(n,)`` of these samples and centroids ``(k, d)`` of unit length.
        concentrations: φ of each clustering's clusters, ``(k,)``, such as :func:`concentration` gives.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows of ``z`` to unit length first.

    Raises:
        TypeError, ValueError: If ``z`` is no floating ``(n, d)``, there is no clustering, a temperature is not
            positive, or shapes do not match.
    """
    check_rows("z", z, minimum=1)
    if not clusterings or len(clusterings) != len(concentrations):
        raise ValueError(
            f"prototype_contrast needs at least one clustering and concentrations for each, got {len(clusterings)} "
            f"and {len(concentrations)}."
        )
    (z,) = unit(z, normalize=normalize)
    losses = []
    with torch.autocast(z.device.type, enabled=False):
        for clusters, phi in zip(clusterings, concentrations, strict=True):
            check_temperature(phi, "a concentration")
            logits = z @ clusters.centroids.detach().to(z.dtype).T / phi.detach().to(z.dtype)
            losses.append(F.cross_entropy(logits, clusters.labels, reduction="none"))
        return reduce_anchors(torch.stack(losses).mean(0), reduction)


@torch.no_grad()
def concentration(rows: Tensor, clusters: Clusters, *, temperature: float, smoothing: float = 10.0) -> Tensor:
    """φ of each cluster, ``(k,)``: small where its members are many and close to the centroid. No gradient.

    φ_k = Σ_i |x_i − c_k| / (n_k log(n_k + α)), clipped to its 10th to 90th percentile over the clusters and scaled to
    mean τ (Li et al., ICLR 2021, eq. 12, and their code). A cluster of one member or none says nothing about its
    spread and takes the largest of the others.

    Args:
        rows: ``(n, d)``, of unit length as the centroids are.
        clusters: Of these rows.
        temperature: τ > 0, the mean of the result.
        smoothing: α; 10 in the paper. It keeps small clusters from extremes.

    Raises:
        TypeError, ValueError: If ``rows`` is no floating ``(n, d)`` or τ is not positive.
    """
    check_rows("rows", rows, minimum=1)
    check_temperature(temperature)
    (rows,) = raise_precision(rows)
    k = len(clusters.centroids)
    counts = torch.bincount(clusters.labels, minlength=k)
    distances = (rows - clusters.centroids[clusters.labels]).norm(dim=1)
    spread = rows.new_zeros(k).index_add_(0, clusters.labels, distances)
    phi = spread / counts.clamp(min=1) / (counts + smoothing).log()
    told = counts > 1
    if not told.any() or not phi[told].max() > 0:
        return torch.full_like(phi, temperature)
    phi = torch.where(told, phi, phi[told].max())
    low, high = torch.quantile(phi, 0.1), torch.quantile(phi, 0.9)
    # Of clusters of equal rows only the largest spread is above 0.
    phi = phi.clamp(low, high).clamp(min=1e-3 * float(phi.max()))
    return temperature * phi / phi.mean()
