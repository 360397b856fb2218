"""Runs that are killed, without warning and anywhere, and resumed: they end as if nothing had happened, bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from twofold.recipes import catalogue
from twofold.training import checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")

RECIPES = sorted(name for name in catalogue.RECIPES if "any" in catalogue.get(name).card.modalities)
TRAINING = {"batch_size": 16, "lr": 3e-3, "seed": 5, "precision": "float32", "device": "cpu"}
STEPS_PER_EPOCH = 2
"""Of 40 samples; other 8 are left out in each."""
EVERY = 2
"""Steps from one checkpoint to the next in runs that are killed; those that are not write only the last one."""
STEP_OPERATIONS = 200
"""Every recipe has more tensor operations in a step."""
TORN = range(2, 11)
"""Operations on files in a save: from the one after its folder is made up to the one that publishes it."""
SIGKILL = 9


@dataclass
class Ended:
    """How a process ended."""

    signal: int
    code: int
    place: str
    """Where it killed itself."""
    said: str
    steps: list
    """What each of its steps learned from."""


class Server:
    """Runs jobs in forks of a process that has imported torch; see ``killed_run.py``."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killed_run.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def run(self, folder, **job):
        said, place, trace = (folder / name for name in ("said.txt", "place.txt", "trace.jsonl"))
        for file in (said, place, trace):
            file.write_text("")
        self.process.stdin.write(json.dumps(job | {"folder": str(folder)}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        steps = [json.loads(line) for line in trace.read_text().splitlines()]
        return Ended(**answer, place=place.read_text(), said=said.read_text(), steps=steps)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


class Run:
    """One run, however many processes it takes."""

    def __init__(self, server, folder, recipe, options, *, epochs=3):
        self.server, self.folder, self.out = server, folder, folder / "run"
        self.job = {"recipe": recipe, "options": options}
        self.training = TRAINING | {"epochs": epochs}
        self.total = STEPS_PER_EPOCH * epochs
        self.steps = []
        folder.mkdir(exist_ok=True)

    @property
    def kept(self):
        """Steps that need not be done again."""
        found = checkpoint.latest(self.out)
        return 0 if found is None else found.step

    @property
    def finished(self):
        config = self.out / "config.json"
        return config.is_file() and "result" in json.loads(config.read_text())

    @property
    def records(self):
        """The metrics as they stand in the file, but for the speed."""
        found = [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in record.items() if key != "items_per_second"} for record in found]

    @property
    def leftovers(self):
        """What processes that were killed while writing left behind."""
        return [path.name for path in self.out.rglob(".*") if ".tmp" in path.name]

    def attempt(self, death=None, **changes):
        """One process, which may die."""
        training = self.training | {"checkpoint_steps": EVERY, "workers": 2} | changes
        ended = self.server.run(self.folder, **self.job, training=training, death=death)
        self.steps += ended.steps
        return ended

    def die(self, death):
        """One that must die, and leave the run unfinished."""
        ended = self.attempt(death)
        assert ended.signal == SIGKILL, ended.said
        assert ended.place
        assert not self.finished, "it was killed too late"
        return ended

    def finish(self, **changes):
        ended = self.attempt(**changes)
        assert (ended.signal, ended.code) == (0, 0), ended.said
        return ended


@pytest.fixture(scope="module")
def uninterrupted(server, small_recipes, tmp_path_factory):
    """``uninterrupted(recipe, epochs=3)``: a run that is left in peace, without threads or checkpoints on the way."""
    runs = {}

    def whole(recipe, epochs=3):
        if (recipe, epochs) not in runs:
            run = Run(server, tmp_path_factory.mktemp("whole"), recipe, small_recipes[recipe], epochs=epochs)
            run.finish(checkpoint_steps=None, workers=0)
            runs[recipe, epochs] = run
        return runs[recipe, epochs]

    return whole


@pytest.fixture
def start(server, small_recipes, tmp_path):
    """``start(recipe, name="killed", epochs=3)``: a run of which nothing is done yet."""
    return lambda recipe, name="killed", **more: Run(server, tmp_path / name, recipe, small_recipes[recipe], **more)


def bits(value):
    """Any nested state in a form that is equal only if every bit is."""
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list | tuple) else repr(value)


def differing(first, second):
    """The names of entries that are not the same, bit for bit."""
    first, second = bits(first), bits(second)
    return sorted(str(key) for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def assert_same(run, whole):
    """Weights and all other state, optimizer, metrics with learning rates, samples and views of each step."""
    first, second = checkpoint.latest(run.out), checkpoint.latest(whole.out)
    assert first.step == second.step == whole.total
    assert differing(first.model(), second.model()) == []
    assert differing(first.optimizer(), second.optimizer()) == []
    assert (run.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()
    assert [record["step"] for record in whole.records] == list(range(1, whole.total + 1))
    assert run.records == whole.records
    expected = {step["progress"]: step for step in whole.steps}
    assert len(expected) == len(whole.steps) == whole.total
    assert {step["progress"] for step in run.steps} == expected.keys()
    assert all(step == expected[step["progress"]] for step in run.steps), "a repeated step saw something else"


def drawn_deaths(way, draw, run):
    """One to three deaths, each drawn when the one before has happened, while there are steps left."""
    for number in range(draw.choice((1, 1, 2, 3))):
        left = run.total - run.kept
        if left == 0:
            return
        if way == "step":
            yield {"way": way, "step": draw.randint(1, left), "operation": draw.randrange(STEP_OPERATIONS)}
        if way == "loader":
            yield {"way": way, "fetch": draw.randint(1, left), "delay": 0.02 * draw.random()}
        if way == "save":
            operation = draw.choice(TORN) if number == 0 else draw.randrange(TORN.stop)
            yield {"way": way, "save": draw.randint(1, left // EVERY), "operation": operation, "cut": draw.random()}


@pytest.mark.parametrize("way", ["step", "save", "loader"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(name, way, start, uninterrupted):
    run, torn = start(name), 0
    for death in drawn_deaths(way, random.Random(f"{name} {way}"), run):
        kept = run.kept
        ended = run.die(death)
        assert [step["progress"] for step in ended.steps[:1]] in ([], [kept / run.total])
        assert "checkpoint" not in ended.said, "it found no damage when it started"
        if way == "step":
            assert ended.place.startswith("aten.")
        if way == "loader":
            assert ended.place.startswith("twofold-ahead")
        torn += any(name.startswith(".tmp-") for name in run.leftovers)
    if way != "loader":  # a thread that reads ahead may also die while the main one writes a checkpoint
        assert (torn > 0) == (way == "save")
    assert run.finish().said == ""
    assert_same(run, uninterrupted(name))
    assert run.leftovers == []


@pytest.mark.slow
def test_a_run_killed_at_any_operation_on_files_equals_an_uninterrupted_one(start, uninterrupted):
    """From the first file of the run to the last: also before the first checkpoint, and after the last step."""
    whole, places = uninterrupted("moco-v2", epochs=1), []
    for operation in itertools.count():
        run = start("moco-v2", f"at-{operation}", epochs=1)
        ended = run.attempt(
            {"way": "files", "operation": operation, "cut": 0.1 + 0.8 * (operation % 5) / 4}, checkpoint_steps=1
        )
        if ended.signal == 0:
            break
        places.append(ended.place)
        again = run.finish(checkpoint_steps=1)
        assert again.said == "", (operation, ended.place)
        assert_same(run, whole)
        assert run.leftovers == [], (operation, ended.place)
    assert run.finished
    assert [place.split()[0] for place in places].count("save_file") == 2
    for wanted in ("fsync .config.json", "fsync .metrics.jsonl", "fsync .model.safetensors", "write metrics.jsonl"):
        assert any(place.startswith(wanted) for place in places), places
    assert sum(place.startswith("fsync .config.json") for place in places) == 2, "when claimed, and at the end"


@pytest.fixture(scope="module")
def killed_late(server, small_recipes, tmp_path_factory):
    """A run that was killed in its last step: it has checkpoints of steps 2 and 4."""
    run = Run(server, tmp_path_factory.mktemp("late"), "moco-v2", small_recipes["moco-v2"])
    run.die({"way": "step", "step": 6, "operation": 50})
    assert [path.name for path in sorted((run.out / "checkpoints").iterdir())] == ["step-00000002", "step-00000004"]
    return run


@pytest.fixture
def copy_of(start):
    def copy(killed):
        run = start("moco-v2")
        shutil.copytree(killed.out, run.out)
        run.steps += killed.steps
        return run

    return copy


def flip(content, draw):
    position = draw.randrange(len(content))
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


DAMAGE = {
    "flipped": flip,
    "nested": lambda content, draw: b"[" * 100_000,
    "digits": lambda content, draw: b"1" * 100_000,
    "cut": lambda content, draw: content[: draw.randrange(1, len(content))],
    "empty": lambda content, draw: b"",
    "zeros": lambda content, draw: bytes(len(content)),
}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "meta.json"])
@pytest.mark.parametrize("damage", [*DAMAGE, "gone"])
def test_a_damaged_checkpoint_costs_steps_and_nothing_else(damage, name, killed_late, copy_of, uninterrupted):
    run = copy_of(killed_late)
    file = run.out / "checkpoints" / "step-00000004" / name
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(DAMAGE[damage](file.read_bytes(), random.Random(f"{damage} {name}")))
    ended = run.finish()
    assert "step-00000004 is damaged" in ended.said
    assert name in ended.said
    assert "Trying the one before" in ended.said
    assert ended.steps[0]["progress"] == 2 / run.total
    assert_same(run, uninterrupted("moco-v2"))


def test_a_run_whose_checkpoints_are_all_damaged_is_not_started_anew_behind_the_users_back(killed_late, copy_of):
    run = copy_of(killed_late)
    for file in run.out.glob("checkpoints/*/optimizer.pt"):
        file.unlink()
    before = (run.out / "metrics.jsonl").read_bytes()
    ended = run.attempt()
    assert (ended.signal, ended.code) == (0, 1)
    assert "RunError" in ended.said
    assert f"remove the folder {run.out / 'checkpoints'} to start the run from its beginning" in ended.said
    assert len(list(run.out.glob("checkpoints/step-*"))) == 2
    assert (run.out / "metrics.jsonl").read_bytes() == before
