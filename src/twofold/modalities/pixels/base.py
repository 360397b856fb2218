"""What every augmentation shares: parameters for a whole batch first, pixels afterwards.

Drawing and applying are two steps, so that a batch can be worked on in pieces without changing the result, and
so that a method that needs the geometry of a view (dense pairs, say) can look at it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError

Parameters = dict[str, Tensor]
"""Named tensors with one row a sample, on the generator's device."""

Shape = tuple[int, int, int, int]
"""(n, c, h, w) of a batch of pictures."""


class Augmentation(ABC):
    """A random change of some samples of a batch: each is chosen with probability `p` and gets parameters of its own.

    Subclasses are frozen dataclasses with a field `p` and define `sample` and `transform`.
    """

    p: float

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment `images`, float (n, c, h, w) in [0, 1], into a new tensor of the same shape and range."""
        check_images(images)
        n, c, h, w = images.shape
        return self.apply(images.float().clone(), self.draw((n, c, h, w), generator))

    def draw(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Parameters for a whole batch of `shape`: ``"apply"``, bool (n,), and those of `sample`.

        Everything is drawn whatever `p` is: changing one probability leaves the other draws of a seed alone.
        """
        return {"apply": bernoulli(shape[0], self.p, generator), **self.sample(shape, generator)}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change the chosen samples; may overwrite `images`, so use the returned tensor only."""
        chosen = parameters["apply"].nonzero().squeeze(1)
        if len(chosen) == 0:
            return images
        values = {name: value for name, value in parameters.items() if name != "apply"}
        if len(chosen) == len(images):
            return self.transform(images, to_device(values, images.device))
        values = to_device({name: value[chosen] for name, value in values.items()}, images.device)
        chosen = chosen.to(images.device)
        return images.index_copy_(0, chosen, self.transform(images.index_select(0, chosen), values))

    @abstractmethod
    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """Draw the parameters of all `shape[0]` samples."""

    @abstractmethod
    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change every one of `images`; `parameters` are on their device."""


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform draws from [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device).mul_(high - low).add_(low)


def bernoulli(n: int, p: float, generator: torch.Generator) -> Tensor:
    """`n` independent draws, True with probability `p`."""
    return torch.rand(n, generator=generator, device=generator.device) < p


def to_device(parameters: Parameters, device: torch.device) -> Parameters:
    """The same parameters on `device`."""
    return {name: value.to(device) for name, value in parameters.items()}


class Separable:
    """``rows @ image @ columns.T`` for every channel of every image, in memory that is used again.

    Args:
        like: Gives type and device.
        shape: (n, c, r, k) of the largest result.
        source: s, the side of the images.
    """

    def __init__(self, like: Tensor, shape: tuple[int, int, int, int], source: int) -> None:
        n, c, r, k = shape
        self._across, self._made = like.new_empty((n, c * source, k)), like.new_empty((c, n, r, k))

    def __call__(self, images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The products, overwritten by the next ones.

        Args:
            images: (n, c, s, s).
            rows: (n, r, s).
            columns: (n, k, s).

        Returns:
            (n, c, r, k), with the channels outermost in memory: no matrix has to be copied for each of them.
        """
        n, c, s, _ = images.shape
        across = torch.bmm(images.reshape(n, c * s, s), columns.transpose(1, 2), out=self._across[:n])
        made = self._made[:, :n]
        for channel in range(c):
            torch.bmm(rows, across.view(n, c, s, columns.shape[1])[:, channel], out=made[channel])
        return made.transpose(0, 1)


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """:class:`Separable` of all images at once, in memory of its own."""
    shape = (*images.shape[:2], rows.shape[1], columns.shape[1])
    return Separable(images, shape, images.shape[-1])(images, rows, columns)


def check_images(images: Tensor) -> None:
    """Raise DataError unless `images` are square pictures: uint8, or floating and within [0, 1]."""
    if images.ndim != 4:
        raise DataError(f"Pictures must have shape (n, channels, size, size), but these have {_shape(images)}.")
    if images.shape[2] != images.shape[3]:
        raise DataError(
            f"Pictures must be square, but these have shape {_shape(images)}. "
            "Squash them to a square and pass the original width / height as `aspect`."
        )
    if 0 in images.shape:
        raise DataError(f"There are no pixels in a batch of shape {_shape(images)}.")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise DataError(f"Pictures must be uint8 (0..255) or floating (0..1), but these are {images.dtype}.")
    low, high = (bound.item() for bound in images.aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise DataError(
            f"Floating pictures must lie in [0, 1], but these reach from {low:.4g} to {high:.4g}. "
            "Pass bytes as uint8, and leave normalisation by mean and deviation to the encoder."
        )


def check_aspect(aspect: Tensor | None, n: int) -> None:
    """Raise DataError unless `aspect` is None or holds one positive width / height for each of `n` pictures."""
    if aspect is None:
        return
    if aspect.shape != (n,):
        raise DataError(f"`aspect` needs one number a picture, shape ({n},), but has shape {_shape(aspect)}.")
    if not bool((torch.isfinite(aspect) & (aspect > 0)).all()):
        raise DataError("`aspect` is width / height of the original pictures: positive and finite.")


def check_probability(owner: object, **probabilities: float) -> None:
    """Raise ConfigError naming every probability that is outside [0, 1]."""
    wrong = [
        f"{type(owner).__name__}: {name} is a probability, between 0 and 1, not {value!r}."
        for name, value in probabilities.items()
        if not 0 <= value <= 1
    ]
    if wrong:
        raise ConfigError(wrong)


def check_range(owner: object, name: str, bounds: tuple[float, float], *, low: float, high: float) -> None:
    """Raise ConfigError unless low <= bounds[0] <= bounds[1] <= high."""
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1] <= high:
        raise ConfigError(
            f"{type(owner).__name__}: {name} must be (smallest, largest) within [{low:g}, {high:g}], not {bounds!r}."
        )


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
