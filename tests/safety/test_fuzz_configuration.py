"""No configuration, however odd, gives anything but values that fit or one message with all faults."""

from __future__ import annotations

import pytest
from checked_configurations import check_faulty, check_toml, check_typed
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_configurations import NAMES, faulty, toml, typed

from twofold.cli import main

MANY = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("recipe", NAMES)
@settings(MANY, max_examples=15)
@given(data=st.data())
def test_all_faults_of_a_recipes_configuration_in_one_message(recipe, data):
    check_faulty(data.draw(faulty(st.just(recipe))))


@MANY
@given(typed())
def test_whatever_is_typed(case):
    check_typed(*case)


@MANY
@given(toml())
def test_whatever_stands_in_a_file(tmp_path_factory, content):
    check_toml(content, tmp_path_factory.getbasetemp())


def test_the_command_line_lists_all_faults_of_all_owners_at_once():
    """Of the recipe, the data, the training, and of names that stand for something."""
    words = ["train", "simclr", "digits", "--temperature", "-1", "--batch-size", "many", "--size", "x", "--epochs", "0"]
    words += ["--encoder", "resnet81", "--views", "simcrl", "--device", "gpu", "--view-count", "1", "--epoch", "3"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert result.output.startswith("Error: 9 problems:\n")
    for part in (
        "no option --epoch; did you mean '--epochs'",
        "temperature",
        "batch_size",
        "size must be",
        "epochs",
        "resnet18",
        "simclr",
        "device 'gpu'",
        "view_count",
    ):
        assert part in result.output, part
    assert "Traceback" not in result.output
