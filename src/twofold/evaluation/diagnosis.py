"""What is wrong or noteworthy about features before anything is measured on them, in sentences."""

from __future__ import annotations

import torch

from twofold.evaluation.features import Features, rows_at
from twofold.evaluation.geometry import is_collapsed
from twofold.evaluation.retrieval import retrieval_task

NO_LABELS = (
    "no labels on both sides: only geometry, and retrieval by keys if there are such, can be measured; labels (-1 "
    "where unknown) would add k-nearest-neighbour, linear and few-shot accuracy, clustering and retrieval by label"
)


def diagnose(bank: Features, test: Features, gallery: Features | None = None, *, k: int = 20) -> list[str]:
    """Everything that limits an evaluation on these features, one sentence each; empty if nothing does.

    Rows that are not finite, items without a label or a partner, one class only, test classes that the bank lacks, a
    bank smaller than k, and collapse (all vectors alike).

    Args:
        bank: Features that labels may be learnt from.
        test: Features that are scored.
        gallery: What test items are to retrieve from, if not from each other.
        k: Neighbours the k-nearest-neighbour classifier wants.
    """
    sides = {"bank": bank, "test": test} | ({} if gallery is None else {"gallery": gallery})
    messages = [message for name, features in sides.items() for message in _rows(name, features)]
    if test.keys is not None and retrieval_task(test, gallery) is None:
        messages.append("test: no item shares its key with another it could find, so there is no retrieval")
    return messages + _labels(bank, test, k)


def _rows(name: str, features: Features) -> list[str]:
    bad = (~features.finite).nonzero().flatten()
    good = features.x[features.finite]
    messages = []
    if len(features) == 0:
        messages.append(f"{name}: no rows at all")
    if len(bad):
        messages.append(f"{name}: {rows_at(bad)} NaN or infinite and left out, of {len(features)}")
    if is_collapsed(good):
        messages.append(f"{name}: all vectors are the same up to rounding (collapse); no metric can tell items apart")
    return messages


def _labels(bank: Features, test: Features, k: int) -> list[str]:
    learnt = bank.take(bank.finite.nonzero().flatten()).known_labels()
    asked = test.take(test.finite.nonzero().flatten()).known_labels()
    if len(learnt) == 0 or len(asked) == 0:
        return [NO_LABELS]
    messages = []
    for name, features, labels in (("bank", bank, learnt), ("test", test, asked)):
        missing = int((~features.labelled).sum())
        if missing:
            messages.append(f"{name}: {missing} of {len(features)} items have no label and count only in the geometry")
        if len(labels.unique()) == 1:
            messages.append(f"{name}: one class only (label {int(labels[0])}); what compares classes is left out")
    if len(learnt) < k:
        messages.append(f"bank: {len(learnt)} labelled items are fewer than k = {k}; all of them vote")
    strange = asked[~torch.isin(asked, learnt)]
    if len(strange):
        shown = ", ".join(str(label) for label in strange.unique()[:5].tolist())
        messages.append(
            f"test: {len(strange)} items are of classes the bank lacks (label {shown}) and cannot be predicted right"
        )
    return messages
