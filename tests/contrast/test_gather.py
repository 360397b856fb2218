from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gather_worker
import pytest
import torch
from objective_cases import Case
from torch import Tensor
from torch.nn import functional as F

from twofold.contrast.gather import gather, local_rows, rank, world_size

WORLDS = (2, 4)
Results = dict[str, dict[str, tuple[float, dict[str, Tensor]]]]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Results]:
    """{processes: {gather rule: {case: (loss, gradients)}}}, from four processes, and then the first two of them."""
    directory = tmp_path_factory.mktemp("gather")
    command = [sys.executable, gather_worker.__file__]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = [
        subprocess.Popen([*command, str(r), "4", str(directory)], env=environment, stderr=subprocess.PIPE, text=True)
        for r in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in started]
    for process, error in zip(started, errors, strict=True):
        assert process.returncode == 0, error
    return {world: torch.load(Path(directory) / f"{world}.pt", weights_only=True) for world in WORLDS}


def difference(result: tuple[float, dict[str, Tensor]], case: Case) -> dict[str, float]:
    """How far ratio and cosine to the full batch's gradient in one process are from 1, and the loss from its."""
    loss, gradients = gather_worker.loss_and_gradients(case, torch.arange(gather_worker.SAMPLES))
    assert result[1].keys() == gradients.keys()
    far = {"loss": abs(result[0] - loss)}
    for name, expected in gradients.items():
        assert expected.norm() > 1e-4  # or there is nothing to compare
        far[f"{name} ratio"] = abs(float(result[1][name].norm() / expected.norm()) - 1)
        far[f"{name} cosine"] = 1 - float(F.cosine_similarity(result[1][name].flatten(), expected.flatten(), dim=0))
    return far


EVERY = pytest.mark.parametrize("case", gather_worker.ALL_CASES, ids=lambda case: case.name)


@EVERY
@pytest.mark.parametrize("world", WORLDS)
def test_processes_together_have_the_gradient_of_one(case: Case, world: int, processes: dict[int, Results]) -> None:
    far = difference(processes[world]["ours"][case.name], case)
    assert max(far.values()) < 1e-12, far
    assert ("temperature ratio" in far) == (case.has_temperature and case.name != "global_contrastive")


# What reaches no other process's rows cannot tell a wrong gradient of the gather from ours.
CONSTANT_CANDIDATES = {"info_nce with a queue", "swapped_clusters"}


@pytest.mark.parametrize("rule", ["own part only", "no gradient"])
def test_wrong_gradients_of_the_gather_would_be_noticed(rule: str, processes: dict[int, Results]) -> None:
    for case in gather_worker.ALL_CASES:
        far = difference(processes[2][rule][case.name], case)
        assert far["loss"] < 1e-12  # the trap: the loss looks right
        wrong = max(far.values()) > 1e-3
        assert wrong != (case.name in CONSTANT_CANDIDATES), (case.name, far)


def test_a_missing_gather_would_be_noticed(processes: dict[int, Results]) -> None:
    for case in gather_worker.ALL_CASES:
        far = difference(processes[2]["no gather"][case.name], case)
        assert (max(far.values()) > 1e-3) != (case.name == "info_nce with a queue"), (case.name, far)


def test_one_process_gathers_nothing() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather(rows) is rows
    assert gather(rows, dim=1) is rows
    assert (world_size(), rank()) == (1, 0)
    assert local_rows(3).tolist() == [0, 1, 2]
