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


WORKER = """
import sys
import torch
from torch import nn
from twofold.contrast.gather import gather, local_rows
from twofold.training import distributed
from twofold.training.distributed import average_gradients, broadcast_object, smallest, synchronize_batch_norm

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        last = nn.BatchNorm1d(5, affine=False, momentum=None)
        self.net = nn.Sequential(nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(8, 5), last)
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.unused = nn.Parameter(torch.ones(1))
        self.main_only = nn.Parameter(torch.ones(2))
        self.double()
        for parameter in list(self.net.parameters()):
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def forward(self, views):
        return torch.stack([self.net(view) for view in views])


def loss(module, z):
    z = nn.functional.normalize(z, dim=-1)
    rows = local_rows(z.shape[1])
    logits = z[0] @ gather(z[1]).T / module.temperature
    return nn.functional.cross_entropy(logits, rows)


views = torch.randn(2, 8, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
alone = Net()
loss(alone, alone(views)).backward()  # before there is a group: one process, the whole batch

with distributed.processes("cpu") as process:
    assert process.world == 2 and process.is_main == (process.rank == 0)
    assert smallest(3 + process.rank) == 3
    assert broadcast_object(["from", process.rank]) == ["from", 0]
    process.barrier()
    net = Net()
    names = list(net.state_dict())
    net = synchronize_batch_norm(net, process)
    assert list(net.state_dict()) == names
    loss(net, net(views.chunk(2, 1)[process.rank])).backward()
    if process.is_main:
        net.main_only.grad = torch.full((2,), 3.0, dtype=torch.float64)
    average_gradients(net)
    assert net.unused.grad is None
    assert net.main_only.grad.tolist() == [1.5, 1.5]
    for (name, ours), theirs in zip(net.named_parameters(), alone.parameters(), strict=True):
        if name not in ("unused", "main_only"):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12, msg=lambda text: name + text)
    assert float(net.net[0].weight.grad.norm()) > 1e-4
    for (name, ours), theirs in zip(net.named_buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=lambda text: name + text)
assert not torch.distributed.is_initialized()
print("done")
"""


def test_two_processes_give_the_gradients_and_statistics_of_one(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    running = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in running:
            printed, complaints = process.communicate(timeout=100)
            assert process.returncode == 0, complaints
            assert printed == "done\n"
    finally:
        for process in running:
            process.kill()
            process.communicate()
