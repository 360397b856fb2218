"""The list of recipes."""

from __future__ import annotations

import pytest

from twofold.apps import catalogue as app
from twofold.errors import ConfigError
from twofold.recipes import catalogue


def test_all_recipes_are_listed_with_their_papers(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    text = app.as_text()
    rows = text.splitlines()
    assert rows[0].split() == ["recipe", "paper", "modality", "what", "is", "new", "status"]
    assert [row.split()[0] for row in rows[1:]] == sorted(catalogue.RECIPES)
    assert all(catalogue.get(name).card.paper in text for name in catalogue.RECIPES)


def test_by_modality():
    on_graphs = {card.name for card in app.cards("graph")}
    assert {"simclr", "byol", "grace"} <= on_graphs
    assert "simcse" not in on_graphs
    assert {card.modalities for card in app.cards("image")} == {("any",)}
    with pytest.raises(ConfigError, match="There is no modality 'imgae'"):
        app.cards("imgae")
