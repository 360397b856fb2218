"""Pairs from lists and from clusterings, for data sets whose pairs are too many to be stored or visited one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twofold.contrast.pairs import Rule

CHUNK = 2**16
"""Listed pairs whose rows are in memory at a time."""


class Pairs(NamedTuple):
    """Some pairs of anchors and candidates by their positions, int64 ``(pairs,)`` each; no pair twice."""

    anchors: Tensor
    candidates: Tensor


class PairList:
    """For each sample of a data set the samples that it goes with, in memory that grows with their number.

    Args:
        starts: int64 ``(samples + 1,)``: those of sample i stand from ``starts[i]`` up to ``starts[i + 1]``.
        partners: int64, the samples themselves; none twice for one sample.

    Raises:
        ValueError: If ``starts`` does not count ``partners``, or a partner is no sample.
    """

    def __init__(self, starts: Tensor, partners: Tensor) -> None:
        samples = len(starts) - 1
        if samples < 1 or int(starts[0]) != 0 or int(starts[-1]) != len(partners) or bool((starts.diff() < 0).any()):
            raise ValueError(
                f"starts must rise from 0 to the {len(partners)} partners, one entry more than samples; "
                f"got {len(starts)} entries."
            )
        if len(partners) and not 0 <= int(partners.min()) <= int(partners.max()) < samples:
            raise ValueError(
                f"partners must lie in 0..{samples - 1}, got {int(partners.min())}..{int(partners.max())}."
            )
        self.starts, self.partners = starts, partners

    def __len__(self) -> int:
        return len(self.starts) - 1

    def to(self, device: torch.device) -> PairList:
        """The same on a device."""
        return PairList(self.starts.to(device), self.partners.to(device))

    def pairs(self, anchors: Tensor, candidates: Tensor) -> Pairs:
        """Which candidates are partners of which anchors.

        Args:
            anchors: int64 ``(n,)``, which sample each anchor shows.
            candidates: int64 ``(m,)``, which sample each candidate shows; no two show the same.
        """
        device = anchors.device
        place = torch.full((len(self),), -1, dtype=torch.int64, device=device)
        place[candidates] = torch.arange(len(candidates), device=device)
        counts = self.starts[anchors + 1] - self.starts[anchors]
        owner = torch.repeat_interleave(torch.arange(len(anchors), device=device), counts)
        first = torch.repeat_interleave(self.starts[anchors] - (counts.cumsum(0) - counts), counts)
        column = place[self.partners[first + torch.arange(len(owner), device=device)]]
        present = column >= 0
        return Pairs(owner[present], column[present])


def pair_similarity(anchors: Tensor, candidates: Tensor, pairs: Pairs) -> Tensor:
    """s_ij = a_i · c_j of listed pairs alone, ``(pairs,)``, in memory O((n + m)·d + pairs).

    Args:
        anchors: ``(n, d)``.
        candidates: ``(m, d)``.
        pairs: Which pairs.
    """
    similarity: Tensor = _PairSimilarity.apply(anchors, candidates, *pairs)
    return similarity


def pair_logsumexp(values: Tensor, pairs: Pairs, count: int) -> Tensor:
    """log Σ_j exp(v_ij) over each anchor's listed pairs, ``(count,)``; −inf for an anchor without any.

    Args:
        values: ``(pairs,)``.
        pairs: Whose values they are.
        count: The number of anchors.
    """
    top = values.new_full((count,), -torch.inf).scatter_reduce(0, pairs.anchors, values.detach(), "amax")
    origin = top.masked_fill(top.isneginf(), 0.0)
    total = values.new_zeros(count).index_add(0, pairs.anchors, (values - origin[pairs.anchors]).exp())
    return origin + total.log()


def apart(anchor_labels: Tensor, candidate_labels: Tensor) -> Rule:
    """In how many of several clusterings two samples lie in different clusters: 0 for a sample and itself.

    Pairs that no clustering separates are left out (Yu et al., SDM 2023).

    Args:
        anchor_labels: int64 ``(clusterings, n)``.
        candidate_labels: int64 ``(clusterings, m)``.
    """

    def separated(rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        weight = torch.zeros_like(similarity)
        for anchors, candidates in zip(anchor_labels, candidate_labels, strict=True):  # one tile at a time in memory
            weight += anchors[rows, None] != candidates[None, columns]
        return weight

    return separated


class _PairSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchors: Tensor, candidates: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(anchors, candidates, rows, columns)
        chunks = zip(rows.split(CHUNK), columns.split(CHUNK), strict=True)
        return torch.cat([(anchors[i] * candidates[j]).sum(1) for i, j in chunks])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, rows, columns = ctx.saved_tensors
        grad_anchors, grad_candidates = torch.zeros_like(anchors), torch.zeros_like(candidates)
        for i, j, grad in zip(rows.split(CHUNK), columns.split(CHUNK), grads[0].split(CHUNK), strict=True):
            grad_anchors.index_add_(0, i, grad[:, None] * candidates[j])
            grad_candidates.index_add_(0, j, grad[:, None] * anchors[i])
        return grad_anchors, grad_candidates, None, None
