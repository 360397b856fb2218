"""Handwritten digits, 8 x 8: the smallest pictures that still show whether a method learns."""

from __future__ import annotations

import numpy as np
import torch

from twofold.errors import DataError
from twofold.modalities.image.data import ImageArrays

SPLITS = ("train", "test", "all")
TEST_SIZE = 597
SPLIT_SEED = 0


def digits(split: str = "train") -> ImageArrays:
    """scikit-learn's 1,797 digits (Alpaydin & Kaynak, UCI 1998) as grey pictures (n, 1, 8, 8), 10 classes.

    The set does not say who wrote which digit, so the split is stratified by class but not by writer: one person's
    hand may be on both sides. Fixed; the 0..16 grey levels of the source are scaled to 0..255.

    Args:
        split: "train" (1,200), "test" (597) or "all" (1,797, in the source's order, which is that of the ids).

    Raises:
        DataError: If `split` is none of these.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {split!r}")
    source = load_digits()
    rows = np.arange(len(source.target))
    if split != "all":
        train, test = train_test_split(rows, test_size=TEST_SIZE, stratify=source.target, random_state=SPLIT_SEED)
        rows = np.sort(train if split == "train" else test)
    grey = np.rint(source.images[rows] * (255 / 16)).astype(np.uint8)
    return ImageArrays(
        torch.from_numpy(grey)[:, None],
        labels=torch.from_numpy(source.target[rows].astype(np.int64)),
        class_names=[str(digit) for digit in range(10)],
        ids=[f"digit {row}" for row in rows],
        label_source="the digit that was written",
    )
