"""Products of matrices as convolutions of a single place, on processors where those are twice as fast.

A matrix (n, d) is a picture of n places with d channels, and a matrix (m, d) the weights of a convolution of one place
with m outputs: what it gives is their product (n, m). torch multiplies float32 matrices on x86 processors by MKL, and
convolves by oneDNN. On an AMD processor of the Zen 5 family, whose units are 512 bits wide, oneDNN took half the time
of MKL (``benchmarks/speed/core.py`` shows both: its "three products" are MKL's). On an Intel processor MKL was as fast.
So only that family and later ones of AMD's convolve; elsewhere nothing changes.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn import grad as gradients

LEAST_SIDE = 64
"""Matrices with fewer rows or columns are multiplied faster as such."""
LEAST_WORK = 1 << 24
"""So are products of fewer multiplications."""
COLUMNS = 2048
"""Of an output, or of a matrix that is transposed, at a time: larger pieces leave the cache."""
SUMMED = 1 << 18
"""Numbers of a product that are added to a sum at a time; larger ones would need new memory from the system."""
_ZEN_5 = 26
_CPUINFO = Path("/proc/cpuinfo")


def pays(sizes: Sequence[int], *, like: Tensor) -> bool:
    """Whether a product of (n, d) and (d, m) is faster as a convolution, where ``sizes`` are n, d and m."""
    large = min(sizes) >= LEAST_SIDE and math.prod(sizes) >= LEAST_WORK
    return large and like.dtype == torch.float32 and like.device.type == "cpu" and processor_convolves_faster()


@cache
def processor_convolves_faster() -> bool:
    """Whether this processor is one of AMD's from Zen 5 on, and torch was built with both libraries."""
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    if not libraries or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    maker, family = _maker_and_family()
    return maker == "AuthenticAMD" and family >= _ZEN_5


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T``, contiguous.

    Args:
        left: ``(n, d)``.
        right: ``(m, d)``.
    """
    maps = F.conv2d(_picture(left), right[:, :, None, None])
    return maps.permute(0, 2, 3, 1).reshape(len(left), len(right))


def add_transposed(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left.T @ right``: the gradient of the weights.

    Args:
        total: ``(m, d)``.
        left: ``(n, m)``.
        right: ``(n, d)``.
    """
    m, picture = left.shape[1], _picture(left)
    width = max(LEAST_SIDE, SUMMED // m)
    for part, some in zip(total.split(width, 1), right.split(width, 1), strict=True):
        part += gradients.conv2d_weight(_picture(some), (m, some.shape[1], 1, 1), picture).view(m, -1)


def _picture(rows: Tensor) -> Tensor:
    """Rows as places of one picture, ``(1, width, n, 1)``, in the order of memory that they have."""
    return rows.contiguous()[None, :, None, :].permute(0, 3, 1, 2)


def _maker_and_family() -> tuple[str, int]:
    """What the processor says of itself; ("", 0) where nobody tells."""
    if _CPUINFO.is_file():
        first, _, _ = _CPUINFO.read_text(errors="replace").partition("\n\n")  # of many processors, all alike
        lines = (line.partition(":") for line in first.splitlines())
        told = {name.strip(): value.strip() for name, _, value in lines}
        return told.get("vendor_id", ""), int(told.get("cpu family", "0"))
    # Windows says: AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD
    words = platform.processor().replace(",", " ").split()
    family = words[words.index("Family") + 1] if "Family" in words[:-1] else "0"
    return words[-1] if words else "", int(family) if family.isdecimal() else 0
