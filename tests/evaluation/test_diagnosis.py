from __future__ import annotations

import torch

from twofold.evaluation import Features, diagnose


def _good(n: int = 40) -> Features:
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(n))
    return Features(x, torch.arange(n) % 3)


def test_nothing_to_say_about_good_features() -> None:
    assert diagnose(_good(), _good(20)) == []


def test_broken_rows_are_counted_and_placed() -> None:
    x = _good().x.clone()
    x[3, 0], x[17, 2], x[20] = torch.nan, torch.inf, torch.nan
    (message,) = diagnose(Features(x, _good().labels), _good())
    assert message == "bank: 3 rows (3, 17, 20) are NaN or infinite and left out, of 40"
    x[21:] = torch.nan
    assert "22 rows (3, 17, 20, 21, 22, ...)" in diagnose(Features(x, _good().labels), _good())[0]


def test_collapse_is_named_on_its_side() -> None:
    (message,) = diagnose(_good(), Features(torch.ones(20, 4), torch.arange(20) % 3))
    assert message.startswith("test: all vectors are the same")


def test_what_labels_would_add_is_said() -> None:
    for labels in (None, torch.full((40,), -1)):
        (message,) = diagnose(_good(), Features(_good().x, labels))
        assert "labels (-1 where unknown) would add k-nearest-neighbour" in message


def test_missing_labels_are_counted() -> None:
    labels = torch.arange(40) % 3
    labels[:5] = -1
    assert diagnose(_good(), Features(_good().x, labels)) == [
        "test: 5 of 40 items have no label and count only in the geometry"
    ]


def test_one_class_small_bank_and_strange_classes_are_named() -> None:
    bank = Features(_good(12).x, torch.zeros(12, dtype=torch.int64))
    messages = diagnose(bank, _good(), k=20)
    assert any("bank: one class only (label 0)" in message for message in messages)
    assert any("12 labelled items are fewer than k = 20" in message for message in messages)
    assert any("26 items are of classes the bank lacks (label 1, 2)" in message for message in messages)
    assert len(messages) == 3


def test_keys_without_partner_and_empty_sides_are_named() -> None:
    lonely = Features(_good(4).x, keys=list("abcd"))
    assert any("no item shares its key" in message for message in diagnose(_good(), lonely))
    assert not any("shares its key" in m for m in diagnose(_good(), Features(lonely.x, keys=list("abca"))))
    empty = Features(torch.empty(0, 4), torch.empty(0, dtype=torch.int64))
    assert "bank: no rows at all" in diagnose(empty, _good())
