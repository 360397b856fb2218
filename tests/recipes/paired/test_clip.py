"""CLIP and what all systems of two towers share."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold import modalities
from twofold.contrast.objectives import symmetric_info_nce
from twofold.recipes.paired.clip import TwoTowers


@pytest.fixture(scope="module")
def source():
    """Pictures of a square in one of 16 places, and words that say where."""
    draw = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 60, (64, 3, 8, 8), generator=draw, dtype=torch.uint8)
    texts = []
    for i in range(64):
        row, column = i % 4, i // 4 % 4
        pictures[i, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 190
        texts.append(f"{('top', 'upper', 'lower', 'bottom')[row]} {('left', 'west', 'east', 'right')[column]} {i}")
    return pictures, texts


NAME = "mlp-w64+embedding-bag-w32@32"


def built(recipe, source, **options):
    dataset = modalities.get("paired").read(source)
    torch.manual_seed(0)
    model = recipe(encoder=NAME, **options).build(dataset.spec).eval()
    batch = dataset.fetch(torch.arange(12))
    views = model.make_views()(batch["inputs"], generator=torch.Generator().manual_seed(0))
    return model, {"views": views, "index": batch["index"]}


def test_the_loss_is_the_papers(source):
    model, batch = built(twofold.CLIP, source, temperature=0.2)
    outputs = model.represent(batch)
    assert {name: rows.shape for name, rows in outputs.items()} == {"first": (1, 12, 32), "second": (1, 12, 32)}
    x, y = (F.normalize(outputs[side][0].detach().double(), dim=1) for side in ("first", "second"))
    total = 0.0
    for i in range(12):
        total -= math.log(
            math.exp(float(x[i] @ y[i]) / 0.2) / sum(math.exp(float(x[i] @ y[j]) / 0.2) for j in range(12))
        )
        total -= math.log(
            math.exp(float(x[i] @ y[i]) / 0.2) / sum(math.exp(float(x[j] @ y[i]) / 0.2) for j in range(12))
        )
    assert float(model(batch)["total"].detach()) == pytest.approx(total / 24, rel=1e-5)


def test_more_views_average_over_pairs_of_sides(source):
    model, batch = built(twofold.CLIP, source, view_count=4, views="weak+plain")
    outputs = model.represent(batch)
    assert len(outputs["first"]) == len(outputs["second"]) == 2
    losses = [
        symmetric_info_nce(a, b, temperature=model.temperature) for a in outputs["first"] for b in outputs["second"]
    ]
    assert float(model.objective(outputs, batch).detach()) == pytest.approx(float(sum(losses).detach()) / 4, rel=1e-5)


def test_the_temperature_is_learned_and_clamped(source):
    model, batch = built(twofold.CLIP, source)
    assert float(model.temperature.detach()) == pytest.approx(0.07)
    model(batch)["total"].backward()
    assert model.log_scale.grad is not None
    for start, bound in ((9.0, math.log(100)), (-3.0, 0.0)):
        with torch.no_grad():
            model.log_scale.fill_(start)
            model.after_step({}, batch)
        assert float(model.log_scale.detach()) == pytest.approx(bound)
    fixed, batch = built(twofold.CLIP, source, learn_temperature=False)
    assert not fixed.log_scale.requires_grad


def test_the_chance_level_is_that_of_equal_similarities(source):
    model, batch = built(twofold.CLIP, source)
    same = {side: torch.ones(1, 12, 32) for side in ("first", "second")}
    assert float(model.objective(same, batch).detach()) == pytest.approx(model.chance_level(12), rel=1e-5)


def test_what_two_towers_leave_open():
    with pytest.raises(NotImplementedError):
        TwoTowers.pair_loss(None, torch.ones(2, 2), torch.ones(2, 2))


def test_training_beats_no_training(source):
    model = twofold.CLIP(encoder=NAME)
    model.fit(source, epochs=30, batch_size=32, lr=3e-3, weight_decay=1e-3, workers=0, precision="float32")
    rows = {row.name: row.metrics for row in model.evaluate(source, task="retrieval").rows}
    for way in ("first_to_second_recall_at_5", "second_to_first_recall_at_5"):
        assert rows["trained"][way].value > rows["untrained"][way].value + 0.3
