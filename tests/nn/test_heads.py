"""Heads: the layers they are made of, sizes and trainability, and DINO's frozen gain and last layer."""

import pytest
import torch
from torch import nn

from twofold.nn import heads
from twofold.nn.heads import DINOHead, mlp_head

SMALL = {
    "simclr_head": (heads.simclr_head(6, 8, 4), "Linear BatchNorm1d ReLU Linear", 4),
    "moco_v2_head": (heads.moco_v2_head(6, 8, 4), "Linear ReLU Linear", 4),
    "moco_v3_projector": (heads.moco_v3_projector(6, 8, 4), "Linear BatchNorm1d ReLU Linear BatchNorm1d", 4),
    "moco_v3_predictor": (heads.moco_v3_predictor(6, 8), "Linear BatchNorm1d ReLU Linear", 6),
    "byol_head": (heads.byol_head(6, 8, 4), "Linear BatchNorm1d ReLU Linear", 4),
    "simsiam_projector": (
        heads.simsiam_projector(6, 8, 4),
        "Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear BatchNorm1d",
        4,
    ),
    "simsiam_predictor": (heads.simsiam_predictor(6, 8), "Linear BatchNorm1d ReLU Linear", 6),
    "barlow_head": (
        heads.barlow_head(6, 8, 4),
        "Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear",
        4,
    ),
    "nnclr_projector": (
        heads.nnclr_projector(6, 8, 4),
        "Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear BatchNorm1d",
        4,
    ),
    "nnclr_predictor": (heads.nnclr_predictor(6, 8), "Linear BatchNorm1d ReLU Linear", 6),
}


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SMALL)
def test_presets_have_their_papers_layers(name):
    head, layers, out_dim = SMALL[name]
    assert [type(module).__name__ for module in head] == layers.split()
    out = head(rows(5, 6))
    assert out.shape == (5, out_dim)
    out.square().sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_every_preset_is_tested():
    public = {name for name, value in vars(heads).items() if name.endswith(("_head", "_projector", "_predictor"))}
    assert public - {"mlp_head"} == set(SMALL)


def test_the_last_normalization_has_no_affine_where_the_paper_has_none():
    for name in ("moco_v3_projector", "simsiam_projector"):
        last = SMALL[name][0][-1]
        assert last.affine is False
        assert SMALL[name][0][-2].bias is None
    assert SMALL["nnclr_projector"][0][-1].affine is True


def test_simclr_is_as_wide_as_the_encoder_unless_told():
    head = heads.simclr_head(12)
    assert (head[0].out_features, head[-1].out_features) == (12, 128)


def test_sizes_norms_and_biases_of_the_general_head():
    head = mlp_head(
        3, 5, 2, layers=4, norm="layer", last_norm="batch-noaffine", activation=nn.GELU, bias=False, last_bias=False
    )
    linears = [module for module in head if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linears] == [(3, 5), (5, 5), (5, 5), (5, 2)]
    assert all(layer.bias is None for layer in linears)
    assert sum(isinstance(module, nn.LayerNorm) for module in head) == 3
    assert sum(isinstance(module, nn.GELU) for module in head) == 3


def test_one_layer_is_a_linear_map():
    head = mlp_head(3, 99, 2, layers=1)
    assert len(head) == 1
    assert head(rows(1, 3)).shape == (1, 2)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="norm must be one of none, batch, batch-noaffine, layer, got 'group'"):
        mlp_head(3, 5, 2, norm="group")
    with pytest.raises(ValueError, match="last_norm must be one of"):
        mlp_head(3, 5, 2, last_norm="bn")
    with pytest.raises(ValueError, match="layers=0"):
        mlp_head(3, 5, 2, layers=0)
    with pytest.raises(ValueError, match="in_dim=0"):
        mlp_head(0, 5, 2)


def dino():
    return DINOHead(6, 10, hidden_dim=8, bottleneck_dim=4)


def test_dino_gives_cosines_whatever_the_length_of_its_prototypes():
    head, x = dino(), rows(5, 6)
    out = head(x)
    z = head.mlp(x)
    torch.testing.assert_close(out, torch.cosine_similarity(z[:, None], head.prototypes[None], dim=-1))
    with torch.no_grad():
        head.prototypes.mul_(7)
    torch.testing.assert_close(head(x), out)


def test_dino_stays_finite_on_zero_features():
    head, x = dino(), torch.zeros(3, 6, requires_grad=True)
    head(x).sum().backward()
    assert torch.isfinite(x.grad).all()
