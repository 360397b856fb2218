"""HaLP: the second term by a loop, when it begins, what carries gradients, and MoCo without it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import twofold
from twofold.contrast.hallucination import Hallucinated, hallucinate_positives
from twofold.errors import ConfigError
from twofold.recipes import running
from twofold.recipes.series.halp import attraction_to
from twofold.training import metrics_log
from twofold.training.options import TrainingOptions

SMALL = {"encoder": "convnet1d-w4", "hidden_dim": 32, "projection_dim": 16, "prototypes": 5, "positives": 10}


@pytest.fixture
def model(bodies):
    torch.manual_seed(0)
    return twofold.HaLP(**SMALL, queue_size=24, start=0.5).build(bodies(48, 0).spec)


def batch_of(bodies, n=12, progress=0.9):
    x = bodies(n, 0).fetch(torch.arange(n))["inputs"]
    draw = torch.Generator().manual_seed(0)
    return {"views": [x, x.flip(1)], "index": torch.arange(n), "progress": progress, "generator": draw}


def ready(model):
    """With prototypes, as after the queue has been filled twice."""
    draw = torch.Generator().manual_seed(1)
    for _ in range(6):
        keys = torch.randn(1, 12, 16, generator=draw)
        model.after_step({"key": keys}, {"index": torch.arange(12)})
    return model


def test_the_attraction_by_a_loop():
    draw = torch.Generator().manual_seed(0)
    queries = torch.randn(4, 6, generator=draw)
    rows = F.normalize(torch.randn(4, 3, 6, generator=draw), dim=-1)
    kept = torch.tensor([[1, 0, 1], [1, 1, 1], [0, 0, 0], [0, 1, 0]]).bool()
    terms = [
        -float(F.normalize(queries[i], dim=0) @ rows[i, k]) for i in range(4) for k in range(3) if bool(kept[i, k])
    ]
    assert float(attraction_to(queries, Hallucinated(rows, kept))) == pytest.approx(sum(terms) / 6)
    assert float(attraction_to(queries, Hallucinated(rows, torch.zeros_like(kept)))) == 0


def test_the_terms_and_their_sum(model, bodies):
    ready(model)
    batch = batch_of(bodies)
    outputs = model.represent(batch)
    losses = model.losses(outputs, batch)
    made = hallucinate_positives(
        outputs["key"][0], model.centers, spread=0.8, count=10, generator=torch.Generator().manual_seed(0)
    )
    torch.testing.assert_close(losses["hallucinated"], attraction_to(outputs["query"][0], made) / 0.07)
    torch.testing.assert_close(losses["total"], losses["moco"] + losses["hallucinated"])
    model.weight = 0.0
    assert torch.equal(model.losses(outputs, batch)["total"], losses["moco"])


def test_gradients_go_through_the_query_only(model, bodies):
    ready(model)
    batch = batch_of(bodies)
    query = torch.randn(1, 12, 16, requires_grad=True)
    key = torch.randn(1, 12, 16, requires_grad=True)
    model.losses({"query": query, "key": key}, batch)["hallucinated"].backward()
    assert float(query.grad.abs().sum()) > 0
    assert key.grad is None


def test_it_begins_when_the_queue_was_filled_twice_and_its_time_has_come(model, bodies):
    batch = batch_of(bodies)
    for _ in range(4):
        model.after_step({"key": torch.randn(1, 12, 16)}, {"index": torch.arange(12)})
    assert not bool(model.clustered)  # filled twice after step 4, but the next clustering comes every fifth step
    model.after_step({"key": torch.randn(1, 12, 16)}, {"index": torch.arange(12)})
    model.after_step({"key": torch.randn(1, 12, 16)}, {"index": torch.arange(12)})
    assert bool(model.clustered)
    assert set(model(batch)) == {"total", "moco", "hallucinated"}
    assert set(model(batch | {"progress": 0.4})) == {"total"}


def test_prototypes_are_of_the_newest_keys_alone(model):
    corner = torch.eye(16)[:3].repeat(8, 1)
    model.newest = 12
    model.queue.push(-corner, torch.arange(24))
    model.queue.push(corner[:12], torch.arange(12))
    model.cluster()
    nearest = (model.centers @ torch.eye(16)[:3].T).amax(1)
    torch.testing.assert_close(nearest, torch.ones(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(model.centers.norm(dim=1), torch.ones(5))


def test_small_numbers_and_what_is_refused(bodies):
    spec = bodies(48, 0).spec
    assert twofold.HaLP(**SMALL, queue_size=4).build(spec).centers.shape == (2, 16)
    assert twofold.HaLP(**SMALL, newest=1).build(spec).centers.shape == (2, 16)
    with pytest.raises(ConfigError, match="queue_size must be at least 2, got 1"):
        twofold.HaLP(queue_size=1)


def test_without_weight_it_trains_as_skeleton_moco(bodies):
    settings = TrainingOptions.checked(epochs=2, batch_size=16, seed=0, workers=0, precision="float32")
    states = []
    for recipe, options in ((twofold.HaLP, SMALL | {"weight": 0.0}), (twofold.SkeletonMoCo, {})):
        own = options or {name: SMALL[name] for name in ("encoder", "hidden_dim", "projection_dim")}
        model = recipe(**own)
        running.fit_dataset(model, bodies(48, 0), settings)
        states.append(model.state_dict())
    assert all(torch.equal(value, states[0][name]) for name, value in states[1].items())


def test_it_learns_and_is_saved(bodies, tmp_path):
    train, test = bodies(192, 0), bodies(90, 1)
    model = twofold.HaLP(**SMALL, queue_size=96, start=0.3)
    settings = TrainingOptions.checked(epochs=25, batch_size=48, lr=5e-3, seed=0, workers=0, precision="float32")
    running.fit_dataset(model, train, settings, out=tmp_path / "run")
    records = metrics_log.read(tmp_path / "run" / "metrics.jsonl")
    assert sum("hallucinated" in record for record in records) > 30
    made = [record["hallucinated"] for record in records if "hallucinated" in record]
    assert sum(made[-10:]) < sum(made[:10])
    report = model.evaluate(train, test=test, metrics=("knn",))
    values = {row.name: row.metrics["knn"].value for row in report.rows}
    assert values["trained"] > values["untrained"] + 0.05, values
    again = twofold.load(tmp_path / "run")
    assert torch.equal(again.embed(test), model.embed(test))
    assert torch.equal(again.centers, model.centers)
