"""Contriever: a queue of keys as the only negatives, a slow copy without gradient, crops as views."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.training import metrics_log

SPEC = {"modality": "text", "samples": 64, "vocabulary": 40, "length": 8, "pad": 0, "special": [0], "mask": None}
SUBJECTS = {
    "fish": "fish swim in deep water and the waves of the sea carry them over reefs of coral",
    "cars": "cars burn oil on the long dry road and dust follows them through the empty desert",
    "coins": "coins pass from hand to hand in every market while prices rise and fall again",
    "stars": "stars shine at night over the silent hills and planets move slowly among them",
}


def built(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"encoder": "transformer-w64-d1", "queue_size": 12} | options
        return twofold.recipe("contriever")(**options).build(SPEC)


def a_batch(count=6, index=None):
    draw = torch.Generator().manual_seed(0)
    return {
        "views": [torch.randint(1, 40, (count, 8), generator=draw) for _ in range(2)],
        "index": torch.arange(count) if index is None else index,
        "progress": 0.5,
        "generator": draw,
    }


def test_the_queue_holds_all_negatives():
    recipe, batch = built(), a_batch()
    outputs = recipe.represent(batch)
    q, k = (F.normalize(outputs[name][0], dim=1) for name in ("query", "key"))
    rows = []
    for i in range(6):
        logits = torch.cat([(q[i] @ k[i])[None], recipe.queue.rows @ q[i]]) / 0.05
        rows.append(logits.logsumexp(0) - logits[0])
    torch.testing.assert_close(recipe.losses(outputs, batch)["total"], torch.stack(rows).mean())


def test_own_old_keys_are_no_negatives():
    recipe, batch = built().eval(), a_batch()
    outputs = recipe.represent(batch)
    recipe.after_step(outputs, batch)
    again = recipe.losses(outputs, batch)["total"]
    stranger = recipe.losses(outputs, batch | {"index": batch["index"] + 50})["total"]
    assert stranger > again


def test_no_gradient_reaches_the_slow_copy_and_it_follows():
    recipe, batch = built(momentum=0.75), a_batch()
    recipe(batch)["total"].backward()
    assert all(parameter.grad is None for parameter in recipe.teacher.parameters())
    assert all(parameter.grad is not None for parameter in recipe.encoder.parameters())
    with torch.no_grad():
        for parameter in recipe.encoder.parameters():
            parameter.add_(1.0)
    recipe.after_step(recipe.represent(batch), batch)
    ours, theirs = dict(recipe.encoder.named_parameters()), dict(recipe.teacher.module.named_parameters())
    assert all(torch.allclose(theirs[name], ours[name] - 0.75, atol=1e-5) for name in ours)
    assert recipe.queue.index[:6].tolist() == batch["index"].tolist()


def test_it_crops_by_default_and_has_its_chance_level():
    recipe = built()
    assert recipe.chance_level(6) == pytest.approx(math.log(13))
    assert [type(step).__name__ for step in recipe.make_views().steps] == ["Crop", "Delete"]


def test_questions_find_what_they_are_about(tmp_path):
    documents = [f"{text} {number}" for number in range(16) for text in SUBJECTS.values()]
    model = twofold.recipe("contriever")(encoder="embedding-bag-w32", queue_size=32)
    training = {"epochs": 30, "batch_size": 32, "workers": 0, "vocabulary": 500, "seed": 0, "lr": 2e-2}
    model.fit(documents, out=tmp_path / "run", **training)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4])
    questions = ["reefs of coral", "the empty desert", "every market", "the silent hills"]
    similarity = F.normalize(model.embed(questions), dim=1) @ F.normalize(model.embed(list(SUBJECTS.values())), dim=1).T
    assert similarity.argmax(1).tolist() == [0, 1, 2, 3]
    assert torch.equal(twofold.load(tmp_path / "run").embed(questions), model.embed(questions))
