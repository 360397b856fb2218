"""Steps that are NaN or infinite: kept, told, left out if asked; and computed again."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from torch import nn

from twofold.cli import main
from twofold.errors import DataError, RunError
from twofold.recipes import replaying
from twofold.training import checkpoint, metrics_log, nonfinite
from twofold.training.step import StepMaker


@pytest.fixture
def spoil(monkeypatch):
    """``spoil(recipe, steps, what)``: make these steps (from 0) NaN: their ``views``, or the ``temperature``."""

    def patch(recipe, steps, what="views"):
        cls = type(recipe)
        original_views, original_objective = cls.make_views, cls.objective

        def make_views(self):
            views = original_views(self)

            def poison(inputs, *, generator, **more):
                made = views(inputs, generator=generator, **more)
                if spoilt_now["step"] in steps:
                    made[1][5] = torch.nan
                return made

            return poison

        def objective(self, outputs, batch):
            loss = original_objective(self, outputs, batch)
            return loss * torch.inf if round(batch["progress"] * 8) in steps else loss

        spoilt_now = {"step": None}
        if what == "views":
            original_batch = StepMaker.batch

            def batch(maker, step, rank, fetched):
                spoilt_now["step"] = step
                return original_batch(maker, step, rank, fetched)

            monkeypatch.setattr(StepMaker, "batch", batch)
            monkeypatch.setattr(cls, "make_views", make_views)
        else:
            monkeypatch.setattr(cls, "objective", objective)
        return recipe

    return patch


def test_a_step_is_kept_before_the_run_stops(spoil, quick_fit, make_recipe, digits_set, tmp_path):
    recipe = spoil(make_recipe("moco-v2"), {2})
    with pytest.raises(RunError, match=r"Step 3: .*twofold replay .*step-00000003\.safetensors.*--nonfinite skip"):
        quick_fit(recipe, digits_set, out=tmp_path / "run", epochs=2, checkpoint_steps=1)
    (file,) = (tmp_path / "run" / nonfinite.FOLDER).iterdir()
    held = nonfinite.read(file)
    assert held.facts["step"] == 2
    assert held.facts["found"] == ["total", "gradient"]
    assert held.facts["recorded"]["loss"] == "nan"
    assert held.index.shape == (1, 48)
    assert held.facts["ids"] == [digits_set.ids[i] for i in held.index[0].tolist()]
    assert held.facts["spoilt"] == [held.facts["ids"][5]]
    before = checkpoint.latest(tmp_path / "run").model()
    changed = {name for name in before if not torch.equal(before[name], held.state[name])}
    assert all("running" in name or "num_batches" in name for name in changed), "the weights are those before the step"


@pytest.mark.parametrize("what", ["views", "objective"])
def test_a_replay_is_the_same_step(what, spoil, quick_fit, make_recipe, digits_set, tmp_path):
    recipe = spoil(make_recipe("simclr"), {3}, what)
    with pytest.raises(RunError):
        quick_fit(recipe, digits_set, out=tmp_path / "run", epochs=2)
    again = replaying.replay(next((tmp_path / "run" / nonfinite.FOLDER).iterdir()), digits_set)
    assert again.reproduced
    assert again.step == 4
    held = nonfinite.read(next((tmp_path / "run" / nonfinite.FOLDER).iterdir()))
    assert again.spoilt == held.facts["spoilt"]
    assert len(again.spoilt) == (what == "views")
    text = again.to_text()
    assert text.startswith("Step 4: reproduced.")
    if what == "objective":
        assert "look at the objective and its temperature" in text
    else:
        assert "The views of 1 samples hold NaN" in text


def test_a_mended_cause_is_told_and_the_rest_is_the_same_to_the_bit(
    spoil, quick_fit, make_recipe, digits_set, tmp_path, monkeypatch
):
    quick_fit("byol", digits_set, out=tmp_path / "whole", epochs=2)
    expected = metrics_log.read(tmp_path / "whole" / "metrics.jsonl")[3]
    with pytest.raises(RunError):
        quick_fit(spoil(make_recipe("byol"), {3}, "objective"), digits_set, out=tmp_path / "run", epochs=2)
    monkeypatch.undo()
    again = replaying.replay(next((tmp_path / "run" / nonfinite.FOLDER).iterdir()), digits_set)
    assert not again.reproduced
    assert again.to_text().startswith("Step 4: not reproduced. Not finite then: total, gradient; now: nothing.")
    assert again.repeated["loss"] == expected["loss"]
    assert again.repeated["gradient_norm"] == expected["gradient_norm"]


def test_skipping_leaves_the_step_out_and_goes_on(spoil, quick_fit, make_recipe, digits_set, tmp_path):
    recipe = spoil(make_recipe("moco-v2"), {2, 5})
    recipe, result = quick_fit(recipe, digits_set, out=tmp_path / "run", epochs=2, nonfinite="skip", checkpoint_steps=1)
    records = metrics_log.read(tmp_path / "run" / "metrics.jsonl")
    assert [r["step"] for r in records if r.get("skipped")] == [3, 6]
    assert [r["loss"] is None for r in records] == [False, False, True, False, False, True, False, False]
    assert int(recipe.queue.pushed) == 6 * 48, "a step that is left out pushes nothing"
    assert all(bool(v.isfinite().all()) for v in recipe.state_dict().values() if v.is_floating_point())
    assert [w for w in result.warnings if w.startswith("Steps are left out because they are not finite")]
    assert len(list((tmp_path / "run" / nonfinite.FOLDER).iterdir())) == 2
    assert result.steps == 8


def test_a_run_that_skips_can_be_resumed_to_the_same_bits(spoil, quick_fit, make_recipe, digits_set, tmp_path):
    whole, _ = quick_fit(
        spoil(make_recipe("simclr"), {2}), digits_set, out=tmp_path / "whole", epochs=2, nonfinite="skip"
    )
    cut = make_recipe("simclr")
    options = {"epochs": 2, "checkpoint_steps": 1}
    with pytest.raises(RunError):
        quick_fit(cut, digits_set, out=tmp_path / "cut", **options)
    resumed, _ = quick_fit("simclr", digits_set, out=tmp_path / "cut", nonfinite="skip", **options)
    a, b = whole.state_dict(), resumed.state_dict()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_nothing_but_bad_steps_ends_the_run(spoil, quick_fit, make_recipe, digits_set, tmp_path):
    recipe = spoil(make_recipe("simclr"), set(range(1, 100)))
    with pytest.raises(RunError, match=r"^10 steps in a row were left out"):
        quick_fit(recipe, digits_set, out=tmp_path / "run", epochs=4, nonfinite="skip")
    assert len(list((tmp_path / "run" / nonfinite.FOLDER).iterdir())) == nonfinite.KEPT


def test_without_a_folder_nothing_is_kept(spoil, quick_fit, make_recipe, digits_set):
    with pytest.raises(RunError) as caught:
        quick_fit(spoil(make_recipe("simclr"), {2}), digits_set)
    assert "twofold replay" not in str(caught.value)


def test_a_file_that_is_none(tmp_path):
    other = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, other)
    with pytest.raises(DataError, match="is no replay file of this version"):
        nonfinite.read(other)
    other.write_bytes(b"not one")
    with pytest.raises(DataError, match="cannot be read as a replay file"):
        nonfinite.read(other)
    with pytest.raises(DataError, match="cannot be read as a replay file"):
        nonfinite.read(tmp_path / "missing")


def test_other_data_is_refused(spoil, quick_fit, make_recipe, digits_set, digits_held_out, tmp_path):
    with pytest.raises(RunError):
        quick_fit(spoil(make_recipe("simclr"), {2}), digits_set, out=tmp_path / "run")
    file = next((tmp_path / "run" / nonfinite.FOLDER).iterdir())
    with pytest.raises(DataError, match=r"it is not the run's data"):
        replaying.replay(file, digits_held_out)
    renamed = digits_set.subset(torch.arange(192))
    renamed.ids = [f"other {i}" for i in range(192)]
    with pytest.raises(DataError, match=r"48 of 48 samples of the step have other names, such as .* \(now other "):
        replaying.replay(file, renamed)


def test_the_command_line(tmp_path):
    """A learning rate that cannot work, on the built-in data: the run says what to do, and that works."""
    arguments = ["train", "simclr", "digits", "--encoder", "convnet-w16", "--epochs", "2", "--lr", "1e30"]
    arguments += ["--optimizer", "sgd", "--warmup", "0", "--batch-size", "100", "--precision", "float32"]
    run = tmp_path / "run"
    result = CliRunner().invoke(main, [*arguments, "--out", str(run)])
    assert result.exit_code == 1, result.output
    assert "twofold replay" in result.output
    file = next((run / nonfinite.FOLDER).iterdir())
    result = CliRunner().invoke(main, ["replay", str(file)])
    assert result.exit_code == 0, result.output
    assert "reproduced. Not finite then" in result.output
    assert json.loads((run / "config.json").read_text())["recipe"] == "simclr"


def test_the_first_layer_that_fails_is_found():
    class Divide(nn.Module):
        def forward(self, x):
            return x / 0

    layers = nn.Sequential(nn.Linear(2, 2), Divide(), nn.Linear(2, 2))
    with nonfinite.first_bad_module(layers) as noted:
        layers(torch.ones(3, 2))
    assert noted == ["1 (Divide)"]
    assert not any(part._forward_hooks for part in layers.modules())


def test_rows_that_are_finite_at_any_depth():
    view = torch.zeros(3, 2, 2)
    view[1, 0, 1] = torch.inf
    tokens = {"ids": torch.zeros(3, 5, dtype=torch.int64), "weights": torch.tensor([0.0, 0.0, torch.nan])}
    assert nonfinite.finite_rows([torch.zeros(3, 1), view], 3) == [True, False, True]
    assert nonfinite.finite_rows([tokens, view], 3) == [True, False, False]
