"""Hugging Face `datasets`: objects, and folders written by save_to_disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twofold.errors import DataError, require
from twofold.modalities.image.readers.files import Pictures
from twofold.modalities.image.readers.folders import split_of
from twofold.modalities.image.readers.labels import encode_labels
from twofold.modalities.image.readers.tables import pick_columns, picture_value


def is_hub_dataset(source: Any) -> bool:
    """Whether an object comes from the `datasets` library (which is not imported to find out)."""
    return type(source).__module__.split(".")[0] == "datasets"


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def load_saved(folder: Path) -> Any:
    """The dataset in a folder written by save_to_disk."""
    library = require("datasets", extra="datasets", purpose=f"reading {folder}")
    try:
        return library.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: a damaged Hugging Face dataset ({error})") from error


def read_hub(source: Any, *, column: str | None, label_column: str | None, split: str | None, name: str) -> Pictures:
    """A `datasets.Dataset` with an Image feature or a column of encoded bytes; of a DatasetDict one split.

    Pictures are taken as they were encoded, and decoded by our own reader; the rows stay where the library keeps them.

    Args:
        source: A Dataset or DatasetDict.
        column: The image column; default: the only Image feature, or a usual name.
        label_column: The label column; default: a usual name, if there is one.
        split: Which split of a DatasetDict; default: the only one, or "train".
        name: What to call the source in messages.
    """
    library = require("datasets", extra="datasets", purpose="reading a Hugging Face dataset")
    if isinstance(source, library.IterableDataset | library.IterableDatasetDict):
        raise DataError(f"{name} is a streaming dataset without a length; load it with streaming=False")
    notes: list[str] = []
    if isinstance(source, library.DatasetDict):
        source, chosen = _choose(source, split, name)
        notes.append(f"read split {chosen!r}")
    images = [key for key, feature in source.features.items() if isinstance(feature, library.Image)]
    image, label = pick_columns(source.column_names, name, column, label_column, images)
    rows = source.with_format(None).select_columns([image])
    if isinstance(source.features[image], library.Image):
        rows = rows.cast_column(image, library.Image(decode=False))
    labels, class_names = (None, None)
    if label is not None:
        labels, class_names = encode_labels(list(source.with_format(None)[label]), f"{name}: column {label!r}")
        class_names = getattr(source.features[label], "names", None) or class_names
    return Pictures(
        load=lambda i: picture_value(rows[i][image], None),
        ids=[f"row {i}" for i in range(len(rows))],
        source=name,
        labels=labels,
        class_names=class_names,
        label_source=None if label is None else f"column {label!r}",
        notes=notes,
    )


def _choose(splits: Any, split: str | None, name: str) -> tuple[Any, str]:
    if split is None and len(splits) == 1:
        return next(iter(splits.values())), next(iter(splits))
    wanted = split or "train"
    chosen = wanted if wanted in splits else next((key for key in splits if split_of(key) == split_of(wanted)), None)
    if chosen is None or (split_of(wanted) is None and wanted not in splits):
        raise DataError(f"{name} has no split {wanted!r}; it has: {', '.join(splits)} (split=)")
    return splits[chosen], chosen
