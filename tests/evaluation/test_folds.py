"""Folds: stratified, disjoint; the SVM learns from the training part alone."""

from __future__ import annotations

import pytest
import torch

from twofold.errors import DataError
from twofold.evaluation.folds import fold_probe, stratified_folds


def blobs(count: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return torch.randn(count, 4, generator=draw) + 3 * torch.eye(4)[labels], labels


def test_folds_are_stratified_and_each_item_is_tested_once() -> None:
    labels = torch.tensor([0] * 40 + [1] * 20 + [-1] * 5)
    folds = stratified_folds(labels, count=10)
    assert torch.equal(torch.cat([test for _, test in folds]).sort().values, torch.arange(60))
    for train, test in folds:
        assert labels[test].bincount().tolist() == [4, 2]
        assert not torch.isin(train, test).any()
        assert len(train) == 54
    again = stratified_folds(labels, count=10)
    assert all(torch.equal(a, b) for a, b in zip(folds[3], again[3], strict=True))


def test_groups_are_told_apart_and_noise_is_not() -> None:
    rows, labels = blobs()
    folds = stratified_folds(labels, count=5)
    good = fold_probe(rows, labels, folds)
    assert good.accuracy.shape == (5,)
    assert good.accuracy.mean() > 0.9
    assert good.correct.mean().item() == pytest.approx(good.accuracy.mean().item())
    noise = torch.randn(60, 4, generator=torch.Generator().manual_seed(9))
    assert fold_probe(noise, labels, folds).accuracy.mean() < 0.6


def test_labels_of_the_test_part_play_no_part() -> None:
    rows, labels = blobs()
    train, test = torch.arange(45), torch.arange(45, 60)
    right = fold_probe(rows, labels, [(train, test)])
    turned = labels.clone()
    turned[45:] = (turned[45:] + 1) % 3
    wrong = fold_probe(rows, turned, [(train, test)])
    assert right.accuracy[0] > 0.9
    assert wrong.accuracy[0] < 0.1
    assert torch.equal(right.tested, test)


def test_scales_of_columns_do_not_matter() -> None:
    rows, labels = blobs()
    folds = stratified_folds(labels, count=3)
    scaled = fold_probe(rows * torch.tensor([1.0, 1e3, 1e-3, 10.0]), labels, folds)
    torch.testing.assert_close(scaled.accuracy, fold_probe(rows, labels, folds).accuracy)


def test_what_is_refused() -> None:
    rows, labels = blobs()
    with pytest.raises(DataError, match="10 folds need 10 labelled items of every class"):
        stratified_folds(torch.tensor([0] * 20 + [1] * 3))
    with pytest.raises(DataError, match="fold 0 needs items to test on"):
        fold_probe(rows, labels, [(torch.arange(60), torch.arange(0))])
