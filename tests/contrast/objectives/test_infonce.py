from __future__ import annotations

from math import exp, log

import pytest
import torch
from naive import assert_values, each_anchor, log_sum_exp, similarity_of
from objective_cases import random_views
from torch.nn import functional as F

from twofold.contrast.objectives import (
    decoupled,
    decoupled_weighted,
    info_nce,
    info_nce_with_negatives,
    nt_xent,
    positive_rank,
    symmetric_info_nce,
)
from twofold.contrast.pairs import different

TAU = 0.3


def test_info_nce_by_definition() -> None:
    z = random_views(2, 6, 4)
    s = similarity_of(z)
    expected = [-s(0, i, 1, i) / TAU + log_sum_exp([s(0, i, 1, j) / TAU for j in range(6)]) for i in range(6)]
    assert_values(info_nce(z[0], z[1], temperature=TAU, reduction="none"), expected)


def test_info_nce_is_the_cross_entropy_of_the_similarities() -> None:
    a, p = F.normalize(random_views(2, 9, 5), dim=-1)
    expected = F.cross_entropy(a @ p.T / TAU, torch.arange(9))
    torch.testing.assert_close(info_nce(a, p, temperature=TAU), expected)
    torch.testing.assert_close(info_nce(a, p, temperature=TAU, normalize=False), expected)


def test_one_temperature_per_sample() -> None:
    z = random_views(2, 5, 4)
    temperatures = torch.linspace(0.1, 0.9, 5)
    for objective in (lambda t: info_nce(z[0], z[1], temperature=t, reduction="none"),):
        each = [objective(float(t))[i] for i, t in enumerate(temperatures)]
        torch.testing.assert_close(objective(temperatures), torch.stack(each))
    for objective in (nt_xent, decoupled, decoupled_weighted):
        each = torch.stack([objective(z, temperature=float(t), reduction="none") for t in temperatures])
        both_views = each.reshape(5, 2, 5).diagonal(dim1=0, dim2=2).flatten()
        torch.testing.assert_close(objective(z, temperature=temperatures, reduction="none"), both_views)


def test_reductions_of_anchors() -> None:
    z = random_views(2, 5, 4)
    each = nt_xent(z, temperature=TAU, reduction="none")
    torch.testing.assert_close(nt_xent(z, temperature=TAU, reduction="sum"), each.sum())
    torch.testing.assert_close(nt_xent(z, temperature=TAU), each.mean())


def test_symmetric_info_nce() -> None:
    a, b = random_views(2, 7, 4)
    forward, backward = (info_nce(x, y, temperature=TAU, reduction="none") for x, y in ((a, b), (b, a)))
    assert (forward - backward).abs().max() > 0.01
    there = symmetric_info_nce(a, b, temperature=TAU, reduction="none")
    torch.testing.assert_close(there, (forward + backward) / 2)
    torch.testing.assert_close(there, symmetric_info_nce(b, a, temperature=TAU, reduction="none"))


def test_explicit_negatives_by_definition() -> None:
    z = random_views(4, 5, 4)
    s = similarity_of(z)
    keys = torch.tensor([0, 1, 1, 2, 3])
    expected = []
    for i in range(5):
        shared = [s(0, i, 2, j) / TAU for j in range(5) if keys[i] != keys[j]]
        own = [s(0, i, 2, i) / TAU, s(0, i, 3, i) / TAU]
        positive = s(0, i, 1, i) / TAU
        expected.append(-positive + log_sum_exp([positive, *shared, *own]))
    actual = info_nce_with_negatives(
        z[0],
        z[1],
        z[2],
        temperature=TAU,
        rule=different(keys, keys),
        own_negatives=torch.stack([z[2], z[3]], dim=1),
        reduction="none",
    )
    assert_values(actual, expected)


def test_the_other_positives_as_explicit_negatives_give_info_nce() -> None:
    a, p = random_views(2, 6, 4)
    expected = info_nce(a, p, temperature=TAU, reduction="none")
    index = torch.arange(6)
    shared = {"negatives": p, "rule": different(index, index)}
    own = {"negatives": p[:0], "own_negatives": torch.stack([p.roll(k, 0) for k in range(1, 6)], dim=1)}
    for negatives in (shared, own):
        torch.testing.assert_close(
            info_nce_with_negatives(a, p, temperature=TAU, reduction="none", **negatives), expected
        )


def test_without_negatives_there_is_nothing_to_learn() -> None:
    a, p = random_views(2, 3, 4)
    a.requires_grad_()
    loss = info_nce_with_negatives(a, p, p[:0], temperature=TAU, own_negatives=p[:, None][:, :0])
    loss.backward()
    assert loss == 0
    assert a.grad.eq(0).all()


def test_one_anchor_is_enough_with_explicit_negatives() -> None:
    a, p, q = torch.eye(3, dtype=torch.float64)[:, None]
    loss = info_nce_with_negatives(a, p, q, temperature=torch.tensor([TAU]), own_negatives=a[:, None])
    torch.testing.assert_close(loss.item(), log(2 + exp(1 / TAU)))


def test_own_negatives_are_not_rounded_by_autocast() -> None:
    z = random_views(3, 8, 16, dtype=torch.float32)
    arguments = {"negatives": z[2][:0], "own_negatives": z[2].roll(1, 0)[:, None], "temperature": 0.01}
    expected = info_nce_with_negatives(z[0], z[1], **arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(info_nce_with_negatives(z[0], z[1], **arguments), expected)


@pytest.mark.parametrize("views", [2, 3])
def test_nt_xent_and_decoupled_by_definition(views: int) -> None:
    z = random_views(views, 5, 4)
    s = similarity_of(z)
    together, apart = [], []
    for v, i in each_anchor(z):
        positive = sum(s(v, i, w, i) for w in range(views) if w != v) / (views - 1)
        others = [s(v, i, w, j) / TAU for w, j in each_anchor(z) if (w, j) != (v, i)]
        negatives = [s(v, i, w, j) / TAU for w, j in each_anchor(z) if j != i]
        together.append(-positive / TAU + log_sum_exp(others))
        apart.append(-positive / TAU + log_sum_exp(negatives))
    assert_values(nt_xent(z, temperature=TAU, reduction="none"), together)
    assert_values(decoupled(z, temperature=TAU, reduction="none"), apart)


def test_decoupled_is_nt_xent_without_the_positive_in_the_denominator() -> None:
    z = F.normalize(random_views(2, 6, 4), dim=-1)
    positive = (z[0] * z[1]).sum(1).repeat(2) / TAU
    with_positive = nt_xent(z, temperature=TAU, reduction="none") + positive
    without = torch.log(with_positive.exp() - positive.exp())
    torch.testing.assert_close(decoupled(z, temperature=TAU, reduction="none"), without - positive)


def test_decoupling_frees_the_gradient_of_an_easy_positive() -> None:
    z = torch.eye(4, dtype=torch.float64)[:2].repeat(2, 1, 1) + 0.1  # equal views, far from the other sample
    z[1, :, 2] += 0.05
    slopes = []
    for objective in (nt_xent, decoupled):
        leaf = z.clone().requires_grad_()
        objective(leaf, temperature=0.1).backward()
        slopes.append(leaf.grad.norm())
    assert slopes[0] < 0.05 * slopes[1]


@pytest.mark.parametrize("views", [2, 3])
def test_decoupled_weighted_by_definition(views: int) -> None:
    z = random_views(views, 5, 4)
    s = similarity_of(z)
    expected = []
    unweighted = decoupled(z, temperature=TAU, reduction="none").tolist()
    for loss, (v, i) in zip(unweighted, each_anchor(z), strict=True):
        positives = [sum(s(v, j, w, j) for w in range(views) if w != v) / (views - 1) for j in range(5)]
        weight = 2 - 5 * exp(positives[i] / 0.5) / sum(exp(p / 0.5) for p in positives)
        expected.append(loss + (1 - weight) * positives[i] / TAU)
    assert_values(decoupled_weighted(z, temperature=TAU, reduction="none"), expected)


def test_decoupled_weighted_becomes_decoupled_as_sigma_grows() -> None:
    z = random_views(2, 6, 4)
    expected = decoupled(z, temperature=TAU, reduction="none")
    distances = [
        (decoupled_weighted(z, temperature=TAU, sigma=sigma, reduction="none") - expected).abs().max()
        for sigma in (0.5, 50, 5000, 1e9)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.1
    assert distances[-1] < 1e-8


def test_the_weights_of_decoupled_weighted_are_constants() -> None:
    z = random_views(2, 5, 4)
    weighted, plain = (z.clone().requires_grad_() for _ in range(2))
    decoupled_weighted(weighted, temperature=TAU, reduction="sum").backward()
    a, b = F.normalize(plain, dim=-1)
    positives = (a * b).sum(1)
    weight = (2 - 5 * (positives / 0.5).softmax(0)).detach()
    loss = decoupled(plain, temperature=TAU, reduction="sum") + 2 * ((1 - weight) * positives / TAU).sum()
    loss.backward()
    torch.testing.assert_close(weighted.grad, plain.grad)


def test_positive_rank() -> None:
    p = torch.eye(3)
    a = torch.tensor([[1.0, 0, 0], [2.0, 1, 0], [3.0, 2, 1]])
    assert positive_rank(a, p).tolist() == [0, 1, 2]
    assert positive_rank(p, p).dtype == torch.int64


def test_a_duplicate_of_the_positive_is_no_better_than_it() -> None:
    generator = torch.Generator().manual_seed(0)
    anchors = torch.randn(33, 257, generator=generator)
    positives = torch.randn(1, 257, generator=generator).expand(33, -1)
    assert positive_rank(anchors, positives).eq(0).all()


def test_positive_rank_under_autocast() -> None:
    a, p = random_views(2, 40, 32, dtype=torch.float32)
    a = p + 1e-2 * a
    p = p[:1] + 1e-3 * p  # so close to one another that bfloat16 cannot tell them apart
    expected = positive_rank(a, p)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(positive_rank(a, p), expected)


def test_bad_explicit_negatives() -> None:
    a = torch.randn(3, 4)
    arguments = {"temperature": TAU}
    with pytest.raises(TypeError, match=r"negatives must be a floating tensor of embeddings, got torch\.int64"):
        info_nce_with_negatives(a, a, torch.ones(2, 4, dtype=torch.int64), **arguments)
    with pytest.raises(ValueError, match="anchors have 4 dimensions and candidates 5"):
        info_nce_with_negatives(a, a, torch.randn(2, 5), **arguments)
    for shape in [(3, 4), (2, 1, 4), (3, 1, 5)]:
        with pytest.raises(ValueError, match=r"own_negatives must be \(3, k, 4\), got \(\d, "):
            info_nce_with_negatives(a, a, a, own_negatives=torch.randn(shape), **arguments)


@pytest.mark.parametrize("sigma", [0, -1.0, float("nan")])
def test_bad_sigma(sigma: float) -> None:
    with pytest.raises(ValueError, match=f"sigma must be positive and finite, got {sigma}"):
        decoupled_weighted(random_views(2, 3, 4), temperature=TAU, sigma=sigma)
