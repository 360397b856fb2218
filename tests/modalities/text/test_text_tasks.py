"""Evaluations of text encoders: pairs with scores, and retrieval with judgements."""

from __future__ import annotations

import json

import pytest
import torch

import twofold
from twofold.errors import ConfigError, DataError
from twofold.modalities.text import MODALITY, tasks

DOCUMENTS = {
    "d1": "red fish swim in the sea",
    "d2": "blue birds sing in the tree",
    "d3": "engines burn oil on the road",
    "d4": "markets fall and prices rise",
}
QUERIES = {"q1": "where do fish swim", "q2": "what do engines burn", "q3": "never judged"}
PAIRS = [
    ("a red fish", "a red fish", 5),
    ("a red fish", "a blue fish", 3),
    ("the bird sings", "an engine burns", 0),
    ("prices rise", "prices fall", 2),
]


@pytest.fixture(scope="module")
def spec():
    return MODALITY.read([*DOCUMENTS.values(), *QUERIES.values()], vocabulary=300, length=32).spec


@pytest.fixture
def retrieval_set(tmp_path):
    (tmp_path / "qrels").mkdir()
    corpus = [{"_id": name, "title": text.split()[0], "text": text} for name, text in DOCUMENTS.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    queries = [{"_id": name, "text": text} for name, text in QUERIES.items()]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    rows = ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q2\td3\t1", "q2\td1\t0", "q2\tgone\t1", "absent\td2\t1"]
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(rows))
    return tmp_path


def pairs_table(path, names=("sentence1", "sentence2", "score")):
    path.write_text("\n".join(",".join(map(str, row)) for row in [names, *PAIRS]))
    return path


def raw_rows(task, spec):
    return {name: MODALITY.raw_features(side.fetch(torch.arange(len(side))), spec) for name, side in task.sides.items()}


def test_pairs_are_measured_and_have_a_baseline(tmp_path, spec):
    task = MODALITY.task(pairs_table(tmp_path / "pairs.csv"), spec)
    assert (task.name, set(task.sides)) == ("similarity", {"first", "second"})
    found = task.measure(raw_rows(task, spec))["spearman"]
    assert found.value > 50
    assert found.n == 4
    assert task.baselines["Word overlap"]()["spearman"].value > 50
    rows = raw_rows(task, spec)
    rows["first"][1] = torch.nan
    lost = task.measure(rows)["spearman"]
    assert (lost.n, lost.note) == (3, "1 pairs without text or score are left out")


def test_columns_of_pairs_may_be_named(tmp_path, spec):
    path = pairs_table(tmp_path / "pairs.csv", ("left", "right", "closeness"))
    assert MODALITY.task(path, spec) is None
    with pytest.raises(ConfigError, match="has the columns left, right, closeness: say which"):
        MODALITY.task(path, spec, name="similarity")
    task = MODALITY.task(path, spec, name="similarity", column="left,right", label_column="closeness")
    assert task.measure(raw_rows(task, spec))["spearman"].value > 50


def test_classes_of_pairs_are_no_scores(tmp_path, spec):
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,label\na,b,yes\nc,d,no\n")
    assert MODALITY.task(path, spec) is None


def test_retrieval_is_measured_beside_bm25(retrieval_set, spec):
    task = MODALITY.task(retrieval_set, spec)
    assert task.name == "retrieval"
    assert list(task.sides["queries"].ids) == ["q1", "q2"]
    assert task.sides["documents"].text(0) == "red red fish swim in the sea"
    assert "1 judgements are about documents that the corpus lacks" in task.protocol["retrieval"]
    found = task.measure(raw_rows(task, spec))
    assert set(found) == set(task.metrics) == {"ndcg@10", "recall@10", "recall@100", "mrr"}
    for baseline in ("BM25", "TF-IDF"):
        assert task.baselines[baseline]()["ndcg@10"].value == 1.0
    assert task.chance["recall@10"] == 1.0
    assert len(found["mrr"].per_item) == 2


def test_the_documents_of_a_retrieval_set_are_what_is_trained_on(retrieval_set):
    dataset = MODALITY.read(retrieval_set, vocabulary=300)
    assert list(dataset.ids) == list(DOCUMENTS)


def test_bm25_is_its_formula():
    documents = ["a b b", "a c", "d"]
    scores = torch.cat(list(tasks.bm25(documents, ["b a", "nothing"])))
    mean = sum(len(text.split()) for text in documents) / 3

    def term(frequency, length, holding):
        idf = torch.tensor((3 - holding + 0.5) / (holding + 0.5)).log1p()
        return idf * frequency / (frequency + 1.5 * (1 - 0.75 + 0.75 * length / mean))

    expected = torch.tensor([term(2, 3, 1) + term(1, 3, 2), term(1, 2, 2), 0.0])
    torch.testing.assert_close(scores[0].float(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(scores[1], torch.zeros(3, dtype=torch.float64))


def test_word_overlap():
    assert tasks.jaccard("A b, c", "b C d") == pytest.approx(0.5)
    assert tasks.jaccard("", "!") == 0.0


def test_a_recipe_is_evaluated_on_either(tmp_path, retrieval_set):
    model = twofold.SimCLR(modality="text", encoder="embedding-bag-w16")
    model.fit([*DOCUMENTS.values(), *QUERIES.values()] * 4, epochs=1, batch_size=14, workers=0, vocabulary=300)
    pairs = model.evaluate(pairs_table(tmp_path / "pairs.csv"))
    assert {row.name for row in pairs.rows} == {"trained", "untrained", "raw", "word-overlap"}
    assert all(-100 <= row.metrics["spearman"].value <= 100 for row in pairs.rows)
    found = model.evaluate(retrieval_set)
    assert {row.name for row in found.rows} == {"trained", "untrained", "raw", "bm25", "tf-idf"}


def damaged(folder, name, text):
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corpus.jsonl", '{"id": "a", "text": "b"}', "lacks '_id'"),
        ("corpus.jsonl", '{"_id": "a", "text": "b"}\n{"_id": "a", "text": "c"}', "occur twice: a"),
        ("corpus.jsonl", '{"_id": "zz", "text": "b"}', "none of its judgements"),
        ("corpus.jsonl", '{"_id": "d1", "text": ["b"]}', "is no text but list"),
        ("qrels/test.tsv", "a\tb\n1\t2", "needs the columns query-id, corpus-id and score"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tmuch", "a score is no number"),
    ],
)
def test_damaged_retrieval_sets_are_told(retrieval_set, spec, name, text, message):
    with pytest.raises(DataError, match=message):
        MODALITY.task(damaged(retrieval_set, name, text), spec)


def test_a_split_of_judgements_is_chosen(retrieval_set, spec):
    (retrieval_set / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1")
    assert len(MODALITY.task(retrieval_set, spec).sides["queries"]) == 2
    assert len(MODALITY.task(retrieval_set, spec, split="dev").sides["queries"]) == 1
    with pytest.raises(DataError, match="no split 'val2'"):
        MODALITY.task(retrieval_set, spec, split="val2")


def test_tasks_that_are_none(tmp_path, spec):
    with pytest.raises(ConfigError, match="did you mean 'retrieval'"):
        MODALITY.task(tmp_path, spec, name="retrieva")
    with pytest.raises(ConfigError, match=r"needs a folder with corpus.jsonl"):
        MODALITY.task(tmp_path, spec, name="retrieval")
    assert MODALITY.task(["a", "b"], spec) is None
