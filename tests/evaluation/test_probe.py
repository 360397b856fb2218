from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Features, few_shot_probe, linear_probe


def _overlapping(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    return 0.9 * torch.eye(3, 6)[labels] + torch.randn(n, 6, generator=generator), labels


def test_separable_classes_are_predicted_perfectly(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    assert torch.equal(linear_probe(bank.x, bank.labels, test.x).predictions, test.labels)


def test_equals_scikit_learn_when_the_grid_has_one_value() -> None:
    (x, y), (queries, _) = _overlapping(90, 0), _overlapping(60, 1)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(x.numpy(), y.numpy())
    result = linear_probe(x, y, queries, grid=[0.1])
    assert result.predictions.tolist() == reference.predict(queries.numpy()).tolist()
    assert result.C == 0.1


def test_c_is_the_smallest_of_the_best_on_the_validation_part() -> None:
    x, y = _overlapping(120, 2)
    result = linear_probe(x, y, x, grid=[100.0, 0.0001, 0.01])
    best = max(result.validation.values())
    assert len(result.validation) == 3
    winners = [c for c, accuracy in result.validation.items() if accuracy == best]
    chosen = result.C
    assert chosen == min(winners)


def test_test_items_do_not_influence_each_other_or_the_choice_of_c() -> None:
    (x, y), (queries, _) = _overlapping(90, 0), _overlapping(40, 1)
    together = linear_probe(x, y, queries)
    alone = linear_probe(x, y, queries[:7])
    assert alone.C == together.C
    assert alone.validation == together.validation
    assert torch.equal(alone.predictions, together.predictions[:7])


def test_offset_and_scale_of_each_dimension_do_not_matter() -> None:
    (x, y), (queries, _) = _overlapping(90, 0), _overlapping(40, 1)
    scale, offset = torch.tensor([1.0, 10.0, 100.0, 0.1, 0.01, 5.0]), torch.arange(6.0)
    plain, moved = linear_probe(x, y, queries), linear_probe(x * scale + offset, y, queries * scale + offset)
    assert torch.equal(plain.predictions, moved.predictions)


def test_too_few_items_for_a_validation_part_are_said() -> None:
    result = linear_probe(torch.eye(3), torch.arange(3), torch.eye(3))
    assert result.validation == {}
    assert result.C == 0.1
    assert "validation" in result.message


def test_reaching_the_iteration_bound_is_reported_not_warned() -> None:
    x, y = _overlapping(90, 0)
    assert "stopped at 1 iteration" in linear_probe(x, y, x, max_iter=1, grid=[10.0]).message
    assert linear_probe(x, y, x, grid=[0.01]).message == ""


def test_few_shot_scores_are_means_over_the_same_episodes() -> None:
    (x, y), (queries, truth) = _overlapping(90, 0), _overlapping(40, 1)
    result = few_shot_probe(x, y, queries, truth, shots=4, episodes=12, seed=5)
    assert result.accuracy.shape == (12,)
    assert result.item_scores.shape == (40,)
    torch.testing.assert_close(result.accuracy.mean(), result.item_scores.mean())
    assert result.accuracy.std() > 0
    again = few_shot_probe(x, y, queries, truth, shots=4, episodes=12, seed=5)
    other = few_shot_probe(x, y, queries, truth, shots=4, episodes=12, seed=6)
    assert torch.equal(result.accuracy, again.accuracy)
    assert not torch.equal(result.accuracy, other.accuracy)


def test_more_shots_help_on_overlapping_classes() -> None:
    (x, y), (queries, truth) = _overlapping(300, 0), _overlapping(300, 1)
    few, many = (few_shot_probe(x, y, queries, truth, shots=shots, episodes=20).accuracy.mean() for shots in (1, 50))
    assert many > few + 0.05


def test_all_shots_of_all_classes_is_one_fit_on_everything() -> None:
    (x, y), (queries, truth) = _overlapping(30, 0), _overlapping(40, 1)
    result = few_shot_probe(x, y, queries, truth, shots=10, episodes=3)
    fit = linear_probe(x, y, queries, grid=[1.0])
    assert result.accuracy.tolist() == [float((fit.predictions == truth).double().mean())] * 3
    assert result.message == ""


def test_classes_with_fewer_items_than_shots_are_counted() -> None:
    labels = torch.tensor([0] * 10 + [1] * 2 + [2] * 3)
    x = torch.eye(3)[labels]
    result = few_shot_probe(x, labels, x, labels, shots=5)
    assert result.message.startswith("2 classes have fewer than 5")


def test_bad_input_is_named() -> None:
    x, y = _overlapping(12, 0)
    with pytest.raises(DataError, match="only label 4"):
        linear_probe(x, torch.full((12,), 4), x)
    with pytest.raises(DataError, match="12 rows of features but 11 labels"):
        linear_probe(x, y[:11], x)
    with pytest.raises(DataError, match="differ in width"):
        linear_probe(x, y, x[:, :2])
    with pytest.raises(ConfigError, match="positive numbers"):
        linear_probe(x, y, x, grid=[0.0, 1.0])
    with pytest.raises(ConfigError, match=r"shots must be at least 1, got 0[\s\S]*episodes must be at least 1, got 0"):
        few_shot_probe(x, y, x, y, shots=0, episodes=0)
