"""Parameters, gradients and optimiser state split over processes (FSDP2), and whole again where they are needed.

Only encoders are split, the student's and its copies in teachers: that is where the memory is. Heads, prototypes,
temperatures, queues and banks stay whole on every process, since recipes look at them outside of a forward pass.
A checkpoint holds whole tensors, so it does not depend on how many processes wrote it.

Gradients of split parameters are averaged by FSDP2's own reduce-scatter, those of the others by
:func:`twofold.training.distributed.average_gradients`; both are the mean over processes that the one gather needs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from twofold.contrast.gather import gather, world_size
from twofold.nn import Teacher
from twofold.training.distributed import is_split
from twofold.training.optimizers import load_named_state

SMALLEST_UNIT = 250_000
"""Blocks of an encoder with fewer parameters are not exchanged by themselves, but with the encoder."""


def shard(recipe: nn.Module, device: torch.device, world: int) -> None:
    """Split the encoder of a recipe, and its copies in teachers, over all processes; in place.

    Args:
        recipe: A built recipe, the same on every process, on ``device``.
        device: Of this process.
        world: How many processes there are.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (world,))
    for encoder in _encoders(recipe):
        # FSDP2 splits no other memory format.
        encoder.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for unit in [*_units(encoder), encoder]:
            fully_shard(unit, mesh=mesh, reshard_after_forward=True)  # a teacher has no backward pass that would


def _encoders(recipe: nn.Module) -> list[nn.Module]:
    student: Any = recipe.encoder
    copies = []
    for part in recipe.modules():
        if isinstance(part, Teacher):
            inside = part.module
            copies.append(inside[0] if isinstance(inside, nn.Sequential) else inside)
    alike = [copy for copy in copies if type(copy) is type(student)]
    return [student, *alike]


def _units(encoder: nn.Module) -> list[nn.Module]:
    """The large members of lists and sequences in the encoder, such as transformer blocks; inner ones first."""
    containers = [part for part in encoder.modules() if isinstance(part, nn.Sequential | nn.ModuleList)]
    members = dict.fromkeys(member for part in containers for member in part)
    return [m for m in reversed(members) if sum(p.numel() for p in m.parameters()) >= SMALLEST_UNIT]


def whole(value: Any) -> Any:
    """The value with every split tensor in it, at any depth of dictionaries, put together; all processes must call it.

    With nothing split, the same values in new dictionaries.
    """
    if isinstance(value, Mapping):
        return {key: whole(item) for key, item in value.items()}
    return _together(value) if is_split(value) else value


def _together(tensor: Any) -> Tensor:
    """All parts of a tensor that is split along its first dimension: equal chunks, the last ones short or empty.

    With the one gather: DTensor's own way was seen to hang over gloo once (torch 2.13).
    """
    part = tensor.to_local()
    chunk = math.ceil(len(tensor) / world_size())
    padded = part.new_zeros((chunk, *part.shape[1:]))
    padded[: len(part)] = part.detach()
    with torch.no_grad():
        return gather(padded)[: len(tensor)]


@torch.no_grad()
def load_whole(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """``module.load_state_dict`` of whole tensors, also where the module's are split."""
    own = module.state_dict()
    module.load_state_dict({name: _like(own[name], value) if name in own else value for name, value in state.items()})


def load_whole_optimizer(optimizer: Optimizer, module: nn.Module, state: Mapping[str, Any]) -> None:
    """:func:`twofold.training.optimizers.load_named_state` of whole tensors, also where parameters are split."""
    load_named_state(optimizer, module, state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = _like(parameter, value)


def _like(pattern: Tensor, value: Tensor) -> Tensor:
    if not is_split(pattern) or is_split(value):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(pattern, DTensor)
    return distribute_tensor(value.to(pattern.device), pattern.device_mesh, pattern.placements)


def clip_gradients(parameters: Iterable[Tensor], largest: float | None) -> Tensor:
    """Scale all gradients so that their norm is at most ``largest`` (None: as they are); returns the norm before."""
    parameters = [p for p in parameters if p.grad is not None]
    split = [p for p in parameters if is_split(p)]
    if not split:
        return nn.utils.clip_grad_norm_(parameters, largest or math.inf)
    together = [p for p in parameters if not is_split(p)]
    squares = [torch.stack([_square(p.grad) for p in part]).sum() for part in (split, together) if part]
    squares[0] = gather(squares[0][None]).sum()  # every process knows its parts
    norm = torch.stack(squares).sum().sqrt()
    if largest is not None and (share := largest / (float(norm) + 1e-6)) < 1:
        for parameter in parameters:
            parameter.grad.mul_(share)  # type: ignore[union-attr]
    return norm


def _square(gradient: Any) -> Tensor:
    local = gradient.to_local() if is_split(gradient) else gradient
    return local.float().square().sum()


def separate_groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parameter groups in which split and whole parameters do not mix: optimizers update a group at one stroke."""
    parted = []
    for group in groups:
        for wanted in (False, True):
            if members := [p for p in group["params"] if is_split(p) == wanted]:
                parted.append({**group, "params": members})
    return parted
