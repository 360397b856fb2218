"""One of several processes that compute every objective's gradients: python gather_worker.py RANK WORLD DIRECTORY.

Rank 0 leaves {rule: {case: (loss, gradients)}} in DIRECTORY/WORLD.pt; test_gather.py compares it with one process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from objective_cases import CASES, Case, random_views
from torch import Tensor

from twofold.contrast import gather as gather_module
from twofold.contrast.gather import gather, local_rows, rank, world_size
from twofold.contrast.objectives import info_nce_with_negatives
from twofold.contrast.objectives.clustering import swapped_clusters
from twofold.contrast.objectives.geometry import uniformity
from twofold.contrast.objectives.redundancy import barlow_twins, vicreg
from twofold.contrast.prototypes import sinkhorn

SAMPLES, WIDTH, DIM = 8, 5, 4


def _queue(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    return info_nce_with_negatives(z[0], z[1], random_views(1, 6, DIM, seed=9)[0], temperature=t)


def _swapped(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    scores = z @ random_views(1, 3, DIM, seed=9)[0].T / 10
    return swapped_clusters(scores / t, sinkhorn(scores, epsilon=0.5), temperature=1.0)


MORE_CASES = [
    Case("info_nce with a queue", _queue),
    Case("swapped_clusters", _swapped),
    Case("barlow_twins", lambda z, t, index: barlow_twins(z), has_temperature=False),
    Case("vicreg", lambda z, t, index: vicreg(z, variance=50.0).total, has_temperature=False),
    Case("uniformity", lambda z, t, index: uniformity(gather(z[0])), has_temperature=False),
]
ALL_CASES = CASES + MORE_CASES


def loss_and_gradients(case: Case, index: Tensor) -> tuple[float, dict[str, Tensor]]:
    """Of an encoder and a learned temperature, on these samples, before any averaging over processes."""
    inputs = random_views(case.views, SAMPLES, WIDTH, seed=1)[:, index]
    weight = random_views(1, WIDTH, DIM, seed=2)[0].requires_grad_()
    log_temperature = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    loss = case.loss(torch.tanh(inputs @ weight), log_temperature.exp(), index)
    loss.backward()
    gradients = {"encoder": weight.grad}
    if log_temperature.grad is not None:
        gradients["temperature"] = log_temperature.grad
    return loss.item(), gradients


def averaged(case: Case) -> tuple[float, dict[str, Tensor]]:
    """As DistributedDataParallel does: the mean of the processes' gradients."""
    value, gradients = loss_and_gradients(case, local_rows(SAMPLES // world_size()))
    loss = torch.tensor(value, dtype=torch.float64)
    for tensor in (loss, *gradients.values()):
        dist.all_reduce(tensor)
        tensor /= world_size()
    return loss.item(), gradients


def _own_part(ctx: Any, *grads: Tensor) -> Tensor:
    return grads[0].chunk(world_size())[rank()]


def _nothing(ctx: Any, *grads: Tensor) -> Tensor:
    return torch.zeros_like(_own_part(ctx, *grads))


@contextmanager
def _backward(rule: Callable[..., Tensor]) -> Iterator[None]:
    with mock.patch.object(gather_module._Gather, "backward", staticmethod(rule)):
        yield


RULES = {
    "ours": nullcontext,
    "own part only": lambda: _backward(_own_part),
    "no gradient": lambda: _backward(_nothing),
    "no gather": lambda: mock.patch.multiple(gather_module, _all_gather=_only_mine, _Gather=_Alone),
}


def _only_mine(rows: Tensor) -> Tensor:
    return rows.repeat(world_size(), *[1] * (rows.ndim - 1))


class _Alone:
    apply = staticmethod(_only_mine)


def check_gather() -> None:
    """The function itself: order, any dimension, integers, and the gradient's sum."""
    mine, world = rank(), world_size()
    rows = torch.tensor([[10.0 * mine, 1.0], [10.0 * mine + 5, 2.0]], requires_grad=True)
    everyone = gather(rows)
    assert everyone[:, 0].tolist() == [5.0 * k for k in range(2 * world)]
    assert torch.equal(everyone[local_rows(2)], rows)
    assert torch.equal(gather(rows, dim=1), torch.cat([everyone[2 * r : 2 * r + 2] for r in range(world)], dim=1))
    assert gather(torch.tensor([mine])).tolist() == list(range(world))
    assert not gather(rows.detach()).requires_grad
    with torch.no_grad():
        assert not gather(rows).requires_grad
    # Process r asks (r + 1) · (k + 1) of row k: each row hears all of them.
    wish = (mine + 1) * torch.arange(1.0, 2 * world + 1)
    (everyone.sum(1) * wish).sum().backward()
    asked = world * (world + 1) / 2 * (local_rows(2) + 1)
    assert torch.equal(rows.grad, asked[:, None].expand(2, 2).float())


def run(process: int, world: int, directory: Path) -> None:
    store = f"file://{directory}/store-{world}"
    dist.init_process_group("gloo", store, timedelta(seconds=60), world, process)
    check_gather()
    results = {}
    for name in RULES if world == 2 else ["ours"]:
        with RULES[name]():
            results[name] = {case.name: averaged(case) for case in ALL_CASES}
    if process == 0:
        torch.save(results, directory / f"{world}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    own_rank, largest, where = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    for size in (largest, 2):
        if own_rank < size:
            run(own_rank, size, where)
