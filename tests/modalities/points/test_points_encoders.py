"""Encoders of clouds, and the neighbour search beneath them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from twofold.errors import ConfigError
from twofold.modalities.points.backbones.neighbours import farthest_points, gather_points, nearest_points
from twofold.modalities.points.backbones.transformer import PointTransformer
from twofold.modalities.points.encoders import ENCODERS, PointEncoder, make_encoder

SPEC = {"modality": "points", "points": 40, "channels": 3, "mean": [0.1, 0, 0], "std": [0.4] * 3}
NAMES = {"pointnet-w4": 64, "dgcnn-w4-k5": 128, "point-transformer-w96-d2-g8-k6": 192}


def made(name, spec=SPEC, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_encoder(name, spec).eval()


@pytest.mark.parametrize("name", NAMES)
def test_encoders_do_not_see_the_order_of_points(name, clouds):
    encoder = made(name)
    for module in encoder.modules():  # so that norms do something
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    features = encoder(clouds)
    assert features.shape == (5, NAMES[name])
    assert encoder.dim == NAMES[name]
    assert torch.allclose(encoder(clouds[:, order]), features, atol=1e-5)
    assert not torch.allclose(features[0], features[1], atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_all_weights_learn_and_points_get_gradients(name, clouds):
    encoder = made(name, SPEC | {"channels": 5, "mean": [0.0] * 5, "std": [1.0] * 5}).train()
    inputs = torch.cat([clouds, clouds[..., :2]], 2).requires_grad_()
    encoder(inputs).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in encoder.parameters())
    assert inputs.grad[..., :3].abs().sum() > 0
    assert inputs.grad[..., 3:].abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_depend_on_one_another_in_evaluation(name, clouds):
    encoder = made(name)
    assert torch.allclose(encoder(clouds)[3:4], encoder(clouds[3:4]), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_clouds_of_few_different_points_and_of_other_sizes(name, clouds):
    encoder = made(name)
    assert torch.isfinite(encoder(clouds[:, :1].expand(-1, 40, -1))).all()
    assert encoder(clouds[:, :9]).shape == (5, NAMES[name])


def test_the_encoder_normalizes(clouds):
    encoder = made("pointnet-w4")
    assert torch.allclose(encoder(clouds), encoder.backbone((clouds - torch.tensor([0.1, 0, 0])) / 0.4))
    with pytest.raises(ValueError, match=r"clouds must have shape \(n, points, 3\)"):
        encoder(clouds[..., :2])


def test_names_and_modules_of_ones_own():
    class Mean(nn.Module):
        def forward(self, clouds):
            return clouds.mean(1)

    own = make_encoder(Mean(), SPEC)
    assert (own.dim, own.rebuild) == (3, {})
    assert make_encoder(own, SPEC) is own
    assert isinstance(made("pointnet"), PointEncoder)
    assert made("pointnet").dim == 1024
    with pytest.raises(ConfigError, match="no encoder 'pointnett'; did you mean 'pointnet'"):
        make_encoder("pointnett", SPEC)
    with pytest.raises(ConfigError, match=r"pointnet has no option '-k3'; it has -wNUMBER \(width\)"):
        make_encoder("pointnet-k3", SPEC)
    with pytest.raises(ConfigError, match="multiple of 96, not 100"):
        make_encoder("point-transformer-w100", SPEC)
    with pytest.raises(ConfigError, match="lacks std"):
        make_encoder("pointnet", {key: value for key, value in SPEC.items() if key != "std"})
    with pytest.raises(ConfigError, match=r"must give a tensor \(n, dim\)"):
        make_encoder(nn.Identity(), SPEC)
    assert set(ENCODERS) == {"pointnet", "dgcnn", "point-transformer"}


def test_farthest_points_cover_and_do_not_depend_on_order(clouds):
    chosen = farthest_points(clouds, 6)
    assert all(len(set(row)) == 6 for row in chosen.tolist())
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        gather_points(clouds[:, order], farthest_points(clouds[:, order], 6)), gather_points(clouds, chosen)
    )
    line = torch.arange(11.0)[None, :, None] * torch.tensor([1.0, 0, 0])
    assert sorted(farthest_points(line, 3)[0].tolist()) == [0, 5, 10]
    for step in range(1, 6):  # each is the farthest from those before it
        distance = torch.cdist(clouds, gather_points(clouds, chosen[:, :step])).amin(2)
        assert torch.allclose(distance.gather(1, chosen[:, step : step + 1])[:, 0], distance.amax(1), atol=1e-5)


def test_nearest_points_are_those_of_all_distances(clouds):
    index = nearest_points(clouds[:, :7], clouds, 4)
    full = (clouds[:, :7, None] - clouds[:, None]).norm(dim=3)
    assert torch.equal(index[..., 0], torch.arange(7).expand(5, 7))
    assert torch.allclose(full.gather(2, index), full.sort(2)[0][..., :4])
    assert gather_points(clouds, index).shape == (5, 7, 4, 3)


def test_patches_are_relative_to_their_centres(clouds):
    network = PointTransformer(3, width=96, depth=1, patches=4, neighbours=5)
    patches, centres = network.patches_of(clouds)
    assert patches.shape == (5, 4, 5, 3)
    assert torch.equal(patches[:, :, 0], torch.zeros(5, 4, 3))
    there = (patches + centres.unsqueeze(2)).flatten(1, 2)
    assert torch.cdist(there, clouds).amin(2).max() < 1e-2
    moved, _ = network.patches_of(clouds + 3)
    assert torch.allclose(moved, patches, atol=1e-5)
