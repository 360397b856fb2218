"""Write down what torchvision does, for the tests that run without it.

Run it where torchvision is installed (the numbers kept are those of torch 2.14.1 and torchvision 0.29.1):

    python tests/modalities/image/make_torchvision_fixture.py

It writes `fixtures/torchvision.npz`: inputs, parameters and results of single operations, and distribution functions of
the parameters that torchvision draws. Nothing of Twofold is used.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import ColorJitter, InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as F

FIXTURE = Path(__file__).parent / "fixtures" / "torchvision.npz"
DRAWS = 20_000

# name -> (original height, width, scale, ratio); the last two can only fall back to a centre crop
CROPS = {
    "square": (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
    "wide": (200, 300, (0.2, 1.0), (3 / 4, 4 / 3)),
    "tall": (400, 200, (0.08, 1.0), (3 / 4, 4 / 3)),
    "very_wide": (64, 640, (0.9, 1.0), (3 / 4, 4 / 3)),
    "very_tall": (640, 64, (0.9, 1.0), (3 / 4, 4 / 3)),
}
# Off any value that a whole number of pixels can give, so that rounding cannot move a draw across a point of the grid.
GRID = torch.linspace(0, 1, 42, dtype=torch.float64)[1:-1] + math.pi * 1e-5


def inputs() -> dict[str, Tensor]:
    """Pictures with flat, grey, black, white and random pixels, and a set of parameters for each picture."""
    generator = torch.Generator().manual_seed(20)
    images = torch.randint(0, 256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8)
    images[0, :, :4] = images[0, :1, :4]  # grey
    images[1, :, :3], images[1, :, 3:5] = 0, 255
    images[2, 0] = images[2, 1]  # red = green: two channels share the place of the largest or smallest
    images[3] = torch.linspace(0, 255, 16).to(torch.uint8)
    return {
        "images": images,
        "factor": torch.tensor([0.0, 0.35, 1.0, 1.7]),
        "shift": torch.tensor([-0.5, -0.13, 0.07, 0.5]),
        "sigma": torch.tensor([0.1, 0.5, 1.1, 2.0]),
        "box": torch.tensor([[0, 0, 16, 16], [3, 5, 9, 7], [11, 2, 1, 12], [4, 6, 12, 10]]),  # left, top, width, height
        "flip": torch.tensor([False, True, False, True]),
        "degrees": torch.tensor([0.0, 15.0, -10.0, 90.0]),
        "translate": torch.tensor([[0, 0], [2, -1], [-1, 0], [0, 3]]),
        "magnify": torch.tensor([1.0, 0.9, 1.1, 1.3]),
    }


def operations(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The result of every operation, each picture with its own parameters."""
    images = given["images"].float() / 255
    single = images[:, :1]
    each = range(len(images))

    def stack(function, pictures, *parameters):
        return torch.stack([function(pictures[i], *(values[i].tolist() for values in parameters)) for i in each])

    def crop(picture, box, flip, size):
        left, top, width, height = box
        view = F.resized_crop(picture, top, left, height, width, [size, size], antialias=True)
        return F.horizontal_flip(view) if flip else view

    def affine(picture, degrees, translate, scale):
        return F.affine(picture, degrees, translate, scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR)

    return {
        "brightness": stack(F.adjust_brightness, images, given["factor"]),
        "contrast": stack(F.adjust_contrast, images, given["factor"]),
        "saturation": stack(F.adjust_saturation, images, given["factor"]),
        "hue": stack(F.adjust_hue, images, given["shift"]),
        "brightness_single": stack(F.adjust_brightness, single, given["factor"]),
        "contrast_single": stack(F.adjust_contrast, single, given["factor"]),
        "saturation_single": stack(F.adjust_saturation, single, given["factor"]),
        "hue_single": stack(F.adjust_hue, single, given["shift"]),
        "grey": F.rgb_to_grayscale(images, num_output_channels=3),
        "solarize": F.solarize(images, 0.5),
        "blur_3": stack(
            lambda picture, sigma: F.gaussian_blur(picture, [3, 3], [sigma, sigma]), images, given["sigma"]
        ),
        "blur_9": stack(
            lambda picture, sigma: F.gaussian_blur(picture, [9, 9], [sigma, sigma]), images, given["sigma"]
        ),
        "crop_6": stack(lambda *a: crop(*a, 6), images, given["box"], given["flip"]),
        "crop_16": stack(lambda *a: crop(*a, 16), images, given["box"], given["flip"]),
        "crop_21": stack(lambda *a: crop(*a, 21), images, given["box"], given["flip"]),
        "affine": stack(affine, images, given["degrees"], given["translate"], given["magnify"]),
    }


def distribution_function(values: Tensor, low: float, high: float) -> Tensor:
    """Share of `values` at or below each point of the grid stretched over [low, high]."""
    points = low + (high - low) * GRID
    return torch.searchsorted(values.double().sort().values, points, right=True) / len(values)


def crops() -> dict[str, Tensor]:
    """Per kind of crop: distribution functions of area share, log width / height, and the middle across and down."""
    found = {}
    for name, (height, width, scale, ratio) in CROPS.items():
        picture = torch.empty(1, height, width)
        boxes = [RandomResizedCrop.get_params(picture, list(scale), list(ratio)) for _ in range(DRAWS)]
        top, left, h, w = torch.tensor(boxes, dtype=torch.float64).unbind(1)
        found[f"crop_{name}"] = torch.stack(
            [
                distribution_function(h * w / (height * width), 0, 1),
                distribution_function((w / h).log(), -1, 1),
                distribution_function((left + w / 2) / width, 0, 1),
                distribution_function((top + h / 2) / height, 0, 1),
            ]
        )
    return found


def jitter() -> dict[str, Tensor]:
    """Distribution functions of the factors for amounts 0.4, 0.4, 1.2 and hue 0.1, and the shares of the 24 orders."""
    transform = ColorJitter(0.4, 0.4, 1.2, 0.1)
    bounds = (transform.brightness, transform.contrast, transform.saturation, transform.hue)
    orders, factors = zip(*((o, f) for o, *f in (ColorJitter.get_params(*bounds) for _ in range(DRAWS))), strict=True)
    values = torch.tensor(factors).unbind(1)
    spans = ((0.0, 2.5), (0.0, 2.5), (0.0, 2.5), (-0.5, 0.5))
    code = torch.stack(orders) @ torch.tensor([64, 16, 4, 1])
    return {
        "jitter": torch.stack([distribution_function(v, *span) for v, span in zip(values, spans, strict=True)]),
        "orders": torch.bincount(code, minlength=256) / DRAWS,
    }


def main() -> None:
    torch.manual_seed(7)  # torchvision draws from the global generator
    given = inputs()
    arrays = {f"in_{name}": value for name, value in given.items()}
    arrays |= {f"out_{name}": value for name, value in operations(given).items()}
    arrays |= {f"cdf_{name}": value.float() for name, value in (crops() | jitter()).items()}
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **{name: value.numpy() for name, value in arrays.items()})


if __name__ == "__main__":
    main()
