"""Every objective that compares a sample with others, under one signature, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from twofold.contrast import convolved, directions, objectives, reductions, tiles, two_way
from twofold.contrast.gather import gather
from twofold.contrast.pairs import different, similar
from twofold.contrast.sparse_pairs import PairList, apart

Loss = Callable[..., Tensor]


@dataclass(frozen=True)
class Case:
    """``loss(z, temperature, index, **options)``, where index says which sample of the data set each column is."""

    name: str
    loss: Loss
    views: int = 2
    per: str | None = "anchor"
    """What one value of reduction="none" belongs to: "anchor" (views · n), "sample" (n); None: always a scalar."""
    symmetric: bool = True
    """The scalar does not depend on the order of the views."""
    exact_gradient: bool = True
    """False where parts are constants in the backward pass by design."""
    has_temperature: bool = True
    paired: bool = False
    """Takes anchors and positives, not all views in one tensor."""


def _labels(index: Tensor) -> Tensor:
    """Three classes, and some samples without a label."""
    return torch.where(index % 5 == 4, -1, index % 3)


def _with_negatives(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    return objectives.info_nce_with_negatives(
        z[0],
        z[1],
        gather(z[2]),
        temperature=t,
        rule=different(index, gather(index)),
        own_negatives=torch.stack([z[2], z[3]], dim=1),
        **options,
    )


def _hard_negatives(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    return objectives.info_nce_with_hard_negatives(*z, temperature=t, own_bonus=0.5, **options)


def _weighted(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    """Each sample's neighbour by number is a positive too; samples of a pair do not repel, others by their classes."""
    everyone = gather(index)
    most = torch.arange(16)  # samples that any test has
    partners = torch.stack([most, most ^ 1], 1)
    listed = PairList(torch.arange(17) * 2, partners.flatten())
    labels = torch.stack([most // 2, most % 3])
    return objectives.weighted_info_nce(
        z[0],
        z[1],
        temperature=t,
        positives=listed.pairs(index, everyone),
        weights=apart(labels[:, index], labels[:, everyone]),
        **options,
    )


def _two(objective: Loss, **fixed: Any) -> Loss:
    return lambda z, t, index, **options: objective(z[0], z[1], temperature=t, **fixed, **options)


def _views(objective: Loss, **fixed: Any) -> Loss:
    return lambda z, t, index, **options: objective(z, temperature=t, **fixed, **options)


def _labelled(objective: Loss, **fixed: Any) -> Loss:
    return lambda z, t, index, **options: objective(z, _labels(index), temperature=t, **fixed, **options)


def _graded(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    facts = torch.stack([torch.cos(index.double()), torch.sin(index.double())], 1)
    return objectives.graded_info_nce(z[0], z[1], similar(facts, gather(facts)), temperature=t, **options)


def _distracted(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    return objectives.info_nce_with_distractors(*z, index % 3 != 1, temperature=t, **options)


def _ordinal(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    targets = torch.where(index % 5 == 4, torch.nan, 1.5 * (index % 3).to(z.dtype))
    return objectives.ordinal(z, targets, temperature=t, **options)


def _no_temperature(objective: Loss, **fixed: Any) -> Loss:
    return lambda z, t, index, **options: objective(z, **fixed, **options)


def _attraction_repulsion(**fixed: Any) -> Loss:
    return lambda z, t, index, **options: torch.stack(objectives.attraction_repulsion(z, **fixed, **options)).sum()


def _within(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    return objectives.info_nce_within(z[0], z[1], index % 2, temperature=t, **options)


def _global(z: Tensor, t: Any, index: Tensor, **options: Any) -> Tensor:
    stored = torch.where(index % 4 == 3, -torch.inf, 0.1 * index).to(z.dtype)
    t = t.detach() if isinstance(t, Tensor) else t
    return objectives.global_contrastive(z, stored, temperature=t, **options).loss


CASES = [
    Case("info_nce", _two(objectives.info_nce), per="sample", symmetric=False, paired=True),
    Case("symmetric_info_nce", _two(objectives.symmetric_info_nce), per="sample", paired=True),
    Case("info_nce_within", _within, per="sample", symmetric=False, paired=True),
    Case("info_nce_with_negatives", _with_negatives, views=4, per="sample", symmetric=False, paired=True),
    Case("info_nce_with_hard_negatives", _hard_negatives, views=3, per="sample", symmetric=False, paired=True),
    Case("weighted_info_nce", _weighted, per="sample", symmetric=False, paired=True),
    Case("nt_xent", _views(objectives.nt_xent)),
    Case("nt_xent of 3 views", _views(objectives.nt_xent), views=3),
    Case("decoupled", _views(objectives.decoupled)),
    Case("decoupled of 3 views", _views(objectives.decoupled), views=3),
    Case("decoupled_weighted", _views(objectives.decoupled_weighted), exact_gradient=False),
    Case("supervised", _labelled(objectives.supervised)),
    Case("supervised of 3 views", _labelled(objectives.supervised, base_temperature=0.07), views=3),
    Case("supervised_inside", _labelled(objectives.supervised_inside)),
    Case("smoothed_info_nce", _two(objectives.smoothed_info_nce), per="sample", symmetric=False, paired=True),
    Case("graded_info_nce", _graded, per="sample", symmetric=False, paired=True),
    Case("info_nce_with_distractors", _distracted, views=3, per="sample", symmetric=False, paired=True),
    Case(
        "cross_uniformity",
        lambda z, t, index, **options: objectives.cross_uniformity(z[0], z[1], **options),
        per=None,
        has_temperature=False,
        paired=True,
    ),
    Case("ordinal", _ordinal),
    Case("ordinal of 3 views", _ordinal, views=3),
    Case("sigmoid", _two(objectives.sigmoid, bias=-1.0), per="sample", paired=True),
    Case("hard_reweighted", _views(objectives.hard_reweighted)),
    Case("hard_reweighted of 3 views", _views(objectives.hard_reweighted, hardness=0.5), views=3),
    Case("hard_info_nce", _two(objectives.hard_info_nce, hardness=0.5), per="sample", symmetric=False, paired=True),
    Case("debiased", _views(objectives.debiased)),
    Case("simple", _no_temperature(objectives.simple), has_temperature=False),
    Case("simple, hardest", _no_temperature(objectives.simple, hardest=0.3), has_temperature=False),
    Case("hard_contrastive", _views(objectives.hard_contrastive, hardest=0.3)),
    Case("pairwise_average", _views(objectives.pairwise_average), views=3, per=None),
    Case("mv_info_nce", _views(objectives.mv_info_nce), views=3, per="sample"),
    Case("mv_info_nce, other views", _views(objectives.mv_info_nce, same_view_negatives=False), views=3, per="sample"),
    Case("mv_dhel", _views(objectives.mv_dhel), views=3, per="sample"),
    Case("attraction_repulsion", _attraction_repulsion(), views=3, per=None, symmetric=False, has_temperature=False),
    Case(
        "attraction_repulsion, detached",
        _attraction_repulsion(detach_weights=True),
        views=3,
        per=None,
        symmetric=False,
        exact_gradient=False,
        has_temperature=False,
    ),
    Case("global_contrastive", _global, per=None, exact_gradient=False),
]


def random_views(views: int, n: int, dim: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Views ``(views, n, dim)`` of n random samples: correlated, and not of unit length."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(1, n, dim, generator=generator, dtype=torch.float64)
    return (samples + 0.7 * torch.randn(views, n, dim, generator=generator, dtype=torch.float64)).to(dtype)


def random_rows(count: int, dim: int, seed: int) -> Tensor:
    """``(count, dim)``, short enough that softmaxes are not one-sided."""
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / dim


def some_scale(kind: str, count: int) -> Tensor:
    """One for each anchor, one that is learned, one below 0, or 7."""
    each = torch.linspace(-2, 3, count, dtype=torch.float64)
    values = {"per anchor": each, "learned": torch.tensor(2.0), "negative": torch.tensor(-4.0)}
    return values.get(kind, torch.tensor(7.0)).double().requires_grad_(kind == "learned")


@contextmanager
def small_tiles(
    rows: int = 4, square: int = 3, columns: int = 4, *, kept: int = 0, convolve: bool = False
) -> Iterator[None]:
    """Every reduction goes tile by tile, in tiles so small that tests cross their borders; none are kept, or few.

    Candidates of more than ``rows / 2`` dimensions are made ready block by block where products are convolutions.
    Products are convolutions, in pieces as small, or are not; this does not depend on the processor.
    """
    with (
        mock.patch.multiple(convolved, COLUMNS=columns, pays=lambda sizes, like: convolve),
        mock.patch.object(reductions, "DENSE_PAIRS", 0),
        mock.patch.object(directions, "PIECE_NUMBERS", 7),
        mock.patch.multiple(tiles, ROW_TILE=rows, REDUCED_ROW_TILE=rows, FEWEST_ROWS=1, KEPT_NUMBERS=kept),
        mock.patch.object(tiles, "HELD_NUMBERS", 0),
        mock.patch.multiple(two_way, ROW_TILE=square, COLUMNS=columns, REDUCED_COLUMNS=columns, KEPT_NUMBERS=kept),
    ):
        yield
