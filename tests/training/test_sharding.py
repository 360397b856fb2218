"""Encoders split over processes (FSDP2): the run of whole ones, in any optimizer, with teachers, cut and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import safetensors.torch
import sharding_worker
import torch
from torch import nn

import twofold
from twofold.training import checkpoint, metrics_log, sharding

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharding")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, sharding_worker.__file__, str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def weights(folder):
    return safetensors.torch.load_file(folder / "model.safetensors")


@pytest.mark.parametrize("case", sharding_worker.CASES)
def test_a_split_run_is_the_whole_one_but_for_rounding(case, runs):
    together, split = runs / f"{case}-False", runs / f"{case}-True"
    first, second = (metrics_log.read(folder / "metrics.jsonl") for folder in (together, split))
    assert [r["loss"] for r in second] == pytest.approx([r["loss"] for r in first], rel=1e-3)
    assert [r["gradient_norm"] for r in second] == pytest.approx([r["gradient_norm"] for r in first], rel=2e-3)
    a, b = weights(together), weights(split)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name].float(), b[name].float(), atol=2e-3, rtol=2e-2), name


def test_after_the_run_nothing_is_split_any_more(runs):
    report = json.loads((runs / "report.json").read_text())
    assert {tuple(entry["kinds"]) for entry in report.values() if entry is not True} == {("Tensor",)}
    assert report["cut"]


def test_a_checkpoint_does_not_show_that_it_was_split(runs):
    split, together = (checkpoint.latest(runs / f"adamw-{shard}") for shard in (True, False))
    a, b = split.optimizer(), together.optimizer()
    assert a.keys() == b.keys()
    assert all(value["exp_avg"].shape == b[name]["exp_avg"].shape for name, value in a.items())
    assert {name: v.shape for name, v in split.model().items()} == {n: v.shape for n, v in together.model().items()}


def test_a_split_run_that_was_cut_goes_on_to_the_same_bits(runs):
    a, b = weights(runs / "moco-v2-True"), weights(runs / "cut")
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_embedding_is_shared_out(runs):
    held = torch.load(runs / "vectors.pt", weights_only=True)
    model = twofold.load(runs / "cut")
    expected = model.embed(twofold.data.digits("test").subset(torch.arange(50)), batch_size=7)
    assert torch.equal(held["index"], torch.arange(50))
    assert torch.allclose(held["rows"], expected, atol=1e-6)


def test_large_members_are_units_inner_ones_first():
    inner = nn.Sequential(nn.Linear(600, 600), nn.Linear(600, 600))
    encoder = nn.Sequential(nn.Linear(2, 600), inner, nn.Linear(600, 3))
    assert sharding._units(encoder) == [inner[1], inner[0], inner]


def test_clipping_as_torch_does():
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    expected = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in parameters]))
    assert torch.allclose(sharding.clip_gradients(parameters, 0.5), expected)
    after = torch.linalg.vector_norm(torch.cat([p.grad.flatten() for p in parameters]))
    assert float(after) == pytest.approx(0.5, rel=1e-4)
