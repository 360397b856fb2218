import pytest
import torch

from twofold.nn import hardware
from twofold.nn.hardware import has_native_bf16


@pytest.mark.parametrize("units", [(True, False), (False, True), (False, False)])
def test_a_cpu_has_units_for_bfloat16_if_torch_knows_of_any(units, monkeypatch):
    known = dict(zip(("_is_amx_tile_supported", "_is_avx512_bf16_supported"), units, strict=True))
    for probe, answer in known.items():
        monkeypatch.setattr(torch.cpu, probe, lambda answer=answer: answer, raising=False)
    assert has_native_bf16("cpu") is any(units)
    assert has_native_bf16(torch.device("cpu")) is any(units)


def test_nothing_is_claimed_where_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not hardware.has_native_bf16("cpu")
    assert not hardware.has_native_bf16("mps")
