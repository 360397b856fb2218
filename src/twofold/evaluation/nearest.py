"""The rows of a bank that are nearest to each query by cosine: exact, block by block of the bank.

Where a CPU multiplies bfloat16 several times faster, candidates are found by products in it, with a bound of their
error, and only the cosines of candidates are computed in float32. A query whose candidates cannot be shown to hold all
that it asks for is compared with the whole bank in float32, so both ways give the same neighbours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from twofold.evaluation.features import unit_rows
from twofold.nn.hardware import has_native_bf16
from twofold.nn.sparse import compressed

SPARE = 64
"""At least so many candidates more than neighbours; half as many as neighbours if that is more."""
LEAST_QUERIES, LEAST_SHARE = 256, 16
"""Candidates pay off from so many queries on, and while they are less than a 16th of a block."""
MOST_UNSURE = 0.25
"""Share of the first queries without certainty at which the search by candidates is given up."""
_AT_A_TIME = 4096
"""Rows of the bank that are scaled to unit length at once."""
_ROUNDED = 2.0**-8
"""A number in bfloat16 is off by at most half of this, relative to it."""


def nearest_by_cosine(bank: Tensor, queries: Tensor, count: int, *, chunk: int, block: int) -> tuple[Tensor, Tensor]:
    """The largest cosines of each query, descending, and whose they are: twice ``(queries, count)``.

    Args:
        bank: ``(m, d)``.
        queries: ``(n, d)``.
        count: At most m.
        chunk: Queries compared with a block at once.
        block: Rows of the bank compared at once.
    """
    if _candidates_pay(bank, queries, count, block):
        found = _through_candidates(bank, queries, count, chunk, block)
        if found is not None:
            nearest, index, unsure = found
            again = unsure.nonzero().flatten()
            if len(again):
                nearest[again], index[again] = _compared(bank, queries[again], count, chunk, block)
            return nearest, index
    return _compared(bank, queries, count, chunk, block)


def _candidates_pay(bank: Tensor, queries: Tensor, count: int, block: int) -> bool:
    plain = bank.device.type == "cpu" and bank.dtype == queries.dtype == torch.float32
    few = LEAST_SHARE * _candidates(count) <= min(len(bank), block)
    return plain and few and len(queries) >= LEAST_QUERIES and has_native_bf16("cpu")


def _candidates(count: int) -> int:
    return count + max(SPARE, count // 2)


def _compared(bank: Tensor, queries: Tensor, count: int, chunk: int, block: int) -> tuple[Tensor, Tensor]:
    """All cosines, in one buffer; what a block has best is merged with the best so far."""
    blocks, chunks = _parts(bank, block), _parts(queries, chunk)
    dtype = torch.promote_types(bank.dtype, torch.float32)
    buffer = bank.new_empty(len(chunks[0]) * len(blocks[0]), dtype=dtype)
    nearest = bank.new_full((len(queries), count), -math.inf, dtype=dtype)
    index = torch.zeros_like(nearest, dtype=torch.int64)
    first = 0
    for part in blocks:
        unit_part = unit_rows(part).T
        for rows, best, places in zip(chunks, *(x.tensor_split(len(chunks)) for x in (nearest, index)), strict=True):
            cosine = buffer[: len(rows) * len(part)].view(len(rows), len(part))
            torch.mm(unit_rows(rows), unit_part, out=cosine)
            _merge(best, places, *largest(cosine, min(count, len(part))), first)
        first += len(part)
    return nearest, index


def _through_candidates(
    bank: Tensor, queries: Tensor, count: int, chunk: int, block: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """As :func:`_compared`, and for which queries that is not certain, bool ``(n,)``; None if it is for too few.

    With h the bfloat16 of a unit row u, |u·v − h·g| ≤ |u − h| + |h| |v − g|; both lengths are computed. Added to it are
    the rounding of the product to bfloat16, and of its sum in float32.
    """
    blocks, chunks = _parts(bank, 2 * block), _parts(queries, chunk)  # a tile is no larger than one of float32
    buffer = bank.new_empty(len(chunks[0]) * len(blocks[0]), dtype=torch.bfloat16)
    nearest = bank.new_full((len(queries), count), -math.inf)
    index = torch.zeros_like(nearest, dtype=torch.int64)
    left_out = nearest[:, 0].clone()  # no cosine of a row that was no candidate is above this
    first = 0
    for part in blocks:
        rough_part, lengths, off = _rough(part)
        several = (x.tensor_split(len(chunks)) for x in (nearest, index, left_out))
        for rows, best, places, bar in zip(chunks, *several, strict=True):
            own = unit_rows(rows)
            rough = own.bfloat16()
            error = torch.linalg.vector_norm(own - rough, dim=1)
            error += (1 + error) * off
            cosine = buffer[: len(rows) * len(part)].view(len(rows), len(part))
            torch.mm(rough, rough_part, out=cosine)
            found, where = largest(cosine, min(_candidates(count), len(part)))
            most = found.float()  # before anything is added: in bfloat16 1 + 2⁻⁸ is 1
            most += most.abs() * _ROUNDED + error[:, None]
            if found.shape[1] < len(part):
                torch.maximum(bar, most.amin(dim=1), out=bar)
            exact = _cosines_of(own, part, lengths, where, most >= best[:, -1:])
            _merge(best, places, exact, where, first)
            if first == 0 and rows is chunks[0] and float((best[:, -1] < bar).float().mean()) > MOST_UNSURE:
                return None
        first += len(part)
    return nearest, index, nearest[:, -1] < left_out


def _rough(part: Tensor) -> tuple[Tensor, Tensor, float]:
    """Unit rows in bfloat16 as columns ``(d, m)``, the rows' lengths ``(m,)``, and the largest error of a product.

    Columns, since each product would rearrange rows first.
    """
    columns, lengths = part.new_empty(part.shape[1], len(part), dtype=torch.bfloat16), part.new_empty(len(part))
    off, first = 0.0, 0
    for rows in part.split(_AT_A_TIME):
        here = slice(first, first + len(rows))
        torch.linalg.vector_norm(rows, dim=1, out=lengths[here]).clamp_(min=1e-12)
        unit = rows / lengths[here, None]
        rough = unit.bfloat16()
        off = max(off, float(torch.linalg.vector_norm(unit - rough, dim=1).max()))
        columns[:, here] = rough.T
        first += len(rows)
    return columns, lengths, off + part.shape[1] * 2.0**-23


def _cosines_of(queries: Tensor, part: Tensor, lengths: Tensor, where: Tensor, wanted: Tensor) -> Tensor:
    """Cosines of unit queries ``(n, d)`` and the rows ``where`` ``(n, c)`` of a part; −∞ where they are not wanted."""
    starts = torch.cat([where.new_zeros(1), wanted.sum(dim=1).cumsum(0)])
    columns = where[wanted]
    places = compressed(starts, columns, queries.new_zeros(len(columns)), (len(queries), len(part)))
    exact = torch.sparse.sampled_addmm(places, queries, part.T, beta=0.0).values().div_(lengths[columns])
    return queries.new_full(where.shape, -math.inf).masked_scatter_(wanted, exact)


def _merge(best: Tensor, places: Tensor, found: Tensor, where: Tensor, first: int) -> None:
    """Put the largest of the best so far and of what a block has, whose first row is ``first``, into ``best``."""
    merged, chosen = torch.cat([best, found], dim=1).topk(best.shape[1], dim=1)
    best.copy_(merged)
    places.copy_(torch.cat([places, where + first], dim=1).gather(1, chosen))


def largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest of each row and their columns, twice ``(rows, count)``, in no order: as `topk`, less to search.

    Columns are put into groups; the ``count`` groups with the largest maxima hold ``count`` largest values. Groups of
    sqrt(columns / count) make the two searches, of the maxima and within those groups, equally long.
    """
    columns = values.shape[1]
    size = math.isqrt(columns // count)
    if size < 3:
        return values.topk(count, dim=1, sorted=False)
    groups = columns // size
    maxima = values[:, : size * groups].unflatten(1, (size, groups)).amax(dim=1)  # group j: columns j, j + groups ...
    best = maxima.topk(count, dim=1, sorted=False).indices
    offsets = torch.arange(0, size * groups, groups, device=values.device)
    rest = torch.arange(size * groups, columns, device=values.device).expand(len(values), -1)
    candidates = torch.cat([(best.unsqueeze(2) + offsets).flatten(1), rest], dim=1)
    found, chosen = values.gather(1, candidates).topk(count, dim=1, sorted=False)
    return found, candidates.gather(1, chosen)


def _parts(rows: Tensor, size: int) -> tuple[Tensor, ...]:
    """Even parts of at most ``size`` rows: a last one of a row or two would be slow."""
    return rows.tensor_split(math.ceil(len(rows) / size))
