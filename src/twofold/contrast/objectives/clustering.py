"""Agreement on soft assignments to prototypes instead of on embeddings: SwAV and DINO.

Both are one cross-entropy between views: the targets of one view, predicted by every other. They differ in where the
targets come from: balanced by Sinkhorn (SwAV), or a centred and sharpened teacher (DINO).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.contrast.checks import check_rows, check_same_shape, check_temperature, raise_precision, reduce_anchors

# Views of logits: a tensor (V, n, K), or V tensors (n, K), which saves a copy where K is large.
Logits = Tensor | Sequence[Tensor]


def swapped_clusters(scores: Logits, codes: Logits, *, temperature: float = 0.1, reduction: str = "mean") -> Tensor:
    """SwAV: every view predicts the other views' codes, mean over i, v ≠ i of −Σ_k q_i log softmax(scores_v / τ).

    Args:
        scores: ``(V, n, K)`` (or V tensors), similarities of all views to the K prototypes (see
            :class:`twofold.contrast.prototypes.Prototypes`).
        codes: ``(A, n, K)`` with A ≤ V, the codes of the *first* A views, which alone assign (the global crops);
            made by :func:`twofold.contrast.prototypes.sinkhorn`. The function detaches them.
        temperature: τ > 0; the paper's 0.1.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample, ``(n,)``.

    Raises:
        TypeError: If an argument is not made of floating tensors.
        ValueError: If shapes do not match, there are fewer than two views of scores, more codes than scores, or
            ``temperature`` or ``reduction`` is invalid.

    Source: Caron et al., NeurIPS 2020, eq. 2 and §3.2 (multi-crop).
    """
    check_temperature(temperature)
    _check_logits("scores", scores, "codes", codes)
    predictions = [_log_softmax(view, temperature) for view in scores]
    targets = [raise_precision(code.detach())[0] for code in codes]
    return reduce_anchors(_cross_entropy_between_views(predictions, targets), reduction)


def self_distillation(
    student: Logits,
    teacher: Logits,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
    center: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """DINO: mean over w, v ≠ w of −Σ_k softmax((T_w − c) / τ_t) log softmax(S_v / τ_s).

    Without centre one prototype wins for all samples, without τ_t < τ_s the targets become uniform; both together
    keep the output from collapsing.

    Args:
        student: ``(V, n, K)`` (or V tensors), raw logits of all views.
        teacher: ``(W, n, K)`` with W ≤ V, the teacher's raw logits of the *first* W views; the function detaches them.
        student_temperature: τ_s > 0; the paper's 0.1.
        teacher_temperature: τ_t > 0; the paper's 0.04 (warmed up to 0.07).
        center: ``(K,)``, running mean of raw teacher logits (:class:`twofold.contrast.prototypes.Center`), to be
            updated after the loss. None: not centred.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample, ``(n,)``.

    Raises:
        TypeError: If an argument is not made of floating tensors.
        ValueError: If shapes do not match, there are fewer than two student views, more teacher than student views,
            or a temperature or ``reduction`` is invalid.

    Source: Caron et al., ICCV 2021, eqs. 1 to 4.
    """
    check_temperature(student_temperature, "student_temperature")
    check_temperature(teacher_temperature, "teacher_temperature")
    _check_logits("student", student, "teacher", teacher)
    if center is not None and center.shape != student[0].shape[-1:]:
        raise ValueError(f"center must be ({student[0].shape[-1]},), one value a prototype, got {tuple(center.shape)}.")
    offset = 0.0 if center is None else center.detach()
    predictions = [_log_softmax(view, student_temperature) for view in student]
    targets = [_log_softmax(view.detach() - offset, teacher_temperature).exp() for view in teacher]
    return reduce_anchors(_cross_entropy_between_views(predictions, targets), reduction)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    (logits,) = raise_precision(logits)
    return F.log_softmax(logits / temperature, dim=-1)


def _cross_entropy_between_views(predictions: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Per sample: mean over targets w and predictions v ≠ w of −Σ_k target_w log-prediction_v."""
    pairs = [(w, v) for w in range(len(targets)) for v in range(len(predictions)) if v != w]
    entropies = [-(targets[w] * predictions[v]).sum(dim=-1) for w, v in pairs]
    return torch.stack(entropies).mean(dim=0)


def _check_logits(name: str, logits: Logits, target_name: str, targets: Logits) -> None:
    if len(logits) < 2:
        raise ValueError(f"{name} has {len(logits)} view(s); views predict one another, so bring at least two.")
    if not 1 <= len(targets) <= len(logits):
        raise ValueError(
            f"{target_name} must belong to the first views of {name}: 1 to {len(logits)} views, got {len(targets)}."
        )
    for view in [*logits, *targets]:
        check_rows(f"each view of {name} and {target_name}", view, minimum=1)
        check_same_shape(f"a view of {name} or {target_name}", view, f"the first view of {name}", logits[0])
