"""Runs that kill themselves where they are told to: python killed_run.py.

Takes a job a line (JSON) on stdin and answers each with a line on stdout: the signal and the exit code with which its
process ended. Importing torch takes seconds and forking does not, so this process imports everything once and forks
for each job. A child trains a recipe on 40 digits. If its job names a death it ends by a real SIGKILL from itself:

    {"way": "step", "step": 3, "operation": 120}        at that tensor operation, counted from the start of that step
    {"way": "loader", "fetch": 3, "delay": 0.01}        on a reading thread, in that call of the data set's fetch
    {"way": "save", "save": 2, "operation": 4, "cut": 0.5}   at that file operation of that checkpoint
    {"way": "files", "operation": 17, "cut": 0.5}       at that file operation of the whole process

Steps, calls and saves count from 1 in this process, operations from 0. Death comes before an operation, and within one
that writes: of what it wrote the share ``cut`` is then in the file.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import itertools
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import safetensors.torch
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import twofold
from twofold.dataset import Subset
from twofold.recipes import catalogue, running
from twofold.training import checkpoint
from twofold.training.metrics_log import MetricsLog
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

SAMPLES = 40
ENTRIES = [(os, name) for name in ("mkdir", "rename", "replace", "unlink", "rmdir")]
WRITES = [
    (safetensors.torch, "save_file", lambda state, path, *more: path),
    (torch, "save", lambda value, path, *more: path),
    (os, "fsync", lambda descriptor: f"/proc/self/fd/{descriptor}"),
    (MetricsLog, "write", lambda log, record: log.path),
]
"""What writes, and where to, from its arguments. A file is cut at its ``fsync`` as if that came too early."""


def die(folder, place):
    """Leave word of where this process died, and die."""
    (folder / "place.txt").write_text(place)
    os.kill(os.getpid(), signal.SIGKILL)


class DyingAt(TorchDispatchMode):
    """Dies at the n-th tensor operation, forward, backward or update."""

    def __init__(self, folder, operation):
        super().__init__()
        self.folder, self.left = folder, operation

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if self.left == 0:
            die(self.folder, str(function))
        self.left -= 1
        return function(*args, **(kwargs or {}))


def die_in_a_step(folder, recipe, death):
    make_views, steps = recipe.make_views, itertools.count(1)

    def make():
        views = make_views()

        def counted(inputs, **more):
            if next(steps) == death["step"]:
                DyingAt(folder, death["operation"]).__enter__()
            return views(inputs, **more)

        return counted

    recipe.make_views = make


class DyingData(Subset):
    """Dies in a call of ``fetch``."""

    def __init__(self, dataset, index, folder, death):
        super().__init__(dataset, index)
        self.folder, self.death, self.calls = folder, death, itertools.count(1)

    def fetch(self, index):
        if next(self.calls) == self.death["fetch"]:
            time.sleep(self.death["delay"])
            die(self.folder, threading.current_thread().name)
        return super().fetch(index)


class FileOperations:
    """Counts operations on files, and dies at one; those outside of saves do not count if the death is in a save."""

    def __init__(self, folder, death):
        self.folder, self.death = folder, death
        self.left, self.saves = death["operation"], itertools.count(1)
        self.enabled = death["way"] == "files"
        self.on_disk: dict[int, int] = {}  # inode → bytes that an earlier fsync brought to the disk: they stay
        if death["way"] == "save":
            checkpoint.save = self.within_a_save(checkpoint.save)
        for owner, name in ENTRIES:
            setattr(owner, name, self.counted(name, getattr(owner, name)))
        for owner, name, target in WRITES:
            setattr(owner, name, self.counted(name, getattr(owner, name), target))

    def within_a_save(self, save):
        @functools.wraps(save)
        def watched(*args, **options):
            self.enabled = next(self.saves) >= self.death["save"]
            try:
                return save(*args, **options)
            finally:
                self.enabled = False

        return watched

    def counted(self, name, original, target=None):
        @functools.wraps(original)
        def operation(*args, **options):
            if self.enabled and self.left == 0:
                self.enabled = False
                self.die_within(name, original, target, args, options)
            self.left -= self.enabled
            result = original(*args, **options)
            if name == "fsync":
                status = os.fstat(args[0])
                self.on_disk[status.st_ino] = status.st_size
            return result

        return operation

    def die_within(self, name, original, target, args, options):
        if target is None:
            die(self.folder, f"{name} {Path(args[0]).name}")
        path = Path(target(*args, **options))
        real = path.resolve()
        if real.is_file():
            status = real.stat()
            before = min(self.on_disk.get(status.st_ino, 0), status.st_size) if name == "fsync" else status.st_size
            original(*args, **options)
            os.truncate(path, before + int(self.death["cut"] * (real.stat().st_size - before)))
        elif name != "fsync":  # a new file
            original(*args, **options)
            os.truncate(path, int(self.death["cut"] * path.stat().st_size))
        die(self.folder, f"{name} {real.name}")


def trace(folder, recipe):
    """Append what each step learns from: its place in the run, the samples, a digest of their views."""
    represent = recipe.represent

    def traced(batch):
        digest = hashlib.sha256(b"".join(view.contiguous().numpy().tobytes() for view in batch["views"]))
        told = {"progress": batch["progress"], "rows": batch["index"].tolist(), "views": digest.hexdigest()}
        with (folder / "trace.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\n")
        return represent(batch)

    recipe.represent = traced


def add_dropout(recipe):
    """Have the encoder draw from torch's global state, as none of ours does by itself."""
    build_heads = recipe.build_heads

    def with_dropout(dim, spec):
        recipe.encoder.register_forward_hook(lambda part, inputs, rows: F.dropout(rows, 0.1, part.training))
        build_heads(dim, spec)

    recipe.build_heads = with_dropout


def train(job, dataset):
    folder, death = Path(job["folder"]), job["death"] or {"way": None}
    recipe = catalogue.get(job["recipe"])(**job["options"])
    settings = TrainingOptions.checked(**job["training"]).resolved(recipe.training_defaults)
    add_dropout(recipe)
    trace(folder, recipe)
    data = Subset(dataset, torch.arange(SAMPLES))
    if death["way"] == "step":
        die_in_a_step(folder, recipe, death)
    if death["way"] == "loader":
        data = DyingData(dataset, torch.arange(SAMPLES), folder, death)
    if death["way"] in ("save", "files"):
        FileOperations(folder, death)
    running.fit_dataset(recipe, data, settings, out=folder / "run", progress=NullProgress())


def child(job, dataset):
    """Do the job with all output in ``said.txt``, and leave without the parent's clean-up."""
    code = 1
    try:
        said = os.open(Path(job["folder"]) / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        torch.set_num_threads(1)  # makes torch's pool anew, which a fork does not survive, before there are threads
        train(job, dataset)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


def warm_up(dataset):
    """Have torch import what it only imports when it first trains (2 s), in memory and without threads."""
    settings = TrainingOptions.checked(epochs=1, batch_size=8, workers=0, device="cpu", precision="float32")
    recipe = catalogue.get("simclr")(encoder="convnet-w16")
    data = Subset(dataset, torch.arange(8))
    with DyingAt(Path(), sys.maxsize):
        running.fit_dataset(recipe, data, settings.resolved({}), progress=NullProgress())


def serve():
    torch.set_num_threads(1)
    dataset = twofold.data.digits("train")
    warm_up(dataset)
    gc.freeze()  # a collection in a child would touch, and so copy, all that it shares with this process
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(job, dataset)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"signal": max(0, -code), "code": max(0, code)}), flush=True)


if __name__ == "__main__":
    serve()
