"""What goes wrong around a run: disks, files, memory, clocks, signals. Each has a message, and nothing is lost."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from PIL import Image

import twofold
from comparing import states_differ
from twofold.errors import DataError, RunError
from twofold.training import checkpoint, metrics_log, signals
from twofold.training.trainer import InterruptedRunError

COMMAND = [sys.executable, "-m", "twofold", "train", "simclr", "digits", "--encoder", "convnet-w16"]
COMMAND += ["--precision", "float32", "--batch-size", "200", "--epochs", "1"]


def command(*words, file_limit=None):
    """Run the command line; no file may grow beyond ``file_limit`` bytes, as on a disk that is full."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    return subprocess.run(
        [*COMMAND, *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=limit if file_limit else None,
    )


class TestDisk:
    @pytest.mark.slow
    def test_no_room_for_a_checkpoint(self, tmp_path):
        done = command("--out", tmp_path / "run", "--checkpoint-steps", "2", file_limit=100_000)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "cannot be written: File too large" in done.stderr or "cannot be written: " in done.stderr
        assert "Check the free space" in done.stderr
        assert checkpoint.latest(tmp_path / "run") is None
        assert not list((tmp_path / "run" / "checkpoints").glob("step-*")), "nothing half-written is left"
        again = command("--out", tmp_path / "run", "--checkpoint-steps", "2")
        assert again.returncode == 0, again.stderr
        whole = command("--out", tmp_path / "whole")
        assert whole.returncode == 0, whole.stderr
        assert states_differ(twofold.load(tmp_path / "run"), twofold.load(tmp_path / "whole")) == []

    def test_no_room_for_the_metrics(self, quick_fit, digits_set, tmp_path, monkeypatch):
        original = metrics_log.MetricsLog.write

        def write(self, record):
            if record["step"] == 3:
                raise OSError(28, "No space left on device")
            original(self, record)

        whole, _ = quick_fit("simclr", digits_set)
        monkeypatch.setattr(metrics_log.MetricsLog, "write", write)
        with pytest.raises(RunError, match=r"metrics of step 3 cannot be written to .*No space left.*Free some space"):
            quick_fit("simclr", digits_set, out=tmp_path / "run", checkpoint_steps=1)
        monkeypatch.undo()
        resumed, _ = quick_fit("simclr", digits_set, out=tmp_path / "run")
        assert states_differ(whole, resumed) == []
        assert [r["step"] for r in metrics_log.read(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3, 4]

    def test_no_room_for_the_trained_recipe(self, quick_fit, digits_set, tmp_path, monkeypatch):
        from twofold.recipes import saving

        def full(path, data):
            raise OSError(28, "No space left on device")

        whole, _ = quick_fit("simclr", digits_set)
        monkeypatch.setattr(saving, "write_bytes", full)
        with pytest.raises(
            RunError, match=r"trained recipe cannot be written .*No space left.*nothing is trained again"
        ):
            quick_fit("simclr", digits_set, out=tmp_path / "run")
        monkeypatch.undo()
        resumed, _ = quick_fit("simclr", digits_set, out=tmp_path / "run")
        assert states_differ(whole, resumed) == []
        assert len(metrics_log.read(tmp_path / "run" / "metrics.jsonl")) == 4

    def test_a_folder_where_nothing_can_be_made(self, quick_fit, digits_set, tmp_path):
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(RunError, match=r"cannot be written to \(Not a directory\): choose another --out"):
            quick_fit("simclr", digits_set, out=tmp_path / "file" / "run")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_read_only_folder(self, quick_fit, digits_set, tmp_path):
        tmp_path.chmod(0o500)
        with pytest.raises(RunError, match=r"cannot be written to \(Permission denied\): choose another --out"):
            quick_fit("simclr", digits_set, out=tmp_path / "run")

    def test_a_read_only_file_system(self, quick_fit, digits_set, tmp_path, monkeypatch):
        from pathlib import Path

        def refuse(self, *args, **kwargs):
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "mkdir", refuse)
        with pytest.raises(RunError, match=r"cannot be written to \(Read-only file system\): choose another --out"):
            quick_fit("simclr", digits_set, out=tmp_path / "run")


class TestData:
    @pytest.fixture
    def pictures(self, tmp_path):
        folder = tmp_path / "pictures"
        folder.mkdir()
        images = twofold.data.digits("train").images[:60, 0].numpy()
        for i, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / f"{i:02d}.png")
        return folder

    def fit(self, make_recipe, folder, deleted, **options):
        """Train on files of which some are deleted after the third step."""
        recipe = make_recipe("simclr")
        original, steps = recipe.after_step, []

        def after_step(outputs, batch):
            original(outputs, batch)
            steps.append(batch["index"])
            if len(steps) == 3:
                for path in deleted:
                    path.unlink()

        recipe.after_step = after_step
        recipe.fit(folder, epochs=4, batch_size=20, precision="float32", workers=0, cache=False, **options)
        return recipe, steps

    def test_files_deleted_in_the_middle_are_left_out_and_told(self, make_recipe, pictures, tmp_path):
        deleted = sorted(pictures.iterdir())[:7]
        _, steps = self.fit(make_recipe, pictures, deleted, out=tmp_path / "run")
        assert {len(index) for index in steps[:3]} == {20}
        assert sum(map(len, steps[3:])) == 9 * 20 - 3 * 7
        skipped = twofold.training.files.read_json(tmp_path / "run" / "config.json")["result"]["skipped"]
        assert skipped == {path.name: "no such file" for path in deleted}

    def test_when_all_are_gone_the_run_says_so(self, make_recipe, pictures, tmp_path):
        with pytest.raises(
            DataError,
            match=r"pictures: \d+ of the \d+ pictures tried could not be read\. The first:\n  \d+\.png: no such",
        ):
            self.fit(make_recipe, pictures, sorted(pictures.iterdir()), out=tmp_path / "run")


class TestMemory:
    def test_a_reading_thread_without_memory(self, quick_fit, digits_set, tmp_path):
        class Greedy(type(digits_set)):
            calls = 0

            def fetch(self, index):
                Greedy.calls += 1
                if Greedy.calls > 6:
                    raise MemoryError
                return super().fetch(index)

        whole, _ = quick_fit("simclr", digits_set, epochs=2)
        with pytest.raises(RunError, match=r"memory does not suffice for reading for step \d .*fewer workers"):
            quick_fit("simclr", Greedy(digits_set.images), out=tmp_path, epochs=2, workers=2, checkpoint_steps=1)
        resumed, _ = quick_fit("simclr", digits_set, out=tmp_path, epochs=2)
        assert states_differ(whole, resumed) == []

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), None])
    def test_a_step_that_does_not_fit(self, error, quick_fit, make_recipe, digits_set):
        recipe = make_recipe("simclr")
        original = recipe.represent

        def represent(batch):
            if error is not None:
                raise error
            torch.empty(10**16)  # more than any machine has: torch's own complaint on the CPU
            return original(batch)

        recipe.represent = represent
        with pytest.raises(RunError, match=r"Step 1 does not fit into memory \(48 samples a process.*--micro-batch 12"):
            quick_fit(recipe, digits_set)

    def test_other_errors_pass_as_they_are(self, quick_fit, make_recipe, digits_set):
        recipe = make_recipe("simclr")

        def represent(batch):
            raise RuntimeError("something else")

        recipe.represent = represent
        with pytest.raises(RuntimeError, match=r"^something else$"):
            quick_fit(recipe, digits_set)


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "code"),
        [
            (signal.SIGINT, signals.INTERRUPTED),
            (signal.SIGTERM, signals.TRY_AGAIN),
            (signal.SIGUSR1, signals.TRY_AGAIN),
        ],
    )
    def test_a_run_that_is_asked_to_stop_keeps_its_work(
        self, number, code, quick_fit, make_recipe, digits_set, tmp_path
    ):
        whole, _ = quick_fit("byol", digits_set, epochs=2)
        recipe = make_recipe("byol")
        original, steps = recipe.after_step, []

        def after_step(outputs, batch):
            original(outputs, batch)
            steps.append(batch)
            if len(steps) == 3:
                os.kill(os.getpid(), number)

        recipe.after_step = after_step
        before = signal.getsignal(number)
        with pytest.raises(InterruptedRunError, match="Stopped after step 3 of 8; the same command resumes") as caught:
            quick_fit(recipe, digits_set, out=tmp_path, epochs=2)
        assert caught.value.exit_code == code
        assert signal.getsignal(number) is before
        assert checkpoint.latest(tmp_path).step == 3
        resumed, _ = quick_fit("byol", digits_set, out=tmp_path, epochs=2)
        assert states_differ(whole, resumed) == []

    def test_the_codes_are_those_that_shells_and_schedulers_know(self):
        assert (signals.INTERRUPTED, signals.TRY_AGAIN) == (128 + signal.SIGINT, os.EX_TEMPFAIL)


def test_a_clock_that_jumps_changes_nothing(quick_fit, digits_set, tmp_path, monkeypatch):
    """Neither the results nor what is kept: durations are of a clock that cannot be set, order is that of steps."""
    whole, _ = quick_fit("simclr", digits_set, out=tmp_path / "whole", epochs=2)
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: 1e9 + (-1) ** next(jumps) * 1e8)
    monkeypatch.setattr(time, "strftime", lambda pattern, *now: "1970-01-01 00:00")
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        quick_fit(cut_after(quick_fit, 5), digits_set, out=run, epochs=2, checkpoint_steps=1)
    for age, path in enumerate(sorted((run / "checkpoints").iterdir())):
        os.utime(path, (10**9 - 1000 * age, 10**9 - 1000 * age))  # the newest looks oldest
    assert checkpoint.latest(run).step == 5
    resumed, result = quick_fit("simclr", digits_set, out=run, epochs=2)
    assert states_differ(whole, resumed) == []
    assert 0 < result.seconds < 600


def cut_after(quick_fit, count):
    from twofold.recipes import catalogue

    recipe = catalogue.get("simclr")(encoder="convnet-w16")
    original, steps = recipe.after_step, []

    def after_step(outputs, batch):
        original(outputs, batch)
        steps.append(batch)
        if len(steps) > count:
            raise KeyboardInterrupt

    recipe.after_step = after_step
    return recipe


@pytest.mark.slow
def test_two_runs_on_one_folder(quick_fit, make_recipe, digits_set, tmp_path):
    """The second one is refused while the first goes on, whose folder is not touched."""
    recipe, said = make_recipe("simclr"), []

    def after_step(outputs, batch):
        if not said:
            before = {p: p.read_bytes() for p in tmp_path.rglob("*.json*")}
            said.append(command("--out", tmp_path))
            assert {p: p.read_bytes() for p in tmp_path.rglob("*.json*")} == before

    recipe.after_step = after_step
    quick_fit(recipe, digits_set, out=tmp_path)
    assert said[0].returncode == 1
    assert f"is in use by another run (process {os.getpid()} on " in said[0].stderr
    assert "Traceback" not in said[0].stderr


def test_a_run_killed_before_it_wrote_anything_can_be_started_again(quick_fit, digits_set, tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".config.json.123-ab.tmp").write_text("{")
    quick_fit("simclr", digits_set, out=tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    shutil.rmtree(tmp_path / "checkpoints")
