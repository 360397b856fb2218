"""NegCLIP: swapped captions are wrong answers, and which words are swapped."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold import modalities
from twofold.contrast.objectives import info_nce, info_nce_with_distractors
from twofold.errors import ConfigError, DataError
from twofold.recipes.paired.word_swaps import FUNCTION_WORDS, WordSwap
from twofold.training import metrics_log

QUICK = {"epochs": 6, "batch_size": 16, "precision": "float32", "workers": 0, "lr": 3e-3}
SENTENCES = [
    "the red dog and the green umbrella",
    "a cat sits on a mat.",
    "dog",
    "dog dog",
    "of the and in",
    "unbelievable hippopotamuses swim",
]


@pytest.fixture(scope="module")
def texts():
    return modalities.get("text").read(SENTENCES * 3, vocabulary=340)


@pytest.fixture(scope="module")
def write(texts):
    """``write(ids)``: the words of token numbers."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(texts.spec["tokenizer"])
    return lambda ids: [tokenizer.decode(row).strip() for row in ids.tolist()]


def draws(ids, seed):
    return torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed))


def test_two_words_change_places_and_nothing_else_does(texts, write):
    swap = WordSwap(texts.spec)
    ids = texts.fetch(torch.arange(6))["inputs"]
    seen = set()
    for seed in range(40):
        swapped, changed = swap(ids, draws(ids, seed))
        assert changed.tolist() == [True, True, False, False, False, True]
        assert torch.equal(swapped.sort(1).values, ids.sort(1).values)
        for before, after, differs in zip(write(ids), write(swapped), changed.tolist(), strict=True):
            old, new = before.replace(".", " .").split(), after.replace(".", " .").split()
            places = [i for i in range(len(old)) if old[i] != new[i]]
            assert len(places) == (2 if differs else 0), (before, after)
            assert not {old[i] for i in places} & FUNCTION_WORDS
            if differs:
                assert [old[i] for i in places] == [new[i] for i in reversed(places)]
        seen.add(write(swapped)[0])
    assert len(seen) == 6  # of four words, every pair
    assert "the red dog and the green umbrella" not in seen


def test_padding_and_special_tokens_stay(texts):
    ids = texts.fetch(torch.arange(6))["inputs"]
    swap = WordSwap(texts.spec | {"special": [int(ids[0, 0])]})
    for seed in range(10):
        swapped, _ = swap(ids, draws(ids, seed))
        fixed = ~swap.lettered[ids]
        assert torch.equal(swapped == texts.spec["pad"], ids == texts.spec["pad"])
        assert torch.equal(swapped[:, 0] == ids[0, 0], ids[:, 0] == ids[0, 0])
        assert bool(fixed.any())
    one, changed = swap(ids[:, :1], draws(ids[:, :1], 0))
    assert torch.equal(one, ids[:, :1])
    assert not bool(changed.any())


def test_word_pieces_that_continue_a_word_move_with_it():
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "play": 3, "##ing": 4, "the": 5, "dog": 6, "##s": 7, ",": 8}
    document = '{"model": {"vocab": ' + str(vocabulary).replace("'", '"') + "}}"
    swap = WordSwap({"tokenizer": document, "vocabulary": 9, "pad": 0, "special": [0, 1, 2]})
    ids = torch.tensor([[1, 3, 4, 5, 8, 6, 7, 2, 0]])
    swapped, changed = swap(ids, torch.rand(1, 9))
    assert swapped.tolist() == [[1, 6, 7, 5, 8, 3, 4, 2, 0]]
    assert changed.tolist() == [True]


def test_a_tokenizer_without_tokens_is_refused():
    with pytest.raises(DataError, match="words cannot be swapped"):
        WordSwap({"tokenizer": '{"model": {}}', "vocabulary": 3, "pad": 0, "special": []})


def test_the_loss_is_the_papers(squares, on_pairs):
    model, batch = on_pairs(twofold.NegCLIP, squares, temperature=0.2)
    outputs = model.represent(batch)
    assert bool((outputs["changed"] == 1).all())
    x, y, wrong = (F.normalize(outputs[name][0].detach().double(), dim=1) for name in ("first", "second", "swapped"))
    total = 0.0
    for i in range(12):
        seen = [*(math.exp(float(x[i] @ one) / 0.2) for one in (*y, *wrong))]
        total -= math.log(math.exp(float(x[i] @ y[i]) / 0.2) / sum(seen))
        total -= math.log(
            math.exp(float(x[i] @ y[i]) / 0.2) / sum(math.exp(float(x[j] @ y[i]) / 0.2) for j in range(12))
        )
    assert float(model(batch)["total"].detach()) == pytest.approx(total / 24, rel=1e-5)


def test_without_swaps_it_is_clip(squares, on_pairs):
    single = (squares[0], [f"picture{i}" for i in range(64)])
    model, batch = on_pairs(twofold.NegCLIP, single)
    clip, _ = on_pairs(twofold.CLIP, single)
    clip.load_state_dict({name: value for name, value in model.state_dict().items() if "swap" not in name})
    assert not bool(model.represent(batch)["changed"].any())
    torch.testing.assert_close(model(batch)["total"], clip(batch)["total"])


def test_absent_distractors_do_not_count():
    a, p, d = (torch.randn(5, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    none = info_nce_with_distractors(a, p, d, torch.zeros(5, dtype=torch.bool), temperature=0.3)
    torch.testing.assert_close(none, info_nce(a, p, temperature=0.3))
    some = torch.tensor([True, False, False, True, False])
    torch.testing.assert_close(
        info_nce_with_distractors(a, p, d, some, temperature=0.3),
        info_nce_with_distractors(a, p, d[some], torch.ones(2, dtype=torch.bool), temperature=0.3),
    )
    with pytest.raises(ValueError, match=r"must be \(m, 4\) and \(m,\), got \(5, 4\) and \(3,\)"):
        info_nce_with_distractors(a, p, d, some[:3], temperature=0.3)


def test_swaps_depend_on_sample_and_step_alone(squares, on_pairs):
    model, batch = on_pairs(twofold.NegCLIP, squares)
    ids = batch["views"][1]["second"]
    whole = model.draw(ids, batch, 0)
    part = model.draw(ids[3:7], batch | {"index": batch["index"][3:7]}, 0)
    assert torch.equal(whole[3:7], part)
    assert 0 <= float(whole.min()) < float(whole.max()) < 1
    later, again = (model.draw(ids, batch | {"progress": p}, 0) for p in (0.5, 0.25))
    assert torch.equal(again, whole)
    assert not torch.equal(later, whole)


def test_micro_batches_swap_alike_in_both_passes(squares):
    model = twofold.NegCLIP(encoder="mlp-w16+embedding-bag-w16@8")
    model.fit(squares, **QUICK | {"epochs": 1, "micro_batch": 8})  # the second pass is compared with the first
    assert bool(model.embed(squares).isfinite().all())


def test_the_second_side_must_be_text(squares, on_pairs):
    with pytest.raises(ConfigError, match="NegCLIP swaps words, and the second side is image"):
        on_pairs(twofold.NegCLIP, (squares[0], squares[0]), reading={"second": "image"}, encoder="mlp-w8+mlp-w8@8")


def test_it_learns_and_comes_back(squares, tmp_path):
    model = twofold.NegCLIP(encoder="mlp-w64+embedding-bag-w32@32").fit(squares, out=tmp_path / "run", **QUICK)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert torch.equal(twofold.load(tmp_path / "run").embed(squares), model.embed(squares))


def test_the_chance_level(squares, on_pairs):
    model, batch = on_pairs(twofold.NegCLIP, squares)
    equal = {name: torch.ones(1, 9, 4) for name in ("first", "second", "swapped")} | {"changed": torch.ones(1, 9)}
    assert model.losses(equal, batch)["total"].item() == pytest.approx(model.chance_level(9))
