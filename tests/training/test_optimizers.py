from __future__ import annotations

import pytest
import torch
from torch import nn

from twofold.errors import ConfigError
from twofold.training.optimizers import LARS, OPTIMIZERS, make_optimizer, parameter_groups
from twofold.training.schedule import set_learning_rate


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 4))
        self.predictor = nn.Linear(4, 4)
        self.predictor_two = nn.Linear(4, 4)
        self.prototypes = nn.Linear(4, 3, bias=False)
        self.temperature = nn.Parameter(torch.tensor(0.1))
        self.norm2d = nn.LayerNorm([2, 4])  # has a two-dimensional weight
        self.teacher = nn.Linear(4, 4).requires_grad_(False)


def names(net: nn.Module, group: dict) -> set[str]:
    wanted = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in net.named_parameters() if id(parameter) in wanted}


def test_groups_hold_every_trainable_parameter_once_and_where_it_belongs() -> None:
    net = Net()
    groups = parameter_groups(net, 0.1, constant_lr_prefixes=["predictor"], no_decay_prefixes=["prototypes"])
    held = {(group["weight_decay"], group["adapt"], group["constant_lr"]): names(net, group) for group in groups}
    assert held == {
        (0.1, True, False): {"encoder.0.weight", "encoder.3.weight", "predictor_two.weight"},
        (0.0, False, False): {
            *("encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "encoder.3.bias", "predictor_two.bias"),
            *("prototypes.weight", "temperature", "norm2d.weight", "norm2d.bias"),
        },
        (0.1, True, True): {"predictor.weight"},
        (0.0, False, True): {"predictor.bias"},
    }
    assert sum(len(group["params"]) for group in groups) == len([p for p in net.parameters() if p.requires_grad])


def test_prefixes_that_name_nothing_are_all_reported() -> None:
    with pytest.raises(ConfigError, match=r"2 problems(.|\n)*'predict'(.|\n)*'proto'") as caught:
        parameter_groups(Net(), 0.1, ["predict"], ["proto"])
    assert "predictor, predictor_two, prototypes" in str(caught.value)


def test_a_module_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(ConfigError, match="Linear has no parameter that requires a gradient"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.0)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_descends_and_resumes_bit_for_bit(name: str) -> None:
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, 1))
        return net, make_optimizer(name, parameter_groups(net, 1e-4, ["2"]), 0.01, trust=0.5)

    def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> float:
        for step in steps:
            set_learning_rate(optimizer, optimizer.defaults["lr"] / (1 + step))
            optimizer.zero_grad()
            loss = (net(inputs) - inputs.sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    inputs = torch.randn(32, 3, generator=torch.Generator().manual_seed(1))
    straight, optimizer = build()
    first = train(straight, optimizer, range(1))
    model_state = {key: value.clone() for key, value in straight.state_dict().items()}
    optimizer_state = torch.utils._pytree.tree_map(
        lambda x: x.clone() if isinstance(x, torch.Tensor) else x, optimizer.state_dict()
    )
    assert train(straight, optimizer, range(1, 12)) < first
    resumed, other = build()
    resumed.load_state_dict(model_state)
    other.load_state_dict(optimizer_state)
    train(resumed, other, range(1, 12))
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_two_lars_steps_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    optimizer = LARS([weight], lr=0.5, momentum=0.9, weight_decay=0.1, trust=0.01)
    weight.grad = torch.tensor([[0.5, -0.4]], dtype=torch.float64)
    optimizer.step()
    # g' = (0.5 + 0.3, -0.4 + 0.4) = (0.8, 0); ratio = 0.01 * 5 / 0.8; v = 0.5 * ratio * g' = (0.025, 0)
    assert torch.allclose(weight, torch.tensor([[2.975, 4.0]], dtype=torch.float64), atol=1e-12)
    weight.grad = torch.tensor([[-0.2975, 0.0]], dtype=torch.float64)
    optimizer.step()
    # g' = (0, 0.4); ratio = 0.01 * |(2.975, 4)| / 0.4; v = 0.9 * (0.025, 0) + 0.5 * ratio * g'
    pull = 0.5 * 0.01 * (2.975**2 + 16) ** 0.5
    assert torch.allclose(weight, torch.tensor([[2.9525, 4.0 - pull]], dtype=torch.float64), atol=1e-12)


def test_lars_without_adaptation_is_sgd() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    lars = LARS([{"params": [ours], "adapt": False}], lr=0.1, momentum=0.9, weight_decay=0.01)
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(4):
        ours.grad = torch.randn(5, generator=generator)
        theirs.grad = ours.grad.clone()
        lars.step()
        sgd.step()
    assert torch.allclose(ours, theirs)
    assert not torch.allclose(ours, torch.ones(5))


def test_lars_moves_a_zero_weight_by_the_plain_rate() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    optimizer = LARS([weight], lr=0.5)
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))
    weight.grad = None
    optimizer.step()
    assert torch.equal(weight.detach(), torch.full((2, 2), -0.5))


def test_all_faults_of_an_optimizer_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        make_optimizer("adma", [], -1.0, -0.5, 1.0, trust=0.0)
    text = str(caught.value)
    assert all(
        part in text for part in ("5 problems", "'adma'", "adamw, adam, sgd, lars", "lr is -1.0", "momentum is 1.0")
    )
    with pytest.raises(ConfigError, match="nesterov"):
        make_optimizer("adamw", [], 1.0, nesterov=True)
    with pytest.raises(ConfigError, match="lr is nan"):
        make_optimizer("sgd", [], float("nan"))


def test_groups_own_weight_decay_counts() -> None:
    optimizer = make_optimizer("sgd", parameter_groups(nn.Linear(2, 2), 0.3), 0.1, 0.7, nesterov=True)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert all(group["nesterov"] for group in optimizer.param_groups)


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)])
def test_adam_takes_one_kernel_for_all_and_the_same_steps(name: str, kind: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    ours, plain = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    plain.load_state_dict(ours.state_dict())
    fused = make_optimizer(name, parameter_groups(ours, 0.1), lr=0.01)
    groups = [{key: group[key] for key in ("params", "weight_decay")} for group in parameter_groups(plain, 0.1)]
    reference = kind(groups, lr=0.01, foreach=False)
    assert fused.defaults["fused"] is True
    for _ in range(3):
        for module, optimizer in ((ours, fused), (plain, reference)):
            optimizer.zero_grad()
            module(torch.ones(2, 5)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, plain.weight)
    torch.testing.assert_close(ours.bias, plain.bias)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_may_get_its_first_gradient_late(name: str) -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    before = layers[1].weight.detach().clone()
    optimizer = make_optimizer(name, parameter_groups(layers, 0.0), lr=0.1)
    for frozen in (True, False):
        optimizer.zero_grad(set_to_none=True)
        layers(torch.ones(2, 3)).square().sum().backward()
        if frozen:
            layers[1].weight.grad = None
        optimizer.step()
        assert torch.equal(layers[1].weight, before) is frozen
