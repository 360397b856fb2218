"""A small graph with groups, as citations have them."""

import pytest
import torch

from twofold.modalities.graph import data


def groups(nodes=90, seed=0):
    """(x, edge_index, y): three groups joined within rather than between, with words that say a little of the group."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % 3
    ends = torch.randint(nodes, (2, nodes * 5), generator=draw)
    kept = (y[ends[0]] == y[ends[1]]) | (torch.rand(nodes * 5, generator=draw) < 0.1)
    own = torch.arange(60)[None] // 20 == y[:, None]
    words = torch.rand(nodes, 60, generator=draw) < torch.where(own, 0.14, 0.06)
    return words.float(), ends[:, kept], y


@pytest.fixture(scope="session")
def cited():
    """The source itself."""
    return groups()


@pytest.fixture(scope="session")
def citations(cited):
    """The same as a data set of 90 nodes with 60 features."""
    return data.read(cited)
