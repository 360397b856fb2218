"""Views whose linear parts are put together before a pixel is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.pixels.bands import (
    LEAST_PIXELS,
    Window,
    banded_picture,
    blocks,
    crop_windows,
    cut_out,
    is_worthwhile,
    span,
)
from twofold.modalities.pixels.base import Augmentation, Parameters, Separable, to_device
from twofold.modalities.pixels.colour import LUMA, ColorJitter, RandomGrey
from twofold.modalities.pixels.compose import View
from twofold.modalities.pixels.filters import GaussianBlur, blur_matrix
from twofold.modalities.pixels.geometry import RandomFlip, resampling_matrix
from twofold.nn.hardware import has_native_bf16

FUSIBLE: tuple[type[Augmentation], ...] = (ColorJitter, RandomGrey, GaussianBlur, RandomFlip)
"""Augmentations that are linear in the pixels, or nearly so."""

NUMBERS_AT_ONCE, FEWEST_AT_ONCE = 2**18, 16
"""Numbers of the pictures that are multiplied at a time, and how many pictures at least. Their memory, 1 MB, is used
again and again: taking new memory from the operating system would take longer than the products."""

LARGEST_WHOLE = 2
"""From pictures that are more than so many times as wide as the view, the crop is cut out first."""

Mixing = Parameters
"""Matrices (n, c, c): a pixel x of a picture with mean colour m becomes ``own @ x + mean @ m``; or empty."""


@dataclass(frozen=True)
class FusedView(View):
    """A view in a fraction of the time: the same draws as of `View`, applied all at once.

    With R and C the matrices that cut, resize, mirror and blur rows and columns, M and N those that mix the channels
    (n, c, c), and m the mean colour, a picture X becomes M · R X Cᵀ + N m, cut to [0, 1]. It is an approximation:

    - Values are cut to [0, 1] once, at the end, and not after every step.
    - Hue is a turn about the axis of greys in RGB by the same angle instead of a shift of HSV's hue. The two agree at
      thirds of a turn. In between this is the best linear map that treats the channels alike (a turn in YIQ, which
      keeps the luminance instead of the mean of the channels, is further away from HSV's).
    - The mean that contrast is stretched around is the crop's before colours and blur, carried through the steps that
      come before contrast without their cuts.
    - Bytes of large pictures are multiplied in bfloat16 on devices with units for it; see `products_in`.

    Where no value is cut and no hue turned, it equals `View` up to rounding. What `FUSIBLE` does not name (and what
    comes after that) is applied as it is, in order.

    Args:
        crop: As of `View`.
        augmentations: As of `View`.
    """

    @property
    def fused(self) -> int:
        """How many augmentations, from the first on, are put together with the crop."""
        others = (number for number, step in enumerate(self.augmentations) if type(step) not in FUSIBLE)
        return next(others, len(self.augmentations))

    def apply(self, inputs: Tensor, parameters: tuple[Parameters, ...]) -> Tensor:
        """The view with given parameters, as of `draw`."""
        mixing = colour_mixing(self.augmentations[: self.fused], parameters[1:], inputs.shape[1])
        return super().apply(inputs, (*parameters, mixing))

    def _apply(self, inputs: Tensor, parameters: tuple[Parameters, ...], out: Tensor) -> None:
        box, *drawn, mixing = parameters
        self._resample(inputs, box, drawn[: self.fused], mixing, out)
        images = out
        for augmentation, values in zip(self.augmentations[self.fused :], drawn[self.fused :], strict=True):
            images = augmentation.apply(images, values)
        if images is not out:
            out.copy_(images)

    def _resample(
        self, inputs: Tensor, box: Parameters, drawn: Sequence[Parameters], mixing: Mixing, out: Tensor
    ) -> None:
        """Write the crop and all that is fused with it into `out`."""
        source, size, device = inputs.shape[-1], self.size, inputs.device
        steps = self.augmentations[: self.fused]
        left, top, width, height = box["box"].to(device).unbind(1)
        flip = _mirrored(box, steps, drawn, device)
        dtype = products_in(inputs, size)
        full = 255 if inputs.dtype == torch.uint8 else 1
        rows = resampling_matrix(top, height, source=source, size=size, total=1 / full, dtype=dtype)
        columns = resampling_matrix(left, width, source=source, size=size, flip=flip, dtype=dtype)
        blur = _blurs(steps, drawn, len(inputs), size)
        if dtype == torch.float32 and is_worthwhile(inputs, size):
            row_windows = crop_windows(top, height, source=source, size=size, reach=blur.reach)
            column_windows = crop_windows(left, width, source=source, size=size, flip=flip, reach=blur.reach)
            images, mean = _in_blocks(inputs, rows, columns, row_windows, column_windows, blur)
            _finish(images, mean, mixing, out)
        else:
            _whole(inputs, rows, columns, blur, mixing, out)


@dataclass
class _Blurs:
    """All blurs of some samples: of the k chosen ones, whose numbers are `due`, the matrices (k, size, size)."""

    due: Tensor
    matrices: Tensor
    reach: Tensor
    """int64 (n,): how many pixels to either side the blurs of a sample reach in all."""

    def after(self, matrix: Tensor) -> Tensor:
        """Matrices (n, size, s), those of the chosen samples with the blur on top; may overwrite them."""
        if len(self.due) == 0:
            return matrix
        due = self.due.to(matrix.device)
        blurred = self.matrices.to(matrix) @ matrix.index_select(0, due)
        return matrix.index_copy_(0, due, blurred)


def _blurs(steps: Sequence[Augmentation], drawn: Sequence[Parameters], n: int, size: int) -> _Blurs:
    """The blurs among `steps`, put together."""
    found = [(step, values) for step, values in zip(steps, drawn, strict=True) if isinstance(step, GaussianBlur)]
    chosen = [values["apply"] for _, values in found] or [torch.zeros(n, dtype=torch.bool)]
    due = torch.stack(chosen).any(0).nonzero().squeeze(1)
    reach = torch.zeros(n, dtype=torch.int64, device=due.device)
    matrices = torch.eye(size, device=due.device).expand(len(due), -1, -1)
    for number, (step, values) in enumerate(found if len(due) else []):
        taps, applied = step.taps(size), values["apply"]
        matrix = blur_matrix(values["sigma"][due], size=size, kernel_size=taps)
        if len(found) > 1:
            matrix = torch.where(applied[due].view(-1, 1, 1), matrix, torch.eye(size, device=due.device))
        matrices = matrix if number == 0 else matrix @ matrices
        reach += applied * (taps // 2)
    return _Blurs(due, matrices, reach)


def products_in(inputs: Tensor, size: int) -> torch.dtype:
    """What pictures (n, c, s, s) are multiplied in, resized to `size`: bfloat16 where that is fast and close enough.

    That is for bytes, which bfloat16 holds exactly, on devices with units for it, and for views large enough that
    products take most of the time. What is rounded are weights and results, each by at most 1 / 256 of itself: a view
    is as exact as if its pixels were rounded to bytes after every operation.
    """
    large = inputs.shape[-1] * size >= LEAST_PIXELS and inputs.shape[-1] <= LARGEST_WHOLE * size
    bytes_in_fast = inputs.dtype == torch.uint8 and has_native_bf16(inputs.device)
    return torch.bfloat16 if large and bytes_in_fast else torch.float32


def _mirrored(
    box: Parameters, steps: Sequence[Augmentation], drawn: Sequence[Parameters], device: torch.device
) -> Tensor | None:
    """Which samples are mirrored in the end, bool (n,); None if there is nothing that mirrors."""
    flips = [box["flip"]] if "flip" in box else []
    flips += [values["apply"] for step, values in zip(steps, drawn, strict=True) if isinstance(step, RandomFlip)]
    return torch.stack(flips).sum(0).remainder(2).bool().to(device) if flips else None


def _whole(inputs: Tensor, rows: Tensor, columns: Tensor, blur: _Blurs, mixing: Mixing, out: Tensor) -> None:
    """Write the crops into `out`, some pictures at a time, each multiplied as a whole; may overwrite the matrices."""
    n, c, source, _ = inputs.shape
    step = min(n, max(FEWEST_AT_ONCE, NUMBERS_AT_ONCE // (c * source**2)))
    of_row, of_column = rows.mean(1), columns.mean(1)
    rows, columns = blur.after(rows), blur.after(columns)
    pictures = rows.new_empty((step, c, source, source))
    separable = Separable(rows, (step, c, rows.shape[1], columns.shape[1]), source)
    for start in range(0, n, step):
        piece = slice(start, min(start + step, n))
        own = pictures[: piece.stop - start].copy_(inputs[piece])
        mean = _mean_colour(own, of_row[piece], of_column[piece]).float()
        images = separable(own, rows[piece], columns[piece]).float()
        _finish(images, mean, {name: values[piece] for name, values in mixing.items()}, out[piece])


def _finish(images: Tensor, mean: Tensor, mixing: Mixing, out: Tensor) -> None:
    """Write pictures (n, c, h, w) of mean colour (n, c) into `out`, with mixed channels, cut to [0, 1]."""
    if mixing:
        _mix(images, mixing, mean, out)
    else:
        out.copy_(images)
    out.clamp_(0, 1)


def _in_blocks(
    inputs: Tensor,
    rows: Tensor,
    columns: Tensor,
    row_windows: list[list[Window]],
    column_windows: list[list[Window]],
    blur: _Blurs,
) -> tuple[Tensor, Tensor]:
    """Picture by picture the blurred crop, (n, c, size, size), and the mean (n, c) of the crop before the blur."""
    n, c = inputs.shape[:2]
    made = inputs.new_empty((n, c, rows.shape[1], columns.shape[1]), dtype=torch.float32)
    mean = made.new_empty((n, c))
    of_row, of_column = rows.mean(1), columns.mean(1)
    matrices: dict[int, Tensor] = dict(zip(blur.due.tolist(), blur.matrices, strict=True))
    reach = blur.reach.tolist()
    for i in range(n):
        pictures, down, across = cut_out(inputs[i], row_windows[i], column_windows[i])
        y, x = slice(*span(row_windows[i])), slice(*span(column_windows[i]))
        mean[i] = _mean_colour(pictures[None], of_row[i : i + 1, y], of_column[i : i + 1, x])[0]
        own = matrices.get(i), reach[i]
        banded_picture(pictures, blocks(rows[i, :, y], down, *own), blocks(columns[i, :, x], across, *own), made[i])
    return made, mean


def _mean_colour(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mean (n, c) of the crop from the weights of its source pixels: those of rows and of columns, (n, s) each."""
    n, c, height, width = pictures.shape
    across = torch.bmm(pictures.reshape(n, c * height, width), columns.unsqueeze(2)).view(n, c, height)
    return torch.bmm(across, rows.unsqueeze(2)).squeeze(2)


def _mix(images: Tensor, mixing: Mixing, mean: Tensor, out: Tensor) -> None:
    """Write pictures (n, c, h, w) of mean colour (n, c) with mixed channels into `out`, which is contiguous."""
    mixing = to_device(mixing, images.device)
    torch.bmm(mixing["own"], images.flatten(2), out=out.flatten(2))
    out += torch.bmm(mixing["mean"], mean.unsqueeze(2)).unsqueeze(3)


def colour_mixing(steps: Sequence[Augmentation], drawn: Sequence[Parameters], channels: int) -> Mixing:
    """All colour operations of `steps`, in their order, as one linear map a sample.

    Every operation is ``x -> a x + b (l·m) 1`` with a matrix a, the luminance l·m of the mean colour m at that time,
    and b = 0 but for contrast. The mean colour is changed by each like any other colour.
    """
    turns = [
        turn
        for step, values in zip(steps, drawn[: len(steps)], strict=True)
        if isinstance(step, ColorJitter | RandomGrey)
        for turn in _turns(step, values, channels)
    ]
    if not turns:
        return {}
    own = torch.eye(channels, device=turns[0][0].device).expand_as(turns[0][0])
    mean = torch.zeros_like(own)
    grey = _grey_matrix(channels, own.device)
    for matrix, pull in turns:
        mean = matrix @ mean + pull * (grey @ (own + mean))
        own = matrix @ own
    return {"own": own, "mean": mean}


def _turns(step: ColorJitter | RandomGrey, values: Parameters, channels: int) -> list[tuple[Tensor, Tensor]]:
    """The operations of a step in their order: a (n, c, c) and b (n, 1, 1); those of samples left out do nothing."""
    chosen = values["apply"].view(-1, 1, 1)
    device = chosen.device
    same, grey = torch.eye(channels, device=device), _grey_matrix(channels, device)
    if isinstance(step, RandomGrey):
        return [(torch.where(chosen, grey, same), torch.zeros(1, 1, 1, device=device))]
    matrices, pulls = [], []
    for name in step.names:
        factor = values[name].view(-1, 1, 1)
        matrices.append(_matrix(name, factor, same, grey))
        pulls.append(1 - factor if name == "contrast" else torch.zeros_like(factor))
    if not matrices:
        return []
    every, pull = torch.stack(matrices), torch.stack(pulls)  # (adjustments, n, ...)
    sample = torch.arange(len(chosen), device=device)
    return [
        (torch.where(chosen, every[turn, sample], same), torch.where(chosen, pull[turn, sample], 0))
        for turn in values["order"].unbind(1)
    ]


def _matrix(name: str, factor: Tensor, same: Tensor, grey: Tensor) -> Tensor:
    """What an adjustment multiplies colours by, (n, c, c); `factor` is (n, 1, 1)."""
    if name in ("brightness", "contrast"):
        return factor * same
    if name == "saturation":
        return factor * same + (1 - factor) * grey
    return _hue_matrix(factor) if len(same) == 3 else same.expand(len(factor), -1, -1)


def _hue_matrix(turn: Tensor) -> Tensor:
    """Turns about (1, 1, 1) by `turn` (n, 1, 1), red towards green (Rodrigues' formula)."""
    angle = 2 * math.pi * turn
    axis = turn.new_full((3, 3), 1 / 3)
    cross = turn.new_tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return axis + angle.cos() * (torch.eye(3, device=turn.device) - axis) + angle.sin() * cross


def _grey_matrix(channels: int, device: torch.device) -> Tensor:
    """Every channel becomes the luminance, (c, c)."""
    if channels not in (1, 3):
        raise DataError(f"Colours need pictures with 1 or 3 channels, but these have {channels}.")
    weights = LUMA if channels == 3 else (1.0,)
    return torch.tensor(weights, device=device).expand(channels, -1)
