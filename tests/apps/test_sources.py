"""What a person may name as data."""

from __future__ import annotations

import pytest

from twofold.apps import sources
from twofold.errors import ConfigError


def test_built_in_sets_by_name_and_part():
    assert len(sources.resolve(["digits"])) == 1200
    assert len(sources.resolve(["digits"], part="test")) == 597
    assert len(sources.resolve(["digits"], part="all")) == 1797
    assert sources.resolve(["emoji"], size=16).spec["size"] == 16
    assert sources.resolve(["emoji"]).spec["size"] == sources.EMOJI_SIZE


def test_paths_stay_paths(tmp_path, monkeypatch):
    assert sources.resolve(["photos"]) == "photos"
    assert sources.resolve(["a", "digits"]) == ["a", "digits"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert sources.resolve(["digits"]) == "digits", "a folder of that name goes first"
    assert not sources.is_built_in(["digits"])


def test_no_data():
    with pytest.raises(ConfigError, match=r"Name the data: .*emoji, digits"):
        sources.resolve([])
