"""What can be said of a shape without learning: the distribution of distances, and moments."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 64
PAIRS = 8192
_SEED = 2002
_MAX_DISTANCE = 2.0  # in the unit ball


def shape_descriptor(clouds: Tensor, *, normals: bool = False) -> Tensor:
    """Baseline features (n, d) of clouds (n, p, 3 + columns): D2 histogram, moments of the places, of the columns.

    Places are centred and scaled into the unit ball first. All but the moments of single axes and columns are the same
    for a turned cloud.

    Args:
        clouds: Floating, on any device.
        normals: Whether columns 4 to 6 are normals: the moments of their absolute values are taken.
    """
    clouds = clouds.float()
    places = _in_unit_ball(clouds[..., :3])
    columns = clouds[..., 3:]
    if normals:
        columns = torch.cat([columns[..., :3].abs(), columns[..., 3:]], 2)
    parts = [d2_histogram(places), place_moments(places)]
    if columns.shape[2]:
        parts += [columns.mean(1), columns.std(1, correction=0)]
    return torch.cat(parts, 1)


def d2_histogram(places: Tensor, *, bins: int = BINS, pairs: int = PAIRS) -> Tensor:
    """D2 shape distributions (Osada et al., ACM TOG 2002): how often points lie how far apart.

    Args:
        places: (n, p, 3) in the unit ball.
        bins: Of [0, 2].
        pairs: Random pairs of points, the same for every cloud and call.

    Returns:
        float32 (n, bins); each row sums to 1.
    """
    draw = torch.Generator().manual_seed(_SEED)
    first, second = torch.randint(places.shape[1], (2, pairs), generator=draw).to(places.device)
    distance = (places[:, first] - places[:, second]).norm(dim=2)
    place = (distance * (bins / _MAX_DISTANCE)).long().clamp(0, bins - 1)
    counts = torch.zeros(len(places), bins, device=places.device)
    return counts.scatter_add_(1, place, torch.ones_like(distance)) / pairs


def place_moments(places: Tensor) -> Tensor:
    """13 numbers a cloud (n, 13), of places (n, p, 3) with their mean at 0.

    Mean, deviation, skewness and kurtosis of the distance from the centre; deviations along the principal axes;
    deviations and extents along x and y (each pair sorted, so that a quarter turn about z changes nothing) and along z.
    """
    radius = places.norm(dim=2)
    centred = radius - radius.mean(1, keepdim=True)
    deviation = centred.square().mean(1).sqrt().clamp(min=1e-6)
    shape = torch.stack([(centred / deviation[:, None]).pow(k).mean(1) for k in (3, 4)], 1)
    covariance = places.transpose(1, 2) @ places / places.shape[1]
    principal = torch.linalg.eigvalsh(covariance).clamp(min=0).sqrt()
    axes = covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    extent = places.amax(1) - places.amin(1)
    level = torch.cat([axes[:, :2].sort(1)[0], extent[:, :2].sort(1)[0]], 1)
    upright = torch.stack([axes[:, 2], extent[:, 2]], 1)
    return torch.cat([radius.mean(1, keepdim=True), deviation[:, None], shape, principal, level, upright], 1)


def _in_unit_ball(places: Tensor) -> Tensor:
    centred = places - places.mean(1, keepdim=True)
    return centred / centred.norm(dim=2).amax(1).clamp(min=1e-12)[:, None, None]
