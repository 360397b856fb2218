"""Views of pairs: sides in turn, a text chosen a step, nothing changed where nothing should be."""

import pytest
import torch

from twofold.errors import ConfigError
from twofold.modalities.paired import MODALITY, Pairs
from twofold.modalities.paired.views import choose


@pytest.fixture(scope="module")
def pairs(arrays):
    return MODALITY.read(arrays)


def drawn(pairs, name=None, *, seed=0, count=2, preferred="plain"):
    batch = pairs.fetch(torch.arange(len(pairs)))
    extra = {key: batch[key] for key in ("first_extra", "second_extra", "second_count") if key in batch}
    views = MODALITY.make_views(name, pairs.spec, preferred=preferred, count=count)
    return views(batch["inputs"], generator=torch.Generator().manual_seed(seed), **extra)


def test_sides_come_in_turn(pairs):
    assert [list(view) for view in drawn(pairs)] == [["first"], ["second"]]
    assert [list(view) for view in drawn(pairs, count=5)] == [["first"], ["second"], ["first"], ["second"], ["first"]]


def test_plain_views_are_what_is_used(pairs):
    first, second = drawn(pairs)
    ready = MODALITY.prepare(pairs.fetch(torch.arange(8)), pairs.spec)
    assert torch.equal(first["first"], ready["first"])
    assert torch.equal(second["second"], ready["second"])


def test_the_seed_decides(pairs):
    one, same, other = (drawn(pairs, "weak+default", seed=seed)[0]["first"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 1


def test_names(pairs):
    assert MODALITY.choose_views(pairs.spec, preferred="plain") == "plain+plain"
    assert MODALITY.choose_views(pairs.spec, preferred="weak+plain") == "weak+plain"
    first = MODALITY.choose_views(pairs.spec, preferred="simclr").split("+")[0]
    assert first == "digits"  # pictures of 8 pixels
    assert MODALITY.problems("convnet", "a+b+c") != []
    assert MODALITY.problems("convnet+default@64", "weak+plain") == []
    with pytest.raises(ConfigError, match="views 'a\\+b\\+c': views of pairs are FIRST\\+SECOND"):
        MODALITY.make_views("a+b+c", pairs.spec, preferred="plain", count=2)
    with pytest.raises(ConfigError, match="no views called 'wek'"):
        MODALITY.make_views("wek+plain", pairs.spec, preferred="plain", count=2)


def test_a_text_of_several_is_chosen_anew(arrays):
    (pictures, _), texts = arrays
    several = [[text, f"{text} too", f"{text} three"][: 1 + i % 3] for i, text in enumerate(texts)]
    pairs = MODALITY.read((pictures, several))
    options = [
        [pairs.second.fetch(torch.tensor([row]))["inputs"][0].tolist() for row in rows] for rows in pairs.second_rows
    ]
    seen = [set() for _ in texts]
    for seed in range(40):
        for i, row in enumerate(drawn(pairs, seed=seed)[1]["second"].tolist()):
            numbers = [k for k, ids in enumerate(options[i]) if row[: len(ids)] == ids and not any(row[len(ids) :])]
            assert len(numbers) == 1
            seen[i] |= set(numbers)
    assert seen == [set(range(1 + i % 3)) for i in range(8)]
    ready = MODALITY.prepare(pairs.fetch(torch.arange(8)), pairs.spec)["second"]
    assert all(row[: len(options[i][0])].tolist() == options[i][0] for i, row in enumerate(ready))


def test_choosing_goes_into_dictionaries_and_lists():
    value = torch.arange(24).reshape(4, 3, 2)
    which = torch.tensor([0, 2, 1, 0])
    chosen = choose({"a": value, "b": [value + 100]}, which)
    assert chosen["a"].tolist() == [value[i, k].tolist() for i, k in enumerate(which.tolist())]
    assert torch.equal(chosen["b"][0], chosen["a"] + 100)


def test_no_more_choices_than_are_trained_on(arrays):
    (pictures, _), _ = arrays
    whole = MODALITY.read((pictures, [f"text {i}" for i in range(8)]))
    many = Pairs(whole.first, whole.second, first_rows=torch.tensor([0]), second_rows=[[i % 8 for i in range(40)]])
    assert many.choices.shape == (1, 16)
