"""What is measured on pairs, and what the command line and Python say of it."""

import numpy as np
import pytest
import torch

import twofold
from twofold.errors import ConfigError, DataError
from twofold.modalities.paired import MODALITY, Pairs
from twofold.modalities.paired.data import sides_read
from twofold.modalities.paired.tasks import items_of, make_task, read_prompts

SIDES = sides_read("image:size=8", "text")


def known(arrays, **more):
    """Pairs with two captions each, where pictures 0 and 1 show the same."""
    (pictures, labels), texts = arrays
    pairs = MODALITY.read(((pictures, labels), [[text, f"{text} again"] for text in texts]))
    keys = [0, 0, *range(2, 8)]
    names = ["ones", "others"]
    return Pairs(
        pairs.first,
        pairs.second,
        second_rows=pairs.second_rows,
        keys=keys,
        class_names=names,
        labels=pairs.labels,
        **more,
    )


@pytest.fixture(scope="module")
def pairs(arrays):
    return known(arrays)


def aligned(pairs, task, *, noise=0.0):
    """Embeddings in which everything is right: one direction a key, plus one a class that prompts share."""
    draw = torch.Generator().manual_seed(0)
    first, second = items_of(pairs, "first"), items_of(pairs, "second")
    rows = {name: torch.zeros(len(side), 12) for name, side in task.sides.items()}
    for items, name in ((first, "first"), (second, "second")):
        for i, key in enumerate(items.keys):
            rows[name][i, key] = 1
    for i, row in enumerate(first.rows.tolist()):
        rows["first"][i, 10 + int(pairs.labels[row])] = 1
    if "prompts" in rows:
        for c, part in enumerate(rows["prompts"].chunk(2)):
            part[:, 10 + c] = 1
    return {name: value + noise * torch.randn(value.shape, generator=draw) for name, value in rows.items()}


def test_everything_that_the_data_allows_is_measured(pairs):
    task = make_task(pairs, SIDES)
    assert task.name == "retrieval+zero-shot+gap"
    assert {name: len(side) for name, side in task.sides.items()} == {"first": 8, "second": 16, "prompts": 2}
    found = task.measure(aligned(pairs, task))
    assert found["first_to_second_recall_at_1"].value == 1
    assert found["second_to_first_recall_at_1"].value == 1
    assert found["zero_shot"].value == 1
    assert found["zero_shot"].n == 8
    assert set(found) <= set(task.metrics)
    assert not task.raw
    assert task.metrics["first_to_second_recall_at_1"].title == "image → text R@1"


def test_chance_is_what_random_embeddings_score(pairs):
    draw = torch.Generator().manual_seed(0)
    tasks = [make_task(pairs, SIDES, name=name) for name in ("retrieval", "zero-shot")]
    scores = []
    for _ in range(60):
        rows = {name: torch.randn(len(side), 12, generator=draw) for task in tasks for name, side in task.sides.items()}
        scores.append(tasks[0].measure(rows) | tasks[1].measure(rows))
    chance = tasks[0].chance | tasks[1].chance
    for key in ("first_to_second_recall_at_1", "second_to_first_recall_at_5", "second_to_first_map", "zero_shot"):
        assert np.mean([one[key].value for one in scores]) == pytest.approx(chance[key], abs=0.06)
    assert chance["zero_shot"] == 0.5


def test_unreadable_items_are_left_out(pairs):
    task = make_task(pairs, SIDES)
    rows = aligned(pairs, task)
    rows["first"][3] = torch.nan
    found = task.measure(rows)
    assert found["zero_shot"].n == 7
    assert found["first_to_second_recall_at_1"].n == 7
    assert torch.isnan(found["first_to_second_recall_at_1"].per_item[3])
    assert found["second_to_first_recall_at_1"].n == 14  # its two captions have nothing to find


def test_sides_of_different_widths_have_no_common_measure(pairs):
    task = make_task(pairs, SIDES)
    assert task.measure({"first": torch.ones(8, 3), "second": torch.ones(16, 4), "prompts": torch.ones(2, 4)}) == {}


def test_swapped_texts(arrays):
    _, texts = arrays
    wrong = MODALITY.read([f"wrong {text}" for text in texts], side="second").dataset
    pairs = known(arrays, swapped=(wrong, torch.tensor([[2, 1], [5, 0]])))
    task = make_task(pairs, SIDES, name="swap")
    assert task.chance == {"swap": 0.5}
    assert len(task.sides["swapped"]) == 2
    rows = aligned(pairs, task)
    rows["swapped"][0, 2] = 3  # nearer to its picture than the right text
    rows["first"][2, 10:] = 0
    rows["second"][4, 9] = 1
    assert task.measure(rows)["swap"].value == 0.5


def test_templates(tmp_path, pairs):
    path = tmp_path / "prompts.txt"
    path.write_text("a picture of {}\n\n{}, drawn\n")
    assert read_prompts(str(path)) == ["a picture of {}", "{}, drawn"]
    assert read_prompts("one {}") == ["one {}"]
    task = make_task(pairs, SIDES, prompts=str(path))
    texts = [task.sides["prompts"].dataset.text(i) for i in range(4)]
    assert texts == ["a picture of ones", "ones, drawn", "a picture of others", "others, drawn"]
    assert task.measure(aligned(pairs, task))["zero_shot"].value == 1
    with pytest.raises(ConfigError, match=r"neither a template with \{\} for the class name nor a file"):
        read_prompts("a picture")
    path.write_text("a picture\n")
    with pytest.raises(ConfigError, match=r"every line must be a template with \{\}"):
        read_prompts(str(path))
    path.write_bytes(b"\xff\xfe\xfa{}")
    with pytest.raises(DataError, match="templates cannot be read"):
        read_prompts(str(path))


def test_tasks_by_name(arrays):
    spec = MODALITY.read(arrays).spec
    assert MODALITY.task(arrays, spec, name="labels") is None
    assert MODALITY.task(arrays[1], spec, side="second") is None
    assert MODALITY.task(arrays, spec, name="gap").name == "gap"
    with pytest.raises(ConfigError, match="no task 'sts' for pairs; there are retrieval"):
        MODALITY.task(arrays, spec, name="sts")
    with pytest.raises(ConfigError, match="task 'swap' needs wrong texts"):
        MODALITY.task(arrays, spec, name="swap")
    with pytest.raises(ConfigError, match="'zero-shot' needs classes with names"):
        MODALITY.task((arrays[0][0], arrays[1]), spec, name="zero-shot")


def test_a_recipe_is_measured_beside_its_untrained_copy(arrays):
    (pictures, _), texts = arrays
    named = (pictures, texts, ["even", "odd"] * 4)
    model = twofold.CLIP(encoder="convnet-w4+embedding-bag-w8@16").fit(named, epochs=1, batch_size=8, workers=0)
    report = model.evaluate(named, prompts="the {} one")
    assert [row.name for row in report.rows] == ["trained", "untrained"]
    assert {"first_to_second_recall_at_10", "zero_shot", "gap", "separability"} <= set(report.rows[0].metrics)
    assert "the {} one" in report.protocol["prompts"]
    twins = twofold.CLIP(encoder="convnet-w4+convnet-w4@16")
    twins.fit((pictures, pictures), second="image", epochs=1, batch_size=8, workers=0)
    rows = {row.name: row for row in twins.evaluate((pictures, pictures), second="image").rows}
    assert rows["raw"].metrics["first_to_second_recall_at_1"].value == 1  # the same pictures twice
