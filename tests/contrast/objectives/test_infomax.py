"""Deep graph infomax: a critic that tells rows from corrupted ones by their summary."""

import math

import pytest
import torch
from torch.nn import functional as F

from twofold.contrast.objectives import local_global


def rows(seed, n=6, d=4, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_it_is_the_binary_cross_entropy_of_the_paper():
    h, corrupted, weight, bias = rows(0), rows(1), rows(2, n=4), torch.tensor(0.3, dtype=torch.float64)
    summary = torch.sigmoid(h.mean(0))
    scores = torch.cat([h @ weight @ summary, corrupted @ weight @ summary]) + bias
    truth = torch.cat([torch.ones(6), torch.zeros(6)]).double()
    expected = F.binary_cross_entropy_with_logits(scores, truth)
    assert torch.allclose(local_global(h, corrupted, weight=weight, bias=bias), expected)
    each = local_global(h, corrupted, weight=weight, bias=bias, reduction="none")
    assert each.shape == (6,)
    assert torch.allclose(each.mean(), expected)


def test_a_critic_that_says_nothing_has_log_two():
    assert float(local_global(rows(0), rows(1), weight=torch.zeros(4, 4).double())) == pytest.approx(math.log(2))


def test_gradients_are_right_through_the_summary_too():
    inputs = [rows(0).requires_grad_(), rows(1).requires_grad_(), rows(2, n=4).requires_grad_()]
    bias = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h, c, w, b: local_global(h, c, weight=w, bias=b), (*inputs, bias))
    h = rows(0).requires_grad_()
    local_global(h, rows(1), weight=rows(2, n=4), reduction="none")[0].backward()
    assert bool((h.grad[1:].abs().sum(1) > 0).all())  # other rows, by the summary


def test_the_order_of_corrupted_rows_does_not_matter():
    h, corrupted, weight = rows(0), rows(1), rows(2, n=4)
    assert torch.allclose(local_global(h, corrupted, weight=weight), local_global(h, corrupted.flip(0), weight=weight))


def test_extreme_scores_stay_finite():
    big = 1e4 * torch.eye(4)
    assert local_global(rows(0).float(), rows(1).float(), weight=big).isfinite()
    assert local_global(rows(0).half(), rows(1).half(), weight=big.half()).dtype == torch.float32


@pytest.mark.parametrize(
    ("h", "corrupted", "weight", "message"),
    [
        (rows(0), rows(1, n=5), rows(2, n=4), "same shape"),
        (rows(0), rows(1), rows(2, n=3), r"weight \(3, 4\)"),
        (rows(0)[None], rows(1)[None], rows(2, n=4), r"must be \(n, d\)"),
        (rows(0)[:0], rows(1)[:0], rows(2, n=4), "at least 1"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(h, corrupted, weight, message):
    with pytest.raises(ValueError, match=message):
        local_global(h, corrupted, weight=weight)
