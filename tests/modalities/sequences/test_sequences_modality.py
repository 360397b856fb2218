"""Reading sequences, the encoder, and the evaluation by the item that comes next."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import twofold
from twofold.errors import ConfigError, DataError
from twofold.modalities.sequences import MODALITY
from twofold.modalities.sequences.encoders import SASRecEncoder

COLUMNS = {
    "user": ["a", "b", "a", "a", "b", "c", "a"],
    "item": ["x", "y", "y", "z", "x", "z", "x"],
    "time": [5, 1, 3, 9, 1, 0, 9],
}
"""a: y x z x, b: y x (same time: in the order of the source), c: z."""


def named(dataset, index=None):
    names = ["", *dataset.spec["items"]]
    rows = dataset.fetch(torch.arange(len(dataset)) if index is None else index)["inputs"]
    return [" ".join(names[i] for i in row.tolist() if i) for row in rows]


def test_events_are_sorted_and_the_last_two_held_out():
    everything = MODALITY.read(COLUMNS, split="all", length=3)
    assert everything.ids == ["user:a", "user:b", "user:c"]
    assert named(everything) == ["x z x", "y x", "z"]
    inputs = everything.fetch(torch.tensor([2, 1]))["inputs"]
    assert inputs.tolist() == [[0, 0, 3], [0, 2, 1]]
    train = MODALITY.read(COLUMNS, length=3)
    assert named(train) == ["y x", "y x", "z"]  # of b and c there is too little to hold out
    assert "2 of them, the last two of each, are held out" in MODALITY.describe(train)
    assert MODALITY.previews(everything, torch.tensor([0])) == ["x › z › x"]


def test_the_order_of_the_source_counts_without_times(tmp_path):
    (tmp_path / "lists.txt").write_text("a y x z x\nb y x x\n")
    data = MODALITY.read(tmp_path / "lists.txt", split="all")
    assert named(data) == ["y x z x", "y x x"]
    assert "no times, so the order of the source" in MODALITY.describe(data)


def test_repetitions_at_one_time_count_once():
    doubled = {name: values + values[:2] for name, values in COLUMNS.items()}
    data = MODALITY.read(doubled, split="all", length=4)
    assert named(data) == ["y x z x", "y x", "z"]
    assert "2 events were given more than once and count once" in MODALITY.describe(data)


def test_the_length_covers_nearly_all_users():
    lists = {"user": [u for u in range(100) for _ in range(4 + 96 * (u > 97))]}
    lists["item"] = [i % 7 for i in range(len(lists["user"]))]
    assert MODALITY.read(lists).spec["length"] == 4
    lists["user"] = [0] * 150 + [1] * (len(lists["user"]) - 150)
    assert MODALITY.read(lists).spec["length"] == 50


def test_bad_input_and_options_are_told():
    with pytest.raises(DataError, match="1 user and 2 item are no data to learn from"):
        MODALITY.read({"user": ["a", "a"], "item": ["x", "y"]})
    with pytest.raises(ConfigError, match="length is 1; it must be at least 2"):
        MODALITY.read(COLUMNS, length=1)
    with pytest.raises(ConfigError, match="split is 'test'; it must be 'train'"):
        MODALITY.read(COLUMNS, split="test")
    negative = COLUMNS | {"time": [-5, *COLUMNS["time"][1:]]}
    data = MODALITY.read(negative, split="all")
    assert data.skipped == {"row 1": "a negative time"}
    assert "1 rows or names were left out, such as row 1 (a negative time)" in MODALITY.describe(data)
    with pytest.raises(ConfigError, match="the spec of sequences lacks length"):
        MODALITY.make_encoder("sasrec", {"items": ["a"]}, rebuild={})
    with pytest.raises(ConfigError, match="dropout of an encoder is in per cent, below 100, not 100"):
        MODALITY.make_encoder("sasrec-p100", {"items": ["a"], "length": 3}, rebuild={})


def test_other_data_is_matched_by_name():
    data = MODALITY.read(COLUMNS, length=3)
    reading = MODALITY.reading_for(data.spec)
    other = MODALITY.read({"user": ["n", "n", "m"], "item": ["z", "new", "y"], "time": [2, 1, 3]}, **reading)
    assert named(other) == ["z", "y"]
    assert other.skipped == {"item:new": "the encoder does not know it"}
    MODALITY.check_fits(other, data.spec)
    with pytest.raises(DataError, match="the encoder knows none of the items, such as p; it knows"):
        MODALITY.read({"user": ["n"], "item": ["p"], "time": [2]}, **reading)
    with pytest.raises(DataError, match="has vectors of other items"):
        MODALITY.check_fits(MODALITY.read({"user": ["n", "m"], "item": ["p", "q"], "time": [2, 1]}), data.spec)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return SASRecEncoder(6, 5, width=8, depth=2).eval()


def test_a_state_does_not_see_what_comes_later(encoder):
    sequences = torch.tensor([[0, 0, 1, 2, 3], [0, 0, 1, 2, 6]])
    states = encoder.states(sequences)
    assert torch.allclose(states[0, 2:4], states[1, 2:4])
    assert not torch.allclose(states[0, 4], states[1, 4])
    assert states.isfinite().all()


def test_padding_changes_nothing(encoder):
    short, padded = torch.tensor([[1, 2, 3]]), torch.tensor([[0, 0, 1, 2, 3]])
    assert torch.allclose(encoder(short), encoder(padded), atol=1e-6)
    earlier = torch.tensor([[4, 0, 1, 2, 3]])
    assert not torch.allclose(encoder(earlier), encoder(padded))
    with pytest.raises(ValueError, match=r"sequences must be int64 \(n, at most 5\), got torch.int64 \(1, 6\)"):
        encoder(torch.zeros(1, 6, dtype=torch.int64))


def test_a_candidate_is_its_item_alone_and_for_sasrec_its_vector(encoder):
    candidate, alone = torch.tensor([[0, 0, 0, 0, -4]]), torch.tensor([[0, 0, 0, 0, 4]])
    assert torch.equal(encoder(candidate), encoder(alone))
    model = twofold.SASRec(encoder=encoder).build({"modality": "sequences", "items": list("abcdef"), "length": 5})
    assert torch.equal(model.encode(candidate)[0], encoder.table.weight[4])
    assert torch.equal(model.encode(alone), encoder(alone))


def test_the_task_asks_for_the_last_item(walks):
    columns = walks()
    data = MODALITY.read(columns)
    whole = MODALITY.read(columns, split="all")
    spec = data.spec
    last = whole.fetch(torch.arange(len(whole)))["inputs"][:, -1] - 1
    for name, place in (("next-item", -1), ("validation", -2)):
        task = MODALITY.task(columns, spec, name=name)
        target = whole.fetch(torch.arange(len(whole)))["inputs"][:, place] - 1
        seen = task.sides["histories"].fetch(torch.arange(len(whole)))["inputs"]
        assert torch.equal(seen[:, place:], whole.fetch(torch.arange(len(whole)))["inputs"][:, 2 * place : place])
        one_hot = nn.functional.one_hot(target, 20).float()
        assert task.measure({"histories": one_hot, "items": torch.eye(20)})["hit_rate_at_10"].value == 1.0
    assert not torch.equal(last, target)
    assert task.baselines["Markov chain"]()["ndcg_at_10"].value > 0.9
    assert task.baselines["popularity"]()["ndcg_at_10"].value < 0.5


def test_items_that_were_had_before_are_left_out_unless_users_repeat_themselves(walks):
    task = MODALITY.task(walks(), MODALITY.read(walks()).spec)
    assert task.protocol["ranking"].startswith("those but what the user had before of 20 items")
    again = {"user": [u for u in "abc" for _ in range(4)], "item": list("xyxzxyzyzxzx")}
    task = MODALITY.task(again, MODALITY.read(again).spec)
    assert task.protocol["ranking"].startswith("all of them of 3 items")


def test_later_events_as_a_test(walks):
    columns = walks()
    model = twofold.SASRec(encoder="sasrec-w8-d1").fit(columns, split="all", epochs=1, workers=0)
    with pytest.raises(ConfigError, match="All events of its source were trained on"):
        model.evaluate(columns)
    later = {"user": ["u0", "u0", "u7", "x"], "item": ["i3", "i4", "i5", "i1"], "time": [10**6, 10**7, 10**6, 10**6]}
    task = MODALITY.task(columns, model.built_spec, test=later)
    comes = {"user:u0": "i3", "user:u7": "i5"}
    assert set(task.sides["histories"].ids) == set(comes)
    place = {name: i for i, name in enumerate(model.built_spec["items"])}
    wanted = nn.functional.one_hot(torch.tensor([place[comes[i]] for i in task.sides["histories"].ids]), 20).float()
    assert task.measure({"histories": wanted, "items": torch.eye(20)})["hit_rate_at_10"].n == 2
    with pytest.raises(DataError, match="no user of the test occurs in the source"):
        MODALITY.task(columns, model.built_spec, test={"user": ["x"], "item": ["i1"], "time": [1]})
    with pytest.raises(ConfigError, match="There is no task 'last' for sequences"):
        model.evaluate(columns, task="last")


def test_raw_features_weigh_recent_items_more():
    data = MODALITY.read(COLUMNS, split="all", length=3)
    raw = MODALITY.raw_features(data.fetch(torch.tensor([0, 1])), data.spec)
    assert raw.tolist() == [[pytest.approx(1.64), 0, pytest.approx(0.8)], [1, pytest.approx(0.8), 0]]
    many = data.spec | {"items": [str(i) for i in range(2000)]}
    hashed = MODALITY.raw_features(data.fetch(torch.tensor([0, 1])), many)
    assert hashed.shape == (2, 512)
    assert float(hashed[1].abs().sum()) == pytest.approx(1.8)
