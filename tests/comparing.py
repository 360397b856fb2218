"""Whether two recipes are the same to the bit."""

from __future__ import annotations

import torch


def states_differ(first, second):
    """Names of the tensors in which two recipes differ."""
    a, b = first.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    return [key for key in a if not torch.equal(a[key], b[key])]
