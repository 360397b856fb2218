"""Evaluation of recipes: parts, classes by name, baselines, keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import twofold
from twofold.errors import ConfigError, DataError
from twofold.evaluation import Evaluation
from twofold.modalities.image.data import ImageArrays
from twofold.recipes import measuring

QUICK = {"metrics": ["knn"]}


@pytest.fixture
def recipe(make_recipe, digits_set):
    torch.manual_seed(0)
    return make_recipe("simclr").build(digits_set.spec).eval()


def renamed(dataset, order):
    """The same samples, their classes numbered by ``order``."""
    position = torch.empty(len(order), dtype=torch.int64)
    position[torch.tensor(order)] = torch.arange(len(order))
    names = [dataset.class_names[i] for i in order]
    return ImageArrays(dataset.images, labels=position[dataset.labels], class_names=names, ids=dataset.ids)


def knn(result, row=0):
    return result.rows[row].metrics["knn"].value


def test_rows_chance_and_protocol(recipe, digits_set, digits_held_out):
    result = recipe.evaluate(digits_set, test=digits_held_out, metrics=["knn", "geometry"])
    assert isinstance(result, Evaluation)
    assert [row.name for row in result.rows] == ["trained", "untrained", "raw"]
    assert result.rows[0].label == "SimCLR, trained"
    assert result.protocol["split"] == "bank and test given apart"
    assert 0.05 < result.chance["knn"] < 0.2
    assert knn(result) != knn(result, 1) or knn(result) != knn(result, 2)
    assert {d.against for d in result.differences} == {"untrained", "raw"}
    alone = recipe.evaluate(digits_set, test=digits_held_out, baselines=False, **QUICK)
    assert [row.name for row in alone.rows] == ["trained"]
    assert knn(alone) == knn(result)


def test_evaluation_leaves_the_recipe_as_it_was(recipe, digits_set):
    before = {key: value.clone() for key, value in recipe.state_dict().items()}
    recipe.train()
    recipe.evaluate(digits_set, **QUICK)
    assert recipe.training
    assert all(torch.equal(value, before[key]) for key, value in recipe.state_dict().items())


def test_a_part_is_held_out_by_seed_and_fraction(recipe, digits_set):
    results = [recipe.evaluate(digits_set, seed=s, test_fraction=f, **QUICK) for s, f in [(0, 0.3), (0, 0.3), (1, 0.5)]]
    assert results[0].to_json() == results[1].to_json()
    assert results[0].protocol["split"].startswith("70% / 30%, stratified by class, seed 0")
    assert results[2].protocol["split"].startswith("50% / 50%, stratified by class, seed 1")
    counts = [result.rows[0].metrics["knn"].n for result in results]
    assert counts[0] == pytest.approx(0.3 * 192, abs=6)
    assert counts[2] == pytest.approx(0.5 * 192, abs=6)


def test_classes_are_matched_by_name_not_by_number(recipe, digits_set, digits_held_out):
    plain = recipe.evaluate(digits_set, test=digits_held_out, **QUICK)
    shuffled = renamed(digits_held_out, [3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    assert not torch.equal(shuffled.labels, digits_held_out.labels)
    other = recipe.evaluate(digits_set, test=shuffled, **QUICK)
    assert knn(plain) > 0.5, "else agreement would say nothing"
    assert [knn(other, row) for row in range(3)] == [knn(plain, row) for row in range(3)]


def test_a_test_set_may_lack_classes_or_name_them_by_numbers(recipe, digits_set, digits_held_out):
    few = digits_held_out.subset((digits_held_out.labels >= 7).nonzero().flatten())
    compact = ImageArrays(few.images, labels=few.labels - 7, class_names=["7", "8", "9"])
    numbers = ImageArrays(few.images, labels=few.labels)
    results = [recipe.evaluate(digits_set, test=test, baselines=False, **QUICK) for test in (few, compact, numbers)]
    assert knn(results[0]) > 0.5
    assert knn(results[0]) == knn(results[1]) == knn(results[2])


def test_unlabelled_test_samples_stay_unlabelled(recipe, digits_set, digits_held_out):
    shuffled = renamed(digits_held_out, list(range(9, -1, -1)))
    shuffled.labels[::2] = -1
    result = recipe.evaluate(digits_set, test=shuffled, baselines=False, **QUICK)
    assert result.rows[0].metrics["knn"].n == 60
    assert knn(result) > 0.5


def test_unknown_classes_are_named(recipe, digits_set, digits_held_out):
    test = ImageArrays(
        digits_held_out.images[:4], labels=torch.tensor([0, 1, 2, 1]), class_names=["zebra", "1", "ant", "unused"]
    )
    with pytest.raises(DataError, match=r"classes that the bank does not know: ant, zebra\. The bank has: 0, 1, 2"):
        recipe.evaluate(digits_set, test=test, **QUICK)


def test_without_labels_there_is_geometry(recipe, digits_set):
    result = recipe.evaluate(ImageArrays(digits_set.images))
    assert "effective_rank" in result.rows[0].metrics
    assert "knn" not in result.rows[0].metrics


def test_wrong_requests(recipe, digits_set, make_recipe):
    with pytest.raises(ConfigError, match="unknown metric group knnn"):
        recipe.evaluate(digits_set, metrics=["knnn"])
    with pytest.raises(ConfigError, match="keys='code': the data has no such attribute"):
        recipe.evaluate(digits_set, keys="code")
    own = make_recipe("simclr", encoder=nn.Sequential(nn.Flatten(), nn.Linear(64, 8))).build(digits_set.spec)
    with pytest.raises(ConfigError, match="evaluate with baselines=False"):
        own.evaluate(digits_set)
    assert len(own.evaluate(digits_set, baselines=False, **QUICK).rows) == 1


def test_keys_say_what_should_be_found(make_recipe):
    bank, test = (twofold.data.emoji(part, size=8) for part in ("train", "test"))
    torch.manual_seed(0)
    recipe = make_recipe("simclr").build(bank.spec)
    by_label = recipe.evaluate(bank, test=test, metrics=["retrieval"], baselines=False)
    by_key = recipe.evaluate(bank, test=test, metrics=["retrieval", "geometry"], baselines=False, keys="code")
    assert by_key.chance["recall_at_1"] < by_label.chance["recall_at_1"] / 5
    assert "alignment" in by_key.rows[0].metrics, "pairs of the same key"


def write_classes(folder, dataset, index):
    for i in index:
        name = dataset.class_names[int(dataset.labels[i])]
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(dataset.images[i, 0])).save(folder / name / f"{i}.png")


def test_a_folders_own_parts_are_used(recipe, digits_set, tmp_path):
    write_classes(tmp_path / "train", digits_set, range(100))
    write_classes(tmp_path / "test", digits_set, range(100, 140))
    result = recipe.evaluate(tmp_path, baselines=False, **QUICK)
    assert result.protocol["split"] == "the folder's own train and test parts"
    assert result.rows[0].metrics["knn"].n == 40
    bank, test = measuring.train_and_test(recipe, tmp_path, None, {"size": 8})
    assert (len(bank), len(test)) == (100, 40)
    one = recipe.evaluate(tmp_path, split="test", baselines=False, **QUICK)
    assert one.protocol["split"].startswith("70%")
    assert one.rows[0].metrics["knn"].n < 20


def test_parts_for_a_comparison_are_the_same_each_time(recipe, digits_set):
    first, second = (measuring.train_and_test(recipe, digits_set, None, {}) for _ in range(2))
    assert [len(part) for part in first] == [len(part) for part in second]
    assert first[1].ids == second[1].ids
    assert set(first[0].ids) & set(first[1].ids) == set()
    with pytest.raises(DataError, match="has no labels, and a comparison needs them"):
        measuring.train_and_test(recipe, ImageArrays(digits_set.images), None, {})


def test_the_untrained_copy_is_another_start_of_the_same_network(recipe):
    copies = [measuring.untrained_copy(recipe) for _ in range(2)]
    first, second = (copy.state_dict() for copy in copies)
    assert all(torch.equal(first[key], second[key]) for key in first)
    weights = [key for key, value in recipe.named_parameters() if value.ndim > 1]
    assert weights
    assert all(not torch.equal(first[key], recipe.state_dict()[key]) for key in weights)
