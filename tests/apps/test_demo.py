"""The demo: the whole way on the built-in pictures."""

from __future__ import annotations

import json

import pytest

from twofold.apps import demo
from twofold.modalities.image import MODALITY
from twofold.recipes.views.simclr import SimCLR
from twofold.training.options import TrainingOptions


@pytest.mark.slow
def test_it_runs_and_measures_held_out_pairs(tmp_path, monkeypatch, capsys):
    """With a smaller encoder, smaller pictures and one epoch in place of the real ones."""
    monkeypatch.setattr(demo, "SIZE", 8)
    monkeypatch.setattr(demo, "SimCLR", lambda **options: SimCLR(**(options | {"encoder": "convnet-w16"})))
    monkeypatch.setattr(demo, "TrainingOptions", lambda **o: TrainingOptions(**(o | {"epochs": 1, "workers": 0})))
    demo.run(tmp_path / "run", command="twofold demo")
    said = capsys.readouterr().out
    assert "held out" in said
    result = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert "alignment" in result["rows"][0]["metrics"], "pairs of the same emoji by two vendors"
    assert (tmp_path / "run" / "report.html").stat().st_size > 50_000
    assert MODALITY.name == json.loads((tmp_path / "run" / "config.json").read_text())["options"]["modality"]
