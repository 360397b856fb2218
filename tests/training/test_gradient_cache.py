from __future__ import annotations

from typing import Any

import gather_worker
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import Case
from torch import Tensor, nn
from torch.nn import functional as F

from twofold.errors import RunError
from twofold.training import gradient_cache
from twofold.training.precision import autocast
from twofold.training.randomness import forked_rng, seed_global


class Toy(nn.Module):
    """Two views through one network, a momentum-free teacher, and a temperature that only the objective uses."""

    def __init__(self, *, dropout: float = 0.0, norm: bool = False, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        with forked_rng(0):
            middle: nn.Module = nn.BatchNorm1d(8) if norm else nn.Tanh()
            self.net = nn.Sequential(nn.Linear(5, 8), middle, nn.Dropout(dropout), nn.Linear(8, 4))
            self.teacher = nn.Linear(5, 4).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(-1.0))
        self.to(dtype)

    def represent(self, views: Tensor) -> dict[str, Tensor]:
        z = torch.stack([self.net(view) for view in views])
        return {"z": z, "teacher": torch.stack([self.teacher(view) for view in views])}

    def objective(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        assert outputs["z"].requires_grad
        assert not outputs["teacher"].requires_grad
        z = F.normalize(outputs["z"], dim=-1)
        loss = F.cross_entropy(z[0] @ z[1].T / self.log_temperature.exp(), torch.arange(z.shape[1]))
        distill = (outputs["z"] - outputs["teacher"]).square().mean()
        return {"total": loss + distill, "distill": distill}


def seed(number: int) -> None:
    seed_global("chunk", number)


def grads(module: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def inputs(n: int = 12, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, n, 5, dtype=dtype, generator=torch.Generator().manual_seed(1))


def seeded_reference(module: Toy, chunks: list[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """One graph over all chunks, with the same random numbers: as much memory as the full batch needs."""
    parts = []
    for number, chunk in enumerate(chunks):
        with forked_rng("chunk", number):
            parts.append(module.represent(chunk))
    losses = module.objective({name: torch.cat([part[name] for part in parts], 1) for name in parts[0]})
    losses["total"].backward()
    return grads(module), losses["total"].detach()


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-12) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=tolerance, atol=tolerance)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_gradients_are_those_of_the_full_batch_for_any_micro_batches(sizes: list[int]) -> None:
    module, views = Toy(), inputs(sum(sizes) + 1)
    sizes = [*sizes, 1]
    losses = module.objective(module.represent(views))
    losses["total"].backward()
    expected = grads(module)
    assert expected["log_temperature"].abs() > 1e-6
    outputs, cached = gradient_cache.backward(
        module, module.represent, views.split(sizes, 1), module.objective, seed=seed
    )
    assert_close(grads(module), expected)
    torch.testing.assert_close(cached["total"], losses["total"].detach())
    assert outputs["z"].shape == (2, sum(sizes), 4)
    assert not any(value.requires_grad for value in (*outputs.values(), *cached.values()))


@pytest.mark.parametrize("case", gather_worker.ALL_CASES, ids=lambda case: case.name)
def test_every_objective_has_the_gradient_of_the_full_batch(case: Case) -> None:
    count = 9
    loss, expected = gather_worker.loss_and_gradients(case, torch.arange(count))
    assert ("temperature" in expected) == (case.has_temperature and case.name != "global_contrastive")
    assert all(gradient.norm() > 1e-4 for gradient in expected.values())
    for size in range(1, count + 1):
        cached, actual = gather_worker.loss_and_gradients(case, torch.arange(count), micro_batch=size)
        assert cached == pytest.approx(loss, rel=1e-12)
        assert_close(actual, expected)


@pytest.mark.parametrize("size", [1, 5, 12])
def test_dropout_is_replayed(size: int) -> None:
    module = Toy(dropout=0.5)
    chunks = list(inputs().split(size, 1))
    expected, loss = seeded_reference(module, chunks)
    before = torch.get_rng_state()
    _, losses = gradient_cache.backward(module, module.represent, chunks, module.objective, seed=seed)
    assert_close(grads(module), expected)
    assert torch.equal(losses["total"], loss)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_second_pass_draws_the_masks_of_the_first() -> None:
    module, masks = Toy(dropout=0.5), []
    module.net[2].register_forward_hook(lambda layer, inputs, output: masks.append(output != 0))
    gradient_cache.backward(module, module.represent, inputs().split(5, 1), module.objective, seed=seed)
    assert len(masks) == 2 * 3 * 2  # passes, micro-batches, views
    first, second = masks[:6], masks[6:]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(first[0], other) for other in first[1:])


@pytest.mark.parametrize("size", [2, 3, 5, 12])
def test_batch_norm_gives_the_gradient_of_a_batch_normalised_in_pieces(size: int) -> None:
    module, chunks = Toy(norm=True), list(inputs().split(size, 1))
    in_pieces, _ = seeded_reference(module, chunks)
    whole, _ = seeded_reference(module, [inputs()])
    gradient_cache.backward(module, module.represent, chunks, module.objective, seed=seed)
    actual = grads(module)
    assert_close(actual, in_pieces)
    alike = F.cosine_similarity(actual["net.0.weight"].flatten(), whole["net.0.weight"].flatten(), dim=0)
    assert (alike < 0.999) == (size < 12)  # the price of micro-batches


def test_batch_norm_in_evaluation_mode_leaves_the_gradient_exact() -> None:
    module = Toy(norm=True).eval()
    whole, _ = seeded_reference(module, [inputs()])
    gradient_cache.backward(module, module.represent, inputs().split(5, 1), module.objective, seed=seed)
    assert_close(grads(module), whole)


def test_running_statistics_are_updated_once_a_micro_batch() -> None:
    reference, module = Toy(norm=True), Toy(norm=True)
    chunks = list(inputs().split(4, 1))
    seeded_reference(reference, chunks)
    gradient_cache.backward(module, module.represent, chunks, module.objective, seed=seed)
    assert_close(dict(module.named_buffers()), dict(reference.named_buffers()))
    assert module.get_buffer("net.1.num_batches_tracked") == 6  # three micro-batches of two views
    assert module.net[1].track_running_stats


def test_gradients_add_to_those_that_are_there() -> None:
    module, chunks = Toy(), list(inputs().split(5, 1))
    gradient_cache.backward(module, module.represent, chunks, module.objective, seed=seed)
    once = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    gradient_cache.backward(module, module.represent, chunks, module.objective, seed=seed)
    assert_close(grads(module), {name: 2 * grad for name, grad in once.items()})


@pytest.mark.parametrize("where", ["inside", "around"])
def test_weights_keep_their_gradient_under_autocast(where: str) -> None:
    module, chunks = Toy(dtype=torch.float32), list(inputs(dtype=torch.float32).split(5, 1))
    inside, around = (torch.bfloat16, None) if where == "inside" else (None, torch.bfloat16)

    def represent(chunk: Tensor) -> dict[str, Tensor]:
        with autocast("cpu", inside):
            return {name: rows.float() for name, rows in module.represent(chunk).items()}

    expected, _ = seeded_reference(module, chunks)
    with autocast("cpu", around):
        gradient_cache.backward(module, represent, chunks, module.objective, seed=seed)
    actual = grads(module)
    assert actual.keys() == expected.keys()
    for name in expected:
        assert F.cosine_similarity(actual[name].flatten(), expected[name].flatten(), dim=0) > 0.98, name


def test_outputs_that_the_objective_ignores_are_left_alone() -> None:
    module, chunks = Toy(), list(inputs().split(5, 1))

    def represent(chunk: Tensor) -> dict[str, Tensor]:
        outputs = module.represent(chunk)
        return {**outputs, "unused": outputs["z"] * 3, "counts": torch.ones(2, chunk.shape[1], dtype=torch.int64)}

    expected, _ = seeded_reference(module, chunks)
    outputs, _ = gradient_cache.backward(module, represent, chunks, module.objective, seed=seed)
    assert_close(grads(module), expected)
    assert outputs["counts"].shape == (2, 12)


def test_a_representation_that_differs_the_second_time_is_refused() -> None:
    module, hidden = Toy(), torch.Generator().manual_seed(0)

    def represent(chunk: Tensor) -> dict[str, Tensor]:
        return module.represent(chunk + torch.randn(chunk.shape, generator=hidden, dtype=chunk.dtype))

    with pytest.raises(RunError, match=r"Micro-batch 0 was represented differently the second time \('z'\)"):
        gradient_cache.backward(module, represent, inputs().split(5, 1), module.objective, seed=seed)


def test_nan_is_left_for_the_trainer_to_report() -> None:
    module, views = Toy(), inputs()
    views[0, 0, 0] = torch.nan
    _, losses = gradient_cache.backward(module, module.represent, views.split(5, 1), module.objective, seed=seed)
    assert losses["total"].isnan()


@pytest.mark.parametrize(
    ("represent", "chunks", "message"),
    [
        (lambda x: {"z": x}, [], "no micro-batch"),
        (lambda x: {"z": x}, [torch.ones(2, 3, 4)] * 2, "No output requires a gradient"),
        (lambda x: {"z": x[0, :, 0]}, [torch.ones(2, 3, 4)] * 2, r"Output 'z' has shape \(3,\); dimension 1"),
    ],
)
def test_wrong_use_is_explained(represent: Any, chunks: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_cache.backward(nn.Module(), represent, chunks, lambda outputs: outputs, seed=seed)
