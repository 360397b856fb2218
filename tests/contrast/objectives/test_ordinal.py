"""Contrast by numbers: weights of distance, and mixtures whose labels are what they should be."""

from __future__ import annotations

from math import isnan, log, nan

import pytest
import torch
from naive import assert_values, each_anchor, log_sum_exp, similarity_of
from objective_cases import random_views
from torch.nn.functional import normalize

from twofold.contrast.objectives import nt_xent, ordinal
from twofold.contrast.ordinal_mixing import OrdinalMixtures, mix_ordinal

TAU = 0.4
TARGETS = torch.tensor([1.0, 4.0, 1.0, nan, 2.5, nan, 7.0], dtype=torch.float64)


def positive(i: int, j: int) -> bool:
    return i == j or bool(TARGETS[i] == TARGETS[j])


def distance(i: int, j: int) -> float:
    apart = abs(float(TARGETS[i] - TARGETS[j]))
    return 0.0 if isnan(apart) else apart


def drawn(z, **options):
    defaults = {"window": 4.0, "count": 5, "generator": torch.Generator().manual_seed(0)}
    return mix_ordinal(z, TARGETS, **defaults | options)


@pytest.mark.parametrize("views", [2, 3])
def test_by_definition(views: int) -> None:
    z = random_views(views, 7, 4)
    s = similarity_of(z)
    expected = []
    for v, i in each_anchor(z):
        others = [(w, j) for w, j in each_anchor(z) if (w, j) != (v, i)]
        everyone = log_sum_exp([s(v, i, w, j) / TAU + log(distance(i, j) + 1) for w, j in others])
        positives = [s(v, i, w, j) / TAU for w, j in others if positive(i, j)]
        expected.append(everyone - sum(positives) / len(positives))
    assert_values(ordinal(z, TARGETS, temperature=TAU, reduction="none"), expected)


def test_with_mixtures_by_definition() -> None:
    z = random_views(2, 7, 4)
    s, unit = similarity_of(z), normalize(z, dim=-1)
    mixtures = drawn(z)
    expected = []
    for a, (v, i) in enumerate(each_anchor(z)):
        others = [(w, j) for w, j in each_anchor(z) if (w, j) != (v, i)]
        terms = [s(v, i, w, j) / TAU + log(distance(i, j) + 1) for w, j in others]
        positives = [s(v, i, w, j) / TAU for w, j in others if positive(i, j)]
        if mixtures.distances[a].isfinite().all():
            mixed = mixtures.negatives[a] @ unit[v, i] / TAU + mixtures.distances[a].log1p()
            terms += mixed.tolist()
        if mixtures.has_positives[a]:
            more = (mixtures.positives[a] @ unit[v, i] / TAU).tolist()
            terms, positives = terms + more, positives + more
        expected.append(log_sum_exp(terms) - sum(positives) / len(positives))
    assert_values(ordinal(z, TARGETS, temperature=TAU, mixtures=mixtures, reduction="none"), expected)
    assert bool(mixtures.has_positives.any())
    assert not bool(mixtures.has_positives.all())


def test_without_any_label_it_is_nt_xent() -> None:
    z = random_views(3, 6, 4)
    unknown = torch.full((6,), nan, dtype=torch.float64)
    torch.testing.assert_close(ordinal(z, unknown, temperature=TAU), nt_xent(z, temperature=TAU))
    mixtures = mix_ordinal(z, unknown, window=9.0, count=4, generator=torch.Generator())
    assert bool(mixtures.distances.isinf().all())
    assert not bool(mixtures.has_positives.any())
    torch.testing.assert_close(ordinal(z, unknown, temperature=TAU, mixtures=mixtures), nt_xent(z, temperature=TAU))


def test_mixed_negatives_lie_between_the_anchor_and_another_label() -> None:
    z = random_views(2, 7, 6, seed=3)
    unit = normalize(z, dim=-1)
    mixtures = drawn(z, count=40)
    rows = unit.flatten(0, 1)
    labels = TARGETS.repeat(2)
    shares = []
    for a in range(14):
        if labels[a].isnan():
            assert bool(mixtures.distances[a].isinf().all())
            continue
        for mixture, apart in zip(mixtures.negatives[a], mixtures.distances[a], strict=True):
            fits = []
            for c in range(14):
                if labels[c].isnan() or labels[c] == labels[a]:
                    continue
                share = 1 - apart / (labels[a] - labels[c]).abs()
                fits.append((share * rows[a] + (1 - share) * rows[c] - mixture).norm())
                if fits[-1] < 1e-6:
                    shares.append(float(share))
            assert min(fits) < 1e-6
    assert sum(shares) / len(shares) == pytest.approx(0.2, abs=0.03)  # the mean of Beta(2, 8)
    assert 0 < min(shares) < max(shares) < 1


def test_mixed_positives_have_the_label_of_the_anchor() -> None:
    n = 30
    targets = torch.arange(n, dtype=torch.float64) ** 1.5
    # Embeddings that are linear in the label show the label of a mixture.
    z = torch.stack([torch.stack([targets / 500, torch.sqrt(1 - (targets / 500) ** 2)], 1)] * 2)
    mixtures = mix_ordinal(z, targets, window=12.0, count=8, generator=torch.Generator().manual_seed(1))
    assert mixtures.has_positives.tolist() == [0 < i < n - 1 for i in range(n)] * 2
    found = mixtures.positives[mixtures.has_positives][..., 0] * 500
    expected = targets.repeat(2)[mixtures.has_positives][:, None].expand_as(found)
    torch.testing.assert_close(found, expected)
    none = mix_ordinal(z, targets, window=0.5, count=8, generator=torch.Generator())
    assert not bool(none.has_positives.any())


@pytest.mark.parametrize(("share", "mean"), [((2, 8), 0.2), ((5, 5), 0.5), ((8, 2), 0.8), ((1, 1), 0.5)])
def test_the_share_of_the_anchor(share, mean) -> None:
    z = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    mixtures = mix_ordinal(
        z,
        torch.tensor([0.0, 1.0], dtype=torch.float64),
        window=1.0,
        count=4000,
        share=share,
        generator=torch.Generator().manual_seed(0),
    )
    assert float(mixtures.negatives[0, :, 0].mean()) == pytest.approx(mean, abs=0.01)
    a, b = share
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    assert float(mixtures.negatives[0, :, 0].var()) == pytest.approx(variance, rel=0.1)


def test_mixtures_are_constants() -> None:
    z = random_views(2, 7, 4).requires_grad_()
    mixtures = drawn(z)
    assert not any(part.requires_grad for part in mixtures)
    ordinal(z, TARGETS, temperature=TAU, mixtures=mixtures).backward()
    assert bool(z.grad.isfinite().all())
    fixed = OrdinalMixtures(*(part.clone() for part in mixtures))
    assert torch.autograd.gradcheck(
        lambda rows: ordinal(rows, TARGETS, temperature=TAU, mixtures=fixed), z.detach().requires_grad_()
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"targets": TARGETS[:5]}, ValueError, r"one number a sample, \(7,\), got \(5,\)"),
        ({"targets": torch.arange(7)}, TypeError, r"floating tensor, got torch\.int64"),
        ({"targets": [1.0] * 7}, TypeError, "floating tensor, got list"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
    ],
)
def test_wrong_arguments(change, error, message) -> None:
    with pytest.raises(error, match=message):
        ordinal(random_views(2, 7, 4), **{"targets": TARGETS, "temperature": TAU} | change)


@pytest.mark.parametrize("change", [{"window": 0.0}, {"count": 0}, {"share": (0, 2)}])
def test_wrong_mixtures(change) -> None:
    with pytest.raises(ValueError, match="window and count must be positive, share at least 1"):
        drawn(random_views(2, 7, 4), **change)
