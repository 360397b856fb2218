"""Views of a batch of pictures: one crop, then augmentations; and several views at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.pixels.base import Augmentation, Parameters, check_aspect, check_images
from twofold.modalities.pixels.geometry import CenterCrop, RandomResizedCrop

# Pixels of a piece of the batch, which goes through all steps before the next one. Smaller pieces are slower, since
# every call counts; larger ones are hardly faster, and need more memory.
PIXELS_AT_ONCE = 2**19


@dataclass(frozen=True)
class View:
    """One random view of every picture in a batch.

    Args:
        crop: Where to look; fixes the size.
        augmentations: What to do then, in this order.
    """

    crop: RandomResizedCrop | CenterCrop
    augmentations: tuple[Augmentation, ...] = ()

    @property
    def size(self) -> int:
        """Side of the view in pixels."""
        return self.crop.size

    def __call__(self, inputs: Tensor, *, generator: torch.Generator, aspect: Tensor | None = None) -> Tensor:
        """Make the view.

        All parameters are drawn first, for the whole batch, on the generator's device. So a view depends on the seed
        and the batch, and (beyond rounding) not on the device of `inputs`, the number of threads or the pieces in
        which it is computed. A generator on the CPU costs no synchronisation with an accelerator.

        Args:
            inputs: (n, c, s, s), uint8 or float in [0, 1].
            generator: Source of all randomness.
            aspect: (n,) original width / height of pictures that were squashed to a square; None if none was.

        Returns:
            float32 (n, c, size, size) in [0, 1].

        Raises:
            DataError: If `inputs` or `aspect` have the wrong shape, type or range.
        """
        check_images(inputs)
        check_aspect(aspect, len(inputs))
        return self.several(inputs, 1, generator=generator, aspect=aspect)[0]

    def several(
        self, inputs: Tensor, count: int, *, generator: torch.Generator, aspect: Tensor | None = None
    ) -> list[Tensor]:
        """`count` views, drawn one after the other, of pictures that were checked."""
        return [self.apply(inputs, self.draw(inputs, generator=generator, aspect=aspect)) for _ in range(count)]

    def draw(
        self, inputs: Tensor, *, generator: torch.Generator, aspect: Tensor | None = None
    ) -> tuple[Parameters, ...]:
        """The parameters of the crop and of each augmentation, for all of `inputs`; only their shape matters."""
        n, c, source, _ = inputs.shape
        shape = (n, c, self.size, self.size)
        box = self.crop.draw(n, source, generator, aspect=aspect)
        return (box, *(augmentation.draw(shape, generator) for augmentation in self.augmentations))

    def apply(self, inputs: Tensor, parameters: tuple[Parameters, ...]) -> Tensor:
        """The view with given parameters, as of `draw`."""
        n, c = inputs.shape[:2]
        views = torch.empty((n, c, self.size, self.size), device=inputs.device)
        for piece in pieces(n, self.size**2):
            self._apply(inputs[piece], tuple(_rows(values, piece) for values in parameters), views[piece])
        return views

    def _apply(self, inputs: Tensor, parameters: tuple[Parameters, ...], out: Tensor) -> None:
        """Write the view of a piece of a batch into `out`, contiguous float32 (n, c, size, size)."""
        box, *rest = parameters
        images = self.crop.apply(inputs, box)
        for augmentation, values in zip(self.augmentations, rest, strict=True):
            images = augmentation.apply(images, values)
        out.copy_(images)


@dataclass(frozen=True)
class MultiView:
    """Several views of every picture in a batch, one after the other from one generator.

    Args:
        views: What to make. Their sizes may differ; those of multi-crop do.
        channels: The only number of channels to accept, if not None.
    """

    views: tuple[View, ...]
    channels: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))  # a list will do, but must not change later
        if not self.views:
            raise ConfigError("MultiView needs at least one view.")

    def __len__(self) -> int:
        return len(self.views)

    @property
    def sizes(self) -> list[int]:
        """Side of each view in pixels."""
        return [view.size for view in self.views]

    def __call__(self, inputs: Tensor, *, generator: torch.Generator, aspect: Tensor | None = None) -> list[Tensor]:
        """Make all views; arguments and errors are those of `View`, and element v is (n, c, sizes[v], sizes[v])."""
        if self.channels is not None and inputs.ndim == 4 and inputs.shape[1] != self.channels:
            raise DataError(
                f"These views were made for pictures with {self.channels} channels, but these have {inputs.shape[1]}."
            )
        check_images(inputs)
        check_aspect(aspect, len(inputs))
        made: list[Tensor] = []
        for view, alike in itertools.groupby(self.views):
            made += view.several(inputs, len(list(alike)), generator=generator, aspect=aspect)
        return made


def pieces(n: int, pixels: int) -> Iterator[slice]:
    """Parts of `n` samples, of which each makes so many `pixels`."""
    step = max(1, PIXELS_AT_ONCE // pixels)
    return (slice(start, start + step) for start in range(0, n, step))


def _rows(parameters: Parameters, piece: slice) -> Parameters:
    return {name: value[piece] for name, value in parameters.items()}
