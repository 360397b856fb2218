"""Pairs from anywhere: `read` turns a source into a data set, `summary` says what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twofold import modalities
from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.folders import existing
from twofold.modalities.labels import label_sentence
from twofold.modalities.paired.dataset import OneSide, Pairs
from twofold.modalities.paired.encoders import asked_by, parsed
from twofold.modalities.paired.readers.assemble import assemble
from twofold.modalities.paired.readers.columns import Column, text_cell
from twofold.modalities.paired.readers.files import SHARD, listing, read_stems
from twofold.modalities.paired.readers.shards import read_shards
from twofold.modalities.paired.readers.tables import Wanted, read_tables
from twofold.modalities.paired.sides import SIDES, Side, parse_side
from twofold.modalities.tables import TABLES

__all__ = ["OneSide", "Pairs", "read", "summary"]


def read(
    source: Any,
    *,
    sides: Sequence[Side],
    side: str = "both",
    wanted: Wanted | None = None,
    split: str | None = None,
) -> Dataset:
    """Read pairs, or items of one side of them.

    Sources of pairs: a table .csv, .tsv, .jsonl or .parquet with a column of each side; a folder with such a table
    (metadata.csv) or with Parquet files; WebDataset shards .tar, one, several, or a folder of them; a folder of files
    that share a name (a.png, a.txt); two sources, (first, second), each read by its modality and paired row by row, or
    (first, second, classes); a list of pairs; a Hugging Face data set; a data set of ours, which is handed back.
    A second side of texts may hold several a sample.

    Args:
        source: See above. With ``side``, whatever that side's modality reads, or pairs.
        sides: First and second.
        side: "both", "first" or "second".
        wanted: Columns of a table; endings of files in a shard.
        split: Which part of data that comes in parts.

    Raises:
        ConfigError: For options that make no sense with this source.
        DataError: If there is nothing to read, or more than half of it are no pairs.
    """
    wanted = wanted or Wanted()
    if side not in ("both", *SIDES):
        raise ConfigError(f"side must be 'both', 'first' or 'second', got {side!r}")
    if hasattr(source, "fetch") and getattr(source, "spec", {}).get("modality") == "paired":
        return source if side == "both" else _one_side_of(source, side)
    if side != "both":
        return _read_side(source, sides, side, wanted, split)
    if isinstance(source, list | tuple) and len(source) == 1:
        source = source[0]
    if isinstance(source, str | Path):
        return _read_path(existing(source), sides, wanted, split)
    if hasattr(source, "column_names") and not isinstance(source, list | tuple):
        return _read_hub(source, sides, wanted)
    if isinstance(source, list | tuple):
        return _read_several(source, sides, wanted, split)
    raise DataError(f"cannot read pairs from a {type(source).__name__}; see help(twofold.modalities.paired.data.read)")


def sides_read(first: str, second: str, form: Mapping[str, Any] | None = None) -> tuple[Side, Side]:
    """Both sides, with reading options from what the user wrote, and else from ``form``.

    Args:
        first: ``MODALITY`` or ``MODALITY:option=value,...``.
        second: The same.
        form: What a recipe asks for: reading options by side, and under "encoder" the name of an encoder of pairs,
            whose towers may ask for options of their own (a tokenizer).

    Raises:
        ConfigError: For unknown modalities and options.
    """
    form = dict(form or {})
    names = parsed(form["encoder"])[:2] if form.get("encoder") else ()
    for side, text, name in zip(SIDES, (first, second), names, strict=False):
        asked = asked_by(name, parse_side(side, text).modality)
        form[side] = asked | dict(form.get(side) or {})
    return parse_side("first", first, form), parse_side("second", second, form)


def summary(dataset: Dataset) -> str:
    """One paragraph: how many pairs, of what, and what was left out and why."""
    pairs = getattr(dataset, "dataset", dataset) if not isinstance(dataset, Pairs | OneSide) else dataset
    if isinstance(pairs, OneSide):
        return modalities.get(pairs.dataset.spec["modality"]).describe(pairs.dataset)
    if not isinstance(pairs, Pairs):
        return f"{len(dataset):,} pairs."
    kinds = [modalities.get(one.spec["modality"]) for one in (pairs.first, pairs.second)]
    most = int(pairs.choice_count.max())
    several = f" with up to {most} of the second each" if most > 1 else ""
    text = [f"{len(dataset):,} pairs of {kinds[0].item} and {kinds[1].item}{several}."]
    if dataset.labels is not None:
        text.append(label_sentence(dataset.labels, dataset.class_names, items="pairs"))
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped)} are left out so far, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in pairs.notes]
    text += [
        f"{side.capitalize()}: {kind.describe(one)}"
        for side, kind, one in zip(SIDES, kinds, (pairs.first, pairs.second), strict=True)
    ]
    return " ".join(text)


def _read_path(path: Path, sides: Sequence[Side], wanted: Wanted, split: str | None) -> Pairs:
    if path.is_dir():
        found, notes = listing(path, split)
        if not found:
            return read_stems(path, sides, split)
        shards = found[0].suffix.lower() == SHARD
        return read_shards(found, sides, wanted) if shards else read_tables(found, sides, wanted, notes=notes)
    suffix = path.suffix.lower()
    if suffix == SHARD:
        return read_shards([path], sides, wanted)
    if suffix in TABLES:
        return read_tables([path], sides, wanted)
    raise DataError(
        f"{path}: files ending in {suffix or 'nothing'} hold no pairs. Readable: {' '.join(TABLES)} {SHARD}, a folder, "
        "or two sources, one a side"
    )


def _read_several(source: Sequence[Any], sides: Sequence[Side], wanted: Wanted, split: str | None) -> Pairs:
    if not source:
        raise DataError("an empty list holds no pairs")
    suffixes = {Path(item).suffix.lower() for item in source if isinstance(item, str | Path)}
    if all(isinstance(item, str | Path) for item in source) and len(suffixes) == 1:
        if suffixes == {SHARD}:
            return read_shards([existing(item) for item in source], sides, wanted)
        if suffixes == {".parquet"}:
            return read_tables([existing(item) for item in source], sides, wanted)
    if isinstance(source, list) and all(isinstance(item, tuple) and len(item) == 2 for item in source):
        source = tuple(list(column) for column in zip(*source, strict=True))
    if len(source) not in (2, 3):
        raise DataError(
            f"{len(source)} sources: give two, first and second, as a tuple (a third: classes), or a list of pairs"
        )
    columns = [_column(side, given, split) for side, given in zip(sides, source, strict=False)]
    return assemble(columns, "the two sources", labels=source[2] if len(source) == 3 else None)


def _column(side: Side, given: Any, split: str | None) -> Column:
    """Lists of texts and of paths row by row, so that faulty rows can be left out; anything else read as it is."""
    if isinstance(given, list | tuple) and given:
        if side.modality.name == "text" and all(isinstance(item, str | list | tuple | None) for item in given):
            return Column(side, [text_cell(item) for item in given], f"the {side.item}")
        if side.modality.name != "text" and len(given) > 1 and all(isinstance(i, str | Path | None) for i in given):
            return Column(side, [None if item is None else str(item) for item in given], f"the {side.item}")
    return Column.of(side, _read_one(side, given, split))


def _read_one(side: Side, given: Any, split: str | None) -> Dataset:
    return side.read(given, **({"split": split} if split is not None and side.takes("split") else {}))


def _read_side(source: Any, sides: Sequence[Side], side: str, wanted: Wanted, split: str | None) -> Dataset:
    """Items of one side: what that side's modality reads, or else the side of pairs."""
    try:
        return OneSide(_side_alone(source, sides[SIDES.index(side)], wanted, split), side)
    except DataError as error:
        try:
            return _one_side_of(read(source, sides=sides, wanted=wanted, split=split), side)
        except DataError:
            raise error from None


def _side_alone(source: Any, side: Side, wanted: Wanted, split: str | None) -> Dataset:
    column = getattr(wanted, f"{side.name}_column")
    more = {"column": column, "label_column": wanted.label_column, "split": split}
    return side.read(source, **{name: value for name, value in more.items() if value is not None and side.takes(name)})


def _one_side_of(dataset: Any, side: str) -> Dataset:
    if isinstance(dataset, OneSide) and dataset.side == side:
        return dataset
    if not isinstance(dataset, Pairs):
        raise ConfigError(f"side={side!r}: this data set is no pairs with that side; give the items themselves")
    rows = dataset.first_rows if side == "first" else dataset.choices[:, 0]
    return OneSide(getattr(dataset, side), side, rows=rows, ids=dataset.ids)


def _read_hub(source: Any, sides: Sequence[Side], wanted: Wanted) -> Pairs:
    """A Hugging Face data set: each side's modality reads its own column, and rows stay rows."""
    found = []
    for side in sides:
        column = getattr(wanted, f"{side.name}_column")
        found.append(side.read(source, **({"column": column} if column else {})))
    return assemble([Column.of(side, one) for side, one in zip(sides, found, strict=True)], "the Hugging Face data set")
