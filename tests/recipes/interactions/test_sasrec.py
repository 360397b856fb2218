"""SASRec and CL4SRec: losses by naive loops, draws, identities, learning."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import twofold
from twofold.contrast.objectives import nt_xent
from twofold.contrast.reductions import logsumexp
from twofold.errors import ConfigError
from twofold.recipes.interactions.sasrec import against_all, draw_others
from twofold.training.step import split_batch

SMALL = "sasrec-w16-d1"


def quiet(recipe):
    """Without dropout, but otherwise as in training."""
    for part in recipe.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return recipe


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


@torch.no_grad()
def test_the_loss_is_its_formula(sequence_data, ready):
    recipe, batch = ready("sasrec", sequence_data, encoder=SMALL, negatives=2)
    quiet(recipe)
    sequences, table = batch["views"][0], recipe.encoder.table.weight
    others = draw_others(batch, sequences, 20, 2)
    total, count = 0.0, 0
    for n, row in enumerate(sequences.tolist()):
        for t in range(len(row) - 1):
            if row[t] == 0:
                continue
            seen = sequences[n : n + 1, :-1].clone()
            seen[:, t + 1 :] = 0
            state = recipe.encoder.states(seen)[0, t]
            drawn = others[n, t].tolist()
            total -= log_sigmoid(float(state @ table[row[t + 1]]))
            total -= sum(log_sigmoid(-float(state @ table[i])) for i in drawn) / 2
            count += 1
    assert float(recipe(batch)["total"]) == pytest.approx(total / count, rel=1e-4)


@torch.no_grad()
def test_with_a_softmax_all_items_are_compared(sequence_data, ready):
    recipe, batch = ready("sasrec", sequence_data, encoder=SMALL, negatives=None)
    quiet(recipe)
    sequences = batch["views"][0]
    states = recipe.encoder.states(sequences[:, :-1])
    counted = sequences[:, :-1] > 0
    logits = states[counted] @ recipe.encoder.vectors().T
    expected = nn.functional.cross_entropy(logits, sequences[:, 1:][counted] - 1)
    assert float(recipe(batch)["total"]) == pytest.approx(float(expected), rel=1e-4)


def test_only_places_that_count_are_compared_with_all_items():
    draw = torch.Generator().manual_seed(0)
    states, vectors = (torch.randn(*size, 8, generator=draw, requires_grad=True) for size in ((4, 5), (30,)))
    counted = torch.rand(4, 5, generator=draw) < 0.4
    few = against_all(states, vectors, counted)
    every = logsumexp(states.flatten(0, 1), vectors).view(4, 5)
    torch.testing.assert_close(few[counted], every[counted])
    assert few[~counted].isfinite().all()
    gradients = [torch.autograd.grad((sums * counted).sum(), (states, vectors)) for sums in (few, every)]
    torch.testing.assert_close(*gradients)
    assert against_all(states, vectors, counted & False).isfinite().all()


def test_others_are_drawn_evenly_from_what_is_not_in_the_sequence():
    sequences = torch.tensor([[0, 0, 1, 2, 3], [5, 4, 5, 4, 5], [0, 0, 0, 0, 2], [1, 2, 3, 4, 5]])
    batch = {"index": torch.tensor([3, 0, 7, 2]), "generator": torch.Generator().manual_seed(1)}
    others = draw_others(batch, sequences, 6, 600)
    for row, left in zip(others, ([4, 5, 6], [1, 2, 3, 6], [1, 3, 4, 5, 6], [6]), strict=True):
        items, counts = row.unique(return_counts=True)
        assert items.tolist() == left
        assert ((counts - 2400 / len(left)).abs() < 6 * 2400**0.5).all()
    whole = draw_others(batch, torch.arange(1, 7).repeat(4, 1), 6, 2)
    assert bool((whole == 6).all())  # nothing is left: any item stands in


@pytest.mark.parametrize("name", ["sasrec", "cl4srec"])
def test_micro_batches_represent_what_the_whole_batch_does(name, sequence_data, ready):
    recipe, batch = ready(name, sequence_data, encoder=SMALL)
    quiet(recipe)
    whole = recipe.represent(batch)
    parts = [recipe.represent(part) for part in split_batch(batch, 17)]
    for key, rows in whole.items():
        assert torch.allclose(torch.cat([part[key] for part in parts], 1).float(), rows.float(), atol=1e-5), key


@torch.no_grad()
def test_cl4srec_adds_the_contrast_of_the_other_views(sequence_data, ready):
    recipe, batch = ready("cl4srec", sequence_data, encoder=SMALL, weight=0.3, temperature=2.0)
    quiet(recipe)
    losses = recipe(batch)
    first, second = (recipe.encoder(view) for view in batch["views"][1:])
    z, total = torch.cat([first, second]), 0.0
    for a in range(len(z)):
        logits = z @ z[a] / 2.0
        partner = (a + len(first)) % len(z)
        rest = torch.cat([logits[:a], logits[a + 1 :]])
        total += float(rest.logsumexp(0) - logits[partner])
    assert float(losses["contrast"]) == pytest.approx(total / len(z), rel=1e-4)
    assert float(losses["contrast"]) == pytest.approx(
        float(nt_xent(torch.stack([first, second]), temperature=2.0, normalize=False)), rel=1e-5
    )
    expected = float(losses["ranking"]) + 0.3 * total / len(z)
    assert float(losses["total"]) == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_without_weight_cl4srec_is_sasrec(sequence_data, ready):
    ours, batch = ready("cl4srec", sequence_data, encoder=SMALL, weight=0.0)
    base, other = ready("sasrec", sequence_data, encoder=SMALL)
    assert torch.equal(batch["views"][0], other["views"][0])
    assert float(quiet(ours)(batch)["total"]) == pytest.approx(float(quiet(base)(other)["total"]))


@pytest.mark.parametrize(("name", "options"), [("sasrec", {}), ("sasrec", {"negatives": None}), ("cl4srec", {})])
def test_it_learns_which_item_comes_next(name, options, sequence_data, losses_after, tmp_path):
    model = twofold.recipe(name)(encoder=SMALL, **options)
    losses = losses_after(model, sequence_data, epochs=60, lr=0.01)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    rows = {row.name: row.metrics["ndcg_at_10"].value for row in model.evaluate(sequence_data).rows}
    assert rows["trained"] > 1.5 * max(rows["untrained"], rows["popularity"], rows["raw"])
    assert "markov-chain" in rows
    again = twofold.load(tmp_path / "run")
    assert torch.equal(again.embed(sequence_data), model.embed(sequence_data))


def test_what_it_cannot_run_on_is_told(sequence_data):
    class Own(nn.Module):
        dim = 3

        def forward(self, sequences):
            return sequences[:, -3:].float()

    with pytest.raises(ConfigError, match="SASRec needs the state after each item, which Own does not give"):
        twofold.SASRec(encoder=Own()).build(sequence_data.spec)
    with pytest.raises(ConfigError, match="view_count must be at least 3, got 2"):
        twofold.CL4SRec(view_count=2)
