"""Point-MAE and Point-CMAE: masks, what the encoder sees, the losses, and small runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import twofold
from twofold.errors import ConfigError
from twofold.nn import chamfer
from twofold.recipes.points.point_cmae import co_masked_disagreement
from twofold.recipes.points.point_mae import random_masks
from twofold.training import metrics_log

ENCODER = "point-transformer-w96-d1-g8-k6"
SPEC = {"channels": 3, "points": 32, "normals": False, "extras": 0, "mean": [0.1] * 3, "std": [0.5] * 3}
TRAINING = {"batch_size": 16, "lr": 2e-3, "workers": 0, "precision": "float32"}


def clouds(count=32):
    """Flat and round clouds, with a class each."""
    made = np.random.default_rng(0).normal(size=(count, 32, 3)).astype(np.float32)
    labels = np.arange(count) % 2
    made[labels == 1, :, 2] = 0
    return made, labels


def built(recipe, **options):
    torch.manual_seed(0)
    return recipe(encoder=ENCODER, decoder_depth=1, **options).build(SPEC)


@pytest.fixture
def view():
    return torch.randn(4, 32, 3, generator=torch.Generator().manual_seed(0)) / 2


def test_masks_hide_a_share_of_each_cloud_and_differ_between_clouds():
    torch.manual_seed(0)
    shown, hidden = random_masks(500, 16, rate=0.6, device=torch.device("cpu"))
    assert (shown.shape, hidden.shape) == ((500, 6), (500, 10))
    assert torch.equal(torch.cat([shown, hidden], 1).sort(1).values, torch.arange(16).expand(500, -1))
    assert float((hidden.flatten().bincount() / 500 - 0.625).abs().max()) < 0.08
    for rate, count in ((0.01, 1), (0.99, 3)):
        assert random_masks(2, 4, rate=rate, device=torch.device("cpu"))[1].shape == (2, count)


def test_the_encoder_sees_visible_patches_only(view):
    recipe = built(twofold.PointMAE).eval()
    patches, centres = recipe.backbone.patches_of(recipe.encoder.normalized(view))
    shown, hidden = random_masks(4, 8, rate=0.6, device=view.device)
    tokens = recipe.visible_tokens(patches, centres, shown)
    assert tokens.shape == (4, 3, 96)
    elsewhere, moved = patches.clone(), centres.clone()
    for cloud, places in enumerate(hidden):
        elsewhere[cloud, places] = 9
        moved[cloud, places] = -9
    assert torch.equal(recipe.visible_tokens(elsewhere, moved, shown), tokens)
    one = recipe.backbone.tokens(patches[:1, shown[0]], centres[:1, shown[0]])
    assert torch.allclose(tokens[:1], one, atol=1e-5)


def test_the_decoder_puts_tokens_in_their_own_order(view):
    recipe = built(twofold.PointMAE).eval()
    recipe.decoder.blocks = torch.nn.ModuleList()
    visible, shown = torch.randn(4, 3, 96), torch.tensor([[1, 4, 6]] * 4)
    tokens = recipe.decoder(visible, shown, torch.zeros(4, 8, 3))
    assert torch.equal(tokens[:, [1, 4, 6]], visible)
    assert torch.equal(tokens[:, [0, 2, 3, 5, 7]], recipe.decoder.hidden.expand(4, 5, -1))


def test_the_loss_is_the_chamfer_distance_of_hidden_patches_in_units_of_the_cloud(view):
    recipe = built(twofold.PointMAE).eval()
    torch.manual_seed(5)
    error = recipe.represent({"views": [view]})["error"]
    torch.manual_seed(5)
    shown, hidden = random_masks(4, 8, rate=0.6, device=view.device)
    patches, centres = recipe.backbone.patches_of(recipe.encoder.normalized(view))
    tokens = recipe.decoder(recipe.visible_tokens(patches, centres, shown), shown, centres)
    for cloud in range(4):
        values = []
        for place in hidden[cloud].tolist():
            predicted = recipe.decoder.points(tokens[cloud : cloud + 1, place : place + 1])[:, 0]
            values.append(chamfer(0.5 * predicted, 0.5 * patches[cloud : cloud + 1, place]))
        assert torch.allclose(error[0, cloud], torch.cat(values).mean(), atol=1e-6)
    assert torch.equal(recipe.objective({"error": error}, {}), error.mean())


def test_it_has_one_view_and_its_own_encoder_and_views():
    recipe = twofold.PointMAE()
    assert (recipe.view_count, recipe.chosen_encoder, recipe.modality.name) == (1, "point-transformer", "points")
    assert len(twofold.PointMAE(encoder=ENCODER, view_count=2).build(SPEC).make_views()) == 2
    for name in ("pointnet-w4", "dgcnn-w4"):
        with pytest.raises(ConfigError, match="PointCMAE hides patches, so its encoder must be 'point-transformer'"):
            twofold.PointCMAE(encoder=name).build(SPEC)
    with pytest.raises(ConfigError, match="mask_rate must be above 0 and below 1"):
        twofold.PointMAE(mask_rate=1.0)


def test_both_masks_hide_about_the_square_of_the_share(view):
    recipe = built(twofold.PointCMAE, mask_rate=0.5)
    torch.manual_seed(0)
    hidden = recipe.represent({"views": [view.repeat(100, 1, 1)]})["hidden"]
    assert hidden.shape == (2, 400, 8)
    assert bool((hidden.sum(2) == 4).all())
    assert float(hidden.all(0).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_the_agreement_is_of_the_same_patch_and_of_those_hidden_in_both():
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(3, 6, 5, generator=draw), torch.randn(3, 6, 5, generator=draw)
    hidden = torch.rand(3, 6, generator=draw) < 0.5
    pairs = [(i, j) for i in range(3) for j in range(6) if hidden[i, j]]
    wanted = sum(1 - float(torch.cosine_similarity(first[p], second[p], dim=0)) for p in pairs) / len(pairs)
    assert float(co_masked_disagreement(first, second, hidden)) == pytest.approx(wanted, abs=1e-6)
    agreeing = torch.where(hidden[..., None], 3 * first, second)
    assert float(co_masked_disagreement(first, agreeing, hidden)) == pytest.approx(0, abs=1e-6)
    shuffled = first.roll(1, dims=1)  # all tokens are there, on the wrong patches
    assert float(co_masked_disagreement(first, shuffled, hidden)) > 0.3
    assert float(co_masked_disagreement(first, second, torch.zeros_like(hidden))) == 0


def test_without_agreement_it_is_twice_the_reconstruction(view):
    recipe = built(twofold.PointCMAE, reconstruction_weight=1.0, agreement_weight=0.0)
    outputs = recipe.represent({"views": [view]})
    losses = recipe.losses(outputs, {})
    assert torch.allclose(losses["total"], outputs["error"][0].mean() + outputs["error"][1].mean())
    assert set(losses) == {"total", "reconstruction", "disagreement"}
    whole = built(twofold.PointCMAE).losses(outputs, {})
    assert torch.allclose(whole["total"], 1000 * whole["reconstruction"] + whole["disagreement"])


def test_gradients_reach_both_decoders_and_the_encoder(view):
    recipe = built(twofold.PointCMAE)
    recipe.losses(recipe.represent({"views": [view]}), {})["total"].backward()
    missing = [name for name, p in recipe.named_parameters() if p.grad is None or float(p.grad.abs().max()) == 0]
    assert missing == []


@pytest.mark.parametrize("recipe", [twofold.PointMAE, twofold.PointCMAE])
def test_it_learns_and_is_saved(recipe, tmp_path):
    source, labels = clouds()
    model = recipe(encoder=ENCODER, decoder_depth=1)
    model.fit((source, labels), out=tmp_path / "run", epochs=12, points=32, **TRAINING)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    vectors = model.embed(source)
    assert vectors.shape == (32, 192)
    again = twofold.load(tmp_path / "run")
    assert type(again) is recipe
    assert torch.equal(again.embed(source), vectors)
