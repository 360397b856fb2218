"""ProtoNCE: the loss against a loop, and the concentration of clusters."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from naive import assert_values
from objective_cases import random_views
from torch.nn import functional as F

from twofold.contrast.objectives import concentration, prototype_contrast
from twofold.contrast.prototypes import Clusters, kmeans


def clusterings() -> list[Clusters]:
    draw = torch.Generator().manual_seed(0)
    rows = random_views(1, 8, 3)[0]
    return [kmeans(rows, k, generator=draw, spherical=True) for k in (2, 4)]


def test_by_definition() -> None:
    z = random_views(1, 8, 3, seed=1)[0]
    unit, found = F.normalize(z, dim=1), clusterings()
    phis = [torch.linspace(0.2, 0.9, len(c.centroids), dtype=torch.float64) for c in found]
    expected = []
    for i in range(8):
        terms = []
        for clusters, phi in zip(found, phis, strict=True):
            logits = [float(unit[i] @ c) / float(t) for c, t in zip(clusters.centroids, phi, strict=True)]
            terms.append(log(sum(map(exp, logits))) - logits[int(clusters.labels[i])])
        expected.append(sum(terms) / 2)
    assert_values(prototype_contrast(z, found, phis, reduction="none"), expected)


def test_only_samples_get_a_gradient() -> None:
    z = random_views(1, 8, 3)[0].requires_grad_()
    (clusters,) = clusterings()[:1]
    centroids, phi = clusters.centroids.requires_grad_(), torch.full((2,), 0.5, dtype=torch.float64, requires_grad=True)
    prototype_contrast(z, [Clusters(clusters.labels, centroids)], [phi]).backward()
    assert z.grad is not None
    assert z.grad.abs().max() > 1e-3
    assert centroids.grad is None
    assert phi.grad is None
    check = z.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: prototype_contrast(z, [clusters], [phi]), (check,))


def test_a_cluster_that_is_close_or_large_is_sharper() -> None:
    angle = torch.cat([torch.linspace(-0.1, 0.1, 10), 2 + torch.linspace(-0.5, 0.5, 10), torch.full((1,), 4.0)])
    rows = torch.stack([angle.cos(), angle.sin()], 1)
    labels = torch.tensor([0] * 10 + [1] * 10 + [2])
    centroids = torch.stack([F.normalize(rows[labels == k].mean(0), dim=0) for k in range(3)])
    phi = concentration(rows, Clusters(labels, centroids), temperature=0.3)
    assert phi.mean().item() == pytest.approx(0.3)
    assert phi[0] < phi[1]
    assert phi[2] == phi.max()  # one member says nothing


def test_clusters_of_equal_rows_and_of_one_member_stay_finite() -> None:
    rows = F.normalize(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    singles = concentration(rows, Clusters(torch.arange(6), rows), temperature=0.4)
    assert torch.equal(singles, torch.full((6,), 0.4))
    doubled = rows[:2].repeat(5, 1)
    same = concentration(doubled, Clusters(torch.arange(10) % 2, rows[:2]), temperature=0.4)
    assert (same > 0).all()
    assert same.mean().item() == pytest.approx(0.4)
    empty = concentration(rows, Clusters(torch.zeros(6, dtype=torch.int64), rows[:3]), temperature=0.4)
    assert (empty > 0).all()


def test_what_is_refused() -> None:
    z = random_views(1, 8, 3)[0]
    with pytest.raises(ValueError, match="needs at least one clustering"):
        prototype_contrast(z, [], [])
    with pytest.raises(ValueError, match="a concentration must be positive"):
        prototype_contrast(z, clusterings()[:1], [torch.zeros(2)])
