"""Heads: the small networks between an encoder and an objective, with the papers' sizes as defaults.

A head is dropped after training: what the user keeps is the encoder's output. All of these take ``(n, in_dim)``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda dim: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "batch-noaffine": lambda dim: nn.BatchNorm1d(dim, affine=False),
    "layer": nn.LayerNorm,
}


def mlp_head(
    in_dim: int,
    hidden_dim: int,
    out_dim: int,
    *,
    layers: int = 2,
    norm: str = "batch",
    last_norm: str = "none",
    activation: Callable[[], nn.Module] = nn.ReLU,
    bias: bool = True,
    last_bias: bool = True,
) -> nn.Sequential:
    """``layers − 1`` times linear, norm, activation; then linear and the last norm.

    Args:
        in_dim: Dimensions of the encoder's output.
        hidden_dim: Width of the hidden layers.
        out_dim: Dimensions that the objective sees.
        layers: Number of linear layers, at least 1.
        norm: After each hidden linear layer: ``"none"``, ``"batch"``, ``"batch-noaffine"`` or ``"layer"``.
        last_norm: The same, after the last one.
        activation: Makes the activation, such as ``nn.ReLU`` or ``nn.GELU``.
        bias: Of the hidden linear layers; without effect before a norm over the batch.
        last_bias: Of the last linear layer.

    Raises:
        ValueError: If a size or ``layers`` is below 1, or a norm is unknown.
    """
    if min(in_dim, hidden_dim, out_dim, layers) < 1:
        raise ValueError(
            f"A head needs sizes and layers of at least 1, got in_dim={in_dim}, hidden_dim={hidden_dim}, "
            f"out_dim={out_dim}, layers={layers}."
        )
    for name, value in (("norm", norm), ("last_norm", last_norm)):
        if value not in _NORMS:
            raise ValueError(f"{name} must be one of {', '.join(_NORMS)}, got {value!r}.")
    modules: list[nn.Module] = []
    for i in range(layers - 1):
        modules += [nn.Linear(in_dim if i == 0 else hidden_dim, hidden_dim, bias=bias), _NORMS[norm](hidden_dim)]
        modules.append(activation())
    modules += [nn.Linear(hidden_dim if layers > 1 else in_dim, out_dim, bias=last_bias), _NORMS[last_norm](out_dim)]
    return nn.Sequential(*(module for module in modules if not isinstance(module, nn.Identity)))


def simclr_head(in_dim: int, hidden_dim: int | None = None, out_dim: int = 128) -> nn.Sequential:
    """SimCLR's two layers with batch normalisation between; ``hidden_dim`` is ``in_dim`` unless given.

    SwAV's projector is this with ``hidden_dim=2048``. Source: Chen et al., ICML 2020, §2.1.
    """
    return mlp_head(in_dim, hidden_dim or in_dim, out_dim, bias=False)


def moco_v2_head(in_dim: int, hidden_dim: int = 2048, out_dim: int = 128) -> nn.Sequential:
    """MoCo v2's two layers without normalisation. Source: Chen et al., arXiv 2003.04297."""
    return mlp_head(in_dim, hidden_dim, out_dim, norm="none")


def moco_v3_projector(in_dim: int, hidden_dim: int = 4096, out_dim: int = 256, *, layers: int = 2) -> nn.Sequential:
    """MoCo v3's projector: no biases, the last normalisation without affine; 2 layers on a ResNet, 3 on a ViT.

    Source: Chen et al., ICCV 2021, and its reference code.
    """
    return mlp_head(in_dim, hidden_dim, out_dim, layers=layers, last_norm="batch-noaffine", bias=False, last_bias=False)


def moco_v3_predictor(dim: int = 256, hidden_dim: int = 4096, *, last_norm: str = "none") -> nn.Sequential:
    """MoCo v3's predictor, two layers; on a ViT it ends in ``last_norm="batch-noaffine"``, on a ResNet in none.

    Source: Chen et al., ICCV 2021, and its reference code.
    """
    return mlp_head(dim, hidden_dim, dim, last_norm=last_norm, bias=False, last_bias=False)


def byol_head(in_dim: int, hidden_dim: int = 4096, out_dim: int = 256) -> nn.Sequential:
    """BYOL's projector and, with ``in_dim = out_dim = 256``, its predictor: two layers, no normalisation at the end.

    Source: Grill et al., NeurIPS 2020, §3.3.
    """
    return mlp_head(in_dim, hidden_dim, out_dim, last_bias=False)


def simsiam_projector(in_dim: int, hidden_dim: int = 2048, out_dim: int = 2048, *, layers: int = 3) -> nn.Sequential:
    """SimSiam's projector: normalised after every layer, the last one without affine; two layers on CIFAR.

    The last layer has no bias (the reference code freezes it): the normalisation would remove it.
    Source: Chen & He, CVPR 2021, §3.
    """
    return mlp_head(in_dim, hidden_dim, out_dim, layers=layers, last_norm="batch-noaffine", bias=False, last_bias=False)


def simsiam_predictor(dim: int = 2048, hidden_dim: int = 512) -> nn.Sequential:
    """SimSiam's predictor: a bottleneck of two layers, nothing after the last. Source: Chen & He, CVPR 2021, §3."""
    return mlp_head(dim, hidden_dim, dim, bias=False)


def barlow_head(in_dim: int, hidden_dim: int = 8192, out_dim: int = 8192) -> nn.Sequential:
    """Three wide layers, no normalisation at the end: Barlow Twins' projector, and VICReg's expander.

    Source: Zbontar et al., ICML 2021, §2.2; Bardes et al., ICLR 2022.
    """
    return mlp_head(in_dim, hidden_dim, out_dim, layers=3, bias=False, last_bias=False)


def nnclr_projector(in_dim: int, hidden_dim: int = 2048, out_dim: int = 256) -> nn.Sequential:
    """NNCLR's projector: three layers, normalised after every one. Source: Dwibedi et al., ICCV 2021."""
    return mlp_head(in_dim, hidden_dim, out_dim, layers=3, last_norm="batch")


def nnclr_predictor(dim: int = 256, hidden_dim: int = 4096) -> nn.Sequential:
    """NNCLR's predictor: two layers, nothing after the last. Source: Dwibedi et al., ICCV 2021."""
    return mlp_head(dim, hidden_dim, dim)


class DINOHead(nn.Module):
    """DINO's head: an MLP to a bottleneck, unit length, then the cosines to ``count`` prototypes.

    The prototypes are weight-normalised with their gain fixed at 1, as the reference code does by default, so the
    output lies between −1 and 1 and only their directions are learnt.

    Args:
        in_dim: Dimensions of the encoder's output.
        count: K, the number of prototypes; the paper's 65 536. Small data needs far fewer.
        hidden_dim: Width of the hidden layers; the paper's 2048.
        bottleneck_dim: The paper's 256.
        layers: Linear layers up to the bottleneck; the paper's 3.
        norm: After the hidden layers, as in :func:`mlp_head`; ``"none"`` in the paper.

    Source: Caron et al., ICCV 2021, §3.1 and appendix C.
    """

    def __init__(
        self,
        in_dim: int,
        count: int = 65536,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        layers: int = 3,
        norm: str = "none",
    ) -> None:
        super().__init__()
        self.mlp = mlp_head(in_dim, hidden_dim, bottleneck_dim, layers=layers, norm=norm, activation=nn.GELU)
        self.prototypes = nn.Parameter(torch.empty(count, bottleneck_dim))
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Raw logits ``(n, count)`` of features ``(n, in_dim)``."""
        z = F.normalize(self.mlp(x), dim=-1)
        return F.linear(z, F.normalize(self.prototypes, dim=-1).to(z.dtype))
