"""Spoilt files of every format: read, or refused with a message that names the file; nothing else, and in bounds.

Many more inputs: ``python benchmarks/reliability/fuzz.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from file_formats import FORMATS
from file_mutations import Input, address_space, attempt, inputs, temporary_folder, time_bound
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EXAMPLES = 40
SECONDS = 30
EXTRA_MEMORY = 4 * 1024**3

same_every_time = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking is for a person at work: benchmarks/reliability/fuzz.py
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", FORMATS)
def test_valid_files_are_read(name: str, tmp_path: Path):
    kind = FORMATS[name]
    assert attempt(Input(name, kind.spoilt[0], kind.files()[kind.spoilt[0]]), tmp_path) == "read"


@pytest.mark.parametrize("name", FORMATS)
def test_spoilt_files_are_read_or_refused(name: str):
    outcomes = []

    @same_every_time
    @given(st.data())
    def spoil(data: st.DataObject) -> None:
        tried = data.draw(inputs(name))
        with temporary_folder() as folder, time_bound(SECONDS), address_space(EXTRA_MEMORY):
            outcomes.append(attempt(tried, Path(folder)))

    spoil()
    assert len(outcomes) >= EXAMPLES
    assert "refused" in outcomes
