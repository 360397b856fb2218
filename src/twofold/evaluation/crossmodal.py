"""Embeddings of two modalities in one space: retrieval both ways, the gap, zero-shot classes, swapped captions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from twofold.contrast.objectives.geometry import alignment, uniformity
from twofold.errors import DataError
from twofold.evaluation.features import check_pair, to_numpy, unit_rows
from twofold.evaluation.retrieval import RetrievalResult, retrieve_across

DEPTHS = (1, 5, 10)
"""Of R@k, as retrieval between pictures and captions is reported."""
SEPARABLE_FOLDS = 5


def retrieve_both_ways(
    first: Tensor,
    second: Tensor,
    first_keys: Sequence[Hashable] | Tensor,
    second_keys: Sequence[Hashable] | Tensor,
    *,
    ks: Sequence[int] = DEPTHS,
) -> tuple[RetrievalResult, RetrievalResult]:
    """Rows of one modality ranked by those of the other, and back; relevant is what has the same key.

    Several rows of either side may share a key (captions of a picture, drawings of the same thing): a query is a hit
    if any of them is found, which is how R@k of Flickr30k and MS-COCO is counted.

    Args:
        first: ``(n, d)``, compared by cosine.
        second: ``(m, d)``.
        first_keys: One a row, ``(n,)``.
        second_keys: One a row, ``(m,)``.
        ks: Depths of R@k.

    Returns:
        first → second, and second → first.

    Raises:
        DataError: If lengths or widths differ, or rows are not finite.
    """
    forward = retrieve_across(first, second, first_keys, second_keys, ks=ks)
    return forward, retrieve_across(second, first, second_keys, first_keys, ks=ks)


@torch.no_grad()
def modality_gap(first: Tensor, second: Tensor) -> float:
    """Distance of the two modalities' centroids on the unit sphere, ‖mean x − mean y‖ (Liang et al., NeurIPS 2022).

    Args:
        first: ``(n, d)``.
        second: ``(m, d)``.

    Returns:
        0 (no gap) to 2.
    """
    _check_widths(first, second)
    return float((unit_rows(first).mean(0) - unit_rows(second).mean(0)).norm())


def separability(first: Tensor, second: Tensor, *, seed: int = 0, most: int = 2000) -> float:
    """How well a linear classifier tells the modality of an embedding: 0.5 without a gap, 1 with two separate clouds.

    Balanced accuracy of a logistic regression on unit rows, 5-fold cross-validated (Fahim et al., arXiv 2024, use one
    split of 80/20). Noisy below some 500 rows.

    Args:
        first: ``(n, d)``.
        second: ``(m, d)``.
        seed: Of the folds, and of the choice of rows.
        most: Rows of each side that are looked at, at most.

    Raises:
        DataError: If a side has fewer than five rows.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    _check_widths(first, second)
    if min(len(first), len(second)) < SEPARABLE_FOLDS:
        raise DataError(
            f"separability needs {SEPARABLE_FOLDS} rows of each modality, got {len(first)} and {len(second)}"
        )
    drawn = torch.Generator().manual_seed(seed)
    some = [side[torch.randperm(len(side), generator=drawn)[:most].to(side.device)] for side in (first, second)]
    x = to_numpy(torch.cat([unit_rows(side).cpu() for side in some]))
    y = to_numpy(torch.tensor([0] * len(some[0]) + [1] * len(some[1])))
    folds = StratifiedKFold(SEPARABLE_FOLDS, shuffle=True, random_state=seed)
    classifier = LogisticRegression(max_iter=200, class_weight="balanced")
    return float(cross_val_score(classifier, x, y, cv=folds, scoring="balanced_accuracy").mean())


@torch.no_grad()
def pair_geometry(first: Tensor, second: Tensor) -> dict[str, float]:
    """Alignment of pairs (mean squared distance), and uniformity of each side (Wang & Isola, ICML 2020).

    Args:
        first: ``(n, d)``.
        second: ``(n, d)``; row i belongs to row i of ``first``.
    """
    x, y = unit_rows(first), unit_rows(second)
    return {
        "alignment": float(alignment(torch.stack([x, y]))),
        "uniformity_first": float(uniformity(x)),
        "uniformity_second": float(uniformity(y)),
    }


@torch.no_grad()
def class_prototypes(prompts: Tensor) -> Tensor:
    """The classifier that prompts make: the normalized mean of the normalized embeddings of each class.

    CLIP's ensemble (Radford et al., ICML 2021, section 3.1.4).

    Args:
        prompts: ``(classes, templates, d)``; a template that is not finite is left out.

    Returns:
        ``(classes, d)`` of unit length.

    Raises:
        DataError: If a class has no finite prompt.
    """
    if prompts.ndim != 3:
        raise DataError(f"prompts must be (classes, templates, d), got {tuple(prompts.shape)}")
    usable = prompts.isfinite().all(2)
    if not usable.any(1).all():
        missing = (~usable.any(1)).nonzero().flatten().tolist()
        raise DataError(f"no prompt of the classes {missing[:5]} could be embedded")
    unit = unit_rows(prompts.flatten(0, 1).nan_to_num()).unflatten(0, prompts.shape[:2])
    return unit_rows((unit * usable[..., None]).sum(1))


@torch.no_grad()
def zero_shot(x: Tensor, prototypes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Classification by the nearest prototype, ties counted as wrong.

    Args:
        x: ``(n, d)``, compared by cosine.
        prototypes: ``(classes, d)``; see :func:`class_prototypes`.
        labels: int64 ``(n,)``, in range(classes).

    Returns:
        Predictions, int64 ``(n,)``, and whether each is right, bool ``(n,)``.

    Raises:
        DataError: If lengths or widths differ, a label has no prototype, or rows are not finite.
    """
    check_pair(x, labels, "zero-shot classification")
    _check_widths(x, prototypes)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(prototypes):
        raise DataError(f"labels must lie in 0..{len(prototypes) - 1}, got {int(labels.min())}..{int(labels.max())}")
    similarity = unit_rows(x) @ unit_rows(prototypes).T
    own = similarity.gather(1, labels[:, None].to(x.device))
    best = similarity.argmax(1)
    alone = (similarity >= own).sum(1) == 1
    return best.cpu(), alone.cpu()


@torch.no_grad()
def swap_hits(x: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """Whether the right caption is nearer than the same caption with words swapped, bool ``(n,)``; a tie is no.

    The compositional test of ARO (Yuksekgonul et al., ICLR 2023); chance is ½, and an encoder of bags of words, for
    which both captions are equal, scores 0.

    Args:
        x: ``(n, d)``, compared by cosine.
        right: ``(n, d)``.
        wrong: ``(n, d)``.

    Raises:
        DataError: If shapes differ.
    """
    if not x.shape == right.shape == wrong.shape:
        shapes = ", ".join(str(tuple(part.shape)) for part in (x, right, wrong))
        raise DataError(f"pictures, right and wrong captions must have one shape, got {shapes}")
    unit = unit_rows(x)
    return ((unit * unit_rows(right)).sum(1) > (unit * unit_rows(wrong)).sum(1)).cpu()


def _check_widths(first: Tensor, second: Tensor) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise DataError(
            f"both modalities must be embedded in one space, got {tuple(first.shape)} and {tuple(second.shape)}"
        )
