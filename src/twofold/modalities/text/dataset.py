"""Texts in memory, tokenized once: the data set of this modality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.labels import checked_index
from twofold.modalities.text.tokens import Tokenizer

MAX_LENGTH = 128
"""Default lengths are no longer, in tokens."""

_COVERED = 0.95
_LOOKED_AT = 2048
_ROOM = 4 + 64  # bytes kept of a token, and of the array that holds a text's


@dataclass
class Source:
    """What a reader found; every reader returns this.

    Attributes:
        texts: One list a column, all of one length; None where a cell holds no text.
        ids: One readable name a sample.
        name: What was read, in words, for messages.
        labels: int64 (n,), or None; -1 = no label.
        class_names: Names of the classes, or None.
        notes: What else a user should know.
        broken: Sample → why it could not be read; its texts are None.
    """

    texts: list[list[str | None]]
    ids: Sequence[str]
    name: str
    labels: Tensor | None = None
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)
    broken: Mapping[int, str] = field(default_factory=dict)


class TextDataset:
    """Texts as token numbers. Samples of which a text is empty are never fetched, and stand in `skipped`.

    Args:
        source: The texts.
        tokenizer: Makes numbers of them.
        length: Tokens kept of a text, special ones included; None: what 95 % do not exceed, at most 128.

    Raises:
        DataError: If there is no text, more than half of the samples have none, or memory does not suffice.
    """

    def __init__(self, source: Source, tokenizer: Tokenizer, *, length: int | None) -> None:
        self.source, self.tokenizer = source, tokenizer
        self.labels, self.class_names = source.labels, source.class_names
        self.ids, self.notes = source.ids, list(source.notes)
        reasons = _empty(source)
        self.skipped = {self.ids[i]: reason for i, reason in reasons.items()}
        self._readable = [i not in reasons for i in range(len(self))]
        self._check_some()
        length = length or default_length(source, self._readable, tokenizer)
        self.spec: dict[str, Any] = {"modality": "text", "samples": len(self), "columns": len(source.texts)}
        self.spec |= tokenizer.facts(length)
        check_memory(sum(map(len, source.texts)) * _ROOM, f"{source.name}: {len(self):,} tokenized texts")
        encoded = [tokenizer.encode([text or "" for text in column], length) for column in source.texts]
        self._tokens = [numbers for numbers, _ in encoded]
        self.notes += _cut(encoded[0][1], len(self), length)
        self._leave_out_unwritable()

    def __len__(self) -> int:
        return len(self.source.texts[0])

    def text(self, i: int) -> str:
        """Sample i as it was read; of several columns the first."""
        return self.source.texts[0][i] or ""

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The samples of `index` (int64, (b,)) that hold text.

        Returns:
            "inputs" int64 (kept, longest) token numbers, padded; of several columns (kept, columns, longest); "index"
            int64 (kept,), and "label" if there are labels.
        """
        index = checked_index(index, len(self))
        kept = [i for i in index.tolist() if self._readable[i]]
        rows = [self._tokens[column][i] for i in kept for column in range(len(self._tokens))]
        longest = max((len(row) for row in rows), default=1)
        numbers = np.full((len(rows), longest), self.spec["pad"], dtype=np.int64)
        for place, row in zip(numbers, rows, strict=True):
            place[: len(row)] = row
        inputs = torch.from_numpy(numbers)
        if len(self._tokens) > 1:
            inputs = inputs.reshape(len(kept), len(self._tokens), longest)
        batch = {"inputs": inputs, "index": torch.tensor(kept, dtype=torch.int64)}
        return batch if self.labels is None else batch | {"label": self.labels[batch["index"]]}

    def _leave_out_unwritable(self) -> None:
        """Texts of which the tokenizer makes nothing, since it drops all of their characters."""
        for column in self._tokens:
            for i in [i for i, row in enumerate(column) if self._readable[i] and not len(row)]:
                self._readable[i] = False
                self.skipped[self.ids[i]] = "no character of it has a token"

    def _check_some(self) -> None:
        if not len(self):
            raise DataError(f"{self.source.name}: no texts")
        if 2 * sum(self._readable) < len(self):
            name, reason = next(iter(self.skipped.items()))
            raise DataError(
                f"{self.source.name}: {self._readable.count(False)} of {len(self)} samples hold no text, such as "
                f"{name} ({reason}); is this the column you meant (column=)?"
            )


def default_length(source: Source, readable: Sequence[bool], tokenizer: Tokenizer) -> int:
    """What 95 % of a spread of texts do not exceed, in tokens, rounded up to a multiple of 4; 8 to 128."""
    some = [i for i, one in enumerate(readable) if one]
    chosen = some[:: math.ceil(len(some) / _LOOKED_AT)]
    counts = sorted(n for column in source.texts for n in tokenizer.lengths([column[i] or "" for i in chosen], 128))
    covered = counts[min(len(counts) - 1, int(_COVERED * len(counts)))]
    return min(max(4 * math.ceil(covered / 4), 8), MAX_LENGTH)


def _empty(source: Source) -> dict[int, str]:
    """Samples without a text in some column, and why."""
    found: dict[int, str] = {}
    for number, column in enumerate(source.texts):
        which = "" if len(source.texts) == 1 else f" in column {number + 1}"
        found |= {i: f"no text{which}" for i, text in enumerate(column) if not (text and text.strip())}
    return found | dict(source.broken)


def _cut(count: int, samples: int, length: int) -> list[str]:
    """A note, if more texts were cut than the default length would cut."""
    few = 1 - _COVERED
    return [f"{count:,} texts were cut to {length} tokens (length=)"] if count > few * samples else []
