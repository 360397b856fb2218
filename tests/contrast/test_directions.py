"""Rows of unit length, all at once or a few at a time, and what losses of directions make of them."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import random_rows, random_views, small_tiles, some_scale
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from twofold.contrast import at_once, directions
from twofold.contrast.directions import Matched, Rows, lengths_of, sides, unit
from twofold.contrast.objectives import info_nce, nt_xent, supervised, symmetric_info_nce
from twofold.contrast.pairs import AllBut, all_but_self
from twofold.contrast.reductions import logsumexp, logsumexp_both_ways

SCALES = ["number", "per anchor", "learned", "negative"]


@pytest.fixture(autouse=True)
def few_numbers_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directions, "PIECE_NUMBERS", 8)


def test_unit() -> None:
    a, b = random_views(2, 5, 3), random_views(1, 4, 3)[0]
    first, second = unit(a, b)
    torch.testing.assert_close(first, F.normalize(a, dim=-1))
    torch.testing.assert_close(second.norm(dim=-1), torch.ones(4, dtype=torch.float64))
    assert unit(a, normalize=False)[0] is a
    assert [x.dtype for x in unit(a.half(), a.bfloat16(), a.float(), a)] == [torch.float32] * 3 + [torch.float64]
    assert unit(a.half(), normalize=False)[0].dtype == torch.float32


def test_unit_has_the_gradient_of_normalize() -> None:
    a = random_views(1, 5, 3)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: unit(x)[0], a)


@pytest.mark.parametrize("length", [0.0, 1e-30])
def test_a_dead_row_does_not_outweigh_the_batch(length: float) -> None:
    rows = torch.ones(2, 3)
    rows[0] *= length
    rows.requires_grad_()
    (scaled,) = unit(rows)
    torch.testing.assert_close(scaled[0], torch.full((3,), length))
    (scaled * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert rows.grad.abs().max() <= 3.0  # F.normalize gives 3e12


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_pieces_are_the_rows(normalize: bool, hold: bool, dtype: torch.dtype) -> None:
    given, others = random_views(2, 7, 3).unbind()
    given[2] = 0
    own, found = sides(given, others, normalize=normalize, dtype=dtype, hold=hold)
    for side, raw in ((own, given), (found, others)):
        whole = unit(raw)[0] if normalize else raw
        pieces = list(side.pieces())
        assert [len(side[part]) for part in pieces] == [2, 2, 2, 1]
        assert torch.equal(torch.cat([side.exact(part) for part in pieces]), whole)
        assert torch.equal(torch.cat([side[part] for part in pieces]), whole.to(side.dtype))
        factor = torch.arange(1.0, 8)[:, None]
        torch.testing.assert_close(
            torch.cat([side.times(part, factor[part]) for part in pieces]), (factor * whole).to(side.dtype)
        )
        torch.testing.assert_close(side.dot(others), (whole * others).sum(1))
        assert torch.equal(side.exact(torch.tensor([5, 0])), whole[[5, 0]])
    memory = torch.full((20,), 9.0, dtype=torch.float64)
    assert torch.equal(found.into(memory, slice(1, 4)), found.exact(slice(1, 4)))
    assert memory[9:].eq(9).all()
    assert torch.equal(found.across(slice(1, 4), memory), found.exact(slice(1, 4)).T)
    assert memory[9:].eq(9).all()
    assert torch.equal(found.across(slice(None)), found.exact(slice(None)).T)


def test_nothing_is_copied_without_need() -> None:
    given = random_rows(6, 3, 0)
    assert Rows(given, None, hold=True).held is given
    assert Rows(given, lengths_of(given)).held is None
    own, others = sides(given, given, normalize=True)
    assert own.lengths is others.lengths


def test_a_gradient_of_directions_becomes_that_of_the_rows() -> None:
    given, towards = random_rows(7, 3, 0).requires_grad_(), random_rows(7, 3, 1)
    (expected,) = torch.autograd.grad((unit(given)[0] * towards).sum(), given)
    raw = given.detach()
    Rows(raw, lengths_of(raw)).to_given(towards)
    torch.testing.assert_close(towards, expected)


@pytest.mark.parametrize("shift", range(5))
@pytest.mark.parametrize("same_rows", [False, True])
def test_rows_and_their_own_candidates(shift: int, same_rows: bool) -> None:
    first = random_rows(5, 3, 0).requires_grad_()
    second = first if same_rows else random_rows(5, 3, 1).requires_grad_()
    force = torch.linspace(-1, 2, 5, dtype=torch.float64)
    similarity = (first * second.roll(-shift, 0)).sum(1)
    expected = torch.autograd.grad((force * similarity).sum(), [first] if same_rows else [first, second])
    pairs = Matched(Rows(first.detach(), None), Rows(second.detach(), None), shift)
    torch.testing.assert_close(pairs.similarity(), similarity.detach())
    found = [torch.zeros_like(gradient) for gradient in expected]
    pairs.pull(found[0], found[-1], force)
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(-ours, plain)
    pairs.pull(None, None, force)  # nothing is wanted


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    n=st.integers(2, 13),
    scale=st.sampled_from(SCALES),
    reduction=st.sampled_from(["sum", "mean", "none"]),
    path=st.sampled_from(["at once", "dense", "tiles", "kept tiles", "convolved tiles"]),
    tile=st.integers(1, 9),
    columns=st.integers(1, 9),
    same_rows=st.booleans(),
    normalize=st.booleans(),
    shift=st.integers(0, 12),
    without=st.sampled_from(["nothing", "self", "another"]),
    seed=st.integers(0, 99),
)
def test_directions_and_matched_rows_on_every_path(
    n, scale, reduction, path, tile, columns, same_rows, normalize, shift, without, seed
) -> None:
    """Cross entropy of finding the matched row among all others, and its gradients, by torch's own functions."""
    leaves, k = (
        [random_rows(n, 4, seed)] if same_rows else [random_rows(n, 4, seed), random_rows(n, 4, seed + 1)],
        some_scale(scale, n),
    )
    shift %= n
    if without == "self" and shift:
        rule, left_out = all_but_self(torch.arange(n)), torch.arange(n)[:, None]
    elif without == "another" and n > 2:
        left_out = (torch.arange(n)[:, None] + shift + 1) % n
        rule = AllBut(left_out)
    else:
        rule, left_out = None, torch.empty(n, 0, dtype=torch.int64)

    def cross_entropy(leaves: list[Tensor]) -> Tensor:
        first, second = (F.normalize(leaf, dim=1) if normalize else leaf for leaf in (leaves[0], leaves[-1]))
        logits = (k[:, None] if k.ndim else k) * first @ second.T
        logits = logits.scatter(1, left_out, float("-inf"))
        return F.cross_entropy(logits, (torch.arange(n) + shift) % n, reduction=reduction)

    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    wanted = leaves + ([k] if k.requires_grad else [])
    options = {"scale": k, "rule": rule, "reduction": reduction, "matched": shift, "normalize": normalize}
    plain = cross_entropy(leaves)
    if path in ("at once", "dense"):
        with mock.patch.object(at_once, "TINY_PAIRS", 0):
            ours = logsumexp(leaves[0], leaves[-1], tile=0 if path == "dense" else None, **options)
    else:
        with small_tiles(tile, tile, columns, kept=10**6 * (path == "kept tiles"), convolve=path == "convolved tiles"):
            ours = logsumexp(leaves[0], leaves[-1], tile=tile, **options)
            torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-10)
            found = torch.autograd.grad((1.7 * ours).sum(), wanted)
    if path in ("at once", "dense"):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-10)
        found = torch.autograd.grad((1.7 * ours).sum(), wanted)
    for gradient, expected in zip(found, torch.autograd.grad((1.7 * plain).sum(), wanted), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-10)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    n=st.integers(2, 13),
    scale=st.sampled_from([*SCALES, "learned per anchor"]),
    path=st.sampled_from(["dense", "tiles", "kept tiles", "convolved tiles"]),
    tile=st.integers(1, 9),
    columns=st.integers(1, 9),
    matched=st.booleans(),
    normalize=st.booleans(),
    seed=st.integers(0, 99),
)
def test_directions_and_matched_rows_both_ways(n, scale, path, tile, columns, matched, normalize, seed) -> None:
    first, second = random_rows(n, 4, seed).requires_grad_(), random_rows(n, 4, seed + 1).requires_grad_()
    k = some_scale(scale.removeprefix("learned ") if "per" in scale else scale, n)
    k.requires_grad_("learned" in scale)
    wanted = [first, second, *([k] if k.requires_grad else [])]
    one, other = (F.normalize(first, dim=1), F.normalize(second, dim=1)) if normalize else (first, second)
    similarity = one @ other.T
    own = k * similarity.diagonal() if matched else 0.0
    plain = ((k[..., None] * similarity).logsumexp(1) - own, (k * similarity).logsumexp(0) - own)
    with small_tiles(tile, tile, columns, kept=10**6 * (path == "kept tiles"), convolve=path == "convolved tiles"):
        step = 0 if path == "dense" else tile
        ours = logsumexp_both_ways(first, second, scale=k, matched=matched, normalize=normalize, tile=step)
        towards = torch.linspace(-1, 2, n, dtype=torch.float64)
        found = torch.autograd.grad((ours[0] * towards + ours[1] * towards**2).sum(), wanted)
    expected = torch.autograd.grad((plain[0] * towards + plain[1] * towards**2).sum(), wanted)
    for mine, theirs in zip((*ours, *found), (*plain, *expected), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-10)


def test_a_row_without_a_direction_changes_nothing_but_the_sums() -> None:
    given = random_rows(9, 4, 0)
    given[3] = 0
    given.requires_grad_()
    with small_tiles():
        total = logsumexp(given, given, scale=5.0, reduction="sum", matched=2, normalize=True, tile=4)
    (directions_of,) = unit(given)
    plain = logsumexp(directions_of, directions_of, scale=5.0, reduction="sum", matched=2, tile=0)
    found, expected = (torch.autograd.grad(value, given)[0] for value in (total, plain))
    torch.testing.assert_close(total, plain)
    torch.testing.assert_close(found, expected)


class LargeStorages(TorchDispatchMode):
    """Counts blocks of memory of at least so many bytes that operations take, those of ``known`` tensors apart."""

    def __init__(self, least: int, known: list[Tensor]) -> None:
        super().__init__()
        self.least, self.kept = least, {tensor.untyped_storage().data_ptr(): tensor for tensor in known}
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes() >= self.least:
                place = tensor.untyped_storage().data_ptr()
                self.count += place not in self.kept
                self.kept[place] = tensor  # not freed, so that its place is not taken again
        return result


@pytest.mark.parametrize(
    ("loss", "sides_of"),
    [
        (lambda a, b: nt_xent(a.unflatten(0, (2, -1)), temperature=0.2), 1),
        (lambda a, b: info_nce(a, b, temperature=0.2), 2),
        (lambda a, b: symmetric_info_nce(a, b, temperature=0.2), 2),
        (lambda a, b: supervised(a.unflatten(0, (2, -1)), torch.arange(30) % 4, temperature=0.2), 3),
    ],
    ids=["nt_xent", "info_nce", "clip", "supcon"],
)
def test_nothing_as_large_as_the_rows_is_taken_but_their_gradients(loss, sides_of: int) -> None:
    """One for each side; SupCon has one of positives and one of negatives, and their sum, since both are held here."""
    leaves = [random_rows(60, 16, seed).requires_grad_() for seed in (0, 1)]
    with small_tiles(8, 8, 8, convolve=True), LargeStorages(60 * 16 * 8, leaves) as taken:
        torch.autograd.grad(loss(*leaves), leaves, allow_unused=True)
    assert taken.count == sides_of
    with LargeStorages(60 * 16 * 8, leaves) as taken:  # the dense path, for comparison
        torch.autograd.grad(loss(*leaves), leaves, allow_unused=True)
    assert taken.count > 2 * sides_of
