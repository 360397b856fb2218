"""Users who go through the items in order, from a place of their own."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def walks():
    """``walks(users, items)``: columns ``user``, ``item`` and ``time``; each item is followed by the next one."""

    def make(users=60, items=20, seed=0):
        draw = torch.Generator().manual_seed(seed)
        columns = {"user": [], "item": [], "time": []}
        for user in range(users):
            length = int(torch.randint(4, 12, (1,), generator=draw))
            start = int(torch.randint(items, (1,), generator=draw))
            for t in range(length):
                columns["user"].append(f"u{user}")
                columns["item"].append(f"i{(start + t) % items}")
                columns["time"].append(1000 * user + t)
        order = torch.randperm(len(columns["user"]), generator=draw).tolist()
        return {name: [values[i] for i in order] for name, values in columns.items()}

    return make
