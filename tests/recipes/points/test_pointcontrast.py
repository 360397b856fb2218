"""PointContrast: matches, the loss against a naive loop, and a small run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import twofold
from twofold.errors import ConfigError
from twofold.modalities import points
from twofold.recipes.points.pointcontrast import matched
from twofold.training import metrics_log

SPEC = {"channels": 3, "points": 32, "normals": False, "extras": 0, "mean": [0.0] * 3, "std": [0.5] * 3}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def clouds(count=32, seed=0):
    """Balls and spheres, with a class each."""
    draw = np.random.default_rng(seed)
    made = draw.normal(size=(count, 48, 3)).astype(np.float32)
    labels = np.arange(count) % 2
    made[labels == 1] /= np.linalg.norm(made[labels == 1], axis=2, keepdims=True)
    return made, labels


@pytest.fixture
def recipe():
    torch.manual_seed(0)
    return twofold.PointContrast(encoder="pointnet-w4", hidden_dim=16, projection_dim=8, radius=0.3).build(SPEC)


@pytest.fixture
def views(recipe):
    return recipe.make_views()(torch.randn(6, 32, 3, generator=seeded()) / 2, generator=seeded(1))


def test_points_remember_where_they_came_from():
    cloud = torch.randn(4, 32, 3, generator=seeded())
    for name in points.PRESETS:
        made = points.MODALITY.make_views(name, SPEC, preferred="pointcontrast", count=2)(cloud, generator=seeded(1))
        plain = points.MODALITY.make_views(name, SPEC, preferred="simclr", count=2)(cloud, generator=seeded(1))
        for view, other in zip(made, plain, strict=True):
            assert torch.equal(view["points"], other)
            nearest = torch.cdist(view["origin"], cloud, compute_mode="donot_use_mm_for_euclid_dist").min(2).values
            assert float(nearest.max()) == 0


def test_matches_are_each_others_nearest_and_within_the_radius():
    first, second = torch.rand(5, 20, 3, generator=seeded()), torch.rand(5, 30, 3, generator=seeded(1))
    second[:, :6] = first[:, 3:9]
    first[:, 10] = first[:, 11]  # of points in one place only one is taken
    places, partners, valid = matched(first, second, count=20, radius=0.15)
    for a, b, chosen, other, good in zip(first, second, places, partners, valid, strict=True):
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        wanted = {
            (i, j)
            for i in range(20)
            for j in range(30)
            if distance[i, j] <= 0.15 and distance[i, j] == distance[i].min() == distance[:, j].min()
        }
        found = set(zip(chosen[good].tolist(), other[good].tolist(), strict=True))
        assert 6 <= len(found) == int(good.sum())
        assert found <= wanted
        assert {i for i, _ in wanted} - {i for i, _ in found} <= {10, 11}
        assert len({j for _, j in found}) == len(found)


def test_few_matches_are_drawn_anew_and_those_that_are_none_come_last():
    first = torch.rand(3, 20, 3, generator=seeded())
    torch.manual_seed(0)
    one, other = (matched(first, first, count=5, radius=0.1)[0] for _ in range(2))
    assert one.shape == (3, 5)
    assert not torch.equal(one, other)
    second = first.clone()
    second[:, 2:] += 10
    places, partners, valid = matched(first, second, count=5, radius=0.1)
    assert valid.tolist() == [[True, True, False, False, False]] * 3
    assert torch.equal(places[valid], partners[valid])
    assert set(places[valid].tolist()) == {0, 1}


def test_the_loss_is_that_of_all_matches_of_the_batch(recipe, views):
    recipe.eval()
    torch.manual_seed(3)
    outputs = recipe.represent({"views": views})
    z, valid = outputs["z"], outputs["valid"][0]
    assert z.shape == (2, 6, 32, 8)
    f, g = (torch.nn.functional.normalize(rows[valid], dim=1) for rows in z)
    assert 12 < len(f) < 6 * 32
    similarity = f @ g.T / 0.07
    wanted = -similarity.log_softmax(1).diagonal().mean()
    assert torch.allclose(recipe.objective(outputs, {}), wanted, atol=1e-5)


def test_a_points_feature_is_its_own_and_its_clouds(recipe, views):
    recipe.eval()
    cloud, places = views[0]["points"], torch.tensor([[3, 5]] * 6)
    backbone = recipe.encoder.backbone
    features = backbone.point_features(recipe.encoder.normalized(cloud))
    rows = torch.cat([features[:, [3, 5]], features.max(1, keepdim=True).values.expand(-1, 2, -1)], 2)
    assert torch.allclose(recipe.project(cloud, places), recipe.projector(rows.flatten(0, 1)).view(6, 2, -1), atol=1e-6)
    assert torch.equal(recipe.encode(views[0]), recipe.encoder(cloud))


@pytest.mark.parametrize("encoder", ["pointnet-w4", "dgcnn-w4-k4"])
def test_it_learns_to_find_the_same_point_and_is_saved(encoder, tmp_path):
    source, labels = clouds()
    options = {"hidden_dim": 32, "projection_dim": 16, "matches": 24, "radius": 0.3}
    model = twofold.PointContrast(encoder=encoder, **options)
    training = {"batch_size": 16, "lr": 3e-3, "workers": 0, "precision": "float32"}
    model.fit((source, labels), out=tmp_path / "run", epochs=12, points=48, **training)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4]) - 1
    vectors = model.embed(source)
    assert vectors.shape == (32, model.encoder.dim)
    again = twofold.load(tmp_path / "run")
    assert isinstance(again, twofold.PointContrast)
    assert torch.equal(again.embed(source), vectors)


def test_matches_are_recalled_better_than_without_training():
    source, _ = clouds(48)
    torch.manual_seed(0)
    model = twofold.PointContrast(encoder="pointnet-w8", hidden_dim=32, projection_dim=16, matches=32, radius=0.2)

    def recall(built):
        built.eval()
        held_out = points.MODALITY.read(clouds(24, seed=1)[0], points=48).fetch(torch.arange(24))["inputs"]
        pair = built.make_views()(held_out, generator=seeded(5))
        torch.manual_seed(1)
        with torch.no_grad():
            outputs = built.represent({"views": pair})
        hits = []
        for f, g, good in zip(*outputs["z"], outputs["valid"][0], strict=True):
            f, g = (torch.nn.functional.normalize(rows[good], dim=1) for rows in (f, g))
            hits.append(((f @ g.T).argmax(1) == torch.arange(len(f))).float())
        return float(torch.cat(hits).mean())

    data = points.MODALITY.read(source, points=48)
    untrained = recall(model.build(data.spec))
    model.fit(data, epochs=30, batch_size=16, lr=1e-2, workers=0, precision="float32")
    assert recall(model) > untrained + 0.05


def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path):
    source, _ = clouds()
    options = {"encoder": "pointnet-w4", "hidden_dim": 16, "projection_dim": 8, "matches": 8}
    training = {"batch_size": 16, "epochs": 1, "workers": 0, "precision": "float32", "points": 48}
    model = twofold.PointContrast(**options).fit(source, micro_batch=8, **training)
    assert bool(model.embed(source).isfinite().all())


def test_what_it_cannot_do():
    with pytest.raises(ConfigError, match="view_count must be at least 2 and at most 2"):
        twofold.PointContrast(view_count=3)
    with pytest.raises(ConfigError, match="learns from points, not from image"):
        twofold.PointContrast(modality="image")
    with pytest.raises(ConfigError, match="needs an encoder with features of points"):
        twofold.PointContrast(encoder="point-transformer-w96-d1").build(SPEC)
