"""Views of texts by name: those of published systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.text.padding import trimmed
from twofold.modalities.text.views.steps import Crop, Delete, Hide, Shuffle, Step, Vocabulary
from twofold.options import did_you_mean

DEFAULT = "simcse"
GIVEN = "given"


@dataclass(frozen=True)
class TextViews:
    """Several views of every text of a batch, each with draws of its own.

    Args:
        vocabulary: What the tokens are.
        steps: What is done to a text, in this order; nothing leaves the difference to the encoder's dropout.
        count: How many views.
    """

    vocabulary: Vocabulary
    steps: tuple[Step, ...]
    count: int

    def __call__(self, inputs: Tensor, *, generator: torch.Generator, **_: Any) -> list[Tensor]:
        """Views of token numbers ``(n, tokens)``; of samples of several texts ``(n, texts, tokens)`` of the first."""
        ids = first_text(inputs, self.vocabulary.pad)
        return [self._view(ids, generator) for _ in range(self.count)]

    def _view(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        for step in self.steps:
            ids = step(ids, self.vocabulary, generator)
        return ids


@dataclass(frozen=True)
class GivenViews:
    """The texts of a sample are its views: question and answer, sentence and paraphrase, anchor and hard negative.

    Args:
        pad: Number of the token that fills up.
        count: How many views; the first texts are taken.
    """

    pad: int
    count: int

    def __call__(self, inputs: Tensor, *, generator: torch.Generator, **_: Any) -> list[Tensor]:
        """The first ``count`` texts of samples ``(n, texts, tokens)``, ``(n, tokens)`` each.

        Raises:
            DataError: If the samples have fewer texts.
        """
        if inputs.dim() != 3 or inputs.shape[1] < self.count:
            held = inputs.shape[1] if inputs.dim() == 3 else 1
            raise DataError(f"The views 'given' need {self.count} texts a sample, there is {held}: name more columns.")
        return [trimmed(inputs[:, i], self.pad) for i in range(self.count)]


PRESETS: dict[str, tuple[Step, ...]] = {
    "simcse": (),
    "contriever": (Crop(), Delete(0.1)),
    "crop": (Crop((0.3, 0.8)),),
    "deletion": (Delete(0.1),),
    "masking": (Hide(0.15),),
    "shuffle": (Shuffle(4),),
    GIVEN: (),
}
"""Name → what is done to each view. ``given`` takes the texts of a sample as its views."""


def make_views(name: str, spec: Mapping[str, Any], *, count: int) -> TextViews | GivenViews:
    """Views by name.

    Args:
        name: One of `PRESETS`: ``simcse`` (the text as it is: the encoder's dropout makes the difference),
            ``contriever`` (spans of 5 to 50 %, each token deleted with probability 0.1), ``crop`` (spans of 30 to
            80 %), ``deletion``, ``masking``, ``shuffle``, or ``given`` (the columns of the data).
        spec: Of the data: "pad", "special", "mask", "columns".
        count: How many views of each text.

    Raises:
        ConfigError: If there is no such preset, ``count`` is no number from 1 up, or the data lacks what it needs.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"Views: count must be a whole number from 1 up, not {count!r}.")
    if name == GIVEN:
        columns = int(spec.get("columns", 1))
        if columns < count:
            raise ConfigError(
                f"views='given' with {count} views needs as many texts a sample, the data has {columns}: name the "
                "columns, such as column='question,answer'"
            )
        return GivenViews(int(spec["pad"]), count)
    if name == "masking" and spec["mask"] is None:
        raise ConfigError("views='masking': this tokenizer has no token for a mask; take views='deletion'")
    return TextViews(Vocabulary(int(spec["pad"]), tuple(spec["special"]), spec["mask"]), PRESETS[name], count)


def first_text(inputs: Tensor, pad: int) -> Tensor:
    """Of samples of several texts ``(n, texts, tokens)`` the first; others as they are."""
    return trimmed(inputs[:, 0], pad) if inputs.dim() == 3 else inputs
