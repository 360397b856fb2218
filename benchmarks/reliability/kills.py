"""How many runs survive SIGKILL: one is killed again and again, resumed each time, and compared with one left in peace.

    python benchmarks/reliability/kills.py --kills 100

A run on the built-in digits writes a checkpoint every five steps and reads with two threads. Its process is killed from
outside, without warning, at random times; every third kill waits for a checkpoint that is being written and strikes
then. The same call resumes it. When it has come to its end, all that is kept is compared, bit for bit, with a run that
nobody disturbed: weights and other state of the recipe, the optimizer's state, and the metrics but for the speed. If a
run ends before all kills are spent, another one with the next seed takes the rest.

Importing torch takes seconds, so every process of a run is a fork of this one, which has imported it. Writes
``results/kills.json`` beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EVERY = 5
"""Steps from one checkpoint to the next."""
WORKERS = 2
SAMPLES, BATCH = 1200, 64
AIMED = 3
"""One kill in so many is aimed at a checkpoint that is being written."""
LOOK = 0.0002
"""Seconds from one look for such a checkpoint to the next."""
LONGEST_SAVE = 0.02
"""Seconds: an aimed kill comes at most so long after the writing was noticed."""


@dataclass(frozen=True)
class Settings:
    """What a run is; every process of it is started with the same."""

    recipe: str
    epochs: int
    seed: int

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return self.epochs * (SAMPLES // BATCH)

    def train(self, out: Path, checkpoint_steps: int | None) -> None:
        """Begin or resume the run."""
        import twofold
        from twofold.recipes import catalogue, running
        from twofold.training.options import TrainingOptions
        from twofold.training.progress import NullProgress

        recipe = catalogue.get(self.recipe)(encoder="convnet-w16")
        options: dict[str, Any] = {"epochs": self.epochs, "batch_size": BATCH, "seed": self.seed, "workers": WORKERS}
        options |= {"checkpoint_steps": checkpoint_steps, "precision": "float32", "device": "cpu"}
        settings = TrainingOptions.checked(**options).resolved(recipe.training_defaults)
        running.fit_dataset(recipe, twofold.data.digits("train"), settings, out=out, progress=NullProgress())


def measure(kills: int, *, recipe: str = "moco-v2", epochs: int = 20, seed: int = 0) -> dict[str, Any]:
    """Kill runs so many times, and compare them with undisturbed ones.

    Args:
        kills: How often, over all runs.
        recipe: Which; by default one with a queue and a teacher, which has much to lose.
        epochs: Of a run, each 18 steps.
        seed: Of the times of the kills, and of the first run; the next run has the next one.

    Returns:
        The figures: see :func:`figures`.
    """
    from twofold.recipes.saving import versions

    began = time.perf_counter()
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        while (spent := sum(run.counts["kills"] for run in runs)) < kills:
            settings = Settings(recipe, epochs, seed + len(runs))
            whole = Run(settings, Path(folder) / f"whole-{len(runs)}")
            seconds, around = whole.undisturbed()
            print(f"Run {len(runs) + 1}: {settings.steps} steps of {recipe}, {seconds:.1f} s undisturbed", flush=True)
            run = Run(settings, Path(folder) / f"killed-{len(runs)}")
            run.disturbed(kills - spent, seconds, around, random.Random(f"{seed} {len(runs)}"))
            run.faults += [] if run.faults else differences(whole, run)
            runs.append(run)
            print(f"  {'lost: ' + '; '.join(run.faults) if run.faults else 'the same, bit for bit'}", flush=True)
    setting = {"recipe": recipe, "steps": settings.steps, "checkpoint_steps": EVERY, "workers": WORKERS, "seed": seed}
    machine = {"cores": os.cpu_count(), "threads": 1, "versions": versions()}
    return {**figures(runs), "seconds": round(time.perf_counter() - began, 1), **setting, **machine}


def figures(runs: list[Run]) -> dict[str, Any]:
    """What happened to all runs together.

    ``kills`` in all, and of these: ``aimed`` at a checkpoint being written; ``torn_checkpoints`` left behind, where the
    run went on from the one before; ``while_removing`` an old checkpoint; ``before_first`` checkpoint; ``after_last``
    step; ``torn_lines`` of the metrics; ``torn_files`` of others. ``damaged`` is how many checkpoints were there under
    their own name and yet not whole. ``survived`` and ``lost`` count runs.
    """
    total = sum((run.counts for run in runs), Counter())
    names = ("kills", "aimed", "torn_checkpoints", "while_removing", "before_first", "after_last", "torn_lines")
    repeated = [steps for run in runs for steps in run.repeated]
    return {
        **{name: total[name] for name in (*names, "torn_files", "damaged")},
        "runs": len(runs),
        "survived": sum(not run.faults for run in runs),
        "lost": sum(bool(run.faults) for run in runs),
        "faults": [fault for run in runs for fault in run.faults],
        "steps_repeated": sum(repeated),
        "steps_repeated_at_most": max(repeated, default=0),
    }


@dataclass
class Run:
    """One run, in however many processes."""

    settings: Settings
    out: Path
    counts: Counter[str] = field(default_factory=Counter)
    repeated: list[int] = field(default_factory=list)
    """For each kill, the steps that were done and must be done again."""
    faults: list[str] = field(default_factory=list)

    def undisturbed(self) -> tuple[float, float]:
        """Train in peace, with no checkpoint but the last; the seconds in the loop, and those around it."""
        began = time.perf_counter()
        self._attempt(checkpoint_steps=None)
        if self.faults:
            raise SystemExit(f"The undisturbed run failed: {self.faults[0]}")
        seconds = float(json.loads((self.out / "config.json").read_text())["result"]["seconds"])
        return seconds, time.perf_counter() - began - seconds

    def disturbed(self, kills: int, seconds: float, around: float, draw: random.Random) -> None:
        """Kill and resume until the kills are spent, then let it finish; or until it ends or fails by itself.

        Args:
            kills: How many, spread over the run.
            seconds: That the steps take undisturbed.
            around: What a start takes beside.
            draw: Of the times.
        """
        for number in range(1, kills + 1):
            left = seconds * (1 - self.kept / self.settings.steps)
            wait = 2 * draw.random() * (around + left / (kills - number + 2))
            aim = LONGEST_SAVE * draw.random() if number % AIMED == 0 else None
            if self._attempt(EVERY, kill_after=wait, aim=aim):
                return
            if number % 10 == 0 or number == kills:
                print(f"  {number} kills, {self.kept} of {self.settings.steps} steps kept", flush=True)
        self._attempt(EVERY)

    def _attempt(self, checkpoint_steps: int | None, kill_after: float | None = None, aim: float | None = None) -> bool:
        """Start or resume the run; whether it ended by itself.

        Args:
            checkpoint_steps: Steps between checkpoints.
            kill_after: Kill it after so many seconds.
            aim: Then wait for a checkpoint that is being written, and so many seconds more.
        """
        left_before = self._unfinished()
        process = self._fork(checkpoint_steps)
        due = time.monotonic() + kill_after if kill_after is not None else float("inf")
        while not (ended := os.waitpid(process, os.WNOHANG))[0]:
            if time.monotonic() >= due and (aim is None or self._unfinished() - left_before):
                time.sleep(aim or 0.0)
                os.kill(process, signal.SIGKILL)
                ended = os.waitpid(process, 0)
                break
            time.sleep(LOOK)
        code = os.waitstatus_to_exitcode(ended[1])
        self.counts["damaged"] += self.said.count("is damaged")
        if code == -signal.SIGKILL:
            self._note_a_kill(aimed=aim is not None, left=self._unfinished() - left_before)
        elif code:
            self.faults.append(f"ended with {code}: {self.said.strip()[-300:]}")
        return code != -signal.SIGKILL

    def _fork(self, checkpoint_steps: int | None) -> int:
        """The number of a new process that trains; what it says goes to a file."""
        import torch

        if process := os.fork():
            return process
        code = 1
        try:
            log = os.open(self.out.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            torch.set_num_threads(1)  # makes torch's pool anew, which a fork does not survive, before there are threads
            self.settings.train(self.out, checkpoint_steps)
            code = 0
        finally:
            if code:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            sys.stderr.flush()
            os._exit(code)

    def _unfinished(self) -> set[Path]:
        """Checkpoints that are being written or removed, and files that are being written; or were, by the dead."""
        return {*(self.out / "checkpoints").glob(".tmp-*"), *self.out.glob(".*.tmp")}

    def _note_a_kill(self, *, aimed: bool, left: set[Path]) -> None:
        folders = any(path.name.startswith(".tmp-") for path in left)
        log = self.out / "metrics.jsonl"
        text = log.read_bytes() if log.is_file() else b""
        kept = self.kept
        done = max(text.count(b"\n"), kept)
        self.repeated.append(done - kept)
        self.counts += Counter(
            kills=1,
            aimed=aimed,
            torn_checkpoints=folders and kept < done,
            while_removing=folders and kept == done,
            before_first=kept == 0,
            after_last=kept == self.settings.steps,
            torn_lines=not text.endswith(b"\n") and text != b"",
            torn_files=any(path.name.endswith(".tmp") for path in left),
        )

    @property
    def kept(self) -> int:
        """The step of the last checkpoint."""
        from twofold.training import checkpoint

        found = checkpoint.latest(self.out)
        return 0 if found is None else found.step

    @property
    def said(self) -> str:
        """By the last process."""
        return self.out.with_suffix(".said").read_text()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The metrics, but for the speed."""
        found = [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in record.items() if key != "items_per_second"} for record in found]


def differences(whole: Run, killed: Run) -> list[str]:
    """What two finished runs do not have in common."""
    from twofold.training import checkpoint

    first, second = checkpoint.latest(whole.out), checkpoint.latest(killed.out)
    if first is None or second is None or first.step != second.step:
        return ["not all steps were done"]
    states = {
        "state": bits(first.model()) == bits(second.model()),
        "optimizer": bits(first.optimizer()) == bits(second.optimizer()),
        "model.safetensors": len({(run.out / "model.safetensors").read_bytes() for run in (whole, killed)}) == 1,
        "metrics": whole.records == killed.records and len(whole.records) == first.step,
    }
    return [f"{name} differs" for name, same in states.items() if not same]


def bits(value: Any) -> Any:
    """Any nested state in a form that is equal only if every bit is."""
    import torch

    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list | tuple) else repr(value)


def warm_up() -> None:
    """Import what training imports, so that the forks have it; without threads, which a fork would not survive."""
    import torch

    import twofold
    from twofold.dataset import Subset
    from twofold.recipes import running
    from twofold.training.options import TrainingOptions
    from twofold.training.progress import NullProgress

    torch.set_num_threads(1)
    few = Subset(twofold.data.digits("train"), torch.arange(8))
    recipe = twofold.SimCLR(encoder="convnet-w16")
    options = TrainingOptions(epochs=1, batch_size=8, workers=0, device="cpu").resolved({})
    running.fit_dataset(recipe, few, options, progress=NullProgress())


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="moco-v2")
    parser.add_argument("--quick", action="store_true", help="12 kills of a shorter run; writes nothing")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    warm_up()
    kills, epochs = (12, 8) if arguments.quick else (arguments.kills, 20)
    result = measure(kills, recipe=arguments.recipe, epochs=epochs, seed=arguments.seed)
    print(json.dumps(result, indent=2))
    if not arguments.quick:
        from twofold.training.files import write_json

        write_json(Path(__file__).parent / "results" / "kills.json", result)


if __name__ == "__main__":
    main()
