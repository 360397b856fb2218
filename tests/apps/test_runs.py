"""Runs on the command line: merged options, reports of whatever a folder holds."""

from __future__ import annotations

import json

import pytest

from twofold.apps import runs
from twofold.apps.options import DerivedOption, command_options
from twofold.errors import ConfigError, DataError
from twofold.options import options_of
from twofold.recipes.views.simclr import SimCLR


def test_the_command_line_overrules_the_file(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("epochs = 7\ntemperature = 0.5\n")
    merged = runs.merged_options("simclr", {"epochs": "9", "lr": None, "hidden_dim": "none"}, config)
    assert merged == {"epochs": 9, "temperature": 0.5, "hidden_dim": None}


def test_faults_of_file_and_command_line_come_together(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("epohcs = 7\n")
    with pytest.raises(ConfigError) as caught:
        runs.merged_options("simclr", {"epochs": "many", "temperature": "0"}, config)
    assert len(caught.value.problems) == 3


def test_derived_options_show_type_choices_owner_and_default():
    shown = {option.name: option for option in command_options("supcon")}
    assert shown["positives"].metavar == "outside|inside"
    assert shown["batch_size"].opts == ["--batch-size"]
    assert shown["encoder"].metavar == "STR"
    assert shown["optimizer"].metavar == "adamw|adam|sgd|lars"
    assert "(recipe; default 0.1)" in shown["temperature"].help
    assert "(training; default 0.1)" in shown["warmup"].help
    assert "(data; default none)" in shown["size"].help
    assert all(isinstance(option, DerivedOption) and option.default is None for option in shown.values())


def test_a_saved_recipe_that_is_no_run_can_be_measured_and_reported(make_recipe, digits_set, tmp_path):
    folder = make_recipe("simclr").build(digits_set.spec).save(tmp_path / "model")
    result = runs.evaluate(folder, ["digits"], metrics=["knn"], label_column=None)
    assert json.loads((folder / "evaluation.json").read_text()) == result.to_json()
    page = runs.report(folder).read_text()
    assert "SimCLR" in page
    assert "the data could not be read" in page


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(DataError, match=r"is no run folder: it has no config\.json"):
        runs.report(tmp_path)
    with pytest.raises(DataError, match="is no run folder"):
        runs.evaluate(tmp_path, ["digits"])


def test_differences_are_a_list(make_recipe, digits_set, tmp_path):
    folder = make_recipe("simclr").build(digits_set.spec).save(tmp_path / "model")
    runs.evaluate(folder, ["digits"], metrics=["knn"])
    found = json.loads((folder / "evaluation.json").read_text())["differences"]
    assert isinstance(found, list)
    assert [set(d) for d in found] == [{"metric", "against", "value", "low", "high"}] * 2


def test_all_options_reach_their_owner():
    assert set(options_of(SimCLR)) == {name for name, owner in _owners("simclr").items() if owner == "recipe"}


def _owners(recipe):
    return {option.name: option.help.rpartition("(")[2].split(";")[0] for option in command_options(recipe)}
