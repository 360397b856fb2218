"""SigLIP: the logistic loss of every pair."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold import modalities


@pytest.fixture
def built():
    pictures = torch.randint(0, 255, (10, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    source = (pictures, [f"picture {word}" for word in "abcdefghij"])
    dataset = modalities.get("paired").read(source)

    def build(**options):
        torch.manual_seed(0)
        model = twofold.SigLIP(encoder="mlp-w16+embedding-bag-w8@16", **options).build(dataset.spec).eval()
        batch = dataset.fetch(torch.arange(10))
        views = model.make_views()(batch["inputs"], generator=torch.Generator().manual_seed(0))
        return model, {"views": views, "index": batch["index"]}, source

    return build


def test_the_loss_is_the_papers(built):
    model, batch, _ = built(temperature=0.5, bias=-1.5)
    outputs = model.represent(batch)
    x, y = (F.normalize(outputs[side][0].detach().double(), dim=1) for side in ("first", "second"))
    total = 0.0
    for i in range(10):
        for j in range(10):
            sign = 1 if i == j else -1
            total += math.log1p(math.exp(-sign * (float(x[i] @ y[j]) / 0.5 - 1.5)))
    assert float(model(batch)["total"].detach()) == pytest.approx(total / 10, rel=1e-5)


def test_scale_and_bias_are_learned_and_not_clamped(built):
    model, batch, _ = built()
    assert float(model.temperature.detach()) == pytest.approx(0.1)
    assert float(model.bias.detach()) == -10
    model(batch)["total"].backward()
    assert model.log_scale.grad is not None
    assert model.bias.grad is not None
    with torch.no_grad():
        model.log_scale.fill_(5.5)
        model.after_step({}, batch)
    assert float(model.log_scale.detach()) == 5.5


def test_the_chance_level_is_that_of_rows_without_a_common_direction(built):
    model, batch, _ = built()
    rows = {"first": torch.eye(20)[None, :10], "second": torch.eye(20)[None, 10:]}
    assert float(model.objective(rows, batch).detach()) == pytest.approx(model.chance_level(10), rel=1e-5)


def test_the_loss_falls_and_a_run_comes_back(built, tmp_path):
    model, batch, source = built()
    before = float(model(batch)["total"].detach())
    model.fit(source, epochs=20, batch_size=10, lr=1e-2, workers=0, precision="float32")
    assert float(model(batch)["total"].detach()) < before / 2
    model.save(tmp_path / "a")
    assert torch.equal(twofold.load(tmp_path / "a").embed(source), model.embed(source))
