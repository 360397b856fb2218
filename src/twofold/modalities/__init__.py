"""Modalities: how each kind of data is read, seen twice, encoded and shown. One does not import another.

A modality is an object that meets :class:`Modality`; a new one is a new folder and one line in :data:`MODALITIES`.
"""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import ConfigError
from twofold.options import did_you_mean

MODALITIES: dict[str, str] = {
    "image": "twofold.modalities.image",
    "audio": "twofold.modalities.audio",
    "points": "twofold.modalities.points",
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

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Reading options that bring other data to the form a recipe was built for (its size, say)."""
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

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes] | list[str]:
        """Pictures (encoded) or snippets of samples for the report."""
        ...


def get(name: str) -> Modality:
    """A modality by name.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in MODALITIES:
        raise ConfigError(f"There is no modality {name!r}{did_you_mean(name, MODALITIES)}")
    return cast(Modality, importlib.import_module(MODALITIES[name]).MODALITY)
