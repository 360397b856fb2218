"""Several processes that train together, as torchrun starts them; one process needs nothing of this.

Start with ``torchrun --nproc-per-node=4 -m twofold ...``. Every process computes its share of a global batch, the one
gather (:mod:`twofold.contrast.gather`) gives all of them all candidates, and gradients are averaged.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.distributed.rendezvous import rendezvous

from twofold.contrast.gather import gather, rank, world_size
from twofold.errors import ConfigError, RunError, TwofoldError

_Object = TypeVar("_Object")


@dataclass(frozen=True)
class Process:
    """This process's place: its number among all, how many there are, its number on this machine, its device."""

    rank: int
    world: int
    local_rank: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        smallest(0)  # over gloo from the CPU; an NCCL barrier would need the device named


@contextlib.contextmanager
def processes(device: str = "auto") -> Iterator[Process]:
    """:func:`setup` on entering; :func:`teardown` on leaving, by whoever entered first."""
    outermost = not (dist.is_available() and dist.is_initialized())
    process = setup(device)
    try:
        yield process
    finally:
        if outermost:
            teardown()


def setup(device: str = "auto") -> Process:
    """Join the process group that torchrun's environment variables describe; without them, be the only process.

    Args:
        device: ``"auto"`` (CUDA where there is one, else the CPU), or a torch device such as ``"cpu"``, ``"cuda"`` or
            ``"mps"``. With several processes each takes the CUDA device of its local rank.

    Raises:
        ConfigError: If the device is unknown or not there.
        RunError: If the environment variables are incomplete, or a machine has more processes than CUDA devices.
    """
    world = _environment("WORLD_SIZE", default=1)
    if world == 1:
        return Process(rank=0, world=1, local_rank=0, device=choose_device(device))
    number, local_rank = _environment("RANK"), _environment("LOCAL_RANK")
    chosen = choose_device(device)
    if chosen.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise RunError(
                f"Process {local_rank} of this machine has no CUDA device of its own: there are "
                f"{torch.cuda.device_count()}. Start torchrun with --nproc-per-node={torch.cuda.device_count()}."
            )
        chosen = torch.device("cuda", local_rank)
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        # The functions of this module take the group that exists at its import as their default, and torch's optimizers
        # import it. So it comes first: a group that they held on to would outlive the run.
        importlib.import_module("torch.distributed.nn.functional")
        # Counts and objects travel over gloo from the CPU, so that they never make a GPU wait.
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=_store(), rank=number, world_size=world)
    return Process(rank=number, world=world, local_rank=local_rank, device=chosen)


def _store() -> Any:
    """Where the processes find each other, with keys of this attempt alone.

    torchrun's agent keeps one store over restarts (torch 2.13), so that processes that were started again would find
    the addresses of those that died. The number of the attempt is the agent's, and so known to all only on one machine;
    with several, ``TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1`` has torchrun make a new store each time.
    """
    store, _, _ = next(rendezvous("env://"))
    on_one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if on_one_machine else "0"
    return dist.PrefixStore(f"attempt-{attempt}", store)  # type: ignore[attr-defined]


def teardown() -> None:
    """Leave the process group; does nothing without one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End a process that was in a group, at once and with this exit code, when all its work is done.

    What torch's functions keep of a group (meshes, caches of split tensors) is else taken apart while Python ends, and
    that now and then aborts the process ("terminate called without an active exception", exit code -6), so that a run
    that is whole looks like one that failed. What was registered to run while Python ends does not run.

    Args:
        code: 0 for success, up to 255.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of that name; ``"auto"`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: If there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device '{name}' is unknown; choose auto, cpu, cuda, cuda:0 ... or mps.") from error
    missing = (device.type == "cuda" and not torch.cuda.is_available()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ConfigError(f"device '{name}' was asked for, but torch sees none here; choose auto or cpu.")
    return device


def device_problems(name: Any) -> list[str]:
    """What is wrong with the name of a device."""
    try:
        choose_device(name if isinstance(name, str) else "auto")  # another type is a problem of the option
    except ConfigError as error:
        return error.problems
    return []


def speaks() -> bool:
    """Whether this process speaks to the user, also before :func:`setup`: torchrun's first, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def broadcast_object(value: _Object, source: int = 0) -> _Object:
    """The ``source`` process's value on every process; the others' argument is ignored. Any picklable value."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=source)
    return box[0]


def gather_objects(value: _Object) -> list[_Object]:
    """Every process's value, in the order of their ranks, on every process. Any picklable value."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def gather_uneven(rows: Tensor) -> Tensor:
    """All processes' rows, of which each may bring another number, in the order of their ranks; without gradient.

    Args:
        rows: On the CPU; of one type and the same width everywhere.
    """
    if world_size() == 1:
        return rows
    shapes = gather_objects(tuple(rows.shape))
    largest = max(shapes)  # the width is that of a process that has rows
    if largest[0] == 0:
        return rows
    padded = rows.new_zeros(largest)
    if len(rows):
        padded[: len(rows)] = rows.detach()
    parts = gather(padded).split(largest[0])
    return torch.cat([part[: shape[0]] for part, shape in zip(parts, shapes, strict=True)])


def on_main(function: Callable[[], _Object]) -> _Object:
    """What ``function`` gives on the main process, on every process; an error there is raised on every process.

    Raises:
        TwofoldError: That of the main process. On the others it has ``told`` set: the main process speaks.
    """
    if world_size() == 1:
        return function()
    outcome: tuple[bool, Any] = (False, None)
    if rank() == 0:
        try:
            outcome = (True, function())
        except TwofoldError as error:
            outcome = (False, error)
    fine, value = broadcast_object(outcome)
    if fine:
        return cast(_Object, value)
    value.told = rank() != 0
    raise value


def smallest(count: int) -> int:
    """The smallest of all processes' counts."""
    if world_size() == 1:
        return count
    shared = torch.tensor(count)
    dist.all_reduce(shared, op=dist.ReduceOp.MIN)
    return int(shared)


def is_split(value: Any) -> bool:
    """Whether a tensor lies in parts on several processes."""
    module = sys.modules.get("torch.distributed.tensor")  # slow to import, and there is none before it is
    return module is not None and isinstance(value, module.DTensor)


def average_gradients(module: nn.Module) -> None:
    """Replace every gradient of a module by its mean over processes; does nothing in one process.

    With the one gather this gives the gradient of one process on the whole batch, for encoders and temperatures, also
    where a backward pass is done in pieces (:mod:`twofold.training.gradient_cache`). A parameter without a gradient
    here but with one elsewhere counts as zero; one without a gradient anywhere keeps none. Split parameters
    (:mod:`twofold.training.sharding`) are left alone: FSDP2 averages their gradients in the backward pass.
    """
    if world_size() == 1:
        return
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad and not is_split(parameter)]
    present = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.int32)
    dist.all_reduce(present, op=dist.ReduceOp.MAX)
    buckets: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter, somewhere in zip(trained, present.tolist(), strict=True):
        if not somewhere:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        buckets.setdefault((parameter.grad.dtype, parameter.grad.device), []).append(parameter.grad)
    for grads in buckets.values():
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= world_size()
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))


def synchronize_batch_norm(module: nn.Module, process: Process) -> nn.Module:
    """The module with batch normalisation over all processes' rows; as it is in one process.

    Names in the state dict, parameters and buffers stay the same. On CUDA this is torch's own; elsewhere
    :class:`SynchronizedBatchNorm`, as torch's needs CUDA.
    """
    if process.world == 1:
        return module
    if process.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return SynchronizedBatchNorm.like(module)
    for name, child in module.named_children():
        setattr(module, name, synchronize_batch_norm(child, process))
    return module


class SynchronizedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation whose mean and variance are those of all processes' rows together, ``(n, c, ...)``.

    Every process must bring equally many rows. Computes in float32 at least.
    """

    @classmethod
    def like(cls, norm: nn.modules.batchnorm._BatchNorm) -> SynchronizedBatchNorm:
        """One that has the parameters and buffers of another batch normalisation, and its options."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        made._parameters, made._buffers = norm._parameters, norm._buffers
        return made.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"Expected rows with channels, (n, c, ...), not {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalise; in evaluation mode by the running statistics, as usual."""
        if not self.training or world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        rows = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        dims = [0, *range(2, rows.ndim)]
        mean = _MeanOverProcesses.apply(rows.mean(dims, keepdim=True))
        centered = rows - mean
        variance = _MeanOverProcesses.apply(centered.square().mean(dims, keepdim=True))
        if self.track_running_stats:
            self._record(mean.detach().flatten(), variance.detach().flatten(), rows.numel() // rows.shape[1])
        normalized = centered * torch.rsqrt(variance + self.eps)
        if self.affine:
            shape = (1, -1, *[1] * (rows.ndim - 2))
            normalized = normalized * self.weight.view(shape) + self.bias.view(shape)
        return normalized.to(input.dtype)

    @torch.no_grad()
    def _record(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        everywhere = count * world_size()
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (everywhere / (everywhere - 1)), share)  # unbiased, as torch records it


class _MeanOverProcesses(torch.autograd.Function):
    """Each process's loss depends on all processes' values, so a value's gradient is the mean of what all ask of it."""

    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Any) -> Tensor:
        return _mean(grads[0])


def _mean(value: Tensor) -> Tensor:
    total = value.contiguous().clone()
    dist.all_reduce(total)
    return total / world_size()


def _environment(name: str, default: int | None = None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as error:
        raise RunError(
            f"The environment variable {name} is {'not set' if text is None else repr(text)}, but WORLD_SIZE says that "
            "several processes train together. Start them with torchrun, or unset WORLD_SIZE to train in one process."
        ) from error
