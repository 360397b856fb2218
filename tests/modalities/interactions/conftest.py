"""Users with tastes: each likes the items of one of two halves."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def tastes():
    """``tastes(users, items, seed)``: columns ``user`` and ``item``; even users mostly choose even items."""

    def make(users=40, items=30, seed=0):
        draw = torch.Generator().manual_seed(seed)
        same = torch.arange(users)[:, None] % 2 == torch.arange(items) % 2
        chosen = torch.rand(users, items, generator=draw) < torch.where(same, 0.5, 0.03)
        chosen[:, 0] = True
        user, item = chosen.nonzero().T.tolist()
        return {"user": [f"u{u}" for u in user], "item": [f"i{i}" for i in item]}

    return make
