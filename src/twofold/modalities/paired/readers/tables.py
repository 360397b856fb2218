"""Tables with a column of each side: CSV, TSV, JSON Lines and Parquet, as in Hugging Face's metadata files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from twofold.errors import ConfigError, DataError
from twofold.modalities import tables
from twofold.modalities.paired.dataset import Pairs
from twofold.modalities.paired.readers.assemble import assemble
from twofold.modalities.paired.readers.columns import KEY_COLUMNS, USUAL, Column, path_cell, text_cell
from twofold.modalities.paired.sides import Side


@dataclass(frozen=True)
class Wanted:
    """Columns that the user asked for, by option; None takes a usual name.

    Attributes:
        first_column, second_column: Of the two sides.
        label_column: Of the classes.
        key_column: Of what belongs together.
        swap_column: Of wrong texts of the second side.
    """

    first_column: str | None = None
    second_column: str | None = None
    label_column: str | None = None
    key_column: str | None = None
    swap_column: str | None = None


def read_tables(paths: Sequence[Path], sides: Sequence[Side], wanted: Wanted, *, notes: Sequence[str] = ()) -> Pairs:
    """Pairs from a table, or from several Parquet files of the same columns.

    A column holds paths (relative ones from the table's folder), encoded files (Parquet), texts, or lists of texts.

    Args:
        paths: The table.
        sides: First and second.
        wanted: Which columns.
        notes: What else a user should know.

    Raises:
        DataError: If the table is damaged, lacks a column, or more than half of its rows are no pairs.
    """
    where = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} tables)"
    names, blobs = tables.column_names(paths[0], holding=holds_files)
    chosen = _chosen_columns(names, blobs, sides, wanted, where)
    parts = [tables.load(path, list(dict.fromkeys(filter(None, chosen.values())))) for path in paths]
    loaded = [part.table for part in parts]
    starts = accumulate((len(table) for table in loaded), initial=0)
    broken = {start + row: why for start, part in zip(starts, parts, strict=False) for row, why in part.broken.items()}

    def values(option: str) -> list[Any] | None:
        if chosen[option] is None:
            return None
        with tables.damage_reported(where):
            return [cell for table in loaded for cell in table.column(chosen[option]).to_pylist()]

    columns = []
    for side in sides:
        name = str(chosen[f"{side.name}_column"])
        if name in blobs:
            present = [bool(valid) for table in loaded for valid in table.column(name).is_valid().to_pylist()]
            columns.append(Column(side, [True if one else None for one in present], name, list(paths)))
        else:
            columns.append(_column(side, values(f"{side.name}_column") or [], name, paths[0]))
    swapped = values("swap_column")
    return assemble(
        columns,
        where,
        labels=values("label_column"),
        keys=values("key_column"),
        swapped=None if swapped is None else _column(sides[1], swapped, str(chosen["swap_column"]), paths[0]),
        notes=notes,
        broken=broken,
    )


def holds_files(kind: Any) -> bool:
    """Whether an Arrow type is that of encoded files: bytes, or struct{bytes, path} as Hugging Face writes them."""
    import pyarrow as arrow

    if arrow.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def _column(side: Side, values: list[Any], name: str, table: Path) -> Column:
    if side.modality.name == "text":
        return Column(side, [text_cell(value) for value in values], name)
    if values and not any(isinstance(value, str | bytes) for value in values if value is not None):
        kind = next((type(value).__name__ for value in values if value is not None), "nothing")
        raise DataError(
            f"{table}: column {name!r} holds {kind}, and {side.item}s are read from paths or encoded files; name "
            f"another ({side.name}_column=)"
        )
    return Column(side, [path_cell(value, table.parent) for value in values], name)


def _chosen_columns(
    names: Sequence[str], blobs: Sequence[str], sides: Sequence[Side], wanted: Wanted, where: str
) -> dict[str, str | None]:
    chosen: dict[str, str | None] = {}
    for side in sides:
        option = f"{side.name}_column"
        kind = side.modality.name
        if kind == "table":
            raise ConfigError("rows of a table are paired with something else as two sources: (table, other)")
        usual = [side.name, kind, *USUAL.get(kind, ())]
        usual = [name for name in usual if name not in chosen.values()]
        found = tables.pick(names, getattr(wanted, option), usual, where, option, [] if kind == "text" else blobs)
        if found is None:
            raise DataError(
                f"{where}: which column holds the {side.item}s? Name it with {option}=; there are: {tables.told(names)}"
            )
        chosen[option] = found
    if chosen["first_column"] == chosen["second_column"]:
        raise DataError(
            f"{where}: both sides would be column {chosen['first_column']!r}; name them (first_column=, ...)"
        )
    chosen["label_column"] = tables.pick(names, wanted.label_column, tables.LABEL_COLUMNS, where, "label_column")
    chosen["key_column"] = tables.pick(names, wanted.key_column, KEY_COLUMNS, where, "key_column")
    chosen["swap_column"] = tables.pick(names, wanted.swap_column, (), where, "swap_column")
    return chosen
