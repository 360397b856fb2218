"""Measures across two modalities, against loops and cases whose answer is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from twofold.errors import DataError
from twofold.evaluation.crossmodal import (
    class_prototypes,
    modality_gap,
    pair_geometry,
    retrieve_both_ways,
    separability,
    swap_hits,
    zero_shot,
)


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hits_by_loop(queries, gallery, query_keys, gallery_keys, k):
    scores = F.normalize(queries, dim=1) @ F.normalize(gallery, dim=1).T
    hits = []
    for row, key in zip(scores.tolist(), query_keys, strict=True):
        order = sorted(range(len(row)), key=lambda j: -row[j])[:k]
        hits.append(float(any(gallery_keys[j] == key for j in order)))
    return hits


@given(st.integers(0, 1000), st.sampled_from([1, 3, 5]))
def test_both_ways_with_several_captions_a_picture(seed, k):
    pictures, captions = rows(4, 6, seed=seed), rows(10, 6, seed=seed + 1)
    picture_keys = ["a", "b", "c", "d"]
    caption_keys = ["a", "a", "a", "b", "b", "c", "c", "d", "d", "d"]
    there, back = retrieve_both_ways(pictures, captions, picture_keys, caption_keys, ks=(k,))
    assert there.recall[k].tolist() == hits_by_loop(pictures, captions, picture_keys, caption_keys, k)
    assert back.recall[k].tolist() == hits_by_loop(captions, pictures, caption_keys, picture_keys, k)


def test_the_gap_is_the_distance_of_the_centroids():
    x, y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[-3.0, 0.0], [0.0, -1.0]])
    assert modality_gap(x, y) == pytest.approx(math.dist((0.5, 0.5), (-0.5, -0.5)))
    assert modality_gap(x, 7 * x) == pytest.approx(0, abs=1e-6)


def test_separability_is_half_for_one_cloud_and_one_for_two():
    x, y = rows(300, 8), rows(200, 8, seed=1)
    assert separability(x, y) == pytest.approx(0.5, abs=0.1)
    apart = torch.zeros(8)
    apart[0] = 10
    assert separability(x + apart, y - apart) == 1.0
    assert separability(x, y, seed=3) == separability(x, y, seed=3)


def test_pair_geometry_is_that_of_the_definitions():
    x, y = F.normalize(rows(7, 4), dim=1), F.normalize(rows(7, 4, seed=1), dim=1)
    found = pair_geometry(3 * x, 5 * y)
    assert found["alignment"] == pytest.approx(float((x - y).square().sum(1).mean()), rel=1e-5)
    pairs = [(i, j) for i in range(7) for j in range(i)]
    by_hand = math.log(np.mean([math.exp(-2 * float((x[i] - x[j]).square().sum())) for i, j in pairs]))
    assert found["uniformity_first"] == pytest.approx(by_hand, rel=1e-4)


def test_prototypes_are_the_normalized_mean_of_normalized_prompts():
    prompts = rows(3, 4, 5)
    found = class_prototypes(prompts)
    for c in range(3):
        mean = torch.stack([prompts[c, t] / prompts[c, t].norm() for t in range(4)]).mean(0)
        assert torch.allclose(found[c], mean / mean.norm(), atol=1e-6)


def test_a_broken_prompt_is_left_out_and_a_broken_class_is_told():
    prompts = rows(2, 3, 5)
    prompts[0, 1] = torch.nan
    assert torch.allclose(class_prototypes(prompts)[0], class_prototypes(prompts[:1, [0, 2]])[0], atol=1e-6)
    prompts[1] = torch.nan
    with pytest.raises(DataError, match=r"no prompt of the classes \[1\]"):
        class_prototypes(prompts)


def test_zero_shot_takes_the_nearest_class():
    x, prototypes = rows(20, 4), rows(3, 4, seed=1)
    labels = torch.arange(20) % 3
    predicted, right = zero_shot(x, prototypes, labels)
    for i in range(20):
        scores = [float(F.cosine_similarity(x[i], prototypes[c], dim=0)) for c in range(3)]
        assert int(predicted[i]) == max(range(3), key=scores.__getitem__)
        assert bool(right[i]) == (predicted[i] == labels[i])
    assert 0 < right.sum() < 20


def test_a_collapsed_encoder_classifies_nothing():
    _, right = zero_shot(torch.ones(6, 3), torch.ones(2, 3), torch.zeros(6, dtype=torch.int64))
    assert not right.any()


def test_swapped_captions():
    x, right = rows(9, 4), rows(9, 4, seed=1)
    wrong = rows(9, 4, seed=2)
    nearer = [
        float(F.cosine_similarity(x[i], right[i], dim=0)) > float(F.cosine_similarity(x[i], wrong[i], dim=0))
        for i in range(9)
    ]
    assert swap_hits(x, right, wrong).tolist() == nearer
    assert not swap_hits(x, right, right).any()  # a bag of words cannot tell them apart


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: modality_gap(rows(4, 3), rows(4, 2)), "one space"),
        (lambda: separability(rows(4, 3), rows(9, 3)), "needs 5 rows"),
        (lambda: class_prototypes(rows(4, 3)), "classes, templates, d"),
        (lambda: zero_shot(rows(2, 3), rows(2, 3), torch.tensor([0, 2])), r"labels must lie in 0\.\.1"),
        (lambda: zero_shot(rows(2, 3), rows(2, 3), torch.tensor([0])), "2 rows of features but 1 labels"),
        (lambda: swap_hits(rows(2, 3), rows(2, 3), rows(3, 3)), "must have one shape"),
    ],
)
def test_what_does_not_fit_is_told(call, message):
    with pytest.raises(DataError, match=message):
        call()
