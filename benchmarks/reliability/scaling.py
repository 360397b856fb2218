"""What working together costs: weak scaling of a training step over W = 1, 2, 4 processes, and its traffic and memory.

    python benchmarks/reliability/scaling.py

Every process trains on the same number of samples, so the batch grows with W. Counted in every process: the time
within collective operations (which includes waiting for the slowest process), the bytes handed to them, the bytes of
parameters, gradients and optimizer state, the peak of the resident memory. Bytes are compared with the formulas of
docs/scaling.md. More processes than cores share them, which the times show. Writes ``results/scaling.json``.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

RESULTS = Path(__file__).parent / "results" / "scaling.json"
ENCODER, VIEWS = "resnet18-w16", 2
PORT = 29533
UNMEASURED = 3
"""First steps, in which memory is taken up for the first time."""


class Meter:
    """Counts calls, seconds and bytes of torch.distributed's collectives while it is entered."""

    KINDS: ClassVar[dict[str, str]] = {
        "all_reduce": "all_reduce",
        "all_gather_single": "all_gather",
        "all_gather_into_tensor": "all_gather",
        "reduce_scatter_single": "reduce_scatter",
        "reduce_scatter_tensor": "reduce_scatter",
    }
    """Function → what it does; some have an old and a new name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.bytes: defaultdict[str, int] = defaultdict(int)
        self.originals = {name: getattr(dist, name) for name in self.KINDS if hasattr(dist, name)}

    def __enter__(self) -> Meter:
        for name, original in self.originals.items():
            setattr(dist, name, self._counted(self.KINDS[name], original))
        return self

    def __exit__(self, *error: object) -> None:
        for name, original in self.originals.items():
            setattr(dist, name, original)

    def _counted(self, kind: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = original(*args, **kwargs)
            self.seconds[kind] += time.perf_counter() - began
            tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
            self.bytes[kind] += max(t.numel() * t.element_size() for t in tensors)  # the whole, where one is a part
            return result

        return call


def train(rank: int, world: int, samples: int, steps: int, shard: bool, folder: str) -> None:
    """One process of a group; rank 0 leaves its counts in ``folder``."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(PORT), "RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    import twofold
    from twofold.training import distributed
    from twofold.training.options import TrainingOptions
    from twofold.training.randomness import seeded_init
    from twofold.training.trainer import Trainer

    with distributed.processes("cpu") as process:
        recipe = twofold.SimCLR(encoder=ENCODER, view_count=VIEWS)
        dataset = twofold.data.emoji("train").subset(torch.arange(samples * world))
        with seeded_init(0):
            recipe.build(dataset.spec)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        options = TrainingOptions(
            epochs=steps, batch_size=samples * world, precision="float32", workers=0, shard=shard, health_steps=10**9
        ).resolved({})
        trainer = Trainer(recipe, dataset, recipe.make_views(), options, process=process)
        times, inside = [], []
        with Meter() as meter:
            for step, batch in trainer.loader.batches(0, steps - 1):  # the last step looks at the health
                if step == UNMEASURED:
                    meter.bytes.clear()
                spent, began = sum(meter.seconds.values()), time.perf_counter()
                trainer.recipe.train()
                trainer._step(step, batch)
                times.append(time.perf_counter() - began)
                inside.append(sum(meter.seconds.values()) - spent)
        if process.is_main:
            counted = steps - 1 - UNMEASURED
            record = {
                "processes": world,
                "samples a process": samples,
                "shard": shard,
                "step seconds": statistics.median(times[UNMEASURED:]),
                "share in collectives": statistics.median(
                    i / t for i, t in zip(inside[UNMEASURED:], times[UNMEASURED:], strict=True)
                ),
                "bytes a step": {kind: total / counted for kind, total in sorted(meter.bytes.items())},
                "state bytes": state_bytes(trainer),
                "resident growth bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024,
                "facts": facts(recipe),
            }
            twofold.training.files.write_json(Path(folder) / "record.json", record)


def state_bytes(trainer: Any) -> int:
    """Bytes of parameters, their gradients (as large) and the optimizer's moments that this process holds."""

    def held(tensor: Any) -> int:
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        return int(local.numel() * local.element_size())

    parameters = [p for p in trainer.recipe.parameters() if p.requires_grad]
    moments = [v for values in trainer.optimizer.state.values() for v in values.values() if getattr(v, "ndim", 0)]
    return 2 * sum(map(held, parameters)) + sum(map(held, moments))


def facts(recipe: Any) -> dict[str, int]:
    """What the formulas need to know of the networks."""
    norms = [m for m in recipe.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    return {
        "parameters": sum(p.numel() for p in recipe.parameters() if p.requires_grad),
        "parameter tensors": sum(1 for p in recipe.parameters() if p.requires_grad),
        "encoder parameters": sum(p.numel() for p in recipe.encoder.parameters() if p.requires_grad),
        "norm channels": sum(m.num_features for m in norms),
        "output dim": recipe.options.get("projection_dim", 128),
        "losses": 1,
    }


def expected_bytes(record: dict[str, Any]) -> dict[str, int]:
    """The formulas of docs/scaling.md, in bytes a step and process, for whole (not split) encoders in float32."""
    f, world, samples = record["facts"], record["processes"], record["samples a process"]
    if world == 1:
        return {}
    embeddings = 4 * VIEWS * world * samples * f["output dim"]
    norms = 4 * VIEWS * 4 * f["norm channels"]  # mean and variance, forwards and backwards
    flags = 4 * f["parameter tensors"]
    return {
        "all_gather": embeddings + 4 * world * f["losses"],
        "all_reduce": embeddings + norms + flags + 4 * f["parameters"],
    }


def measure(samples: int = 64, steps: int = 15, worlds: tuple[int, ...] = (1, 2, 4)) -> dict[str, Any]:
    """Every W, whole and split; the whole ones twice, in turn, so that a busy moment does not decide."""
    import json
    import tempfile

    records: list[dict[str, Any]] = []
    plan = [(world, False) for world in (*worlds, *worlds)] + [(world, True) for world in worlds if world > 1]
    for world, shard in plan:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(train, (world, samples, steps, shard, folder), world)
            record = json.loads((Path(folder) / "record.json").read_text())
        if not shard:
            record["expected bytes a step"] = expected_bytes(record)
        f = record["facts"]
        split = f["encoder parameters"] / world if shard else f["encoder parameters"]
        record["expected state bytes"] = round(16 * (split + f["parameters"] - f["encoder parameters"]))
        print(
            f"W = {world}{' split' if shard else ''}: {record['step seconds'] * 1000:.0f} ms a step, "
            f"{record['share in collectives']:.1%} in collectives, {sum(record['bytes a step'].values()) / 1e6:.2f} MB",
            flush=True,
        )
        records.append(record)
    return {
        "command": "python benchmarks/reliability/scaling.py",
        "machine": {
            "platform": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "torch": torch.__version__,
        },
        "encoder": ENCODER,
        "records": records,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64, help="samples a process and step")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="few steps, for a look; writes nothing")
    options = parser.parse_args()
    if options.quick:
        measure(16, 6)
        return
    from twofold.training.files import write_json

    write_json(RESULTS, measure(options.samples, options.steps))
    print(f"Written: {RESULTS}")


if __name__ == "__main__":
    main()
