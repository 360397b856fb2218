from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module

import gather_worker
import pytest
import torch
from gather_worker import ALL_CASES, SAMPLES, WAYS, WRONG, Result
from objective_cases import Case, random_views
from torch import Tensor

from twofold.contrast import objectives
from twofold.contrast.gather import gather, local_rows, rank, world_size
from twofold.contrast.prototypes import Clusters

EXACT = [name for name in WAYS if name not in WRONG]
PLAN = {4: ["ours", "DistributedDataParallel", "fully_shard"], 2: list(WAYS)}
Results = dict[str, dict[str, Result]]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Results]:
    """{processes: {way: {case: (loss, gradients)}}}, from four processes, and then the first two of them."""
    return gather_worker.start(tmp_path_factory.mktemp("gather"), PLAN)


def difference(result: Result, case: Case) -> dict[str, float]:
    """How far the ratios to the full batch in one process, and the cosine, are from 1."""
    return {name: abs(ratio - 1) for name, ratio in gather_worker.compare(result, case).items()}


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("world", "way"), [(world, way) for world in PLAN for way in PLAN[world] if way in EXACT])
def test_processes_together_have_the_gradient_of_one(
    case: Case, world: int, way: str, processes: dict[int, Results]
) -> None:
    far = difference(processes[world][way][case.name], case)
    assert max(far.values()) < 1e-12, far
    assert ("temperature ratio" in far) == (case.has_temperature and case.name != "global_contrastive")


# What reaches no other process's rows cannot tell a wrong gradient of the gather from ours.
CONSTANT_CANDIDATES = {"info_nce with a queue", "swapped_clusters"}


@pytest.mark.parametrize("rule", ["own part only", "mean", "no gradient"])
def test_wrong_gradients_of_the_gather_would_be_noticed(rule: str, processes: dict[int, Results]) -> None:
    for case in ALL_CASES:
        far = difference(processes[2][rule][case.name], case)
        assert far["loss ratio"] < 1e-12  # the trap: the loss looks right
        wrong = max(far.values()) > 1e-3
        assert wrong != (case.name in CONSTANT_CANDIDATES), (case.name, far)


def test_a_missing_gather_would_be_noticed(processes: dict[int, Results]) -> None:
    for case in ALL_CASES:
        far = difference(processes[2]["no gather"][case.name], case)
        assert (max(far.values()) > 1e-3) != (case.name == "info_nce with a queue"), (case.name, far)


def clusters_of(rows: Tensor) -> Clusters:
    """Two fixed clusters, by the sign of the first number."""
    return Clusters((rows[:, 0] > 0).long(), torch.eye(2, 4, dtype=rows.dtype))


# The exceptions, each with a call. Row by row: no row looks at another one, so the mean of the processes' gradients
# is exact without a gather. Measures: without a gradient there is none to be wrong.
ROW_BY_ROW: dict[str, Callable[[Tensor], Tensor]] = {
    "alignment": objectives.alignment,
    "negative_cosine": lambda z: objectives.negative_cosine(z[0], z[1]),
    "prediction": lambda z: objectives.prediction(z, z),
    "bpr": lambda z: objectives.bpr(z[0, :, 0], z[1, :, 0]),
    "sampled_logistic": lambda z: objectives.sampled_logistic(z[0, :, :1], z[1][:, None], torch.ones(z.shape[1], 1)),
    "scaled_cosine_error": lambda z: objectives.scaled_cosine_error(z[0], z[1].detach() + 1),
    "prototype_contrast": lambda z: objectives.prototype_contrast(z[0], [clusters_of(z[0])], [torch.full((2,), 0.5)]),
    "self_distillation": lambda z: objectives.self_distillation(z, z),
}
WITHIN_A_PROCESS = {"hierarchical_contrast", "paired_contrast"}
"""TS2Vec's crops differ in length between processes, so series are compared within one; its docstring says so."""
MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "concentration": lambda z: objectives.concentration(z[0].detach(), clusters_of(z[0]), temperature=0.5),
    "effective_rank": lambda z: objectives.effective_rank(z[0]),
    "positive_rank": lambda z: objectives.positive_rank(z[0], z[1]),
    "standard_deviation": lambda z: objectives.standard_deviation(z[0]),
    "tolerance": lambda z: objectives.tolerance(z[0], torch.arange(SAMPLES) % 3),
}


def test_every_objective_has_a_case_or_is_a_known_exception() -> None:
    modules = [
        import_module(f"{objectives.__name__}.{module.name}") for module in pkgutil.iter_modules(objectives.__path__)
    ]
    public = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    covered = {case.name.split()[0].rstrip(",") for case in ALL_CASES}
    assert public - ROW_BY_ROW.keys() - MEASURES.keys() - WITHIN_A_PROCESS == covered
    assert not covered & (ROW_BY_ROW.keys() | MEASURES.keys() | WITHIN_A_PROCESS)


@pytest.mark.parametrize("name", ROW_BY_ROW)
def test_objectives_without_a_case_look_at_no_other_row(name: str) -> None:
    z = random_views(2, SAMPLES, 4).requires_grad_()
    losses = [ROW_BY_ROW[name](rows) for rows in (z, *z.chunk(2, 1))]
    whole, *parts = [torch.autograd.grad(loss, z)[0] for loss in losses]
    torch.testing.assert_close(sum(parts) / 2, whole, rtol=1e-12, atol=1e-12)
    assert whole.norm() > 1e-3


@pytest.mark.parametrize("name", MEASURES)
def test_measures_have_no_gradient(name: str) -> None:
    assert not MEASURES[name](random_views(2, SAMPLES, 4).requires_grad_()).requires_grad


def test_one_process_gathers_nothing() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather(rows) is rows
    assert gather(rows, dim=1) is rows
    assert (world_size(), rank()) == (1, 0)
    assert local_rows(3).tolist() == [0, 1, 2]
