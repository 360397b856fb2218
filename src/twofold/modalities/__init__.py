"""Modalities: how each kind of data is read, seen twice, encoded and shown. One does not import another.

A modality is an object that meets :class:`Modality`; a new one is a new folder and one line in :data:`MODALITIES`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from twofold.errors import ConfigError
from twofold.options import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor, nn

    from twofold.dataset import Dataset, Views
    from twofold.evaluation import Task

MODALITIES: dict[str, str] = {
    "image": "twofold.modalities.image",
    "audio": "twofold.modalities.audio",
    "points": "twofold.modalities.points",
    "graph": "twofold.modalities.graph",
    "series": "twofold.modalities.series",
    "video": "twofold.modalities.video",
    "text": "twofold.modalities.text",
    "table": "twofold.modalities.table",
    "paired": "twofold.modalities.paired",
    "interactions": "twofold.modalities.interactions",
    "sequences": "twofold.modalities.sequences",
}
"""Name → module with a ``MODALITY`` object, imported when first used."""
DEFAULT = "image"


class Modality(Protocol):
    """What a kind of data must bring."""

    name: str
    item: str
    """What one sample is called ("image"), for progress and reports."""
    raw: str
    """What :meth:`raw_features` are, for tables ("raw pixels"); they are standardized there."""
    default_encoder: str

    def read(self, source: Any, **options: Any) -> Dataset:
        """Read data; ``options`` are the keyword arguments of this method, which the command line offers too."""
        ...

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        """Reading options that an encoder asks for, such as a text encoder its tokenizer; those given go first."""
        ...

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Reading options that bring other data to the form a recipe was built for (its size, say)."""
        ...

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Training options that suit this data; those given and those of the recipe go first."""
        ...

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        """Raise a DataError if data cannot go into networks built for ``spec``."""
        ...

    def describe(self, dataset: Dataset) -> str:
        """One paragraph: what was read."""
        ...

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        """What is wrong with the names of an encoder and of views, as far as that shows before there is data."""
        ...

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        """The name of the views that suit this data and a recipe that prefers ``preferred``."""
        ...

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        """Views by name; without one, what suits a recipe that prefers ``preferred``."""
        ...

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        """An encoder with attributes ``dim`` and ``rebuild`` (JSON-able; enough to build it again offline)."""
        ...

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Any:
        """What the encoder eats, from a fetched batch, without randomness."""
        ...

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """The inputs themselves as vectors ``(n, d)``: the baseline that needs no learning."""
        ...

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        """The modality's own evaluation, if the source is such (pairs with scores, a graph with a split, ...).

        Args:
            source: What is to be measured on.
            spec: What the recipe was built for.
            test: Held-out data, if it is apart from ``source``.
            name: Which task, where there are several; none takes what suits the source.
            reading: Reading options.

        Returns:
            The task; None stands for the standard protocol on labels.

        Raises:
            ConfigError: If there is no task of that name.
        """
        ...

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes] | list[str]:
        """Pictures (encoded) or snippets of samples for the report."""
        ...


def check_name(name: str) -> None:
    """Raise a ConfigError if there is no modality of that name."""
    if name not in MODALITIES:
        raise ConfigError(f"There is no modality {name!r}{did_you_mean(name, MODALITIES)}")


def get(name: str) -> Modality:
    """A modality by name.

    Raises:
        ConfigError: If there is none of that name.
    """
    check_name(name)
    return cast(Modality, importlib.import_module(MODALITIES[name]).MODALITY)
