"""Encoders of series: sizes, normalisation, features of steps, what they do and do not see."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from twofold.errors import ConfigError
from twofold.modalities.series.backbones.dilated import DilatedConvNet
from twofold.modalities.series.encoders import ENCODERS, TwoStream, make_encoder

SPEC = {"channels": 4, "length": 20, "mean": [1.0, 0, 0, 0], "std": [2.0, 1, 1, 1], "parts": [3, 1]}
SMALL = {
    "convnet1d-w4": 16,
    "resnet1d-w4": 16,
    "dilated-convnet-w4-d3": 20,
    "bigru-w4": 16,
    "conv-transformer-w32-d1": 32,
    "two-stream-w16-d1": 32,
}
STEPWISE = [name for name in SMALL if not name.startswith(("conv-t", "two"))]


def batch(n=5, t=20, seed=0):
    return torch.randn(n, t, 4, generator=torch.Generator().manual_seed(seed))


def test_every_name_is_tried_here():
    assert {next(base for base in ENCODERS if name.startswith(base)) for name in SMALL} == set(ENCODERS)


@pytest.mark.parametrize("name", SMALL)
def test_features_of_series_of_any_length(name):
    encoder = make_encoder(name, SPEC)
    assert encoder.dim == SMALL[name]
    assert encoder.rebuild == {}
    for t in (1, 2, 7, 20, 33):
        features = encoder(batch(t=t))
        assert features.shape == (5, encoder.dim)
        assert bool(torch.isfinite(features).all())
    features.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_they_can_be_built_without_memory(name):
    with torch.device("meta"):
        encoder = make_encoder(name, SPEC)
    assert encoder.dim == SMALL[name]


@pytest.mark.parametrize("name", SMALL)
def test_a_view_that_carries_more_is_read_as_its_series(name):
    encoder = make_encoder(name, SPEC).eval()
    assert torch.equal(encoder({"series": batch(), "common": torch.zeros(5, 2)}), encoder(batch()))


@pytest.mark.parametrize("name", SMALL)
def test_moments_of_the_data_do_not_matter(name):
    encoder = make_encoder(name, SPEC).eval()
    other = make_encoder(name, SPEC | {"mean": [101.0, 0, 0, 5], "std": [20.0, 1, 1, 3]}).eval()
    other.backbone.load_state_dict(encoder.backbone.state_dict())
    x = batch()
    scaled = torch.cat([(x[..., :1] - 1) / 2 * 20 + 101, x[..., 1:3], x[..., 3:] * 3 + 5], 2)
    torch.testing.assert_close(other(scaled), encoder(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", STEPWISE)
def test_steps_have_features_and_can_be_hidden(name):
    encoder = make_encoder(name, SPEC).eval()
    x = batch()
    keep = torch.ones(5, 20, dtype=torch.bool)
    whole = encoder.step_features(x)
    assert whole.shape[:2] == (5, 20)
    torch.testing.assert_close(encoder.step_features(x, keep), whole)
    keep[:, 7] = False
    changed = x.clone()
    changed[:, 7] += 100
    torch.testing.assert_close(encoder.step_features(changed, keep), encoder.step_features(x, keep))
    assert not torch.allclose(encoder.step_features(changed), whole)


def test_the_features_of_a_dilated_network_are_the_maximum_over_steps():
    encoder = make_encoder("dilated-convnet-w4-d3", SPEC).eval()
    torch.testing.assert_close(encoder(batch()), encoder.step_features(batch()).max(1).values)


def test_dilation_doubles_from_block_to_block():
    network = DilatedConvNet(1, width=2, depth=3, dropout=0.0).eval()
    assert [block.first.dilation[0] for block in network.blocks] == [1, 2, 4, 8]
    x = torch.zeros(1, 101, 1, requires_grad=True)
    network.step_features(x)[0, 50].sum().backward()
    seen = (x.grad[0, :, 0] != 0).nonzero().flatten()
    assert (int(seen.min()), int(seen.max())) == (20, 80)  # 2 (1 + 2 + 4 + 8) steps each way


def test_streams_see_only_their_own_channels():
    encoder = make_encoder("two-stream-w16-d1", SPEC).eval()
    assert isinstance(encoder.backbone, TwoStream)
    x = batch()
    changed = x.clone()
    changed[..., 3] += 5
    first, second = (encoder.backbone.stream(encoder.normalized(v), 0) for v in (x, changed))
    assert torch.equal(first, second)
    assert torch.equal(encoder(x)[:, :16], encoder(changed)[:, :16])
    assert not torch.allclose(encoder(x)[:, 16:], encoder(changed)[:, 16:])
    with pytest.raises(ConfigError, match="read the data with parts="):
        make_encoder("two-stream", SPEC | {"parts": None})


def test_a_module_of_ones_own():
    class Mean(nn.Module):
        def forward(self, series):
            return series.mean(1)

    encoder = make_encoder(Mean(), SPEC)
    assert encoder.dim == 4
    torch.testing.assert_close(encoder(batch()), ((batch() - encoder.mean) / encoder.std).mean(1))
    assert make_encoder(encoder, SPEC) is encoder
    with pytest.raises(ConfigError, match="Mean has no features of single steps"):
        encoder.step_features(batch())


def test_names_and_shapes_that_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'convnet1d'"):
        make_encoder("convnet", SPEC)
    with pytest.raises(ConfigError, match="bigru has no option '-k3'"):
        make_encoder("bigru-k3", SPEC)
    with pytest.raises(ConfigError, match="must be a multiple of 16, not 24"):
        make_encoder("conv-transformer-w24", SPEC)
    with pytest.raises(ConfigError, match="lacks length, mean"):
        make_encoder("bigru", {"channels": 3, "std": [1, 1, 1]})
    with pytest.raises(ValueError, match=r"series must have shape \(n, steps, 4\), got \(5, 20, 3\)"):
        make_encoder("bigru", SPEC)(batch()[..., :3])
