from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from twofold.errors import ConfigError, RunError
from twofold.training import distributed
from twofold.training.distributed import SynchronizedBatchNorm


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_without_torchrun_there_is_one_process_and_no_group() -> None:
    with distributed.processes("cpu") as process:
        assert (process.rank, process.world, process.is_main) == (0, 1, True)
        assert process.device == torch.device("cpu")
        assert not torch.distributed.is_initialized()
        process.barrier()
        assert distributed.smallest(3) == 3
        assert distributed.broadcast_object({"a": 1}) == {"a": 1}
    net = nn.BatchNorm1d(2)
    assert distributed.synchronize_batch_norm(net, process) is net
    net.weight.grad = torch.tensor([1.0, 2.0])
    distributed.average_gradients(net)
    assert net.weight.grad.tolist() == [1.0, 2.0]
    assert net.bias.grad is None


def test_an_incomplete_environment_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RunError, match=r"RANK is not set, but WORLD_SIZE says.*Start them with torchrun"):
        distributed.setup("cpu")
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(RunError, match="RANK is 'one'"):
        distributed.setup("cpu")


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="device 'gpu' is unknown"):
        distributed.choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="'cuda:1' was asked for"):
        distributed.choose_device("cuda:1")
    assert distributed.choose_device("auto") == torch.device("cpu")


def test_synchronized_batch_norm_alone_is_batch_norm() -> None:
    theirs = nn.BatchNorm2d(3)
    ours = SynchronizedBatchNorm.like(nn.BatchNorm2d(3))
    x = torch.randn(4, 3, 2, 2)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()


WORKER = Path(__file__).with_name("process_worker.py")
ENDING = """
import gc, weakref
import torch
from twofold.training import distributed

with distributed.processes("cpu"):
    group = weakref.ref(torch.distributed.group.WORLD)
    torch.optim.AdamW(torch.nn.Linear(1, 1).parameters())
gc.collect()
print("done" if group() is None else "the group is still there")
"""


def run_together(world: int, *words: str) -> None:
    """Start so many processes of a script, each of which must print "done"."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, *words],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        for process in running:
            printed, complaints = process.communicate(timeout=300)
            assert process.returncode == 0, complaints
            assert printed == "done\n"
    finally:
        for process in running:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_give_the_gradients_and_statistics_of_one(world: int) -> None:
    run_together(world, str(WORKER))


def test_the_group_ends_with_the_run_also_after_an_optimizer_was_made() -> None:
    """A group that something holds until the interpreter ends may abort the process then."""
    run_together(2, "-c", ENDING)
