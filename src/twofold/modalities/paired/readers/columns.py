"""Items of a side, row by row: paths, texts or encoded files, and which rows lack one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.dataset import Dataset
from twofold.errors import DataError
from twofold.modalities.paired.dataset import MOST_CHOICES
from twofold.modalities.paired.sides import Side

USUAL: dict[str, tuple[str, ...]] = {
    "image": ("image", "file_name", "filename", "image_path", "path", "file", "img", "jpg", "png", "filepath"),
    "text": ("text", "caption", "captions", "sentence", "title", "description", "txt", "name"),
    "audio": ("audio", "sound", "file_name", "audio_path", "path", "file", "wav", "flac"),
    "points": ("points", "mesh", "model", "cloud", "file_name", "path", "file"),
    "video": ("video", "clip", "file_name", "video_path", "path", "file", "mp4"),
}
"""Usual names of the column of each modality; others must be named."""
KEY_COLUMNS = ("key", "code", "group_id", "item_id")


@dataclass
class Column:
    """The cells of one side.

    Attributes:
        side: Which side.
        cells: One a row: a path, a text, a list of texts, or None where there is nothing.
        name: What the column is called.
        encoded: A table whose column of that name holds encoded files, row by row; the cells then say which rows do.
        ready: The items of all rows, where they are read already; the cells then say nothing.
    """

    side: Side
    cells: list[Any]
    name: str
    encoded: list[Path] | None = None
    ready: Dataset | None = None

    @classmethod
    def of(cls, side: Side, dataset: Dataset) -> Column:
        """A column of items that are read already."""
        return cls(side, [True] * len(dataset), f"the {side.item}", ready=dataset)

    @property
    def is_text(self) -> bool:
        """Whether the cells are the items themselves."""
        return self.side.modality.name == "text"

    def fault(self, row: int) -> str | None:
        """Why a row cannot be used, or None."""
        cell = self.cells[row]
        if cell is None or (isinstance(cell, str | list) and not cell):
            return f"{self.name} is empty"
        files = self.encoded is None and self.ready is None and not self.is_text
        if files and not os.path.isfile(cell):  # noqa: PTH113 - quick for millions
            return f"{cell} does not exist"
        return None

    def dataset(self, rows: Sequence[int]) -> tuple[Dataset, list[list[int]]]:
        """The items of some rows as a data set of the side's modality, and which of them each row has.

        Raises:
            DataError: If the side's reader refuses them.
        """
        if self.ready is not None:
            return self.ready, [[row] for row in rows]
        if self.encoded is not None:
            source: Any = self.encoded if len(self.encoded) > 1 else self.encoded[0]
            found = self.side.read(source, column=self.name)
            if len(found) != len(self.cells):
                raise DataError(f"{self.encoded[0]}: {len(found):,} {self.side.item}s in {len(self.cells):,} rows")
            return found, [[row] for row in rows]
        items: dict[Any, int] = {}
        places = []
        for row in rows:
            cell = self.cells[row]
            several = cell[:MOST_CHOICES] if isinstance(cell, list) else [cell]
            places.append([items.setdefault(one, len(items)) for one in several])
        found = self.side.read(list(items))
        if len(found) != len(items):
            raise DataError(f"{len(items):,} {self.side.item}s were given, and {len(found):,} read")
        return found, places

    def identities(self, rows: Sequence[int], places: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        """A number for each item of some rows, the same for equal ones."""
        text = getattr(self.ready, "text", None)
        if not callable(text):
            return places
        numbers: dict[str, int] = {}
        return [[numbers.setdefault(text(row), len(numbers))] for row in rows]


def text_cell(value: Any) -> str | list[str] | None:
    """A cell as a text, or as several; None where there is none."""
    if value is None or value != value:  # NaN
        return None
    value = _as_text(value)
    if isinstance(value, list | tuple):
        texts = [str(_as_text(one)).strip() for one in value if one is not None]
        return [text for text in texts if text] or None
    return str(value).strip() or None


def path_cell(value: Any, folder: Path) -> str | None:
    """A cell as a path, relative ones from a folder; None where there is none."""
    value = _as_text(value)
    if not isinstance(value, str | Path) or not str(value).strip():
        return None
    return os.path.join(folder, str(value))  # noqa: PTH118 - a Path a row is slow for millions of them


def _as_text(value: Any) -> Any:
    """Bytes, which are what Arrow makes of a text column that is not UTF-8, as text; anything else as it is."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
