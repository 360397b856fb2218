from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twofold.errors import DataError
from twofold.evaluation import Difference, Evaluation, Measurement, MetricInfo, Row

_text = st.text(max_size=4)
_number = st.floats(-1e6, 1e6)
_measurement = st.builds(
    Measurement, _number, st.none() | _number, st.none() | _number, _text, st.integers(0, 1000), _text
)
_row = st.builds(Row, _text, _text, st.dictionaries(_text, _measurement, max_size=3), st.lists(_text, max_size=2))
_evaluation = st.builds(
    Evaluation,
    st.dictionaries(_text, _text, max_size=3),
    st.dictionaries(_text, _number, max_size=3),
    st.lists(_row, max_size=3),
    st.dictionaries(_text, st.builds(MetricInfo, _text, st.booleans(), _text), max_size=3),
    st.lists(st.builds(Difference, _text, _text, _number, _number, _number), max_size=3),
)

EXAMPLE = Evaluation(
    protocol={"split": "70/30"},
    chance={"knn": 0.1},
    rows=[
        Row("trained", "SimCLR, trained", {"knn": Measurement(0.8125, 0.79, 0.83, "accuracy", 359)}, ["test: odd"]),
        Row("raw", "raw pixels", {"knn": Measurement(0.5, 0.4, 0.6, "accuracy", 359), "rank": Measurement(42.0)}),
    ],
    metrics={
        "knn": MetricInfo("weighted 20-NN accuracy", True, "95 % bootstrap over 359 test items"),
        "rank": MetricInfo("effective rank", True),
        "uniformity": MetricInfo("uniformity", False),
    },
    differences=[Difference("knn", "raw", 0.3125, 0.2, 0.4)],
)


@given(_evaluation)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
def test_json_round_trip(evaluation: Evaluation) -> None:
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json(), allow_nan=False))) == evaluation


def test_json_has_the_documented_shape() -> None:
    document = EXAMPLE.to_json()
    assert set(document) == {"protocol", "chance", "rows", "metrics", "differences"}
    assert document["rows"][0]["name"] == "trained"
    assert document["rows"][0]["label"] == "SimCLR, trained"
    knn = document["rows"][0]["metrics"]["knn"]
    assert {key: knn[key] for key in ("value", "low", "high", "unit")} == {
        "value": 0.8125,
        "low": 0.79,
        "high": 0.83,
        "unit": "accuracy",
    }
    assert document["metrics"]["knn"] == {
        "title": "weighted 20-NN accuracy",
        "higher_is_better": True,
        "interval": "95 % bootstrap over 359 test items",
    }
    assert document["differences"] == [{"metric": "knn", "against": "raw", "value": 0.3125, "low": 0.2, "high": 0.4}]


def test_documents_without_the_optional_keys_are_read() -> None:
    document = {
        "protocol": {},
        "chance": {},
        "metrics": {},
        "rows": [{"name": "raw", "label": "raw", "metrics": {"knn": {"value": 0.5}}}],
    }
    evaluation = Evaluation.from_json(document)
    assert evaluation.rows[0].metrics["knn"] == Measurement(0.5)
    assert evaluation.differences == []


def test_numbers_that_json_lacks_become_null() -> None:
    odd = replace(EXAMPLE, rows=[Row("a", "a", {"knn": Measurement(math.nan, -math.inf, math.inf)})])
    text = json.dumps(odd.to_json(), allow_nan=False)
    back = Evaluation.from_json(json.loads(text)).rows[0].metrics["knn"]
    assert math.isnan(back.value)
    assert back.low is back.high is None


def test_scores_of_items_stay_out_of_json() -> None:
    heavy = replace(EXAMPLE, rows=[Row("a", "a", {"knn": Measurement(0.5, per_item=torch.ones(1000))})])
    assert len(json.dumps(heavy.to_json())) < 2000


def test_foreign_documents_are_refused() -> None:
    with pytest.raises(DataError, match="'chance' is missing"):
        Evaluation.from_json({"protocol": {}})
    with pytest.raises(DataError, match="not an evaluation result"):
        Evaluation.from_json({**EXAMPLE.to_json(), "rows": [3]})
    with pytest.raises(DataError, match="not an evaluation result"):
        Evaluation.from_json({**EXAMPLE.to_json(), "metrics": []})


def test_text_lines_up_and_says_all() -> None:
    text = EXAMPLE.to_text()
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "metric"
    column = lines[0].index("raw pixels")
    assert lines[2][column:].startswith("0.500 [0.400, 0.600]")
    assert lines[3][column:].startswith("42.0")
    assert lines[2].endswith("0.100")
    assert "uniformity (lower is better)" in lines[4]
    assert "+0.312 [+0.200, +0.400]" in text
    assert "SimCLR, trained: test: odd" in text
    assert "split: 70/30" in text
    assert all(line == line.rstrip() for line in lines)


def test_text_of_an_empty_evaluation() -> None:
    assert "metric" in Evaluation({}, {}, [], {}).to_text()
