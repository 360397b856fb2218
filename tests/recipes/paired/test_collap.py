"""CoLLAP: recordings as sequences of segments, and texts that attend to them."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.contrast.attended import attended_similarity
from twofold.contrast.objectives import attended_info_nce, symmetric_info_nce
from twofold.errors import ConfigError
from twofold.training import metrics_log

READING = {"first": "audio:rate=8000"}
QUICK = {"epochs": 8, "batch_size": 16, "precision": "float32", "workers": 0, "lr": 3e-3}
NAME = "logmel-convnet-w4+embedding-bag-w32@32"


def rows(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_attended_similarity_by_definition():
    segments, texts = rows(3, 5, 4), rows(2, 4, seed=1)
    for share in (0.0, 0.3, 1.0):
        found = attended_similarity(segments, texts, attended=share)
        for i in range(3):
            for j in range(2):
                attention = torch.softmax(segments[i] @ texts[j] / math.sqrt(4), 0)
                pooled = (attention[:, None] * segments[i]).sum(0)
                expected = share * F.cosine_similarity(pooled, texts[j], dim=0)
                expected += (1 - share) * F.cosine_similarity(segments[i].mean(0), texts[j], dim=0)
                assert float(found[i, j]) == pytest.approx(float(expected))


def test_with_one_segment_or_without_attention_it_is_clip():
    segments, texts = rows(6, 5, 4), rows(6, 4, seed=1)
    clip = symmetric_info_nce(segments.mean(1), texts, temperature=0.2)
    torch.testing.assert_close(attended_info_nce(segments, texts, temperature=0.2, attended=0.0), clip)
    single = attended_info_nce(segments[:, :1], texts, temperature=0.2, attended=0.7)
    torch.testing.assert_close(single, symmetric_info_nce(segments[:, 0], texts, temperature=0.2))


def test_gradients_and_reductions():
    segments, texts = rows(3, 4, 2).requires_grad_(), rows(3, 2, seed=1).requires_grad_()
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, y, t: attended_info_nce(a, y, temperature=t), (segments, texts, tau))
    each = attended_info_nce(segments, texts, temperature=0.3, reduction="none")
    assert each.shape == (3,)
    torch.testing.assert_close(attended_info_nce(segments, texts, temperature=0.3), each.mean())


@pytest.mark.parametrize(
    ("segments", "texts", "options", "message"),
    [
        (rows(3, 4), rows(3, 4), {}, r"must be \(n, s, d\) and \(n, d\), got \(3, 4\) and \(3, 4\)"),
        (rows(3, 5, 4), rows(2, 4), {}, r"got \(3, 5, 4\) and \(2, 4\)"),
        (rows(3, 5, 4), rows(3, 4), {"temperature": -1.0}, "temperature must be positive"),
        (rows(3, 5, 4), rows(3, 4), {"attended": 1.5}, "attended must lie between 0 and 1"),
    ],
)
def test_wrong_arguments(segments, texts, options, message):
    with pytest.raises(ValueError, match=message):
        attended_info_nce(segments, texts, **{"temperature": 0.1} | options)


def test_segments_are_parts_of_the_recording_in_order(melodies, on_pairs):
    model, batch = on_pairs(twofold.CoLLAP, melodies, encoder=NAME, reading=READING, segments=3)
    spectrograms = batch["views"][0]["first"]
    sequence = model.sequence(spectrograms)
    assert sequence.shape == (12, 3, 32)
    length = spectrograms.shape[3] // 3
    for k in range(3):
        piece = model.encoder({"first": spectrograms[..., k * length : (k + 1) * length]})
        torch.testing.assert_close(sequence[:, k], piece, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        model.positions[1] = 2.0
    torch.testing.assert_close(model.sequence(spectrograms)[:, 1], sequence[:, 1] + 2.0)
    assert model.sequence(spectrograms[..., :17]).shape == (12, 2, 32)
    assert model.sequence(spectrograms[..., :5]).shape == (12, 1, 32)


def test_the_loss_and_the_embedding(melodies, on_pairs):
    model, batch = on_pairs(twofold.CoLLAP, melodies, encoder=NAME, reading=READING, segments=3, attended=0.4)
    outputs = model.represent(batch)
    assert outputs["first"].shape == (1, 12, 3, 32)
    expected = attended_info_nce(outputs["first"][0], outputs["second"][0], temperature=model.temperature, attended=0.4)
    torch.testing.assert_close(model(batch)["total"], expected)
    sounds, texts = ({side: batch["views"][v][side]} for v, side in enumerate(("first", "second")))
    torch.testing.assert_close(model.encode(sounds), outputs["first"][0].mean(1))
    torch.testing.assert_close(model.encode(texts), outputs["second"][0])
    both = model.encode(sounds | texts)
    torch.testing.assert_close(both.norm(dim=1), torch.ones(12))


def test_it_needs_sounds(squares, on_pairs):
    with pytest.raises(ConfigError, match="the first side is image: read the data with first='audio'"):
        on_pairs(twofold.CoLLAP, squares)


def test_it_learns_and_comes_back(melodies, tmp_path):
    model = twofold.CoLLAP(encoder=NAME, segments=3)
    model.fit(melodies, out=tmp_path / "run", **QUICK, **READING)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4]) - 0.5
    assert torch.equal(twofold.load(tmp_path / "run").embed(melodies), model.embed(melodies))
