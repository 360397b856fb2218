"""SwAV's and DINO's cross-entropies against plain loops over views, samples and prototypes."""

import math

import pytest
import torch

from twofold.contrast.objectives.clustering import self_distillation, swapped_clusters
from twofold.contrast.prototypes import sinkhorn


def logits(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def softmax(values):
    top = max(values)
    weights = [math.exp(v - top) for v in values]
    return [w / sum(weights) for w in weights]


def looped_dino(student, teacher, student_temperature, teacher_temperature, center):
    total, terms, samples = 0.0, 0, student.shape[1]
    for w in range(len(teacher)):
        for v in range(len(student)):
            if v == w:
                continue
            terms += 1
            for i in range(samples):
                raw = [t - c for t, c in zip(teacher[w, i].tolist(), center, strict=True)]
                target = softmax([x / teacher_temperature for x in raw])
                guess = softmax([s / student_temperature for s in student[v, i].tolist()])
                total -= sum(t * math.log(g) for t, g in zip(target, guess, strict=True)) / samples
    return total / terms


@pytest.mark.parametrize("seen_by_teacher", [1, 2, 3])
def test_dino_equals_the_double_loop(seen_by_teacher):
    student, teacher = logits(3, 4, 5), logits(seen_by_teacher, 4, 5, seed=1)
    center = [0.3, -0.2, 0.0, 1.0, -0.5]
    loss = self_distillation(
        student, teacher, student_temperature=0.7, teacher_temperature=0.2, center=torch.tensor(center).double()
    )
    assert loss.item() == pytest.approx(looped_dino(student, teacher, 0.7, 0.2, center))


def test_a_missing_center_is_a_zero_center():
    student, teacher = logits(3, 4, 5), logits(2, 4, 5, seed=1)
    zero = self_distillation(student, teacher, center=torch.zeros(5, dtype=torch.float64))
    assert self_distillation(student, teacher) == zero


def test_a_large_center_takes_the_target_away_from_its_prototype():
    logit = torch.zeros(2, 3, 4, dtype=torch.float64)
    logit[..., 0] = 5.0
    center = torch.tensor([10.0, 0, 0, 0], dtype=torch.float64)
    without = self_distillation(logit, logit, student_temperature=1.0)
    with_center = self_distillation(logit, logit, student_temperature=1.0, center=center)
    assert with_center > without + 1


def test_swav_equals_the_loop():
    scores = logits(4, 6, 5)
    codes = sinkhorn(logits(2, 6, 5, seed=1), epsilon=0.5)
    total = 0.0
    for i in range(2):
        for v in range(4):
            if v != i:
                for n in range(6):
                    guess = softmax([s / 0.3 for s in scores[v, n].tolist()])
                    total -= sum(q * math.log(g) for q, g in zip(codes[i, n].tolist(), guess, strict=True)) / 6
    assert swapped_clusters(scores, codes, temperature=0.3).item() == pytest.approx(total / 6)


def test_swav_is_dino_with_the_codes_as_targets():
    student, teacher = logits(3, 4, 5), logits(2, 4, 5, seed=1)
    codes = (teacher / 0.04).softmax(-1)
    torch.testing.assert_close(swapped_clusters(student, codes), self_distillation(student, teacher))


def test_lists_of_views_and_reductions():
    scores, codes = logits(3, 4, 5), logits(2, 4, 5, seed=1).softmax(-1)
    values = swapped_clusters(list(scores), list(codes), reduction="none")
    assert values.shape == (4,)
    assert swapped_clusters(scores, codes) == values.mean()
    assert swapped_clusters(scores, codes, reduction="sum") == values.sum()


def test_agreement_beats_disagreement():
    scores = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
    agreeing = swapped_clusters(scores, sinkhorn(scores))
    assert agreeing < swapped_clusters(scores, sinkhorn(scores.flip(1)))


@pytest.mark.parametrize("objective", [swapped_clusters, self_distillation])
def test_targets_get_no_gradient(objective):
    predicting, target = logits(3, 4, 5).requires_grad_(), logits(2, 4, 5, seed=1).softmax(-1).requires_grad_()
    objective(predicting, target).backward()
    assert target.grad is None
    assert (predicting.grad.abs().sum(dim=(1, 2)) > 0).all()


@pytest.mark.parametrize("objective", [swapped_clusters, self_distillation])
def test_gradients(objective):
    target = logits(2, 3, 4, seed=1).softmax(-1)
    assert torch.autograd.gradcheck(
        lambda x: objective(x, target, reduction="none"), (logits(3, 3, 4).requires_grad_(),)
    )


@pytest.mark.parametrize("fill", [0.0, 1.0, -1e4])
def test_extreme_logits_stay_finite(fill):
    student = torch.full((2, 4, 6), fill, requires_grad=True)
    loss = self_distillation(student, student, student_temperature=0.01, teacher_temperature=0.01)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(6), rel=1e-5)
    assert torch.isfinite(student.grad).all()
    scores = torch.stack([torch.eye(6), -torch.eye(6)]).requires_grad_()
    loss = swapped_clusters(scores, sinkhorn(scores), temperature=0.01)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(scores.grad).all()


def test_half_precision_is_raised():
    student = logits(2, 4, 5).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = self_distillation(student, student)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(self_distillation(student.double(), student.double()).item(), rel=1e-5)


def test_bad_input_is_named():
    z = logits(2, 4, 5)
    with pytest.raises(ValueError, match=r"temperature must be positive.*-0\.1"):
        swapped_clusters(z, z, temperature=-0.1)
    with pytest.raises(ValueError, match="teacher_temperature must be positive"):
        self_distillation(z, z, teacher_temperature=0)
    with pytest.raises(ValueError, match=r"1 view\(s\); views predict one another"):
        self_distillation(z[:1], z[:1])
    with pytest.raises(ValueError, match="codes must belong to the first views of scores: 1 to 2 views, got 3"):
        swapped_clusters(z, logits(3, 4, 5))
    with pytest.raises(ValueError, match=r"\(4, 6\).*first view of student \(4, 5\)"):
        self_distillation(z, logits(2, 4, 6))
    with pytest.raises(ValueError, match=r"center must be \(5,\).*\(1, 6\)"):
        self_distillation(z, z, center=torch.zeros(1, 6))
    with pytest.raises(TypeError, match="int64"):
        swapped_clusters(z, torch.ones(2, 4, 5, dtype=torch.int64))
