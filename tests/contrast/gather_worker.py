"""One of several processes that compute every objective's gradients: python gather_worker.py RANK DIRECTORY PLAN.

PLAN is JSON, {processes: [way ...]}. Rank 0 leaves {way: {case: (loss, gradients)}} in DIRECTORY/<processes>.pt;
:func:`start` runs all of it. test_gather.py and benchmarks/reliability/gradients.py compare with one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from objective_cases import CASES, Case, random_views
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.functional import cosine_similarity
from torch.nn.parallel import DistributedDataParallel

from twofold.contrast import gather as gather_module
from twofold.contrast.gather import gather, local_rows, rank, world_size
from twofold.contrast.objectives import attended_info_nce, dense_info_nce, info_nce_with_negatives, sigmoid
from twofold.contrast.objectives.clustering import swapped_clusters
from twofold.contrast.objectives.geometry import uniformity
from twofold.contrast.objectives.infomax import local_global
from twofold.contrast.objectives.redundancy import barlow_twins, vicreg
from twofold.contrast.prototypes import sinkhorn
from twofold.training import gradient_cache

SAMPLES, WIDTH, DIM = 16, 5, 4
INPUT_SEED = 8

Result = tuple[float, dict[str, Tensor]]
"""A loss, and the gradients of ``encoder`` (all parameters in one vector) and ``temperature`` (where there is one)."""


def _queue(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    return info_nce_with_negatives(z[0], z[1], random_views(1, 6, DIM, seed=9)[0], temperature=t)


def _swapped(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    scores = z @ random_views(1, 3, DIM, seed=9)[0].T / 10
    return swapped_clusters(scores / t, sinkhorn(scores, epsilon=0.5), temperature=1.0)


def _learned_bias(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    return sigmoid(z[0], z[1], temperature=0.3, bias=-3 * t)


def _attended(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    return attended_info_nce(z[:3].transpose(0, 1), z[3], temperature=t)


def _dense(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    parts = z.transpose(0, 1)
    return dense_info_nce(parts[:, :3], parts[:, 3:], torch.ones(len(parts), 3, dtype=torch.bool), temperature=t)


def _local_global(z: Tensor, t: Tensor, index: Tensor) -> Tensor:
    return local_global(z[0], z[1], weight=random_views(1, DIM, DIM, seed=9)[0] / t)


MORE_CASES = [
    Case("attended_info_nce", _attended, views=4),
    Case("dense_info_nce", _dense, views=6),
    Case("info_nce with a queue", _queue),
    Case("sigmoid, its bias learned", _learned_bias),
    Case("swapped_clusters", _swapped),
    Case("barlow_twins", lambda z, t, index: barlow_twins(z), has_temperature=False),
    Case("vicreg", lambda z, t, index: vicreg(z, variance=50.0).total, has_temperature=False),
    Case("local_global", _local_global),
    Case("uniformity", lambda z, t, index: uniformity(gather(z[0])), has_temperature=False),
]
ALL_CASES = CASES + MORE_CASES
EVERYTHING = torch.arange(SAMPLES)


def make_encoder() -> nn.Module:
    """Float64, always the same weights; over four processes its six rows cannot be sharded evenly."""
    encoder = nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh(), nn.Linear(6, DIM)).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2)
    return encoder


def loss_and_gradients(
    case: Case, index: Tensor, *, encoder: nn.Module | None = None, micro_batch: int | None = None
) -> Result:
    """Of the encoder and of a learned temperature, on these samples; averaged only by what wraps the encoder."""
    encoder = make_encoder() if encoder is None else encoder
    encoder.zero_grad()
    log_temperature = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    inputs = random_views(case.views, SAMPLES, WIDTH, seed=INPUT_SEED)[:, index]

    def objective(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"total": case.loss(outputs["z"], log_temperature.exp(), index)}

    if micro_batch is None:
        losses = objective({"z": encoder(inputs)})
        losses["total"].backward()
    else:
        chunks = inputs.split(micro_batch, 1)
        _, losses = gradient_cache.backward(
            encoder, lambda chunk: {"z": encoder(chunk)}, chunks, objective, seed=lambda number: None
        )
    gradients = {"encoder": torch.cat([gradient.flatten() for gradient in _whole_gradients(encoder)])}
    if log_temperature.grad is not None:
        gradients["temperature"] = log_temperature.grad
    return losses["total"].item(), gradients


def _whole_gradients(encoder: nn.Module) -> list[Tensor]:
    gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
    shards = [gradient.to_local() for gradient in gradients if isinstance(gradient, DTensor)]
    if not shards:
        return gradients
    # Not full_tensor(): gloo was seen to hang in the collective that it uses.
    everyone: list[Any] = [None] * world_size()
    dist.all_gather_object(everyone, shards)
    return [torch.cat(parts) for parts in zip(*everyone, strict=True)]


@dataclass(frozen=True)
class Way:
    """How the gradient over several processes is computed."""

    rule: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Replaces what the backward pass of the gather does."""
    wrap: Callable[[nn.Module], nn.Module] | None = None
    """Wraps the encoder, and takes the mean of its gradients over processes."""
    micro_batch: int | None = None
    """Samples of a piece of the gradient cache; None does without it."""

    def results(self) -> dict[str, Result]:
        """{case: (loss, gradients)}, the means over processes, each with its own rows."""
        encoder = self.wrap(make_encoder()) if self.wrap else make_encoder()
        with self.rule():
            return {case.name: self._result(case, encoder) for case in ALL_CASES}

    def _result(self, case: Case, encoder: nn.Module) -> Result:
        """The mean over processes.

        The temperature is a parameter of its own, the same on every process, outside of what wraps the encoder
        (fully_shard refuses parameters without dimensions). So its gradient is averaged here, as
        ``twofold.training.distributed.average_gradients`` does it for a whole recipe.
        """
        rows = local_rows(SAMPLES // world_size())
        value, gradients = loss_and_gradients(case, rows, encoder=encoder, micro_batch=self.micro_batch)
        loss = torch.tensor(value, dtype=torch.float64)
        averaged_already = {"encoder"} if self.wrap else set()
        for tensor in (loss, *(gradient for name, gradient in gradients.items() if name not in averaged_already)):
            dist.all_reduce(tensor)
            tensor /= world_size()
        return loss.item(), gradients


def sharded(encoder: nn.Module) -> nn.Module:
    """FSDP2: every layer a unit of its own, and the rest of the encoder another."""
    mesh = init_device_mesh("cpu", (world_size(),))
    for layer in encoder.children():
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(encoder, mesh=mesh)
    return encoder


def _own_part(ctx: Any, *grads: Tensor) -> Tensor:
    return grads[0].chunk(world_size())[rank()]


def _mean(ctx: Any, *grads: Tensor) -> Tensor:
    total = grads[0].contiguous().clone()
    dist.all_reduce(total)
    return _own_part(ctx, total / world_size())


def _nothing(ctx: Any, *grads: Tensor) -> Tensor:
    return torch.zeros_like(_own_part(ctx, *grads))


@contextmanager
def _backward(rule: Callable[..., Tensor]) -> Iterator[None]:
    with mock.patch.object(gather_module._Gather, "backward", staticmethod(rule)):
        yield


def _only_mine(rows: Tensor) -> Tensor:
    return rows.repeat(world_size(), *[1] * (rows.ndim - 1))


class _Alone:
    apply = staticmethod(_only_mine)


WAYS = {
    "ours": Way(),
    "own part only": Way(lambda: _backward(_own_part)),
    "mean": Way(lambda: _backward(_mean)),
    "no gradient": Way(lambda: _backward(_nothing)),
    "no gather": Way(lambda: mock.patch.multiple(gather_module, _all_gather=_only_mine, _Gather=_Alone)),
    "DistributedDataParallel": Way(wrap=DistributedDataParallel),
    "fully_shard": Way(wrap=sharded),
    "gradient cache": Way(micro_batch=3),
    "gradient cache, DistributedDataParallel": Way(wrap=DistributedDataParallel, micro_batch=3),
    "gradient cache, fully_shard": Way(wrap=sharded, micro_batch=3),
}
WRONG = ("own part only", "mean", "no gradient", "no gather")
"""Rules that this field's code has had instead of ours."""


def compare(result: Result, case: Case) -> dict[str, float]:
    """Ratios to the loss and the gradients of the whole batch in one process, and a cosine; 1 everywhere is exact."""
    loss, gradients = loss_and_gradients(case, EVERYTHING)
    assert result[1].keys() == gradients.keys()
    assert abs(loss) > 1e-2  # or a ratio says little
    assert all(gradient.norm() > 1e-4 for gradient in gradients.values())
    actual, expected = result[1]["encoder"], gradients["encoder"]
    found = {
        "loss ratio": result[0] / loss,
        "encoder norm ratio": float(actual.norm() / expected.norm()),
        "encoder cosine": float(cosine_similarity(actual, expected, dim=0)),
    }
    if "temperature" in gradients:
        found["temperature ratio"] = float(result[1]["temperature"] / gradients["temperature"])
    return found


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
        assert world == 1 or not gather(rows).requires_grad
    # Process r asks (r + 1) · (k + 1) of row k: each row hears all of them.
    wish = (mine + 1) * torch.arange(1.0, 2 * world + 1)
    (everyone.sum(1) * wish).sum().backward()
    asked = world * (world + 1) / 2 * (local_rows(2) + 1)
    assert rows.grad is not None
    assert torch.equal(rows.grad, asked[:, None].expand(2, 2).float())


def run(process: int, world: int, directory: Path, ways: Sequence[str]) -> None:
    """One process of ``world``."""
    store = f"file://{directory}/store-{world}"
    dist.init_process_group("gloo", store, timedelta(seconds=300), world, process)
    check_gather()
    results = {name: WAYS[name].results() for name in ways}
    if process == 0:
        torch.save(results, directory / f"{world}.pt")
    dist.destroy_process_group()


def start(directory: Path, plan: Mapping[int, Sequence[str]]) -> dict[int, dict[str, dict[str, Result]]]:
    """{processes: {way: {case: (loss, gradients)}}} for ``plan``, {processes: ways}; fewer processes later.

    Raises:
        RuntimeError: If a process fails; its last words are the message.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, str(number), str(directory), json.dumps(plan)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(max(plan))
    ]
    try:
        errors = [process.communicate(timeout=600)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    failed = [error for process, error in zip(started, errors, strict=True) if process.returncode != 0]
    if failed:
        raise RuntimeError(failed[0])
    return {world: torch.load(directory / f"{world}.pt", weights_only=True) for world in plan}


if __name__ == "__main__":
    torch.set_num_threads(1)
    own_rank, where = int(sys.argv[1]), Path(sys.argv[2])
    for size, chosen in json.loads(sys.argv[3]).items():
        if own_rank < int(size):
            run(own_rank, int(size), where, chosen)
