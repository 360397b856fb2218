"""Cards are read from the source of recipes, without importing them or torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from twofold.errors import ConfigError
from twofold.recipes import cards, catalogue


@pytest.mark.parametrize("name", sorted(catalogue.RECIPES))
def test_the_card_in_the_source_is_that_of_the_class(name):
    assert catalogue.card(name) == catalogue.get(name).card
    assert catalogue.card(name).name == name


def test_the_list_of_recipes_needs_no_torch():
    code = "import sys; from twofold.apps import catalogue; catalogue.as_text(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_what_has_no_card():
    with pytest.raises(ConfigError, match="There is no recipe 'simclrr'; did you mean 'simclr'"):
        catalogue.card("simclrr")
    with pytest.raises(LookupError, match="no class Nobody with a card"):
        cards.read("twofold.recipes.views.simclr", "Nobody")
    with pytest.raises(LookupError, match="There is no module"):
        cards.read("twofold.recipes.nowhere", "SimCLR")
