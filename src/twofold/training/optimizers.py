"""Optimisers by name, parameter groups, and LARS for large batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from twofold.errors import ConfigError, RunError

OPTIMIZERS = ("adamw", "adam", "sgd", "lars")

Group = dict[str, Any]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    constant_lr_prefixes: Sequence[str] = (),
    no_decay_prefixes: Sequence[str] = (),
) -> list[Group]:
    """Sort the trainable parameters of a module into at most four groups; empty ones are left out.

    Biases, parameters of normalisation layers and all others with fewer than two dimensions (scales, temperatures)
    get no weight decay and no LARS adaptation (``"weight_decay": 0, "adapt": False``). Parameters under one of
    ``constant_lr_prefixes`` are marked ``"constant_lr": True`` and are left alone by the schedule, as SimSiam wants of
    its predictor (Chen & He, CVPR 2021, section 4.2). The order is that of ``named_parameters``, so that a saved
    optimiser fits a rebuilt module.

    Args:
        module: What is trained; parameters that require no gradient (a teacher's) are left out.
        weight_decay: For the parameters that decay.
        constant_lr_prefixes: Dotted names of submodules or parameters, such as ``"predictor"``.
        no_decay_prefixes: The same, for more parameters without decay and adaptation, such as ``"prototypes"``.

    Raises:
        ConfigError: If nothing is trainable, or a prefix names nothing trainable.
    """
    named = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    problems = [
        f"'{prefix}' names no trainable parameter of {type(module).__name__}; its parts are "
        f"{', '.join(sorted({name.split('.')[0] for name in named}))}."
        for prefix in (*constant_lr_prefixes, *no_decay_prefixes)
        if not any(_under(name, (prefix,)) for name in named)
    ]
    if not named:
        problems = [f"{type(module).__name__} has no parameter that requires a gradient: there is nothing to train."]
    if problems:
        raise ConfigError(problems)
    norms = {name for name, part in module.named_modules() if isinstance(part, _NORMS)}
    groups: dict[tuple[bool, bool], Group] = {}
    for name, parameter in named.items():
        in_norm = name.rpartition(".")[0] in norms
        decays = parameter.ndim >= 2 and not in_norm and not _under(name, no_decay_prefixes)
        constant = _under(name, constant_lr_prefixes)
        group = groups.setdefault(
            (decays, constant),
            {"params": [], "weight_decay": weight_decay * decays, "adapt": decays, "constant_lr": constant},
        )
        group["params"].append(parameter)
    return list(groups.values())


def named_state(optimizer: Optimizer, module: nn.Module) -> dict[str, dict[str, Any]]:
    """What an optimiser knows of each parameter, by the parameter's name, whatever groups it lies in.

    Rates and decays are not part of it: they follow from the configuration.

    Args:
        optimizer: Over parameters of ``module``.
        module: Gives the names.
    """
    return {name: dict(optimizer.state[p]) for name, p in module.named_parameters() if p in optimizer.state}


def load_named_state(optimizer: Optimizer, module: nn.Module, state: Mapping[str, Mapping[str, Any]]) -> None:
    """Put back what :func:`named_state` gave, on the devices of the parameters.

    Raises:
        RunError: If the state is of parameters that ``module`` does not have.
    """
    names = {parameter: name for name, parameter in module.named_parameters()}
    if unknown := sorted(set(state) - set(names.values())):
        raise RunError(f"The optimizer's state is of other networks: it has {', '.join(unknown[:3])}.")
    own = optimizer.state_dict()
    order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    numbered = {i: dict(state[name]) for i, name in enumerate(order) if name in state}
    optimizer.load_state_dict({"state": numbered, "param_groups": own["param_groups"]})


def make_optimizer(
    name: str,
    groups: Sequence[Group],
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    *,
    nesterov: bool = False,
    betas: tuple[float, float] = (0.9, 0.999),
    trust: float = 0.001,
) -> Optimizer:
    """An optimiser over groups from :func:`parameter_groups`.

    Args:
        name: ``"adamw"``, ``"adam"``, ``"sgd"`` or ``"lars"``.
        groups: Parameter groups; a weight decay that a group has counts, not the one given here.
        lr: The rate of all groups until the schedule sets another; groups marked ``"constant_lr"`` keep it.
        weight_decay: For groups that have none. Decoupled in AdamW, part of the gradient in the others.
        momentum: SGD and LARS.
        nesterov: SGD.
        betas: AdamW and Adam.
        trust: LARS.

    Raises:
        ConfigError: If the name is unknown or a value is out of range; all faults at once.
    """
    problems = []
    if name not in OPTIMIZERS:
        problems.append(f"optimizer '{name}' is unknown; choose one of {', '.join(OPTIMIZERS)}.")
    problems += _range_problems(lr=lr, weight_decay=weight_decay, momentum=momentum, trust=trust)
    if nesterov and (name != "sgd" or momentum == 0):
        problems.append("nesterov needs optimizer 'sgd' and a momentum above 0.")
    if problems:
        raise ConfigError(problems)
    if name in ("adamw", "adam"):
        kind = AdamW if name == "adamw" else Adam
        return kind(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=_fits_fused(groups))
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
    return LARS(groups, lr=lr, momentum=momentum, weight_decay=weight_decay, trust=trust)


def _fits_fused(groups: Sequence[Group]) -> bool | None:
    """True if torch has one kernel for all parameters: plain ones on CPU or CUDA. None leaves the choice to torch.

    For AdamW and Adam only: the kernel of SGD fails where some parameters get their first gradient later than others.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    plain = all(type(p) in (Tensor, nn.Parameter) and p.is_floating_point() for p in parameters)
    return True if plain and {p.device.type for p in parameters} <= {"cpu", "cuda"} else None


class LARS(Optimizer):
    """SGD with momentum whose rate is adapted layer by layer (You et al., 2017, algorithm 1).

    With g' = g + weight_decay · w: v ← momentum · v + lr · trust · ‖w‖ / ‖g'‖ · g', then w ← w − v. The norm of the sum
    g' is taken as SimCLR and BYOL do; You et al. write ‖g‖ + weight_decay · ‖w‖. The rate is inside v, so a change of
    rate does not rescale the past. Groups with ``"adapt": False`` and tensors whose ‖w‖ or ‖g'‖ is 0 take the plain
    rate.

    Args:
        params: Parameters or groups.
        lr: Rate; LARS rates are large (SimCLR: 0.3 · batch / 256).
        momentum: Of v.
        weight_decay: Added to the gradient.
        trust: The trust coefficient η.
    """

    def __init__(
        self,
        params: Sequence[Group] | Sequence[Tensor],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take one step; returns the closure's loss if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: Group) -> None:
        assert parameter.grad is not None
        direction = parameter.grad.add(parameter, alpha=group["weight_decay"])
        if group["adapt"]:
            direction.mul_(_trust_ratio(parameter, direction, group["trust"]))
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        velocity = state["velocity"]
        velocity.mul_(group["momentum"]).add_(direction, alpha=group["lr"])
        parameter.sub_(velocity)


def _trust_ratio(parameter: Tensor, direction: Tensor, trust: float) -> Tensor:
    """η‖w‖/‖g'‖, or 1 where either norm is 0; stays on the device, so that a step does not wait for a GPU."""
    weight, update = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(direction)
    return torch.where((weight > 0) & (update > 0), trust * weight / update, 1.0)


def _range_problems(*, lr: float, weight_decay: float, momentum: float, trust: float) -> list[str]:
    problems = []
    if not lr > 0:
        problems.append(f"lr is {lr}; it must be above 0.")
    if not weight_decay >= 0:
        problems.append(f"weight_decay is {weight_decay}; it must be 0 or above.")
    if not 0 <= momentum < 1:
        problems.append(f"momentum is {momentum}; it must be at least 0 and below 1.")
    if not trust > 0:
        problems.append(f"trust is {trust}; it must be above 0 (You et al. use 0.001).")
    return problems


def _under(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
