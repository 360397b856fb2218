"""Pair rules: which candidate counts for which anchor, and how much.

A rule is a callable ``rule(rows, columns, similarity) -> weight`` that is evaluated on one tile of the similarity
matrix at a time, so that no rule ever needs all n × m pairs in memory:

- ``rows`` int64 ``(r,)`` and ``columns`` int64 ``(c,)``: positions of the tile's anchors and candidates,
- ``similarity`` ``(r, c)``: their similarities, detached,
- the result ``(r, c)``: bool (False = left out) or a non-negative weight (0 = left out).

Weights are constants: no gradient flows through a rule. Rules multiply with :func:`both`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor

from twofold.contrast.checks import raise_precision

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


def different(anchor_keys: Tensor, candidate_keys: Tensor) -> Rule:
    """Candidates whose key differs from the anchor's: excludes an anchor itself, its own old keys, its class ...

    Args:
        anchor_keys: int64 ``(n,)``.
        candidate_keys: int64 ``(m,)``.
    """
    return lambda rows, columns, similarity: anchor_keys[rows, None] != candidate_keys[None, columns]


def same(anchor_keys: Tensor, candidate_keys: Tensor) -> Rule:
    """Candidates whose key equals the anchor's (same label, same item). Shapes as in :func:`different`."""
    return lambda rows, columns, similarity: anchor_keys[rows, None] == candidate_keys[None, columns]


@dataclass(frozen=True, eq=False)
class AllBut:
    """Every candidate but a few that are listed for each anchor; these can be left out without a look at all pairs.

    Args:
        positions: int64 ``(n, k)``: which candidates anchor i leaves out; the same one may be listed twice.
        mutual: Where anchors are the candidates: j is left out by i only if i is left out by j.
        itself: Where anchors are the candidates: each leaves out itself and nothing else.
    """

    positions: Tensor
    mutual: bool = False
    itself: bool = False

    def __call__(self, rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        """The rule, see the module's docstring."""
        listed = self.positions[rows]
        kept = listed[:, :1] != columns
        for position in range(1, listed.shape[1]):
            kept &= listed[:, position : position + 1] != columns
        return kept


def all_but_self(anchor_positions: Tensor) -> AllBut:
    """Every candidate but the one at the anchor's own position.

    Args:
        anchor_positions: int64 ``(n,)``, where each anchor stands among the candidates.
    """
    return AllBut(anchor_positions[:, None], mutual=True, itself=True)


def at_least(thresholds: Tensor) -> Rule:
    """Candidates at least as similar as the anchor's threshold: explicit hard negatives (Wang & Liu, CVPR 2021, §3.3).

    Args:
        thresholds: ``(n,)``, one similarity per anchor, such as :func:`hardest_threshold` gives.
    """
    return lambda rows, columns, similarity: similarity >= thresholds[rows, None]


def similar(anchor_rows: Tensor, candidate_rows: Tensor, *, kernel: Callable[[Tensor], Tensor] | None = None) -> Rule:
    """Weights from the cosines of other rows of the same samples, such as those of a frozen tower.

    w_ij = (1 + cos(u_i, u_j))/2 (Srinivasa et al., NeurIPS 2023, §3), in [0, 1] and 1 for the sample itself.

    Args:
        anchor_rows: ``(n, d)``, normalised.
        candidate_rows: ``(m, d)``, normalised.
        kernel: From cosines to non-negative weights, in place of that.
    """
    own, others = anchor_rows.detach(), candidate_rows.detach()
    weight = kernel or (lambda cosine: (1 + cosine) / 2)
    return lambda rows, columns, similarity: weight((own[rows] @ others[columns].T).clamp(-1, 1)).to(similarity.dtype)


@dataclass(frozen=True, eq=False)
class Both:
    """A rule over all pairs, less a few candidates that are listed for each anchor: see :func:`both`."""

    left_out: AllBut
    rest: Rule

    def __call__(self, rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        """The rule, see the module's docstring."""
        weight = self.rest(rows, columns, similarity)
        kept = self.left_out(rows, columns, similarity)
        return weight & kept if weight.dtype == torch.bool else weight * kept


def both(*rules: Rule) -> Rule:
    """The product of several rules: left out by one is left out."""
    listed = [rule for rule in rules if isinstance(rule, AllBut)]
    if listed:  # kept apart, so that nobody looks at all pairs for them
        positions = torch.cat([rule.positions for rule in listed], 1)
        left_out = AllBut(positions, mutual=all(rule.mutual for rule in listed)) if len(listed) > 1 else listed[0]
        asked = [rule for rule in rules if not isinstance(rule, AllBut)]
        return Both(left_out, both(*asked)) if asked else left_out
    if len(rules) == 1:
        return rules[0]

    def product(rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        weight = rules[0](rows, columns, similarity)
        for rule in rules[1:]:
            other = rule(rows, columns, similarity)
            weight = weight & other if weight.dtype == other.dtype == torch.bool else weight * other
        return weight

    return product


def is_mutual(rule: Rule | None) -> TypeGuard[AllBut | None]:
    """Whether it is known that j is left out by i where i is left out by j, and that there are no other weights."""
    return rule is None or (isinstance(rule, AllBut) and rule.mutual)


def parted(rule: Rule | None) -> tuple[AllBut | None, Rule | None]:
    """What a rule leaves out by its place, and what is to be asked about every pair."""
    if isinstance(rule, Both):
        return rule.left_out, rule.rest
    return (rule, None) if isinstance(rule, AllBut) else (None, rule)


@torch.no_grad()
def hardest_threshold(
    anchors: Tensor, candidates: Tensor, *, count: int, rule: Rule | None = None, tile: int = 512
) -> Tensor:
    """The similarity of each anchor's ``count``-th most similar candidate, ``(n,)``; rows are taken ``tile`` at a time.

    It is lowered by a rounding error, because a product of matrices rounds differently when it is tiled differently:
    otherwise :func:`at_least` might miss that very candidate.

    Args:
        anchors: ``(n, d)``, normalised.
        candidates: ``(m, d)``, normalised.
        count: From 1 to m.
        rule: Candidates that it leaves out are not counted.
    """
    if not 1 <= count <= len(candidates):
        raise ValueError(f"count must be between 1 and the {len(candidates)} candidates, got {count}.")
    anchors, candidates = raise_precision(anchors, candidates)
    columns = torch.arange(len(candidates), device=anchors.device)
    thresholds = []
    with torch.autocast(anchors.device.type, enabled=False):
        for rows in torch.arange(len(anchors), device=anchors.device).split(tile):
            similarity = anchors[rows] @ candidates.T
            if rule is not None:
                similarity = similarity.masked_fill(rule(rows, columns, similarity) == 0, float("-inf"))
            thresholds.append(similarity.topk(count, dim=1).values[:, -1])
        rounding = 16 * torch.finfo(anchors.dtype).eps * anchors.norm(dim=1) * candidates.norm(dim=1).max()
        return torch.cat(thresholds) - rounding
