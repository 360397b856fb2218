from __future__ import annotations

import json

import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Encoded, Evaluation, Features, differences, evaluate_encoders

_BY_ITEM = {"knn", "linear", "few_shot", "recall_at_1", "recall_at_5", "map"}


def _blurred(sides: tuple[Features, Features], noise: float, label: str) -> Encoded:
    generator = torch.Generator().manual_seed(5)
    bank, test = (
        Features(side.x + noise * torch.randn(side.x.shape, generator=generator), side.labels) for side in sides
    )
    return Encoded(label, bank, test)


@pytest.fixture
def evaluation(separable: tuple[Features, Features]) -> Evaluation:
    encoders = {
        "trained": _blurred(separable, 0.0, "SimCLR, trained"),
        "untrained": _blurred(separable, 1.0, "SimCLR, untrained"),
    }
    return evaluate_encoders(encoders, protocol={"split": "80/40, fixed"})


def test_rows_chance_and_protocol_stand_side_by_side(evaluation: Evaluation) -> None:
    assert [row.name for row in evaluation.rows] == ["trained", "untrained"]
    assert evaluation.rows[0].metrics["knn"].value > evaluation.rows[1].metrics["knn"].value
    assert set(evaluation.chance) == _BY_ITEM | {"nmi", "ari", "cluster_accuracy"}
    assert evaluation.chance["few_shot"] == pytest.approx(0.25)
    assert next(iter(evaluation.protocol)) == "split"
    assert "80 items" in evaluation.protocol["bank"]
    assert {"knn", "linear", "few_shot", "kmeans", "retrieval", "geometry"} <= set(evaluation.protocol)
    assert evaluation.metrics["knn"].interval == "95 % bootstrap over 40 test items"
    assert evaluation.metrics["map"].interval == "95 % bootstrap over 40 queries"
    assert set(evaluation.metrics) == set(evaluation.rows[0].metrics)


def test_differences_are_of_the_printed_values(evaluation: Evaluation) -> None:
    assert {d.metric for d in evaluation.differences} == _BY_ITEM
    first, second = (row.metrics for row in evaluation.rows)
    for d in evaluation.differences:
        assert d.against == "untrained"
        assert d.value == pytest.approx(first[d.metric].value - second[d.metric].value)
        assert d.low <= d.value <= d.high
    assert next(d for d in evaluation.differences if d.metric == "map").low > 0


def test_a_row_compared_with_itself_differs_by_zero(evaluation: Evaluation) -> None:
    row = evaluation.rows[1]
    found = differences(row, row)
    assert len(found) == len(_BY_ITEM)
    assert {(d.value, d.low, d.high) for d in found} == {(0.0, 0.0, 0.0)}


def test_differences_use_the_items_that_both_scored(separable: tuple[Features, Features]) -> None:
    whole = _blurred(separable, 1.0, "whole")
    broken_x = whole.test.x.clone()
    broken_x[:10] = torch.nan
    broken = Encoded("broken", whole.bank, Features(broken_x, whole.test.labels))
    evaluation = evaluate_encoders({"a": whole, "b": broken}, metrics=("knn", "linear"))
    assert all((d.value, d.low, d.high) == (0, 0, 0) for d in evaluation.differences)
    assert len(evaluation.differences) == 2
    assert evaluation.rows[1].metrics["knn"].n == 30
    assert "10 rows" in evaluation.rows[1].warnings[0]


def test_an_encoder_without_one_finite_vector_is_a_row_with_a_warning(separable: tuple[Features, Features]) -> None:
    good = _blurred(separable, 0.1, "good")
    bad = Encoded("diverged", *(Features(torch.full_like(side.x, torch.nan), side.labels) for side in separable))
    evaluation = evaluate_encoders({"trained": bad, "raw": good})
    assert evaluation.rows[0].metrics == {}
    assert "80 rows" in evaluation.rows[0].warnings[0]
    assert evaluation.differences == []
    assert "diverged" in evaluation.to_text()


def test_written_and_read_back_it_prints_the_same(evaluation: Evaluation) -> None:
    back = Evaluation.from_json(json.loads(json.dumps(evaluation.to_json(), allow_nan=False)))
    assert back == evaluation
    assert back.to_text() == evaluation.to_text()


def test_encoders_of_different_items_are_refused(separable: tuple[Features, Features]) -> None:
    a = _blurred(separable, 0.0, "a")
    bank, test = separable
    shuffled = Encoded("b", bank, test.take(torch.arange(39, -1, -1)))
    with pytest.raises(DataError, match="a and b differ in the items of their test"):
        evaluate_encoders({"a": a, "b": shuffled})
    with pytest.raises(DataError, match="their gallery"):
        evaluate_encoders({"a": a, "b": Encoded("b", bank, test, gallery=test)})
    with pytest.raises(ConfigError, match="at least one encoder"):
        evaluate_encoders({})


def test_encoders_may_differ_in_width(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    wide = Encoded("wide", *(Features(torch.cat([side.x, side.x], dim=1), side.labels) for side in separable))
    evaluation = evaluate_encoders({"trained": Encoded("narrow", bank, test), "raw": wide}, metrics=("knn",))
    assert [d.value for d in evaluation.differences] == [0.0]
