"""Two processes with half the rows each must equal one with all: statistics, gradients, codes and memories.

Each process runs this file as a script (gloo, on one machine).
"""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from twofold.contrast.memory import Bank, PerSampleState, Queue
from twofold.contrast.objectives.redundancy import barlow_twins, vicreg
from twofold.contrast.prototypes import Center, sinkhorn

SAMPLES, DIM = 8, 5
INDEX = torch.tensor([0, 3, 5, 1, 3, 2, 9, 0])  # 0 and 3 are written by both processes: the later rank counts


def everything() -> torch.Tensor:
    return torch.randn(2, SAMPLES, DIM, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def measure(rows: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
    """All that must not depend on how many processes share the rows (rows that stay local under ``local``)."""
    queue, bank = Queue(11, DIM, with_index=True), Bank(12, DIM, momentum=0.25)
    state, center = PerSampleState(12, u=0.0), Center(DIM)
    for _ in range(2):
        queue.push(rows[0], index)
        bank.write(index, rows[1])
        center.update(rows)
    state.write(index, u=rows[0, :, 0])
    weight = torch.eye(DIM, dtype=torch.float64).requires_grad_()
    losses = {"barlow": barlow_twins(rows @ weight), "vicreg": vicreg(rows @ weight).total}
    found = {f"{name} loss": loss.detach() for name, loss in losses.items()}
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, weight)
        if dist.is_initialized():  # what DistributedDataParallel does
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
        found[f"{name} gradient"] = gradient
    found |= {f"queue {name}": buffer for name, buffer in queue.state_dict().items()}
    return found | {"bank": bank.rows, "state": state.u, "center": center.value, "local codes": sinkhorn(rows[0])}


def run_as_process(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    half = slice(rank * SAMPLES // 2, (rank + 1) * SAMPLES // 2)
    torch.save(measure(everything()[:, half], INDEX[half]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    workers = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)]
    try:
        assert [worker.wait(timeout=100) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    alone = measure(everything(), INDEX)
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for half in halves:
        for name in alone.keys() - {"local codes"}:
            torch.testing.assert_close(half[name], alone[name], msg=lambda text, name=name: f"{name}: {text}")
    codes = torch.cat([half["local codes"] for half in halves])
    torch.testing.assert_close(codes, alone["local codes"])
    assert not torch.allclose(codes[:4], sinkhorn(everything()[0, :4]))  # the columns do depend on the other process


if __name__ == "__main__":
    run_as_process(int(sys.argv[1]), sys.argv[2])
