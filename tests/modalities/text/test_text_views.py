"""Views of texts: each change by its definition, special tokens and padding left alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import ConfigError, DataError
from twofold.modalities.text import views as V

FIRST, LAST, PAD, MASK = 1, 2, 0, 3
VOCABULARY = V.Vocabulary(PAD, (PAD, FIRST, LAST, MASK), MASK)
SPEC = {"pad": PAD, "special": [PAD, FIRST, LAST, MASK], "mask": MASK, "columns": 1}
STEPS = [V.Crop(), V.Crop((0.3, 0.8), 1), V.Delete(0.5), V.Delete(1.0), V.Hide(0.5), V.Shuffle(4)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def texts(lengths, width=None):
    """Texts of 10, 11, 12 ..., between a first and a last token, padded."""
    width = (width or max(lengths)) + 2
    ids = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in zip(ids, lengths, strict=True):
        row[0], row[1 : length + 1], row[length + 1] = FIRST, torch.arange(10, 10 + length), LAST
    return ids


def words(row):
    return [token for token in row.tolist() if token >= 10]


@pytest.mark.parametrize("step", STEPS, ids=str)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
def test_every_step_keeps_the_frame_and_leaves_a_token(step, lengths, seed):
    ids = texts(lengths, 30)
    before = ids.clone()
    made = step(ids, VOCABULARY, seeded(seed))
    assert torch.equal(ids, before)
    assert made.dtype == torch.int64
    assert made.shape[0] == len(ids)
    assert made.shape[1] <= ids.shape[1]
    for row, old in zip(made, ids, strict=True):
        held = row[row != PAD]
        assert torch.equal(row[: len(held)], held), "padding only at the end"
        assert (int(held[0]), int(held[-1])) == (FIRST, LAST)
        assert len(held) >= 3
        assert set(words(row)) <= set(words(old))


def test_a_crop_is_a_span_of_the_wanted_share():
    ids = texts([20] * 400)
    made = V.Crop((0.25, 0.5), 1)(ids, VOCABULARY, seeded())
    lengths, starts = set(), set()
    for row in made:
        span = words(row)
        assert span == list(range(span[0], span[-1] + 1))
        lengths.add(len(span))
        starts.add(span[0] - 10)
    assert lengths == set(range(5, 10))
    assert min(starts) == 0
    assert max(starts) + min(lengths) == 20


def test_a_short_text_is_cropped_to_what_it_has():
    assert words(V.Crop((0.05, 0.05), 4)(texts([3]), VOCABULARY, seeded())[0]) == [10, 11, 12]


def test_deletion_and_hiding_have_their_rates():
    ids = texts([50] * 200)
    kept = sum(len(words(row)) for row in V.Delete(0.3)(ids, VOCABULARY, seeded()))
    assert kept / 10_000 == pytest.approx(0.7, abs=0.02)
    hidden = int((V.Hide(0.3)(ids, VOCABULARY, seeded()) == MASK).sum())
    assert hidden / 10_000 == pytest.approx(0.3, abs=0.02)
    assert torch.equal(V.Delete(0.0)(ids, VOCABULARY, seeded()), ids)


def test_deletion_keeps_the_order():
    for row in V.Delete(0.5)(texts([30] * 20), VOCABULARY, seeded()):
        assert words(row) == sorted(words(row))


def test_shuffling_moves_by_less_than_its_window():
    made = V.Shuffle(3)(texts([30] * 50), VOCABULARY, seeded())
    moves = torch.tensor([[place - (token - 10) for place, token in enumerate(words(row))] for row in made])
    assert all(sorted(words(row)) == list(range(10, 40)) for row in made)
    assert int(moves.abs().max()) == 2
    assert torch.equal(V.Shuffle(1)(texts([7]), VOCABULARY, seeded()), texts([7]))


@pytest.mark.parametrize("preset", [name for name in V.PRESETS if name != V.GIVEN])
def test_presets_are_functions_of_the_seed(preset):
    ids, state = texts([30] * 8), torch.get_rng_state()
    make = V.make_views(preset, SPEC, count=3)
    first, again, other = (make(ids, generator=seeded(seed)) for seed in (1, 1, 2))
    assert len(first) == 3
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    changed = any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert changed == (preset != "simcse")
    assert all(torch.equal(view, ids) for view in first) == (preset == "simcse")


def test_given_views_are_the_texts_of_a_sample():
    both = torch.stack([texts([4, 2], 6), texts([6, 1], 6)], 1)
    first, second = V.make_views("given", SPEC | {"columns": 2}, count=2)(both, generator=seeded())
    assert torch.equal(first, texts([4, 2]))
    assert torch.equal(second, texts([6, 1]))
    assert torch.equal(V.make_views("simcse", SPEC, count=2)(both, generator=seeded())[1], texts([4, 2]))
    with pytest.raises(DataError, match="need 2 texts a sample, there is 1"):
        V.GivenViews(PAD, 2)(texts([3]), generator=seeded())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: V.make_views("simcs", SPEC, count=2), "did you mean 'simcse'"),
        (lambda: V.make_views("crop", SPEC, count=0), "count must be a whole number"),
        (lambda: V.make_views("given", SPEC, count=2), "the data has 1: name the columns"),
        (lambda: V.make_views("masking", SPEC | {"mask": None}, count=2), "no token for a mask"),
        (lambda: V.Hide()(texts([3]), V.Vocabulary(PAD), seeded()), "no token for a mask"),
        (lambda: V.Crop((0.6, 0.5)), "a share within"),
        (lambda: V.Delete(1.5), "between 0 and 1"),
        (lambda: V.Shuffle(0), "at least 1"),
    ],
)
def test_wrong_options_say_so(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
