"""Texts from anywhere: `read` turns a source into a data set, `summary` says what was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.folders import existing, listed_files, read_trees, split_of
from twofold.modalities.labels import encode_labels, label_sentence
from twofold.modalities.tables import TABLES
from twofold.modalities.text.backbones.pretrained import longest_text
from twofold.modalities.text.dataset import Source, TextDataset
from twofold.modalities.text.readers.columns import chosen_split, read_hub, read_table
from twofold.modalities.text.readers.judged import is_judged, read_corpus
from twofold.modalities.text.readers.lines import LONGEST, SUFFIXES, read_files, read_lines
from twofold.modalities.text.tokens import LENGTHS, PREFIX, is_json, named, trained

__all__ = ["TextDataset", "find", "read", "summary", "tokenized"]

_SAVED = ("dataset_dict.json", "state.json")


def read(
    source: Any,
    *,
    column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    length: int | None = None,
    vocabulary: int | None = None,
    tokenizer: str | None = None,
) -> Dataset:
    """Read texts, and labels where the source has some.

    Sources: a text file, a line a text; a table .csv, .tsv, .jsonl or .parquet; a folder of text files, a file a text,
    with or without class folders; a folder with a table or text file a split, such as train.csv and test.csv; a folder
    of a retrieval set (corpus.jsonl, queries.jsonl, qrels/), of which the documents are read; an object of `datasets`;
    a list of texts, or (texts, labels); a data set of ours.

    Args:
        source: See above.
        column: Of a table, the column of texts; several, with commas between, are the views of a sample.
        label_column: Of a table, the column of classes.
        split: Which part of data that comes in parts, such as train or test. Default: train if there are several.
        length: Tokens kept of a text, 4 to 8192, special ones included. Default: what 95 % of the texts do not
            exceed, at most 128, or what the tokenizer's model states.
        vocabulary: Tokens of the tokenizer that is trained on the texts, 300 to 100,000. Default: 8192.
        tokenizer: The tokenizer of a model instead: ``hf:NAME_OR_FOLDER``, a tokenizer.json, or the JSON itself.

    Returns:
        A `TextDataset`.

    Raises:
        ConfigError: For options that make no sense.
        DataError: If there is nothing to read, or if more than half of it is no text.
        MissingExtraError: If `tokenizers` is not installed.
    """
    _check_options(length, vocabulary, tokenizer)
    if isinstance(source, TextDataset):
        return _again(source, length, tokenizer)
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        return _same(source, length, tokenizer)
    found = find(source, column=column, label_column=label_column, split=split)
    return tokenized(found, length=length, vocabulary=vocabulary, tokenizer=tokenizer)


def find(
    source: Any, *, column: str | None = None, label_column: str | None = None, split: str | None = None
) -> Source:
    """The texts of a source, not tokenized yet; arguments and errors are those of :func:`read`."""
    if isinstance(source, str | Path):
        return _of_path(_existing(source), column=column, label_column=label_column, split=split)
    if type(source).__module__.split(".")[0] == "datasets":
        return read_hub(source, column=column, label_column=label_column, split=split, name="the dataset")
    if isinstance(source, tuple) and len(source) == 2 and not all(isinstance(part, str) for part in source):
        return _of_list(list(source[0]), labels=source[1])
    if hasattr(source, "tolist"):  # an array or a column of text
        source = source.tolist()
    if not isinstance(source, list | tuple):
        raise DataError(
            f"cannot read texts from a {type(source).__name__}; see help(twofold.modalities.text.data.read)"
        )
    if source and all(_is_path(item) for item in source):
        return _of_paths([existing(item) for item in source], column=column, label_column=label_column, split=split)
    return _of_list(list(source))


def tokenized(found: Source, *, length: int | None, vocabulary: int | None, tokenizer: str | None) -> TextDataset:
    """Texts with the tokenizer that was asked for, or one that is trained on them."""
    if tokenizer is None:
        made = trained([text for column in found.texts for text in column if text], vocabulary)
        return TextDataset(found, made, length=length)
    stated = longest_text(tokenizer) if tokenizer.startswith(PREFIX) else None
    return TextDataset(found, named(tokenizer), length=length or (stated and min(stated, LENGTHS[1])))


def summary(dataset: Dataset) -> str:
    """One paragraph: how many texts, their form, their classes, and what was left out and why."""
    spec = dataset.spec
    columns = f" of {spec['columns']} columns" if spec["columns"] > 1 else ""
    origin = "of its own" if spec["tokenizer_origin"] == "data" else f"of {spec['tokenizer_origin'][:80]}"
    text = [
        f"{len(dataset):,} texts{columns} of up to {spec['length']} tokens; {spec['vocabulary']:,} different ones, "
        f"tokenizer {origin}.",
        label_sentence(dataset.labels, dataset.class_names, items="texts"),
    ]
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped)} are left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _of_path(path: Path, *, column: str | None, label_column: str | None, split: str | None) -> Source:
    if path.is_dir():
        return _of_folder(path, column=column, label_column=label_column, split=split)
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return read_table(path, column=column, label_column=label_column)
    if suffix in SUFFIXES:
        return read_lines([path])
    readable = " ".join([*SUFFIXES, *TABLES])
    raise DataError(f"{path}: files ending in {suffix or 'nothing'} are not read. Readable: {readable}, or a folder")


def _of_folder(folder: Path, *, column: str | None, label_column: str | None, split: str | None) -> Source:
    if is_judged(folder):
        return read_corpus(folder)
    if any((folder / name).is_file() for name in _SAVED):
        raise DataError(f"{folder} was written by save_to_disk: give the dataset itself, datasets.load_from_disk(...)")
    parts = {path.stem: path for path in sorted(folder.iterdir()) if _is_split_file(path)}
    if parts:
        chosen = chosen_split(list(parts), split, str(folder))
        found = _of_path(parts[chosen], column=column, label_column=label_column, split=None)
        found.notes += [f"read {parts[chosen].name}"] if len(parts) > 1 else []
        return found
    return read_files(read_trees([folder], suffixes=SUFFIXES, split=split, things="texts"), str(folder))


def _of_paths(paths: Sequence[Path], *, column: str | None, label_column: str | None, split: str | None) -> Source:
    if len(paths) == 1:
        return _of_path(paths[0], column=column, label_column=label_column, split=split)
    if all(path.is_dir() for path in paths):
        found = read_trees(paths, suffixes=SUFFIXES, split=split, things="texts")
        return read_files(found, ", ".join(map(str, paths)))
    if any(path.is_dir() for path in paths):
        raise DataError("a list must hold only folders or only files, this one mixes them")
    return read_lines([Path(name) for name in listed_files(paths, suffixes=SUFFIXES, things="texts").paths])


def _of_list(items: list[Any], labels: Any = None) -> Source:
    """Texts that are in memory already: strings, or equally many strings a sample."""
    if not items:
        raise DataError("an empty list holds no texts")
    rows = [[item] if isinstance(item, str) or item is None else item for item in items]
    columns = len(rows[0]) if isinstance(rows[0], list | tuple) else 0
    odd = next((i for i, row in enumerate(rows) if not _is_row(row, columns)), None)
    if odd is not None:
        raise DataError(
            f"item {odd} of the list is {str(items[odd])[:60]!r}; a list holds texts, or of each sample as many texts"
        )
    texts = [[None if cell is None else _clean(cell) for cell in column] for column in zip(*rows, strict=True)]
    found = Source(texts, [f"text {i}" for i in range(len(items))], "the list")
    if labels is not None:
        found.labels, found.class_names = encode_labels(labels, "labels", len(items))
    return found


def _is_row(row: Any, columns: int) -> bool:
    """Whether a sample is of as many texts."""
    held = isinstance(row, list | tuple) and len(row) == columns > 0
    return held and all(cell is None or isinstance(cell, str) for cell in row)


def _clean(text: str) -> str:
    """A text that can be written as UTF-8, of bounded length: lone surrogates are replaced."""
    text = text[:LONGEST]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _existing(source: str | Path) -> Path:
    try:
        return existing(source)
    except DataError as error:
        if isinstance(source, str) and (" " in source.strip() or "\n" in source):
            raise DataError(
                f"{source[:60]!r} is no path; to read it as a text, give a list: [{source[:20]!r}]"
            ) from error
        raise


def _is_path(item: Any) -> bool:
    if isinstance(item, Path):
        return True
    try:
        return isinstance(item, str) and 0 < len(item) < 4096 and Path(item).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # no possible path
        return False


def _is_split_file(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (*TABLES, *SUFFIXES) and split_of(path.stem) is not None


def _again(dataset: TextDataset, length: int | None, tokenizer: str | None) -> TextDataset:
    """A data set that is read already, in the tokens and the length that are asked for."""
    wanted = length or dataset.spec["length"]
    if tokenizer in (None, dataset.spec["tokenizer"], dataset.spec["tokenizer_origin"]):
        return (
            dataset
            if wanted == dataset.spec["length"]
            else TextDataset(dataset.source, dataset.tokenizer, length=wanted)
        )
    return TextDataset(dataset.source, named(str(tokenizer)), length=length)


def _same(source: Any, length: int | None, tokenizer: str | None) -> Any:
    spec = source.spec
    if length not in (None, spec.get("length")):
        raise ConfigError(f"length={length}: this data set was already read with {spec.get('length')}; set it there")
    if tokenizer not in (None, spec.get("tokenizer"), spec.get("tokenizer_origin")):
        raise ConfigError("this data set was already read with another tokenizer; set tokenizer= there")
    return source


def _check_options(length: Any, vocabulary: Any, tokenizer: Any) -> None:
    problems = []
    if length is not None and (type(length) is not int or not LENGTHS[0] <= length <= LENGTHS[1]):
        problems.append(f"length={length!r}: a whole number of tokens in {LENGTHS[0]}..{LENGTHS[1]} is needed")
    named_one = tokenizer is not None and not is_json(tokenizer)  # what a recipe was trained with goes before all
    if vocabulary is not None and named_one:
        problems.append("vocabulary= is for a tokenizer that is trained here, tokenizer= names one: give one of them")
    if problems:
        raise ConfigError(problems)
