"""torchrun's elastic agent starts all processes again when one dies; the same command then resumes the run."""

from __future__ import annotations

import os
import subprocess
import sys

import elastic_worker
import pytest
import safetensors.torch
import torch

from twofold.training import metrics_log
from twofold.training.files import read_json

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ARGUMENTS = ["train", "moco-v2", "digits", "--encoder", "convnet-w16", "--batch-size", "200", "--epochs", "2"]
ARGUMENTS += ["--precision", "float32", "--device", "cpu", "--checkpoint-steps", "4", "--queue-size", "300"]


def run(*words):
    done = subprocess.run(
        [*map(str, words)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout, done.stderr


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again_and_the_run_ends_as_if_nothing_had_happened(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    said, _ = run(*TORCHRUN, "-m", "twofold", *ARGUMENTS, "--out", whole)
    assert said.count("Report: ") == 1, "one process speaks"
    assert said.count("Measuring ...") == 1
    _, complained = run(*TORCHRUN, "--max-restarts", "2", elastic_worker.__file__, *ARGUMENTS, "--out", torn)
    assert "Resuming after step 4 of 12." in complained, "it was killed at step 7, after the checkpoint of step 4"
    a, b = (safetensors.torch.load_file(folder / "model.safetensors") for folder in (whole, torn))
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    first, second = (
        [{k: v for k, v in r.items() if k != "items_per_second"} for r in metrics_log.read(folder / "metrics.jsonl")]
        for folder in (whole, torn)
    )
    assert first == second
    assert read_json(whole / "evaluation.json")["rows"] == read_json(torn / "evaluation.json")["rows"]
