"""Which column of a table holds the pictures, and which their classes."""

from __future__ import annotations

from collections.abc import Sequence

from twofold.errors import DataError
from twofold.modalities.shown import listed

_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "file_name", "filename", "file", "path", "image_path")
_LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "y", "fine_label")


def pick_columns(
    columns: Sequence[str], where: str, column: str | None, label_column: str | None, sole: Sequence[str] = ()
) -> tuple[str, str | None]:
    """The image column and the label column (or None) of a table.

    Args:
        columns: All columns.
        where: What the table is called, for messages.
        column: The image column that was asked for; default: a usual name, or the only one of `sole`.
        label_column: The label column that was asked for; default: a usual name, if there is one.
        sole: Columns whose type fits pictures.

    Raises:
        DataError: If a column asked for is not there, or if none holds pictures by its name or type.
    """
    image = _pick(columns, column, _IMAGE_COLUMNS, where, "column", sole)
    if image is None:
        raise DataError(f"{where}: which column holds the pictures? Name it with column=; there are: {listed(columns)}")
    return image, _pick(columns, label_column, _LABEL_COLUMNS, where, "label_column")


def _pick(
    columns: Sequence[str], wanted: str | None, usual: Sequence[str], where: str, option: str, sole: Sequence[str] = ()
) -> str | None:
    if wanted is not None:
        if wanted not in columns:
            raise DataError(f"{where} has no column {wanted!r} ({option}=); it has: {listed(columns)}")
        return wanted
    lowered = {column.lower(): column for column in reversed(columns)}
    found = next((lowered[name] for name in usual if name in lowered), None)
    return found or (sole[0] if len(sole) == 1 else None)
