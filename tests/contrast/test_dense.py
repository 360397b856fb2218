"""Contrast of matched parts of samples, against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from twofold.contrast import reductions, tiles
from twofold.contrast.objectives import dense_info_nce, info_nce


def parts(n: int = 3, m: int = 5, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, m, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def some(n: int = 3, m: int = 5) -> Tensor:
    return torch.rand(n, m, generator=torch.Generator().manual_seed(7)) < 0.6


def naive(anchors: Tensor, positives: Tensor, valid: Tensor, temperature: float) -> Tensor:
    pairs = [(i, j) for i in range(valid.shape[0]) for j in range(valid.shape[1]) if valid[i, j]]
    losses = []
    for pair in pairs:
        similar = [torch.cosine_similarity(anchors[pair], positives[other], dim=0) / temperature for other in pairs]
        losses.append(torch.stack(similar).logsumexp(0) - similar[pairs.index(pair)])
    return torch.stack(losses).mean()


def test_it_is_the_formula() -> None:
    anchors, positives, valid = parts(), parts(seed=1), some()
    assert 3 < int(valid.sum()) < 15
    assert torch.allclose(
        dense_info_nce(anchors, positives, valid, temperature=0.2), naive(anchors, positives, valid, 0.2)
    )


def test_with_all_pairs_it_is_info_nce_of_the_rows() -> None:
    anchors, positives = parts(), parts(seed=1)
    everyone = torch.ones(3, 5, dtype=torch.bool)
    plain = info_nce(anchors.flatten(0, 1), positives.flatten(0, 1), temperature=0.1)
    assert torch.allclose(dense_info_nce(anchors, positives, everyone, temperature=0.1), plain)


def test_pairs_that_are_none_have_no_influence_and_no_gradient() -> None:
    anchors, positives, valid = parts().requires_grad_(), parts(seed=1).requires_grad_(), some()
    loss = dense_info_nce(anchors, positives, valid, temperature=0.1)
    loss.backward()
    for rows in (anchors, positives):
        assert rows.grad is not None
        assert float(rows.grad[~valid].abs().max()) == 0
        assert bool((rows.grad[valid].abs().sum(1) > 0).all())
    changed = parts(seed=2)
    first, second = (torch.where(valid[..., None], rows.detach(), changed) for rows in (anchors, positives))
    assert torch.allclose(dense_info_nce(first, second, valid, temperature=0.1), loss)


def test_without_any_pair_it_is_zero_and_differentiable() -> None:
    anchors = parts().requires_grad_()
    loss = dense_info_nce(anchors, parts(seed=1), torch.zeros(3, 5, dtype=torch.bool), temperature=0.1)
    loss.backward()
    assert loss.item() == 0
    assert anchors.grad is not None
    assert float(anchors.grad.abs().max()) == 0


def test_gradients_and_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors, positives, valid = parts().requires_grad_(), parts(seed=1).requires_grad_(), some()
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def loss(a: Tensor, p: Tensor, t: Tensor) -> Tensor:
        return dense_info_nce(a, p, valid, temperature=t)

    assert torch.autograd.gradcheck(loss, (anchors, positives, temperature))
    dense = loss(anchors, positives, temperature)
    monkeypatch.setattr(reductions, "DENSE_PAIRS", 0)
    monkeypatch.setattr(tiles, "ROW_TILE", 4)
    assert torch.allclose(loss(anchors, positives, temperature), dense)


@pytest.mark.parametrize(
    ("anchors", "positives", "valid", "error", "message"),
    [
        (parts(), parts(m=4), some(), ValueError, r"must be \(n, m, d\) and valid \(n, m\)"),
        (parts(), parts(), some(m=4), ValueError, r"got \(3, 5, 4\), \(3, 5, 4\) and \(3, 4\)"),
        (parts()[0], parts()[0], some()[0], ValueError, r"must be \(n, m, d\)"),
        (parts().long(), parts().long(), some(), TypeError, "must be floating"),
    ],
)
def test_wrong_arguments(
    anchors: Tensor, positives: Tensor, valid: Tensor, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dense_info_nce(anchors, positives, valid, temperature=0.1)
    with pytest.raises(ValueError, match="temperature must be positive"):
        dense_info_nce(parts(), parts(), some(), temperature=0.0)
