"""Evaluations of text encoders: semantic similarity of pairs, and retrieval with judgements beside BM25."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError, require
from twofold.evaluation import Measurement, MetricInfo, Task, bootstrap_mean
from twofold.evaluation.judged import JudgedRanking, random_recall, rank_by_cosine, rank_by_scores
from twofold.evaluation.similarity import pair_cosines, readable_pairs, spearman
from twofold.modalities import tables
from twofold.modalities.text.dataset import Source, TextDataset
from twofold.modalities.text.readers.columns import cells, from_columns
from twofold.modalities.text.readers.judged import Judged, is_judged, read_judged
from twofold.modalities.text.tokens import Tokenizer
from twofold.options import did_you_mean

SIMILARITY, RETRIEVAL = "similarity", "retrieval"
TASKS = (SIMILARITY, RETRIEVAL)

_PAIRS = (("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("text1", "text2"), ("first", "second"))
_SCORES = ("score", "similarity_score", "relatedness_score", "similarity", "relatedness", "gold", "label")
_DEPTHS = (10, 100)
_QUERIES_AT_ONCE = 64
_WORD = re.compile(r"\w+")


def task_of(source: Any, spec: Mapping[str, Any], *, name: str | None, reading: Mapping[str, Any]) -> Task | None:
    """The evaluation that a source is made for; None for the standard protocol on labels.

    A folder with corpus.jsonl, queries.jsonl and qrels/ is a retrieval set. A table with two columns of sentences
    (such as sentence1 and sentence2) and one of scores is a set of pairs; with ``name="similarity"`` its columns may be
    named: column="first,second" and label_column="score".

    Raises:
        ConfigError: If there is no task of that name, or the source is none of this kind.
        DataError: If it cannot be read.
    """
    if name is not None and name not in TASKS:
        raise ConfigError(f"There is no task {name!r} on texts{did_you_mean(name, TASKS)}")
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.is_dir() and is_judged(path):
        return retrieval(read_judged(path, split=reading.get("split")), spec) if name in (None, RETRIEVAL) else None
    if path is not None and path.is_file() and path.suffix.lower() in tables.TABLES:
        columns = pair_columns(path, reading, wanted=name == SIMILARITY)
        if columns and name in (None, SIMILARITY):
            return _similarity_of_table(path, columns, spec)
    if name is not None:
        raise ConfigError(
            f"task={name!r} needs a folder with corpus.jsonl, queries.jsonl and qrels/"
            if name == RETRIEVAL
            else f"task={name!r} needs a table with two columns of sentences and one of scores"
        )
    return None


def similarity(
    first: Sequence[str | None], second: Sequence[str | None], scores: Tensor, spec: Mapping[str, Any]
) -> Task:
    """Semantic similarity (STS): Spearman's correlation of cosines with people's scores, × 100.

    Args:
        first: One text of each pair.
        second: The other.
        scores: float ``(n,)``, what people said; NaN where nothing is known.
        spec: Of the encoder's data: tokenizer and length.

    Raises:
        DataError: If lengths differ.
    """
    if not len(first) == len(second) == len(scores):
        raise DataError(f"pairs of {len(first)} and {len(second)} texts with {len(scores)} scores")

    def correlation(cosines: Tensor, kept: Tensor) -> dict[str, Measurement]:
        found = spearman(cosines[kept], scores[kept])
        lost = len(scores) - len(kept)
        note = f"{lost} pairs without text or score are left out" if lost else ""
        value, low, high = (100 * number for number in found)
        return {"spearman": Measurement(value, low, high, "Spearman x 100", len(kept), note)}

    def measure(rows: Mapping[str, Tensor]) -> dict[str, Measurement]:
        kept = readable_pairs(rows["first"], rows["second"], scores[:, None])
        return correlation(pair_cosines(rows["first"], rows["second"]), kept)

    def overlap() -> dict[str, Measurement]:
        pairs = zip(first, second, strict=True)
        shares = torch.tensor([jaccard(a or "", b or "") for a, b in pairs], dtype=torch.float64)
        return correlation(shares, readable_pairs(scores[:, None]))

    return Task(
        name=SIMILARITY,
        sides={"first": _side(first, spec, "first texts"), "second": _side(second, spec, "second texts")},
        measure=measure,
        metrics={
            "spearman": MetricInfo("Spearman's correlation x 100", True, f"95 % bootstrap over {len(scores)} pairs")
        },
        protocol={"similarity": "cosine of the pair's embeddings against people's scores"},
        chance={"spearman": 0.0},
        baselines={"Word overlap": overlap},
    )


def retrieval(judged: Judged, spec: Mapping[str, Any]) -> Task:
    """Retrieval: every query ranks all documents by cosine; nDCG@10 and R@k, beside BM25 and TF-IDF.

    Args:
        judged: Documents, queries and judgements.
        spec: Of the encoder's data: tokenizer and length.
    """
    documents, queries, relevance = judged.documents, judged.queries, judged.relevance
    sides = {
        "queries": _side(queries.texts[0], spec, queries.name, queries.ids),
        "documents": _side(documents.texts[0], spec, documents.name, documents.ids),
    }

    def measure(rows: Mapping[str, Tensor]) -> dict[str, Measurement]:
        asked = rows["queries"].isfinite().all(1).nonzero().flatten()
        kept = [relevance[i] for i in asked.tolist()]
        ranking = rank_by_cosine(rows["queries"][asked], rows["documents"], kept, recall_at=_DEPTHS)
        return _measurements(ranking)

    def by(scores: Callable[[list[str], list[str]], Iterator[Tensor]]) -> Callable[[], dict[str, Measurement]]:
        texts = [[text or "" for text in side.texts[0]] for side in (documents, queries)]
        count = len(texts[0])
        return lambda: _measurements(rank_by_scores(scores(*texts), relevance, count, recall_at=_DEPTHS))

    counts = f"{len(queries.ids):,} queries over {len(documents.ids):,} documents"
    interval = f"95 % bootstrap over {len(queries.ids)} queries"
    return Task(
        name=RETRIEVAL,
        sides=sides,
        measure=measure,
        metrics={
            "ndcg@10": MetricInfo("nDCG@10", True, interval),
            **{f"recall@{k}": MetricInfo(f"R@{k}", True, interval) for k in _DEPTHS},
            "mrr": MetricInfo("mean reciprocal rank", True, interval),
        },
        protocol={"retrieval": "; ".join([f"{counts}, judgements {judged.split!r}, by cosine", *judged.notes])},
        chance={f"recall@{k}": random_recall(k, len(documents.ids)) for k in _DEPTHS},
        baselines={"BM25": by(bm25), "TF-IDF": by(tf_idf)},
    )


def jaccard(first: str, second: str) -> float:
    """The share of words that two texts have in common, of all that either has; 0 of two without words."""
    a, b = (set(_WORD.findall(text.lower())) for text in (first, second))
    return len(a & b) / len(a | b) if a | b else 0.0


def bm25(documents: Sequence[str], queries: Sequence[str]) -> Iterator[Tensor]:
    """BM25 (Lucene's form, k1 = 1.5, b = 0.75) of lower-case words, all of them, unstemmed; ``(some, documents)``."""
    library = require("bm25s", extra="text", purpose="the baseline BM25")
    indexed = [_WORD.findall(text.lower()) or [""] for text in documents]
    index = library.BM25()
    index.index(indexed, show_progress=False)
    for text in queries:
        words = [word for word in _WORD.findall(text.lower()) if word in index.vocab_dict]
        scores = index.get_scores(words) if words else np.zeros(len(documents))
        yield torch.from_numpy(np.asarray(scores, dtype=np.float64))[None]


def tf_idf(documents: Sequence[str], queries: Sequence[str]) -> Iterator[Tensor]:
    """Cosines of TF-IDF vectors of words, with 1 + log tf; ``(some, documents)``."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+")
    try:
        offered = vectors.fit_transform(documents)
    except ValueError as error:
        raise DataError(f"no document holds a word ({error})") from error
    asking = vectors.transform(queries)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        yield torch.from_numpy((asking[start : start + _QUERIES_AT_ONCE] @ offered.T).toarray())


def pair_columns(path: Path, reading: Mapping[str, Any], *, wanted: bool) -> tuple[str, str, str] | None:
    """The columns of both sentences and of the scores, if a table has them.

    Raises:
        ConfigError: If a task on pairs is wanted, and the columns are not to be found.
    """
    names, _ = tables.column_names(path)
    lowered = {name.lower(): name for name in names}
    named = [part.strip() for part in (reading.get("column") or "").split(",") if part.strip()]
    usual = next((pair for pair in _PAIRS if all(name in lowered for name in pair)), None)
    pair = named if len(named) == 2 and wanted else [lowered[name] for name in usual] if usual and not named else None
    score = tables.pick(
        names, reading.get("label_column"), _SCORES if pair or wanted else (), str(path), "label_column"
    )
    if pair and score and score not in pair:
        return pair[0], pair[1], score
    if wanted:
        raise ConfigError(
            f"{path} has the columns {tables.told(names)}: say which are the pairs and the scores, with "
            "column='sentence1,sentence2' and label_column='score'"
        )
    return None


def _similarity_of_table(path: Path, columns: tuple[str, str, str], spec: Mapping[str, Any]) -> Task | None:
    table = tables.load(path, columns).table  # of a broken row there is no score, so it does not count
    values = cells(table, columns[2], str(path))
    if not all(value is None or isinstance(value, int | float) for value in values):
        return None  # classes of pairs, not scores
    found = from_columns(lambda name: cells(table, name, str(path)), columns[:2], None, str(path))
    scores = torch.tensor([float("nan") if value is None else float(value) for value in values], dtype=torch.float64)
    return similarity(found.texts[0], found.texts[1], scores, spec)


def _side(
    texts: Sequence[str | None], spec: Mapping[str, Any], name: str, ids: Sequence[str] | None = None
) -> TextDataset:
    tokenizer = Tokenizer(spec["tokenizer"], spec["tokenizer_origin"])
    source = Source([list(texts)], ids or [f"row {i + 1}" for i in range(len(texts))], name)
    return TextDataset(source, tokenizer, length=spec["length"])


def _measurements(ranking: JudgedRanking) -> dict[str, Measurement]:
    values = {"ndcg@10": ranking.ndcg[10]}
    values |= {f"recall@{k}": ranking.recall[k] for k in _DEPTHS}
    values |= {"mrr": ranking.reciprocal_rank}
    found = {}
    for key, scores in values.items():
        mean, low, high = bootstrap_mean(scores.numpy())
        found[key] = Measurement(mean, low, high, key, len(scores), per_item=scores)
    return found
