"""Products with banded matrices, block by block.

A matrix that resamples or blurs a row of pixels has zeros everywhere but near a diagonal. Its product with a picture
needs, for some neighbouring results, only the few pixels that they look at. On a processor that saves most of the
work of large pictures; where every call counts, on accelerators and for small pictures, the whole product is faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

Window = tuple[int, int]
"""First pixel that a block of results looks at, and the one after the last."""

BLOCK = 64  # results that share a window: smaller blocks save more products, larger ones more calls
LEAST_PIXELS = 112**2  # from this size of a matrix on blocks are faster than the whole product


def is_worthwhile(images: Tensor, size: int) -> bool:
    """Whether blocks are faster for these pictures (n, c, s, s), resized to `size`."""
    return images.device.type == "cpu" and images.shape[-1] * size >= LEAST_PIXELS


def crop_windows(
    start: Tensor, length: Tensor, *, source: int, size: int, flip: Tensor | None = None, reach: Tensor | None = None
) -> list[list[Window]]:
    """What each block of results of `resampling_matrix` looks at, for each of n pictures.

    Args:
        start: (n,) as of `resampling_matrix`.
        length: (n,) as of `resampling_matrix`.
        source: Pixels in the row that is cut.
        size: Pixels in the result.
        flip: (n,) bool, as of `resampling_matrix`.
        reach: int64 (n,), how many results to either side a blur adds to each.
    """
    first = torch.arange(0, size, BLOCK, device=start.device).expand(len(start), -1)
    last = first + BLOCK - 1
    if reach is not None:
        first, last = first - reach.unsqueeze(1), last + reach.unsqueeze(1)
    first, last = first.clamp(min=0), last.clamp(max=size - 1)
    if flip is not None:
        flip = flip.unsqueeze(1)
        first, last = torch.where(flip, size - 1 - last, first), torch.where(flip, size - 1 - first, last)
    step = (length / size).unsqueeze(1)
    margin = step.clamp(min=1) + 0.5  # a triangle reaches this far from its middle
    low = start.unsqueeze(1) + (first + 0.5) * step - margin
    high = start.unsqueeze(1) + (last + 0.5) * step + margin
    ends = torch.stack([low.floor().clamp(min=0), high.ceil().clamp(max=source)], 2)
    return [[(low, high) for low, high in row] for row in ends.long().tolist()]


def blur_windows(*, size: int, reach: int) -> list[Window]:
    """What each block of results of `blur_matrix` looks at: `reach` pixels to either side."""
    return [(max(0, first - reach), min(size, first + BLOCK + reach)) for first in range(0, size, BLOCK)]


def banded_separable(
    images: Tensor, rows: Tensor, columns: Tensor, row_windows: list[list[Window]], column_windows: list[list[Window]]
) -> Tensor:
    """The same as `separable`, of matrices that are zero outside of their windows.

    Args:
        images: (n, c, s, s), of any type.
        rows: float32 (n, r, s).
        columns: float32 (n, k, s).
        row_windows: For each picture one for each block of `rows`.
        column_windows: For each picture one for each block of `columns`.

    Returns:
        float32 (n, c, r, k).
    """
    n, c = images.shape[:2]
    made = images.new_empty((n, c, rows.shape[1], columns.shape[1]), dtype=torch.float32)
    for i, (downwards, across) in enumerate(zip(row_windows, column_windows, strict=True)):
        picture, down, wide = cut_out(images[i], downwards, across)
        y, x = slice(*span(downwards)), slice(*span(across))
        banded_picture(picture, blocks(rows[i, :, y], down), blocks(columns[i, :, x], wide), made[i])
    return made


Block = tuple[Window, Tensor]
"""Some rows of a banded matrix, cut to their window."""


def blocks(matrix: Tensor, windows: list[Window], blur: Tensor | None = None, reach: int = 0) -> list[Block]:
    """A banded matrix, (r, s), in blocks; with `blur`, (r, r), of that reach, ``blur @ matrix`` in blocks."""
    cut = [slice(block * BLOCK, (block + 1) * BLOCK) for block in range(len(windows))]
    if blur is None:
        return [(window, matrix[results, slice(*window)]) for results, window in zip(cut, windows, strict=True)]
    near = [slice(*window) for window in blur_windows(size=len(matrix), reach=reach)]
    return [
        (window, blur[results, sources] @ matrix[sources, slice(*window)])
        for results, sources, window in zip(cut, near, windows, strict=True)
    ]


def banded_picture(picture: Tensor, rows: list[Block], columns: list[Block], out: Tensor) -> None:
    """Write ``rows @ picture @ columns.T`` of one picture, float32 (c, h, w), into `out`, float32 (c, r, k)."""
    c, h, w = picture.shape
    wide = picture.new_empty((c, h, out.shape[2]))
    flat, flat_wide = picture.reshape(c * h, w), wide.view(c * h, -1)
    for number, ((low, high), matrix) in enumerate(columns):
        results = slice(number * BLOCK, (number + 1) * BLOCK)
        torch.mm(flat[:, low:high], matrix.t(), out=flat_wide[:, results])
    for number, ((low, high), matrix) in enumerate(rows):
        results = slice(number * BLOCK, (number + 1) * BLOCK)
        torch.bmm(matrix.expand(c, -1, -1), wide[:, low:high], out=out[:, results])


def cut_out(
    picture: Tensor, row_windows: list[Window], column_windows: list[Window]
) -> tuple[Tensor, list[Window], list[Window]]:
    """The part of a picture (c, s, s) that any window holds, float32, and the windows counted from its corner."""
    (top, bottom), (left, right) = span(row_windows), span(column_windows)
    down = [(low - top, high - top) for low, high in row_windows]
    across = [(low - left, high - left) for low, high in column_windows]
    return picture[:, top:bottom, left:right].float(), down, across


def span(windows: list[Window]) -> Window:
    """From the first to the last pixel of all windows."""
    return min(low for low, _ in windows), max(high for _, high in windows)
