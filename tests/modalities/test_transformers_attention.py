"""Models of transformers with the attention that suits the device."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.modalities.transformers_models import as_facts, choose_attention

transformers = pytest.importorskip("transformers")


def bert(dropout: float = 0.0, **more: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **more,
    )
    return transformers.BertModel(config, add_pooling_layer=False)


def gpt() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=50, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False
    )
    return transformers.GPT2Model(config)


def grouped() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        use_cache=False,
    )
    return transformers.LlamaModel(config)


def both(made: Any) -> tuple[Any, Any]:
    chosen = copy.deepcopy(made)
    choose_attention(chosen)
    return made, chosen


def ids(padded: bool) -> dict[str, Tensor]:
    numbers = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(numbers)
    if padded:
        mask[1, 4:] = mask[2, 2:] = 0
    return {"input_ids": numbers, "attention_mask": mask}


def states(model: Any, padded: bool, dtype: torch.dtype | None) -> Tensor:
    batch = ids(padded)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        hidden = model(**batch).last_hidden_state
    found: Tensor = hidden.float() * batch["attention_mask"][..., None]
    return found


def refuse(*_: Any, **__: Any) -> Tensor:
    raise AssertionError("the fused kernel was called")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("make", [bert, gpt, grouped])
def test_the_model_computes_what_it_did(make: Any, padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, chosen = both(make())
    expected = states(plain, padded, None)
    assert torch.equal(states(chosen, padded, None), expected)
    monkeypatch.setattr(F, "scaled_dot_product_attention", refuse)
    torch.testing.assert_close(states(chosen, padded, torch.bfloat16), expected, atol=0.08, rtol=0.05)
    with pytest.raises(AssertionError, match="was called"):
        states(chosen, padded, None)


def test_gradients_are_those_of_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, chosen = both(bert())
    states(plain, True, None).square().sum().backward()
    monkeypatch.setattr("twofold.modalities.transformers_models.explicit_is_faster", lambda *_: True)
    monkeypatch.setattr("twofold.nn.attention.explicit_is_faster", lambda *_: True)
    monkeypatch.setattr(F, "scaled_dot_product_attention", refuse)
    states(chosen, True, None).square().sum().backward()
    for mine, theirs in zip(chosen.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)


def test_dropout_of_attention_stays() -> None:
    _, chosen = both(bert(0.5))
    torch.manual_seed(0)
    first, second = states(chosen.train(), False, None), states(chosen, False, None)
    torch.manual_seed(0)
    assert torch.equal(states(chosen, False, None), first)
    assert not torch.equal(first, second)
    chosen.eval()
    assert torch.equal(states(chosen, False, None), states(chosen, False, None))


def test_other_attention_and_the_stored_configuration_stay() -> None:
    eager = bert(attn_implementation="eager")
    choose_attention(eager)
    assert eager.config._attn_implementation == "eager"
    choose_attention(torch.nn.Linear(2, 2))
    _, chosen = both(bert())
    assert "twofold" not in str(as_facts(chosen.config))
