"""What the hardware is fast at."""

from __future__ import annotations

import torch


def has_native_bf16(device: torch.device | str) -> bool:
    """Whether the device has units for bfloat16 products: NVIDIA from Ampere on, CPUs with AMX or AVX512-BF16."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        return any(_cpu_has(probe) for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return False


def _cpu_has(probe: str) -> bool:
    # Private functions of torch: absent in some builds, and then the answer is no.
    function = getattr(torch.cpu, probe, None)
    return bool(function()) if callable(function) else False
