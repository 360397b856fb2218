from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import small_tiles
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from twofold.contrast.pairs import Rule, at_least
from twofold.contrast.reductions import logsumexp, softmax_mean, softmax_reduce, softplus_sum, weighted_sum
from twofold.contrast.tiled_sums import softplus

SHAPES = [(1, 1, 1), (1, 5, 2), (5, 1, 3), (4, 3, 4), (8, 6, 2), (9, 13, 5)]
"""(n, m, d) for tiles of 4 × 3: single rows, exact multiples, remainders."""
SCALES = ["scalar", "per anchor", "negative", "mixed signs", "thousand", "zero"]
WEIGHTS = ["none", "bool", "float"]
REDUCTIONS = ["logsumexp", "mean", "both", "mean, detached", "weighted", "softplus"]


def given_weights(weights: Tensor | None) -> Rule | None:
    return None if weights is None else lambda rows, columns, similarity: weights[rows][:, columns]


def make_problem(n: int, m: int, d: int, scale: str, weights: str, seed: int = 0) -> tuple[dict[str, Tensor], Rule]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    per_anchor = {
        "per anchor": normal(n).abs() + 0.1,
        "negative": -normal(n).abs(),
        "mixed signs": normal(n),
        "thousand": torch.full((n,), 1e3, dtype=torch.float64),
        "zero": torch.zeros(n, dtype=torch.float64),
        "scalar": torch.tensor(1.7, dtype=torch.float64),
    }
    inputs = {"anchors": normal(n, d) / d, "candidates": normal(m, d), "scale": per_anchor[scale], "bias": normal(n)}
    drawn = torch.rand(n, m, generator=generator, dtype=torch.float64)
    table = {"none": None, "bool": drawn > 0.4, "float": 3 * (drawn - 0.4).clamp(min=0)}[weights]
    if table is not None:
        table[n // 2] = 0  # a row with nothing left
    return inputs, given_weights(table)


def naive(kind: str, inputs: dict[str, Tensor], rule: Rule | None) -> Tensor:
    """The same by definition, row by row over the candidates that are left."""
    anchors, candidates, bias = inputs["anchors"], inputs["candidates"], inputs["bias"]
    n, m = len(anchors), len(candidates)
    scale = inputs["scale"].expand(n)
    outputs = []
    for i in range(n):
        weight = torch.ones(m, dtype=torch.float64)
        if rule is not None:
            weight = rule(torch.tensor([i]), torch.arange(m), anchors[i : i + 1].detach() @ candidates.detach().T)[0]
        kept = weight != 0
        s, w = candidates[kept] @ anchors[i], weight[kept].double()
        if kind == "weighted":
            outputs.append((w * s).sum())
        elif kind == "softplus":
            x = scale[i] * s + bias[i]
            outputs.append((w * (x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())))).sum())
        elif not kept.any():
            outputs.append(anchors[i].sum() * 0)
        else:
            x = scale[i] * s + w.log()
            e = torch.exp(x - x.max())
            p = e / e.sum()
            p = p.detach() if kind == "mean, detached" else p
            log_sum, mean = e.sum().log() + x.max(), (p * s).sum()
            outputs.append({"logsumexp": log_sum, "both": log_sum * mean}.get(kind, mean))
    return torch.stack(outputs)


def ours(kind: str, inputs: dict[str, Tensor], rule: Rule | None, tile: int | None) -> Tensor:
    pairs, scale = (inputs["anchors"], inputs["candidates"]), inputs["scale"]
    if kind == "weighted":
        return weighted_sum(*pairs, rule=rule or (lambda rows, columns, s: torch.ones_like(s)), tile=tile).sum
    if kind == "softplus":
        return softplus_sum(*pairs, scale=scale, bias=inputs["bias"], rule=rule, tile=tile)
    if kind.startswith("mean"):
        return softmax_mean(*pairs, scale=scale, rule=rule, detach_weights="detached" in kind, tile=tile)
    if kind == "logsumexp":
        values = logsumexp(*pairs, scale=scale, rule=rule, tile=tile)
    else:
        log_sum, mean = softmax_reduce(*pairs, scale=scale, rule=rule, tile=tile)
        values = log_sum * mean.where(log_sum.isfinite(), 1.0)
    return values.masked_fill(values.isneginf(), 0.0)


def value_and_gradients(
    compute, kind: str, inputs: dict[str, Tensor], rule: Rule | None, *tile: int | None
) -> dict[str, Tensor]:
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    values = compute(kind, leaves, rule, *tile)
    towards = torch.linspace(-1.3, 2.1, len(values), dtype=torch.float64)
    grads = torch.autograd.grad((values * towards).sum(), list(leaves.values()), allow_unused=True)
    nothing = {name: torch.zeros_like(value) for name, value in inputs.items()}
    return {"value": values.detach()} | {
        name: nothing[name] if grad is None else grad for name, grad in zip(leaves, grads, strict=True)
    }


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], size: float = 1.0) -> None:
    for name in expected:
        torch.testing.assert_close(
            actual[name], expected[name], rtol=1e-10, atol=1e-10 * size, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("scale", ["scalar", "mixed signs", "thousand"])
def test_dense_and_tiled_equal_the_definition(kind: str, weights: str, scale: str) -> None:
    for n, m, d in SHAPES:
        inputs, rule = make_problem(n, m, d, scale, weights)
        size = 1e3 if scale == "thousand" else 1.0
        expected = value_and_gradients(naive, kind, inputs, rule)
        assert expected["value"].isfinite().all()
        assert_same(value_and_gradients(ours, kind, inputs, rule, 0), expected, size)
        for convolve in (False, True):
            with small_tiles(convolve=convolve):
                assert_same(value_and_gradients(ours, kind, inputs, rule, None), expected, size)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    n=st.integers(1, 11),
    m=st.integers(1, 11),
    d=st.integers(1, 4),
    tile=st.integers(1, 12),
    scale=st.sampled_from(SCALES),
    weights=st.sampled_from(WEIGHTS),
    kind=st.sampled_from(REDUCTIONS),
    seed=st.integers(0, 1000),
    kept=st.sampled_from([0, 10**6]),
    convolve=st.booleans(),
)
def test_any_tiling_equals_the_dense_path(n, m, d, tile, scale, weights, kind, seed, kept, convolve) -> None:
    inputs, rule = make_problem(n, m, d, scale, weights, seed)
    expected = value_and_gradients(ours, kind, inputs, rule, 0)
    with small_tiles(tile, kept=kept, convolve=convolve):
        assert_same(value_and_gradients(ours, kind, inputs, rule, None), expected, 1e3 if scale == "thousand" else 1.0)


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_gradcheck_of_the_tiled_path(kind: str) -> None:
    inputs, rule = make_problem(5, 7, 3, "mixed signs", "float", seed=3)
    names = {"weighted": ["anchors", "candidates"], "softplus": list(inputs)}.get(kind, list(inputs)[:3])
    leaves = [inputs[name].requires_grad_() for name in names]

    def function(*values: Tensor) -> Tensor:
        return ours(kind, inputs | dict(zip(names, values, strict=True)), rule, 2)

    with small_tiles(2, 2):
        if kind == "mean, detached":  # no true gradient, by design: gradcheck must notice
            with pytest.raises(RuntimeError, match="Jacobian mismatch"):
                torch.autograd.gradcheck(function, leaves)
        else:
            assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("tile", [0, 2])
@pytest.mark.parametrize("weights", ["bool", "float"])
def test_a_row_with_nothing_left_is_minus_infinity_and_has_no_gradient(tile: int, weights: str) -> None:
    inputs, rule = make_problem(5, 7, 3, "per anchor", weights)
    leaves = {name: inputs[name].requires_grad_() for name in ("anchors", "candidates", "scale")}
    with small_tiles(2, 2):
        log_sum, mean = softmax_reduce(**leaves, rule=rule, tile=tile)
        total, weight = weighted_sum(leaves["anchors"], leaves["candidates"], rule=rule, tile=tile)
    assert log_sum.isneginf().tolist() == [False, False, True, False, False]
    assert mean[2] == total[2] == weight[2] == 0
    # In an objective such a row meets another term, as here.
    (torch.logaddexp(log_sum, torch.zeros_like(log_sum)) + mean).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves.values())
    assert leaves["anchors"].grad[2].eq(0).all()
    assert leaves["anchors"].grad[[0, 1, 3, 4]].ne(0).all()


@pytest.mark.parametrize("tile", [None, 0, 2])
def test_no_candidates_at_all(tile: int | None) -> None:
    anchors = torch.randn(3, 4, requires_grad=True)
    nobody = torch.zeros(0, 4)
    log_sum, mean = softmax_reduce(anchors, nobody, tile=tile)
    assert log_sum.tolist() == [-math.inf] * 3
    assert mean.tolist() == softplus_sum(anchors, nobody, tile=tile).tolist() == [0.0] * 3
    torch.logaddexp(log_sum, anchors.sum(1)).sum().backward()
    assert anchors.grad.eq(1).all()


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_a_rule_sees_the_similarity_in_every_tile(kind: str) -> None:
    inputs, _ = make_problem(9, 14, 3, "per anchor", "none")
    rule = at_least((inputs["anchors"] @ inputs["candidates"].T).median(1).values + 1e-9)  # no ties
    expected = value_and_gradients(naive, kind, inputs, rule)
    everyone = value_and_gradients(naive, kind, inputs, None)
    assert not torch.allclose(expected["value"], everyone["value"])
    with small_tiles():
        assert_same(value_and_gradients(ours, kind, inputs, rule, None), expected)


def test_rules_get_detached_similarities() -> None:
    anchors = torch.randn(4, 3, requires_grad=True)

    def rule(rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        assert not similarity.requires_grad
        return similarity.exp()

    for tile in (0, 2):
        assert not weighted_sum(anchors, anchors, rule=rule, tile=tile).weight.requires_grad
        assert logsumexp(anchors, anchors, rule=rule, tile=tile).requires_grad


class LargestTensor(TorchDispatchMode):
    """Records the most elements that any operation's result has."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_memory_of_the_tiled_path_does_not_grow_with_all_pairs(kind: str) -> None:
    inputs, _ = make_problem(60, 50, 2, "per anchor", "none")
    rule = at_least(torch.zeros(60, dtype=torch.float64))  # a rule evaluated a tile at a time
    inputs = {name: value.requires_grad_() for name, value in inputs.items()}
    largest = {}
    for tile in (0, 8):
        with small_tiles(8), LargestTensor() as record:
            ours(kind, inputs, rule, tile).sum().backward()
        largest[tile] = record.elements
    assert largest[0] >= 60 * 50
    assert largest[8] == 8 * 50


@pytest.mark.parametrize("kind", ["logsumexp", "weighted", "softplus"])
def test_each_pair_is_visited_once_in_a_pass_and_in_tiles_of_the_set_size(kind: str) -> None:
    inputs, _ = make_problem(19, 23, 2, "per anchor", "none")
    inputs["anchors"].requires_grad_()
    visited = torch.zeros(19, 23)

    def rule(rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        assert similarity.shape == (len(rows), len(columns))
        assert len(rows) <= 8
        visited[rows[:, None], columns] += 1
        return torch.ones_like(similarity, dtype=torch.bool)

    with small_tiles(8):
        values = ours(kind, inputs, rule, None)
        assert visited.eq(1).all()
        values.sum().backward()
        assert visited.eq(2).all()


def test_large_problems_are_tiled_without_being_asked() -> None:
    rows_seen = []

    def rule(rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        rows_seen.append(len(rows))
        return torch.ones_like(similarity, dtype=torch.bool)

    logsumexp(torch.randn(256, 2), torch.randn(256, 2), rule=rule)
    assert rows_seen == [256]
    rows_seen.clear()
    logsumexp(torch.randn(1025, 2), torch.randn(1024, 2), rule=rule)
    assert rows_seen == [512, 512, 1]
    rows_seen.clear()
    logsumexp(torch.randn(600, 2), torch.randn(40_000, 2), rule=rule)  # a tile holds 2²⁴ numbers at most,
    assert rows_seen == [419, 181]
    rows_seen.clear()
    logsumexp(torch.randn(300, 2), torch.randn(70_000, 2), rule=rule)  # but for its fewest rows
    assert rows_seen == [256, 44]


@pytest.mark.parametrize("tile", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(dtype: torch.dtype, tile: int) -> None:
    anchors, candidates = torch.randn(6, 4).to(dtype), torch.randn(7, 4).to(dtype).requires_grad_()
    values = logsumexp(anchors, candidates, scale=30.0, tile=tile)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, logsumexp(anchors.float(), candidates.float(), scale=30.0, tile=0))
    values.sum().backward()
    assert candidates.grad.dtype == dtype
    assert candidates.grad.isfinite().all()


@pytest.mark.parametrize("tile", [0, 3])
def test_autocast_does_not_round(tile: int) -> None:
    generator = torch.Generator().manual_seed(0)
    anchors, candidates = torch.randn(2, 9, 16, generator=generator)
    expected = logsumexp(anchors, candidates, scale=10.0, tile=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (anchors @ candidates.T).dtype == torch.bfloat16  # it would, if it were let
        values = logsumexp(anchors, candidates, scale=10.0, tile=tile)
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize("kind", REDUCTIONS)
def test_backward_under_autocast_recomputes_the_tiles_in_full_precision(kind: str) -> None:
    inputs, rule = make_problem(9, 11, 8, "per anchor", "bool")
    inputs = {name: value.float() for name, value in inputs.items()}
    anchors = inputs["anchors"].requires_grad_()
    (expected,) = torch.autograd.grad(ours(kind, inputs, rule, 3).sum(), anchors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (actual,) = torch.autograd.grad(ours(kind, inputs, rule, 3).sum(), anchors)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_softplus_is_exact_where_the_one_of_torch_is_cut() -> None:
    x = torch.tensor([-800.0, -30.0, 0.0, 21.0, 800.0], dtype=torch.float64, requires_grad=True)
    exact = [0.0, math.log1p(math.exp(-30)), math.log(2), 21 + math.log1p(math.exp(-21)), 800.0]
    torch.testing.assert_close(softplus(x), torch.tensor(exact, dtype=torch.float64), rtol=1e-14, atol=0)
    (slope,) = torch.autograd.grad(softplus(x).sum(), x)
    torch.testing.assert_close(slope, torch.sigmoid(x), rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("anchors", "candidates", "options", "message"),
    [
        ((2, 3, 4), (5, 4), {}, r"anchors must be \(rows, d\), got shape \(2, 3, 4\)"),
        ((3, 4), (4,), {}, r"candidates must be \(rows, d\), got shape \(4,\)"),
        ((3, 4), (5, 6), {}, "anchors have 4 dimensions and candidates 6"),
        ((3, 4), (5, 4), {"scale": torch.ones(5)}, r"scale must be a number or one per anchor \(3\), got \(5,\)"),
        ((3, 4), (5, 4), {"bias": torch.ones(1, 3)}, r"bias must be a number or one per anchor \(3\), got \(1, 3\)"),
    ],
)
def test_bad_input(anchors: tuple, candidates: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        softplus_sum(torch.ones(anchors), torch.ones(candidates), **options)


def test_matched_rows_must_correspond() -> None:
    with pytest.raises(ValueError, match="matched needs a candidate for each anchor, got 4 for 3"):
        logsumexp(torch.ones(3, 2), torch.ones(4, 2), matched=0)
    with pytest.raises(ValueError, match="from an anchor's own number, 0 to 2: 3"):
        logsumexp(torch.ones(3, 2), torch.ones(3, 2), matched=3)
