"""Sinkhorn against the plain iteration, prototypes, the moving centre, and k-means."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.contrast import prototypes
from twofold.contrast.prototypes import Center, Prototypes, kmeans, sinkhorn


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def plain_sinkhorn(scores, epsilon, iterations):
    """SwAV's iteration as published: not in the log domain, prototypes first."""
    plan = (scores / epsilon).exp().T
    plan = plan / plan.sum()
    count, samples = plan.shape
    for _ in range(iterations):
        plan = plan / plan.sum(dim=1, keepdim=True) / count
        plan = plan / plan.sum(dim=0, keepdim=True) / samples
    return (plan * samples).T


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_sinkhorn_equals_the_plain_iteration(iterations):
    scores = normal(8, 5)
    expected = plain_sinkhorn(scores, 0.3, iterations)
    torch.testing.assert_close(sinkhorn(scores, epsilon=0.3, iterations=iterations), expected)


def test_converged_sinkhorn_has_both_sums():
    plan = sinkhorn(normal(20, 6), epsilon=0.5, iterations=200)
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(20).double())
    torch.testing.assert_close(plan.sum(dim=0), torch.full((6,), 20 / 6).double(), atol=1e-4, rtol=0)


def test_a_higher_score_gets_more_mass():
    scores = torch.zeros(4, 4, dtype=torch.float64)
    scores[0, 2] = 0.3
    plan = sinkhorn(scores)
    assert plan[0].argmax() == 2
    torch.testing.assert_close(sinkhorn(torch.eye(4)), torch.eye(4), atol=1e-6, rtol=0)


@given(st.floats(-100, 100), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_sinkhorn_ignores_what_favours_a_prototype_for_all_samples(offset, seed):
    scores = normal(7, 4, seed=seed)
    plan = sinkhorn(scores, epsilon=0.2)
    torch.testing.assert_close(sinkhorn(scores + offset, epsilon=0.2), plan)
    torch.testing.assert_close(sinkhorn(scores + offset * normal(1, 4, seed=seed + 1), epsilon=0.2), plan)


def test_converged_sinkhorn_ignores_offsets_of_samples_too():
    scores = normal(7, 4)
    plan = sinkhorn(scores, epsilon=1.0, iterations=200)
    torch.testing.assert_close(sinkhorn(scores + normal(7, 1, seed=1), epsilon=1.0, iterations=200), plan)


def test_sinkhorn_without_iterations_is_softmax_and_iterations_balance():
    scores = normal(30, 3) + torch.tensor([5.0, 0.0, 0.0])
    plain = sinkhorn(scores, epsilon=1.0, iterations=0)
    torch.testing.assert_close(plain, scores.softmax(dim=1))
    assert plain.sum(dim=0).max() > 25
    assert sinkhorn(scores, epsilon=1.0).sum(dim=0).max() < 12


def test_sinkhorn_takes_leading_dimensions():
    scores = normal(3, 7, 4)
    torch.testing.assert_close(sinkhorn(scores)[1], sinkhorn(scores[1]))


@pytest.mark.parametrize("scores", [torch.zeros(4, 3), torch.ones(4, 3) * 1e4, torch.eye(4)], ids=str)
def test_sinkhorn_stays_finite(scores):
    plan = sinkhorn(scores.half(), epsilon=0.001)
    assert plan.dtype == torch.float32
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(4))


def test_sinkhorn_has_no_gradient_and_names_bad_input():
    assert not sinkhorn(normal(4, 3).requires_grad_()).requires_grad
    with pytest.raises(ValueError, match="epsilon must be positive"):
        sinkhorn(normal(4, 3), epsilon=0)
    with pytest.raises(ValueError, match="iterations must not be negative, got -1"):
        sinkhorn(normal(4, 3), iterations=-1)
    with pytest.raises(TypeError, match="int64"):
        sinkhorn(torch.ones(4, 3, dtype=torch.int64))


def test_prototypes_give_cosines_and_return_to_unit_length():
    module = Prototypes(6, 4, generator=generator())
    z = normal(5, 6).float() * 9
    torch.testing.assert_close(module(z), torch.cosine_similarity(z[:, None], module.weight[None], dim=-1))
    with torch.no_grad():
        module.weight.mul_(3)
    module.normalize_()
    torch.testing.assert_close(module.weight.norm(dim=1), torch.ones(4))
    assert module.weight.requires_grad
    assert torch.equal(Prototypes(6, 4, generator=generator()).weight, Prototypes(6, 4, generator=generator()).weight)


def test_prototypes_train_in_full_precision():
    module, z = Prototypes(6, 4, generator=generator()), torch.zeros(5, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = module(z)
    assert scores.dtype == torch.float32
    scores.sum().backward()
    assert torch.isfinite(z.grad).all()
    assert torch.isfinite(module.weight.grad).all()


def test_center_is_a_running_mean_in_the_checkpoint():
    center, logits = Center(3, momentum=0.9), normal(2, 4, 3).float()
    center.update(logits)
    torch.testing.assert_close(center.value, 0.1 * logits.mean(dim=(0, 1)))
    center.update(logits.half())
    torch.testing.assert_close(center.value, 0.19 * logits.mean(dim=(0, 1)), atol=1e-3, rtol=0)
    assert list(center.state_dict()) == ["value"]
    with pytest.raises(ValueError, match=r"momentum must lie between 0 and 1, got 1\.5"):
        Center(3, momentum=1.5)


def blobs(count=3, each=30):
    centres = torch.eye(count, 5, dtype=torch.float64) * 10
    return (centres[:, None] + 0.3 * normal(count, each, 5)).flatten(0, 1)


def inertia(x, clusters):
    return (x - clusters.centroids[clusters.labels]).square().sum().item()


@pytest.mark.parametrize("spherical", [False, True])
def test_kmeans_finds_separate_clusters(spherical, monkeypatch):
    monkeypatch.setattr(prototypes, "_ROWS_AT_A_TIME", 7)
    x = blobs()
    clusters = kmeans(x, 3, generator=generator(), spherical=spherical)
    groups = clusters.labels.view(3, 30)
    assert (groups == groups[:, :1]).all()
    assert groups[:, 0].unique().numel() == 3
    if spherical:
        torch.testing.assert_close(clusters.centroids.norm(dim=1), torch.ones(3).double())
    else:
        torch.testing.assert_close(clusters.centroids[groups[:, 0]], x.view(3, 30, 5).mean(dim=1))


def test_spherical_kmeans_ignores_length():
    x = blobs()
    stretched = x * torch.rand(90, 1, generator=generator(), dtype=torch.float64).add(0.1)
    first, second = (kmeans(rows, 3, generator=generator(1), spherical=True) for rows in (x, stretched))
    assert torch.equal(first.labels, second.labels)


def test_more_iterations_never_raise_the_inertia():
    x = normal(60, 3)
    values = [inertia(x, kmeans(x, 7, generator=generator(3), iterations=i)) for i in range(8)]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(values))
    assert values[-1] < values[0]


def test_labels_are_the_nearest_centroids_and_repeat():
    x = normal(50, 4)
    clusters = kmeans(x, 6, generator=generator(), iterations=2)
    assert torch.equal(clusters.labels, torch.cdist(x, clusters.centroids).argmin(dim=1))
    assert torch.equal(clusters.centroids, kmeans(x, 6, generator=generator(), iterations=2).centroids)
    assert clusters.labels.unique().numel() == 6


def test_an_empty_cluster_restarts_at_the_farthest_row():
    x = torch.tensor([[0.0], [1.0], [9.0]])
    means = prototypes._means(x, torch.tensor([0, 0, 0]), torch.tensor([9.0, 4.0, 25.0]), k=2)
    torch.testing.assert_close(means, torch.tensor([[10 / 3], [9.0]]))


def test_fewer_distinct_rows_than_clusters():
    clusters = kmeans(torch.ones(6, 2), 4, generator=generator())
    assert torch.isfinite(clusters.centroids).all()
    assert clusters.labels.unique().numel() == 1
    assert kmeans(normal(5, 2), 5, generator=generator()).labels.unique().numel() == 5


def test_kmeans_names_bad_input():
    with pytest.raises(ValueError, match=r"\(4, 3\) and k = 5"):
        kmeans(normal(4, 3), 5, generator=generator())
    with pytest.raises(ValueError, match=r"x must be \(n, d\)"):
        kmeans(normal(2, 4, 3), 2, generator=generator())
