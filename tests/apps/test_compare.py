"""Recipes side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest

from twofold.apps import compare as app
from twofold.apps.options import words_and_options
from twofold.errors import ConfigError

QUICK = ["--epochs", "1", "--encoder=convnet-w16", "--batch-size", "50", "--precision", "float32"]


@pytest.fixture
def arrays(digits_set, tmp_path):
    path = tmp_path / "digits.npz"
    np.savez(path, images=digits_set.images[:, 0].numpy(), labels=digits_set.labels.numpy())
    return str(path)


def test_names_and_options_may_stand_in_any_order():
    words = ["--epochs", "3", "simclr", "--dcl.temperature=0.2", "dcl", "--lr", "0.1"]
    names, extra = words_and_options(words)
    assert names == ["simclr", "dcl"]
    plan = app.plan_of(names, extra)
    assert (plan.training.epochs, plan.training.lr) == (3, 0.1)
    assert plan.recipes == {"simclr": {"modality": "image"}, "dcl": {"modality": "image", "temperature": 0.2}}


def test_who_an_option_belongs_to():
    plan = app.plan_of(["simclr", "moco-v2"], ["--encoder", "mlp", "--size", "8", "--moco-v2.queue-size", "9"])
    assert plan.reading == {"size": 8}
    shared = {"encoder": "mlp", "modality": "image"}
    assert plan.recipes == {"simclr": shared, "moco-v2": shared | {"queue_size": 9}}


def test_all_wrong_options_at_once():
    words = ["--epohcs", "3", "--dcl.momentum", "0.5", "--lr", "-1", "--seed", "4", "--queue-size", "5", "--last"]
    with pytest.raises(ConfigError) as caught:
        app.plan_of(["simclr", "dcl"], words)
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    assert "all of these recipes together has no option 'epohcs'" in text
    assert "dcl has no option 'momentum'" in text
    assert "lr must be above 0" in text
    assert "--seeds N" in text
    assert "'--last' is no option with a value" in text


def test_nothing_to_compare(arrays, tmp_path):
    with pytest.raises(ConfigError, match="at least one recipe and one seed"):
        app.compare([], source=arrays, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="at least one recipe and one seed"):
        app.compare(["simclr"], source=arrays, seeds=0, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="There is no recipe 'simclrr'"):
        app.compare(["simclrr"], source=arrays, out=tmp_path / "out")


def test_two_recipes_two_seeds(arrays, tmp_path):
    out = tmp_path / "out"
    text, page = app.compare(
        ["simclr", "byol"], source=arrays, seeds=2, out=out, extra=[*QUICK, "--byol.hidden-dim=32"]
    )
    assert page.is_file()
    assert [line.split()[0] for line in text.splitlines()[1:3]] == ["simclr", "byol"]
    result = json.loads((out / "comparison.json").read_text())
    assert set(result["values"]["knn"]) == {"simclr", "byol"}
    assert set(result["values"]["knn"]["byol"]) == {"0", "1"}
    values = {name: list(seeds.values()) for name, seeds in result["values"]["knn"].items()}
    gap = result["differences"]["knn"]["byol"]
    assert gap["mean"] == pytest.approx(np.mean(values["byol"]) - np.mean(values["simclr"]))
    configs = {
        (name, seed): json.loads((out / name / f"seed-{seed}" / "config.json").read_text())
        for name in ("simclr", "byol")
        for seed in (0, 1)
    }
    assert {config["options"]["views"] for config in configs.values()} == {"digits"}, "the same views for all"
    assert {key: config["training"]["seed"] for key, config in configs.items()} == {key: key[1] for key in configs}
    assert len({config["samples"] for config in configs.values()}) == 1
    assert configs["simclr", 0]["samples"] < 150, "what is held out is not trained on"

    before = {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")}
    again, _ = app.compare(["simclr", "byol"], source=arrays, seeds=2, out=out, extra=[*QUICK, "--byol.hidden-dim=32"])
    assert again == text
    assert {p: p.stat().st_mtime_ns for p in out.rglob("model.safetensors")} == before, "nothing is trained twice"


def test_one_seed_has_no_spread(arrays, tmp_path):
    text, page = app.compare(["simclr", "dcl"], source=arrays, seeds=1, out=tmp_path / "out", extra=QUICK)
    assert "±" not in text.splitlines()[1]
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert result["differences"]["knn"]["dcl"]["mean"] is not None
    assert page.is_file()


def test_another_kind_of_data_has_its_own_options(tmp_path):
    draw = np.random.default_rng(0)
    clouds = draw.normal(size=(48, 40, 3)).astype(np.float32)
    labels = np.arange(48) % 2
    clouds[labels == 1] /= np.linalg.norm(clouds[labels == 1], axis=2, keepdims=True)
    np.savez(tmp_path / "clouds.npz", points=clouds, labels=labels)
    words = [
        "--modality",
        "points",
        "--points",
        "32",
        "--encoder",
        "pointnet-w8",
        "--epochs",
        "1",
        "--batch-size",
        "12",
    ]
    text, page = app.compare(
        ["simclr", "dcl"],
        extra=words,
        source=str(tmp_path / "clouds.npz"),
        test=None,
        seeds=1,
        out=tmp_path / "out",
        command="",
    )
    assert "simclr" in text
    assert page.is_file()
    config = json.loads((tmp_path / "out" / "dcl" / "seed-0" / "config.json").read_text())
    assert config["spec"]["modality"] == "points"
    assert config["spec"]["points"] == 32
    with pytest.raises(ConfigError, match="no option 'points'"):
        app.plan_of(["simclr", "dcl"], ["--points", "32"])
    with pytest.raises(ConfigError, match="no encoder 'resnet18'"):
        app.plan_of(["simclr", "dcl"], ["--modality", "points", "--encoder", "resnet18"])


def test_recipes_of_one_kind_of_data_are_compared_by_its_own_task(tmp_path):
    chosen = [[user, item] for user in range(20) for item in range(12) if (user + item) % 2 == 0 or item == user % 12]
    clicks = tmp_path / "clicks.csv"
    clicks.write_text("user,item\n" + "\n".join(f"{user},{item}" for user, item in chosen) + "\n")
    text, page = app.compare(
        ["lightgcn", "dcl"], source=str(clicks), seeds=2, out=tmp_path / "out", extra=["--epochs", "2"]
    )
    assert page.is_file()
    assert "Recall@20" in text.splitlines()[0]
    assert [line.split()[0] for line in text.splitlines()[1:3]] == ["lightgcn", "dcl"]
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert set(next(iter(result["values"].values()))) == {"lightgcn", "dcl"}
    config = json.loads((tmp_path / "out" / "dcl" / "seed-0" / "config.json").read_text())
    assert config["options"]["modality"] == "interactions", "all learn from the kind of data of the first"
