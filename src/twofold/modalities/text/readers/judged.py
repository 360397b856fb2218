"""Folders of retrieval sets as BEIR ships them: corpus.jsonl, queries.jsonl, and judgements in qrels/SPLIT.tsv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.errors import DataError
from twofold.modalities import tables
from twofold.modalities.text.dataset import Source
from twofold.modalities.text.readers.columns import cells, chosen_split
from twofold.modalities.text.readers.lines import LONGEST

CORPUS, QUERIES, JUDGEMENTS = "corpus.jsonl", "queries.jsonl", "qrels"
_JUDGED = (("query-id", "query_id", "qid"), ("corpus-id", "corpus_id", "doc_id", "docid"), ("score", "relevance"))
_SHOWN = 3


@dataclass(frozen=True)
class Judged:
    """A retrieval set.

    Attributes:
        documents: The texts to be found, titles in front.
        queries: Those that have judgements in this split.
        relevance: For each query the grade of each document that was judged above 0, by position.
        split: Whose judgements these are.
        notes: What else a user should know.
    """

    documents: Source
    queries: Source
    relevance: list[dict[int, float]]
    split: str
    notes: list[str]


def is_judged(folder: Path) -> bool:
    """Whether a folder is a retrieval set."""
    return (folder / CORPUS).is_file() and (folder / QUERIES).is_file()


def read_corpus(folder: Path) -> Source:
    """The documents of a retrieval set: their titles, if they have some, and texts."""
    return _texts(folder / CORPUS)


def read_judged(folder: Path, *, split: str | None) -> Judged:
    """Documents, queries and judgements.

    Args:
        folder: Holds corpus.jsonl and queries.jsonl with "_id" and "text" (and maybe "title"), and qrels/SPLIT.tsv with
            the columns query-id, corpus-id and score.
        split: Which judgements; default: the only ones, or "test".

    Raises:
        DataError: If a file is missing or damaged, an "_id" occurs twice, or no judgement fits the texts.
    """
    documents, queries = read_corpus(folder), _texts(folder / QUERIES)
    files = {path.stem: path for path in sorted((folder / JUDGEMENTS).glob("*.tsv"))}
    if not files:
        raise DataError(
            f"{folder / JUDGEMENTS} holds no judgements, such as test.tsv; without them nothing is measured"
        )
    part = chosen_split(list(files), split or ("test" if len(files) > 1 else None), str(folder / JUDGEMENTS))
    place = {name: i for i, name in enumerate(documents.ids)}
    judged: dict[str, dict[int, float]] = {}
    lost = 0
    for query, document, grade in _judgements(files[part]):
        if document not in place:
            lost += 1
        elif grade > 0:
            judged.setdefault(query, {})[place[document]] = grade
    asked = [i for i, name in enumerate(queries.ids) if name in judged]
    if not asked:
        raise DataError(f"{files[part]}: none of its judgements is about a query and a document of {folder}")
    kept = Source([[queries.texts[0][i] for i in asked]], [queries.ids[i] for i in asked], queries.name)
    notes = [f"{lost} judgements are about documents that the corpus lacks"] if lost else []
    notes += [f"{len(judged) - len(asked)} judged queries are not in {QUERIES}"] if len(judged) > len(asked) else []
    return Judged(documents, kept, [judged[name] for name in kept.ids], part, notes)


def _texts(path: Path) -> Source:
    names, _ = tables.column_names(path)
    missing = [name for name in ("_id", "text") if name not in names]
    if missing:
        raise DataError(f"{path} lacks {', '.join(map(repr, missing))}; it has: {tables.told(names)}")
    columns = ["_id", "text", *(["title"] if "title" in names else [])]
    table = tables.load_whole(path, columns)
    ids = [str(value) for value in cells(table, "_id", str(path))]
    if len(set(ids)) < len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})[:_SHOWN] if len(ids) < 10_000 else ["..."]
        raise DataError(f"{path}: some '_id' occur twice: {', '.join(twice)}")
    titles = cells(table, "title", str(path)) if "title" in names else [None] * len(ids)
    texts = cells(table, "text", str(path))
    joined = [_joined(path, title, text) for title, text in zip(titles, texts, strict=True)]
    return Source([joined], ids, str(path))


def _joined(path: Path, title: Any, text: Any) -> str | None:
    parts = [part for part in (title, text) if part is not None]
    if not all(isinstance(part, str | int | float) for part in parts):
        raise DataError(f"{path}: a 'title' or 'text' is no text but {type(parts[0]).__name__}")
    return " ".join(str(part) for part in parts)[:LONGEST].strip() or None


def _judgements(path: Path) -> list[tuple[str, str, float]]:
    names, _ = tables.column_names(path)
    chosen = [tables.pick(names, None, usual, str(path), "") for usual in _JUDGED]
    if any(name is None for name in chosen):
        raise DataError(f"{path} needs the columns query-id, corpus-id and score; it has: {tables.told(names)}")
    table = tables.load_whole(path, [str(name) for name in chosen])
    query, document, grade = (cells(table, str(name), str(path)) for name in chosen)
    try:
        return [(str(q), str(d), float(g)) for q, d, g in zip(query, document, grade, strict=True)]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: a score is no number ({error})") from error
