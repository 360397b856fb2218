"""Similarity of a sequence and a text that looks at its parts: the text says what of the sequence counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from twofold.contrast.directions import unit


def attended_similarity(segments: Tensor, texts: Tensor, *, attended: float = 0.5) -> Tensor:
    """Similarities ``(n, m)`` of sequences and texts, each sequence pooled by each text's own attention.

    S_ij = α cos(Σ_k β_ijk A_ik, y_j) + (1 − α) cos(mean_k A_ik, y_j), β_ij = softmax_k(A_ik·y_j / √d)

    Only n·m·s numbers are made, never n·m·d: the pooled vector's product with y_j and its length follow from the
    products A_ik·y_j and A_ik·A_il.

    Args:
        segments: A, ``(n, s, d)``.
        texts: y, ``(m, d)``.
        attended: α in [0, 1]; at 0 the mean alone counts.

    Raises:
        ValueError: If α is out of range.
    """
    if not 0 <= attended <= 1:
        raise ValueError(f"attended must lie between 0 and 1, got {attended!r}.")
    direction, mean = unit(texts, segments.mean(1))
    plain = mean @ direction.T
    if attended == 0:
        return plain
    products = torch.einsum("nkd,md->nmk", segments, texts)
    weights = (products / math.sqrt(segments.shape[2])).softmax(2)
    towards = (weights * torch.einsum("nkd,md->nmk", segments, direction)).sum(2)
    squared = torch.einsum("nmk,nkl,nml->nm", weights, segments @ segments.transpose(1, 2), weights)
    return attended * towards / squared.clamp(min=1e-12).sqrt() + (1 - attended) * plain
