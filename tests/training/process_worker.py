"""One of several processes that together must equal one; test_processes.py starts them as torchrun does.

Each checks by itself and prints "done". The network has batch normalisation, so the processes also share statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twofold.contrast.gather import gather
from twofold.contrast.objectives import symmetric_info_nce
from twofold.training import distributed, gradient_cache
from twofold.training.distributed import Process, average_gradients, broadcast_object, smallest, synchronize_batch_norm
from twofold.training.loader import Loader
from twofold.training.sharding import is_split

SAMPLES, BATCH, UNREADABLE = 27, 16, 5
VIEWS = torch.randn(2, SAMPLES, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Encoder(nn.Module):
    """Both kinds of batch normalisation: of channels, and of rows (without weights, and with a running mean)."""

    def __init__(self) -> None:
        super().__init__()
        last = nn.BatchNorm1d(5, affine=False, momentum=None)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5), last)
        self.double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))

    def forward(self, views: Tensor) -> Tensor:
        return torch.stack([self.layers(view) for view in views])


class Model(nn.Module):
    """What is trained: an encoder, a temperature, and parameters that not every process uses."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder: nn.Module = Encoder()
        self.temperature = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(1))
        self.main_only = nn.Parameter(torch.ones(2))

    def loss(self, z: Tensor) -> Tensor:
        return symmetric_info_nce(z[0], z[1], temperature=self.temperature)


def gradients(model: Model) -> dict[str, Tensor]:
    """Of the encoder and the temperature, whole."""
    found = {}
    for name, parameter in [*model.encoder.named_parameters(), ("temperature", model.temperature)]:
        gradient = parameter.grad
        assert gradient is not None
        found[name.removeprefix("module.")] = together(gradient) if is_split(gradient) else gradient.clone()
    return found


def together(gradient: Any) -> Tensor:
    """All processes' shards. Not full_tensor(): gloo was seen to hang in the collective that it uses."""
    shards: list[Any] = [None] * gradient.device_mesh.size()
    torch.distributed.all_gather_object(shards, gradient.to_local())
    return torch.cat(shards)


def alone(index: Tensor, *pieces: Tensor) -> tuple[Model, dict[str, Tensor], Tensor]:
    """One process on these samples: model, gradients and outputs; batch normalisation sees one piece at a time."""
    model = Model()
    z = torch.cat([model.encoder(VIEWS[:, piece]) for piece in pieces or (index,)], 1)
    model.loss(z).backward()
    return model, gradients(model), z.detach()


def assert_equal(actual: dict[str, Tensor], expected: dict[str, Tensor], what: str) -> None:
    assert actual.keys() == expected.keys(), what
    for name, value in expected.items():
        close = torch.allclose(actual[name], value, rtol=1e-9, atol=1e-12)
        assert close, f"{what}, {name}: {actual[name]} instead of {value}"


def check_helpers(process: Process) -> None:
    assert process.is_main == (process.rank == 0)
    assert smallest(3 + process.rank) == 3
    assert broadcast_object(["from", process.rank]) == ["from", 0]
    process.barrier()


def check_gradients_and_statistics(process: Process, one: tuple[Model, dict[str, Tensor], Tensor]) -> None:
    """Synchronised batch normalisation: values, gradients and running statistics."""
    model = Model()
    names = list(model.state_dict())
    synchronize_batch_norm(model, process)
    assert list(model.state_dict()) == names
    rows = torch.arange(BATCH).chunk(process.world)[process.rank]
    z = model.encoder(VIEWS[:, rows])
    torch.testing.assert_close(z.detach(), one[2][:, rows])
    model.loss(z).backward()
    if process.is_main:
        model.main_only.grad = torch.full((2,), 3.0)
    average_gradients(model)
    assert model.unused.grad is None
    assert model.main_only.grad is not None
    assert model.main_only.grad.tolist() == [3 / process.world] * 2
    assert_equal(gradients(model), one[1], "plain")
    assert_equal(dict(model.named_buffers()), dict(one[0].named_buffers()), "statistics")
    model.eval()
    one[0].eval()
    with torch.no_grad():
        torch.testing.assert_close(model.encoder(VIEWS), one[0].encoder(VIEWS))


def check_wrappers(process: Process, expected: dict[str, Tensor]) -> None:
    """By torch's own means. Imported here, which costs seconds; more than two processes have it in test_gather.py."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    def sharded(encoder: nn.Module) -> nn.Module:
        fully_shard(encoder, mesh=init_device_mesh("cpu", (process.world,)))
        return encoder

    check_wrapped(process, DistributedDataParallel, expected)
    check_wrapped(process, sharded, expected)


def check_wrapped(process: Process, wrap: Callable[[nn.Module], nn.Module], expected: dict[str, Tensor]) -> None:
    """The encoder wrapped by torch, which averages its gradients; the temperature stays outside."""
    model = Model()
    model.encoder = wrap(synchronize_batch_norm(model.encoder, process))
    model.loss(model.encoder(VIEWS[:, :BATCH].chunk(process.world, 1)[process.rank])).backward()
    outside = nn.ParameterList([model.temperature])
    average_gradients(outside)
    assert_equal(gradients(model), expected, wrap.__name__)


def check_gradient_cache(process: Process, expected: dict[str, Tensor]) -> None:
    """With micro-batches of two samples a process."""
    model = Model()
    synchronize_batch_norm(model, process)
    mine = VIEWS[:, :BATCH].chunk(process.world, 1)[process.rank]
    gradient_cache.backward(
        model,
        lambda views: {"z": model.encoder(views)},
        mine.split(2, 1),
        lambda outputs: {"total": model.loss(outputs["z"])},
        seed=lambda number: None,
    )
    average_gradients(model)
    assert_equal(gradients(model), expected, "gradient cache")


class Samples:
    """A data set with one sample that cannot be read."""

    def __init__(self) -> None:
        self.spec: dict[str, Any] = {}
        self.labels: Tensor | None = None
        self.class_names: list[str] | None = None
        self.ids: Sequence[str] = [str(i) for i in range(SAMPLES)]
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return SAMPLES

    def fetch(self, index: Tensor) -> dict[str, Any]:
        readable = index[index != UNREADABLE]
        return {"inputs": VIEWS[:, readable].transpose(0, 1), "index": readable}


def epoch_of_gradients(process: Process) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """For every batch of an epoch, the last and incomplete one too: all processes' samples, and the gradients."""
    loader = Loader(Samples(), BATCH, seed=0, drop_last=False, workers=0, rank=process.rank, world=process.world)
    found = []
    for _, batch in loader.batches(0, loader.steps_per_epoch):
        model = Model()
        synchronize_batch_norm(model, process)
        model.loss(model.encoder(batch["inputs"].transpose(0, 1))).backward()
        average_gradients(model)
        found.append((gather(batch["index"]), gradients(model)))
    return found


def main() -> None:
    whole = alone(torch.arange(BATCH))
    with distributed.processes("cpu") as process:
        check_helpers(process)
        check_gradients_and_statistics(process, whole)
        if process.world == 2:
            check_wrappers(process, whole[1])
        everyone = torch.arange(BATCH).reshape(process.world, -1, 2)  # rank, micro-batch, sample
        in_pieces = alone(torch.arange(BATCH), *everyone.transpose(0, 1).flatten(1))[1]
        assert not torch.allclose(in_pieces["layers.3.weight"], whole[1]["layers.3.weight"], rtol=1e-2)
        check_gradient_cache(process, in_pieces)
        epoch = epoch_of_gradients(process)
    assert not torch.distributed.is_initialized()
    # A batch of 16, of which one sample cannot be read, and a tail of 11: what does not divide is left out.
    assert [len(rows) for rows, _ in epoch] == [BATCH - process.world, 11 - 11 % process.world]
    for rows, found in epoch:
        assert len(rows.unique()) == len(rows)
        assert_equal(found, alone(rows)[1], f"{len(rows)} rows")
    print("done")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
    distributed.leave(0)
