"""The training loop: exact resumption, exact micro-batches, signals, warnings, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import safetensors.torch
import torch
from torch import nn

from comparing import states_differ
from twofold.errors import RunError
from twofold.training import checkpoint, metrics_log
from twofold.training.progress import NullProgress
from twofold.training.step import split_batch
from twofold.training.trainer import InterruptedRunError

COMMAND = [sys.executable, "-m", "twofold"]
RUN = ["train", "simclr", "digits", "--encoder", "convnet-w16", "--precision", "float32", "--batch-size", "200"]
TIMING = {"items_per_second"}


def plain_records(folder):
    return [
        {key: value for key, value in record.items() if key not in TIMING}
        for record in metrics_log.read(folder / "metrics.jsonl")
    ]


class Cut(BaseException):
    """As hard a stop as there is within a process."""


@pytest.mark.parametrize("stop_at", [1, 3, 5, 7])
@pytest.mark.parametrize("name", ["moco-v2", "dino"])
def test_resuming_at_any_step_equals_never_stopping(name, stop_at, quick_fit, make_recipe, digits_set, tmp_path):
    whole, _ = quick_fit(name, digits_set, out=tmp_path / "whole", epochs=2)
    recipe = make_recipe(name)
    original, steps = recipe.after_step, []

    def after_step(outputs, batch):
        original(outputs, batch)
        steps.append(batch)
        if len(steps) > stop_at:
            raise Cut

    recipe.after_step = after_step
    with pytest.raises(Cut):
        quick_fit(recipe, digits_set, out=tmp_path / "cut", epochs=2, checkpoint_steps=1)
    assert checkpoint.latest(tmp_path / "cut").step == stop_at
    resumed, result = quick_fit(name, digits_set, out=tmp_path / "cut", epochs=2, checkpoint_steps=3, workers=2)
    assert states_differ(whole, resumed) == []
    assert plain_records(tmp_path / "whole") == plain_records(tmp_path / "cut")
    assert result.steps == 8


FIT = """
import sys
import twofold


def fit(folder, epochs):
    recipe = twofold.SimCLR(encoder="convnet-w16")
    recipe.fit(twofold.data.digits("train"), out=folder, epochs=epochs, batch_size=200, precision="float32")


def the_same_views_in_every_process(self):
    return lambda inputs, **more: [inputs / 255, inputs.flip(-1) / 255]


if __name__ == "__main__":
    twofold.SimCLR.make_views = the_same_views_in_every_process
    fit(sys.argv[1], 2)
"""
"""The run of ``RUN``, without what the command line measures and reports afterwards."""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def start(*command):
    words = [str(word) for word in command]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ONE_THREAD)


def finish(*command):
    process = start(*command)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


@pytest.fixture
def script():
    """``FIT``'s names, for use in this process, which has one thread meanwhile, as those it starts."""
    names = {"__name__": "fit"}
    exec(FIT, names)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield names
    torch.set_num_threads(threads)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended early:\n{process.stdout.read()}"
        assert time.monotonic() < end, "took too long"
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_terminated_runs_go_on_as_if_nothing_had_happened(tmp_path, script, capsys):
    """One run is killed without warning, resumed, asked to stop, resumed again; another one is left in peace."""
    torn, whole = tmp_path / "torn", tmp_path / "whole"
    command = [*COMMAND, *RUN, "--out", torn, "--epochs", "15", "--checkpoint-steps", "7"]
    process = start(*command)
    wait_for(lambda: len(list(torn.glob("checkpoints/step-*"))) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (torn / "model.safetensors").exists(), "else it was killed too late"
    killed_at = checkpoint.latest(torn).step
    assert killed_at % 7 == 0

    process = start(*command)
    wait_for(lambda: any(p.name > f"step-{killed_at:08d}" for p in torn.glob("checkpoints/step-*")), process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert f"Resuming after step {killed_at} of 90." in said
    assert "the same command resumes the run" in said
    assert "Traceback" not in said
    stopped_at = checkpoint.latest(torn).step
    assert f"Stopped after step {stopped_at} of 90" in said
    assert len(metrics_log.read(torn / "metrics.jsonl")) == stopped_at

    script["fit"](torn, 15)
    assert f"Resuming after step {stopped_at} of 90." in capsys.readouterr().err
    script["fit"](whole, 15)
    first, second = (safetensors.torch.load_file(f / "model.safetensors") for f in (whole, torn))
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert plain_records(whole) == plain_records(torn)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path, script, monkeypatch):
    """Gathered candidates, averaged gradients and synchronised statistics: the run of one process, but for rounding."""
    one, two = tmp_path / "one", tmp_path / "two"
    (tmp_path / "fit.py").write_text(FIT)
    finish(*TORCHRUN, tmp_path / "fit.py", two)
    monkeypatch.setattr("twofold.SimCLR.make_views", script["the_same_views_in_every_process"])
    script["fit"](one, 2)
    alone, together = (metrics_log.read(folder / "metrics.jsonl") for folder in (one, two))
    assert [r["step"] for r in together] == list(range(1, 13))
    assert [r["loss"] for r in together] == pytest.approx([r["loss"] for r in alone], rel=2e-3)
    assert [r["gradient_norm"] for r in together[:3]] == pytest.approx(
        [r["gradient_norm"] for r in alone[:3]], rel=1e-2
    )
    first, second = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    for key in first:
        assert torch.allclose(first[key].float(), second[key].float(), atol=5e-3, rtol=5e-2), key
    statistics = [key for key in first if key.endswith("running_var")]
    assert statistics
    assert all(torch.equal(first[k], second[k]) for k in first if k.endswith("num_batches_tracked"))


@pytest.mark.slow
def test_torchrun_runs_the_command_line(tmp_path):
    said = finish(*TORCHRUN, "-m", "twofold", *RUN, "--out", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    assert said.count("Trained 6 steps") == 1, "one process speaks"
    assert said.count("Report: ") == 1
    assert (tmp_path / "run" / "report.html").is_file()


class Normless(nn.Module):
    """An encoder in which samples do not see each other."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, images):
        return self.layers(images)


def without_batch_norm(module):
    """Layer norm in place of batch norm, also in heads."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d):
            setattr(module, name, nn.LayerNorm(child.num_features))
        else:
            without_batch_norm(child)


@pytest.mark.parametrize(
    "name", ["simclr", "dcl", "supcon", "mv-dhel", "moco-v2", "byol", "nnclr", "swav", "barlow", "vicreg"]
)
def test_micro_batches_give_the_same_run(name, quick_fit, make_recipe, digits_set):
    ends = []
    for micro in (None, 13):
        torch.manual_seed(0)
        recipe = make_recipe(name, encoder=Normless())
        original = recipe.build_heads

        def build_heads(dim, spec, original=original, recipe=recipe):
            original(dim, spec)
            without_batch_norm(recipe)

        recipe.build_heads = build_heads
        recipe, result = quick_fit(recipe, digits_set, micro_batch=micro, optimizer="sgd", lr=0.01)
        ends.append((recipe.state_dict(), result.last["loss"]))
    (whole, loss), (pieces, same_loss) = ends
    assert same_loss == pytest.approx(loss, rel=1e-3)
    for key in whole:
        assert torch.allclose(whole[key].double(), pieces[key].double(), atol=2e-4, rtol=2e-3), key


def test_a_batch_is_split_evenly_with_everything_in_it():
    batch = {"views": [torch.arange(10), torch.arange(10) + 10], "index": torch.arange(10), "progress": 0.5}
    pieces = split_batch(batch, 4)
    assert [len(piece["index"]) for piece in pieces] == [3, 3, 4]
    assert torch.equal(torch.cat([piece["views"][1] for piece in pieces]), batch["views"][1])
    assert all(piece["progress"] == 0.5 for piece in pieces)
    assert [len(piece["index"]) for piece in split_batch(batch, 9)] == [5, 5], "no single sample is left over"


def test_workers_do_not_change_the_result(quick_fit, digits_set):
    first, _ = quick_fit("simclr", digits_set, workers=0)
    second, _ = quick_fit("simclr", digits_set, workers=3)
    assert states_differ(first, second) == []


@pytest.mark.parametrize("poisoned", ["views", "loss"])
def test_nan_stops_with_step_and_sample(poisoned, quick_fit, make_recipe, digits_set, tmp_path, monkeypatch):
    recipe = make_recipe("simclr")
    cls, original_views, original_objective = type(recipe), type(recipe).make_views, type(recipe).objective
    spoilt = {}

    def make_views(self):
        views, calls = original_views(self), []

        def poison(inputs, **more):
            made = views(inputs, **more)
            calls.append(1)
            if len(calls) == 3:
                made[1][5] = torch.nan
            return made

        return poison

    def objective(self, outputs, batch):
        loss = original_objective(self, outputs, batch)
        if batch["progress"] == 2 / 8:
            spoilt["index"] = batch["index"]
        return loss * torch.inf if poisoned == "loss" and "index" in spoilt else loss

    if poisoned == "views":
        monkeypatch.setattr(cls, "make_views", make_views)
    monkeypatch.setattr(cls, "objective", objective)
    with pytest.raises(RunError) as caught:
        quick_fit(recipe, digits_set, out=tmp_path, epochs=2, checkpoint_steps=1)
    text = str(caught.value)
    assert text.startswith("Step 3: total and gradient not finite")
    assert "Usual causes" in text
    names = [digits_set.ids[i] for i in spoilt["index"].tolist()]
    if poisoned == "views":
        assert f"the views of {names[5]} hold NaN or infinity" in text
    else:
        assert f"samples {', '.join(names[:4])}, ..." in text
    assert checkpoint.latest(tmp_path).step == 2
    assert len(metrics_log.read(tmp_path / "metrics.jsonl")) == 2


class Listening(NullProgress):
    def __init__(self):
        self.warned = []

    def warn(self, text):
        self.warned.append(text)


def test_collapse_is_told_once(quick_fit, make_recipe, digits_set, tmp_path):
    class Flat(nn.Module):
        """All pictures look nearly the same to it."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8))

        def forward(self, images):
            return self.weight + 1e-4 * images.flatten(1)[:, :8]

    progress = Listening()
    _, result = quick_fit(make_recipe("simclr", encoder=Flat()), digits_set, progress=progress, lr=1e-6, health_steps=1)
    collapsed = [text for text in result.warnings if "collapsed" in text]
    assert len(collapsed) == 1
    assert "stop-gradient" in collapsed[0]
    assert collapsed[0] in progress.warned
    assert result.last["spread"] < 0.1


def test_a_run_that_learns_nothing_is_told(quick_fit, make_recipe, digits_set, tmp_path):
    progress = Listening()
    slow = make_recipe("simclr", temperature=100.0)
    _, result = quick_fit(slow, digits_set, out=tmp_path / "slow", progress=progress, epochs=8, lr=1e-6)
    assert [text for text in progress.warned if "still sits at chance" in text]
    assert result.chance == pytest.approx(torch.tensor(95.0).log().item())
    healthy = Listening()
    _, good = quick_fit("simclr", digits_set, progress=healthy, epochs=8, lr=3e-3)
    assert healthy.warned == [] == good.warnings
    assert checkpoint.latest(tmp_path / "slow").meta["warnings"] == result.warnings


def test_what_is_logged(quick_fit, digits_set, tmp_path):
    _, result = quick_fit("vicreg", digits_set, out=tmp_path, epochs=2, health_steps=3, warmup=0.5, lr=0.01)
    records = metrics_log.read(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in records] == list(range(1, 9))
    assert [r["epoch"] for r in records][3] == 1.0
    assert {"invariance", "variance", "covariance", "gradient_norm"} <= set(records[0])
    assert ["effective_rank" in r for r in records] == [True, False, False, True, False, False, True, True]
    assert [r["lr"] for r in records][:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert result.last == {key: pytest.approx(value) for key, value in records[-1].items()}


def test_the_predictors_rate_is_constant_where_the_method_says_so(quick_fit, make_recipe, digits_set, monkeypatch):
    from twofold.training import trainer

    seen = []
    original = trainer.set_learning_rate

    def spy(optimizer, lr):
        original(optimizer, lr)
        seen.append({group.get("constant_lr", False): group["lr"] for group in optimizer.param_groups})

    monkeypatch.setattr(trainer, "set_learning_rate", spy)
    quick_fit("simsiam", digits_set, optimizer="sgd", lr=0.05)
    assert {rates[True] for rates in seen} == {0.05}
    assert len({rates[False] for rates in seen}) > 2


def test_stopping_without_a_folder_says_that_nothing_was_kept(quick_fit, make_recipe, digits_set):
    recipe = make_recipe("simclr")
    recipe.after_step = lambda outputs, batch: os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedRunError, match=r"Stopped after step 1 of 4; nothing was kept \(no out folder\)"):
        quick_fit(recipe, digits_set)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_stops_at_once(quick_fit, make_recipe, digits_set):
    recipe = make_recipe("simclr")

    def twice(outputs, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    recipe.after_step = twice
    with pytest.raises(KeyboardInterrupt):
        quick_fit(recipe, digits_set)


def test_unreadable_last_batches_end_the_run_all_the_same(quick_fit, digits_set, tmp_path):
    class Holes(type(digits_set)):
        reads = 0

        def fetch(self, index):
            Holes.reads += 1
            return super().fetch(index[:1] if Holes.reads == 4 else index)

    _, result = quick_fit("simclr", Holes(digits_set.images), out=tmp_path / "run")
    assert result.steps == 4
    assert result.last["step"] == 3
    assert checkpoint.latest(tmp_path / "run").step == 4
    assert (tmp_path / "run" / "model.safetensors").is_file()
