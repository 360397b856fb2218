"""A small heterogeneous graph with groups: papers, their authors and subjects."""

import torch
from torch_geometric.data import HeteroData


def papers(count=36, authors=24, *, mixed=0.1, seed=0):
    """Papers of three kinds that share authors, and one subject each, with their own kind rather than with others.

    ``mixed`` is the share of authors and subjects that are drawn from all kinds.
    """
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 3
    data = HeteroData()
    data["paper"].x = (torch.rand(count, 12, generator=draw) < 0.2 + 0.3 * (torch.arange(12) % 3 == y[:, None])).float()
    data["paper"].y = y
    data["author"].x = torch.randn(authors, 5, generator=draw)
    data["subject"].num_nodes = 6
    kinds = torch.where(
        torch.rand(count, 4, generator=draw) < mixed, torch.randint(3, (count, 4), generator=draw), y[:, None]
    )
    writers = torch.randint(authors // 3, (count, 3), generator=draw) * 3 + kinds[:, :3]
    papers_of = torch.arange(count).repeat_interleave(3)
    data["author", "writes", "paper"].edge_index = torch.stack([writers.flatten(), papers_of])
    subject = kinds[:, 3] + 3 * torch.randint(2, (count,), generator=draw)
    data["paper", "about", "subject"].edge_index = torch.stack([torch.arange(count), subject])
    part = torch.rand(count, generator=draw)
    masks = {"train": part < 0.4, "val": (part >= 0.4) & (part < 0.6), "test": part >= 0.6}
    for name, mask in masks.items():
        data["paper"][f"{name}_mask"] = mask
    return data
