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
from twofold.modalities.pixels.compose import View, pieces
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

    def several(
        self, inputs: Tensor, count: int, *, generator: torch.Generator, aspect: Tensor | None = None
    ) -> list[Tensor]:
        """`count` views, drawn one after the other and made at once: small operations cost as much for one."""
        return self._made(inputs, [self.draw(inputs, generator=generator, aspect=aspect) for _ in range(count)])

    def apply(self, inputs: Tensor, parameters: tuple[Parameters, ...]) -> Tensor:
        """The view with given parameters, as of `draw`."""
        return self._made(inputs, [parameters])[0]

    def _made(self, inputs: Tensor, drawn: Sequence[tuple[Parameters, ...]]) -> list[Tensor]:
        """A view for each of `drawn`, some pictures at a time."""
        count, (n, c) = len(drawn), inputs.shape[:2]
        joined = [
            {name: torch.stack([one[name] for one in of_step]) for name in of_step[0]}
            for of_step in zip(*drawn, strict=True)
        ]
        views = torch.empty((count, n, c, self.size, self.size), device=inputs.device)
        for piece in pieces(n, count * self.size**2):
            parameters = [{name: value[:, piece].flatten(0, 1) for name, value in values.items()} for values in joined]
            self._write(inputs[piece], parameters, views[:, piece])
        return list(views)

    def _write(self, inputs: Tensor, parameters: Sequence[Parameters], out: Tensor) -> None:
        """Write views of n pictures into `out`, float32 (views, n, c, size, size).

        As everywhere below, parameters and matrices are those of all pictures for the first view, then for the next.
        """
        box, *drawn = parameters
        others = self.augmentations[self.fused :]
        made = torch.empty(out.shape, device=out.device) if others else out
        self._resample(inputs, box, drawn[: self.fused], made)
        if others:
            images = made.flatten(0, 1)
            for augmentation, values in zip(others, drawn[self.fused :], strict=True):
                images = augmentation.apply(images, values)
            out.copy_(images.unflatten(0, out.shape[:2]))

    def _resample(self, inputs: Tensor, box: Parameters, drawn: Sequence[Parameters], out: Tensor) -> None:
        """Write the crops and all that is fused with them into `out`."""
        source, size, device = inputs.shape[-1], self.size, inputs.device
        steps = self.augmentations[: self.fused]
        left, top, width, height = box["box"].to(device).unbind(1)
        flip = _mirrored(box, steps, drawn, device)
        dtype = products_in(inputs, size)
        full = 255 if inputs.dtype == torch.uint8 else 1
        both = resampling_matrix(
            torch.cat([top, left]),
            torch.cat([height, width]),
            source=source,
            size=size,
            flip=None if flip is None else torch.cat([torch.zeros_like(flip), flip]),
            total=full**-0.5,
            dtype=dtype,
        )
        rows, columns = both.chunk(2)
        blur = _blurs(steps, drawn, len(rows), size)
        mixing = to_device(colour_mixing(steps, drawn, inputs.shape[1]), device)
        if dtype == torch.float32 and is_worthwhile(inputs, size):
            row_windows = crop_windows(top, height, source=source, size=size, reach=blur.reach)
            column_windows = crop_windows(left, width, source=source, size=size, flip=flip, reach=blur.reach)
            _in_blocks(inputs, rows, columns, row_windows, column_windows, blur, mixing, out)
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
    """Write the views into `out`, some pictures at a time, each multiplied as a whole; may overwrite the matrices."""
    n, c, source, _ = inputs.shape
    step = min(n, max(FEWEST_AT_ONCE, NUMBERS_AT_ONCE // (c * source**2)))
    of_row, of_column = rows.mean(1), columns.mean(1)
    rows, columns = blur.after(rows), blur.after(columns)
    pictures = rows.new_empty((step, c, source, source))
    separable = Separable(rows, (step, c, rows.shape[1], columns.shape[1]), source)
    for start in range(0, n, step):
        stop = min(start + step, n)
        own = pictures[: stop - start].copy_(inputs[start:stop])
        for number, view in enumerate(out):
            piece = slice(number * n + start, number * n + stop)
            mean = _mean_colour(own, of_row[piece], of_column[piece]).float()
            images = separable(own, rows[piece], columns[piece]).float()
            _finish(images, mean, {name: values[piece] for name, values in mixing.items()}, view[start:stop])


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
    mixing: Mixing,
    out: Tensor,
) -> None:
    """Write the views into `out`, picture by picture, multiplied block by block."""
    n, c = inputs.shape[:2]
    made = out.new_empty((c, *out.shape[-2:]))
    of_row, of_column = rows.mean(1), columns.mean(1)
    matrices: dict[int, Tensor] = dict(zip(blur.due.tolist(), blur.matrices, strict=True))
    reach = blur.reach.tolist()
    for i in range(len(rows)):
        pictures, down, across = cut_out(inputs[i % n], row_windows[i], column_windows[i])
        y, x = slice(*span(row_windows[i])), slice(*span(column_windows[i]))
        mean = _mean_colour(pictures[None], of_row[i : i + 1, y], of_column[i : i + 1, x])
        own = matrices.get(i), reach[i]
        banded_picture(pictures, blocks(rows[i, :, y], down, *own), blocks(columns[i, :, x], across, *own), made)
        mixed = {name: values[i : i + 1] for name, values in mixing.items()}
        _finish(made[None], mean, mixed, out[i // n, i % n][None])


def _mean_colour(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mean (n, c) of the crop from the weights of its source pixels: those of rows and of columns, (n, s) each."""
    n, c, height, width = pictures.shape
    lines = pictures.reshape(n, c * height, width)
    across = torch.bmm(columns.unsqueeze(1), lines.transpose(1, 2)).view(n, c, height)  # lines @ columns is slower
    return torch.bmm(across, rows.unsqueeze(2)).squeeze(2)


def _mix(images: Tensor, mixing: Mixing, mean: Tensor, out: Tensor) -> None:
    """Write pictures (n, c, h, w) of mean colour (n, c) with mixed channels into `out`, whose pictures are whole."""
    torch.bmm(mixing["own"], images.flatten(2), out=out.flatten(2))
    out += torch.bmm(mixing["mean"], mean.unsqueeze(2)).unsqueeze(3)


def colour_mixing(steps: Sequence[Augmentation], drawn: Sequence[Parameters], channels: int) -> Mixing:
    """All colour operations of `steps`, in their order, as one linear map a sample.

    Every operation is ``x -> a x + b (l·m) 1`` with a matrix a, the luminance l·m of the mean colour m at that time,
    and b = 0 but for contrast. The mean colour is changed by each like any other colour, so by ``a + b 1 lᵀ``: one
    product of matrices for the pixels and one for the mean colour say all.
    """
    turns = [
        _turns(step, values)
        for step, values in zip(steps, drawn[: len(steps)], strict=True)
        if isinstance(step, ColorJitter | RandomGrey)
    ]
    if not sum(turn.shape[1] for turn in turns):
        return {}
    shares = torch.cat(turns, 1).transpose(0, 1).contiguous()
    matrices = (shares @ _parts(channels, shares.device).flatten(1)).unflatten(-1, (channels, channels))
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    own, total = product.unbind(1)
    return {"own": own, "mean": total - own}


def _turns(step: ColorJitter | RandomGrey, values: Parameters) -> Tensor:
    """The operations of a step in their order, (n, operations, 2, 4): shares of `_parts`, which sum to the matrices
    a, and a + b 1 lᵀ for the mean colour. Those of samples left out do nothing.
    """
    chosen = values["apply"].view(-1, 1, 1, 1)
    same, grey = torch.eye(4, device=chosen.device)[:2].unbind()
    if isinstance(step, RandomGrey):
        return torch.where(chosen, grey, same).expand(-1, -1, 2, -1)
    n, k = values["order"].shape
    if k == 0:
        return same.new_empty((n, 0, 2, 4))
    found = [share for name in step.names for share in _shares(name, values[name])]
    every = torch.stack(found, 1).view(n, k, 2, 4)
    ordered = every[torch.arange(n, device=chosen.device).unsqueeze(1), values["order"]]
    return torch.where(chosen, ordered, same)


def _shares(name: str, factor: Tensor) -> tuple[Tensor, ...]:
    """What an adjustment by `factor` (n,) consists of: four shares (n,) for the pixels, four for the mean colour."""
    none = torch.zeros_like(factor)
    if name == "hue":  # a turn about (1, 1, 1), red towards green (Rodrigues' formula)
        angle = 2 * math.pi * factor
        return (angle.cos(), none, 1 - angle.cos(), angle.sin()) * 2
    plain, towards_grey = (factor, none, none, none), (factor, 1 - factor, none, none)
    if name == "contrast":  # draws pixels towards the luminance of the mean colour, so the mean colour towards its own
        return plain + towards_grey
    return (plain if name == "brightness" else towards_grey) * 2


def _parts(channels: int, device: torch.device) -> Tensor:
    """Matrices (4, c, c) of which all operations consist: same colour, luminance, mean of the channels, and the cross
    product with the axis of greys.
    """
    if channels not in (1, 3):
        raise DataError(f"Colours need pictures with 1 or 3 channels, but these have {channels}.")
    if channels == 1:
        return torch.tensor([1.0, 1.0, 1.0, 0.0], device=device).view(4, 1, 1)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    grey, mean = torch.tensor(LUMA).expand(3, -1), torch.full((3, 3), 1 / 3)
    return torch.stack([torch.eye(3), grey, mean, cross]).to(device)
