"""Products of matrices as convolutions: the same numbers, and only where they are faster."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twofold.contrast import convolved, products
from twofold.contrast.objectives import info_nce, nt_xent, symmetric_info_nce

AMD = "processor: 0\nvendor_id: {}\ncpu family\t: {}\nmodel : 2\n\nprocessor: 1\nvendor_id: other\n"
LOSSES = {
    "nt_xent": lambda z: nt_xent(z, temperature=0.1),
    "info_nce": lambda z: info_nce(z[0], z[1], temperature=0.1),
    "symmetric_info_nce": lambda z: symmetric_info_nce(z[0], z[1], temperature=0.1),
}


def rows(count: int, dim: int, seed: int) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 9), m=st.integers(1, 9), d=st.integers(1, 9), turn=st.booleans(), columns=st.integers(1, 10))
def test_they_are_products(n: int, m: int, d: int, turn: bool, columns: int) -> None:
    left, right, tile = rows(n, d, 0), rows(m, d, 1), rows(n, m, 2)
    given_right = right.T.contiguous().T if turn else right
    torch.testing.assert_close(convolved.product(left, given_right), left @ right.T)
    assert convolved.product(left, given_right).is_contiguous()
    with mock.patch.multiple(convolved, pays=lambda sizes, like: True, COLUMNS=columns, SUMMED=columns, LEAST_SIDE=2):
        out, sums, transposed = torch.empty(n, m).double(), rows(n, m, 3), rows(m, d, 4)
        assert products.product_into(out, left, given_right) is out
        torch.testing.assert_close(out, left @ right.T)
        products.add_product(sums, left, given_right)
        torch.testing.assert_close(sums, rows(n, m, 3) + left @ right.T)
        products.add_transposed(transposed, tile, left)
        torch.testing.assert_close(transposed, rows(m, d, 4) + tile.T @ left)
        torch.testing.assert_close(products.transposed_product(tile, left), tile.T @ left)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n", [300, 600, 2500])
def test_losses_of_real_size_do_not_change(name: str, n: int) -> None:
    found = []
    for faster in (False, True):
        z = torch.randn(2, n, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with mock.patch.object(convolved, "processor_convolves_faster", return_value=faster):
            loss = LOSSES[name](z)
            found.append((loss.detach(), torch.autograd.grad(loss, z)[0]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-8)


def test_small_products_other_formats_and_other_devices_stay_as_they_are() -> None:
    like = torch.empty(0)
    with mock.patch.object(convolved, "processor_convolves_faster", return_value=True):
        assert convolved.pays((512, 128, 2048), like=like)
        assert not convolved.pays((512, 32, 16384), like=like)
        assert not convolved.pays((64, 64, 64), like=like)
        assert not convolved.pays((512, 128, 2048), like=like.double())
        assert not convolved.pays((512, 128, 2048), like=like.bfloat16())
        assert not convolved.pays((512, 128, 2048), like=like.to("meta"))
    with mock.patch.object(convolved, "processor_convolves_faster", return_value=False):
        assert not convolved.pays((512, 128, 2048), like=like)


@pytest.mark.parametrize(
    ("maker", "family", "capability", "mkl", "answer"),
    [
        ("AuthenticAMD", "26", "AVX512", True, True),
        ("AuthenticAMD", "25", "AVX512", True, False),
        ("AuthenticAMD", "26", "AVX2", True, False),
        ("AuthenticAMD", "26", "AVX512", False, False),
        ("GenuineIntel", "26", "AVX512", True, False),
    ],
)
def test_only_processors_that_were_measured(maker, family, capability, mkl, answer, tmp_path, monkeypatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(AMD.format(maker, family))
    monkeypatch.setattr(convolved, "_CPUINFO", info)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert convolved.processor_convolves_faster.__wrapped__() is answer


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD", ("AuthenticAMD", 26)),
        ("arm", ("arm", 0)),
        ("Family", ("Family", 0)),
        ("", ("", 0)),
    ],
)
def test_where_there_is_no_list_of_processors(told, found, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(convolved, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(convolved.platform, "processor", lambda: told)
    assert convolved._maker_and_family() == found
