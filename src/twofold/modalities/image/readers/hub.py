"""Objects of Hugging Face's `datasets` library."""

from __future__ import annotations

from typing import Any

from twofold.errors import DataError, require
from twofold.modalities.image.readers.arrow_tables import picture_value
from twofold.modalities.image.readers.columns import pick_columns
from twofold.modalities.image.readers.files import Pictures
from twofold.modalities.image.readers.folders import choose_split
from twofold.modalities.image.readers.labels import encode_labels


def is_hub_dataset(source: Any) -> bool:
    """Whether an object comes from the `datasets` library (which is not imported to find out)."""
    return type(source).__module__.split(".")[0] == "datasets"


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
        chosen = choose_split(list(source), split, name)
        source = source[chosen]
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
