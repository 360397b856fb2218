"""Views of table rows: features replaced by those of other rows, noise, features hidden."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import to_device
from twofold.errors import ConfigError, DataError
from twofold.modalities.table.columns import Form
from twofold.options import did_you_mean

DEFAULT = "corruption"

Parameters = dict[str, Tensor]
"""Named tensors with one row a sample, on the generator's device."""


@dataclass(frozen=True)
class Layout:
    """Where things stand in a row.

    Attributes:
        owners: For each column, which feature it belongs to; a number and the mark of its gaps are one feature.
        numbers: How many columns, the first ones, are standardized numbers.
        blank: The row of which every cell is empty.
    """

    owners: Tensor
    numbers: int
    blank: Tensor

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Layout:
        """The layout of a table's ``spec``."""
        form = Form.of(spec)
        return cls(torch.tensor(form.owners), len(form.numbers), torch.tensor(form.blank))

    @property
    def features(self) -> int:
        return int(self.owners.max()) + 1


class Augmentation(ABC):
    """A random change of the rows of a batch, each with parameters of its own. Subclasses are frozen dataclasses."""

    @abstractmethod
    def draw(self, count: int, layout: Layout, generator: torch.Generator) -> Parameters:
        """Parameters for ``count`` rows."""

    @abstractmethod
    def apply(self, x: Tensor, parameters: Parameters, layout: Layout) -> Tensor:
        """A changed copy of ``x``; parameters and layout are on its device."""


@dataclass(frozen=True)
class Corrupt(Augmentation):
    """Each feature is replaced, with probability ``rate``, by that of another row (Bahri et al., ICLR 2022).

    The paper draws from a feature's empirical marginal over the training set. Here the row it is taken from is drawn
    from the batch, for each feature anew. Over random batches that is the same distribution; within one, the same
    values return. In float32 rows of any kind of column.

    Args:
        rate: c; 0.6 in the paper, where the other view is left as it is.
    """

    rate: float = 0.6

    def __post_init__(self) -> None:
        _check_share(self, rate=self.rate)

    def draw(self, count: int, layout: Layout, generator: torch.Generator) -> Parameters:
        shape, device = (count, layout.features), generator.device
        hit = torch.rand(shape, generator=generator, device=device) < self.rate
        return {"hit": hit, "row": torch.randint(count, shape, generator=generator, device=device)}

    def apply(self, x: Tensor, parameters: Parameters, layout: Layout) -> Tensor:
        hit, row = (parameters[name][:, layout.owners] for name in ("hit", "row"))
        return torch.where(hit, x.gather(0, row), x)


@dataclass(frozen=True)
class Noise(Augmentation):
    """Normal noise on the numbers; categories stay.

    Args:
        deviation: Of the noise, in standard deviations of a column.
    """

    deviation: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.deviation < float("inf"):
            raise ConfigError(f"Noise: deviation must be finite and at least 0, not {self.deviation!r}.")

    def draw(self, count: int, layout: Layout, generator: torch.Generator) -> Parameters:
        return {"noise": torch.randn((count, layout.numbers), generator=generator, device=generator.device)}

    def apply(self, x: Tensor, parameters: Parameters, layout: Layout) -> Tensor:
        numbers = x[:, : layout.numbers] + self.deviation * parameters["noise"]
        return torch.cat([numbers, x[:, layout.numbers :]], 1)


@dataclass(frozen=True)
class Mask(Augmentation):
    """Each feature is hidden with probability ``rate``, as if its cell were empty.

    Args:
        rate: Share of features that are hidden.
    """

    rate: float = 0.3

    def __post_init__(self) -> None:
        _check_share(self, rate=self.rate)

    def draw(self, count: int, layout: Layout, generator: torch.Generator) -> Parameters:
        shape = (count, layout.features)
        return {"hit": torch.rand(shape, generator=generator, device=generator.device) < self.rate}

    def apply(self, x: Tensor, parameters: Parameters, layout: Layout) -> Tensor:
        return torch.where(parameters["hit"][:, layout.owners], layout.blank, x)


@dataclass(frozen=True)
class MultiView:
    """Several views of every row in a batch, one after the other from one generator.

    Args:
        views: For each view its augmentations, in order; none leaves the rows as they are.
        layout: Where things stand in a row.
    """

    views: tuple[tuple[Augmentation, ...], ...]
    layout: Layout

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(tuple(view) for view in self.views))
        if not self.views:
            raise ConfigError("MultiView needs at least one view.")

    def __len__(self) -> int:
        return len(self.views)

    def __call__(self, inputs: Tensor, *, generator: torch.Generator, **_: Any) -> list[Tensor]:
        """Make all views: float32 ``(n, columns)`` each. All parameters are drawn first, on the generator's device.

        Raises:
            DataError: If ``inputs`` are no floating ``(n, columns)`` of the layout.
        """
        check_rows(inputs, len(self.layout.owners))
        drawn = [[step.draw(len(inputs), self.layout, generator) for step in view] for view in self.views]
        layout = Layout(self.layout.owners.to(inputs.device), self.layout.numbers, self.layout.blank.to(inputs.device))
        made = zip(self.views, drawn, strict=True)
        return [_applied(steps, inputs.float(), parameters, layout) for steps, parameters in made]


def scarf(count: int) -> list[tuple[Augmentation, ...]]:
    """The first view as it is, in the others 60 % of the features corrupted (SCARF: Bahri et al., ICLR 2022)."""
    return [(), *[(Corrupt(0.6),)] * (count - 1)]


def corruption(count: int) -> list[tuple[Augmentation, ...]]:
    """30 % of the features corrupted in every view, for recipes that treat their views alike."""
    return [(Corrupt(0.3),)] * count


def noise(count: int) -> list[tuple[Augmentation, ...]]:
    """Normal noise of 0.3 deviations on every number."""
    return [(Noise(),)] * count


def masking(count: int) -> list[tuple[Augmentation, ...]]:
    """30 % of the features hidden."""
    return [(Mask(),)] * count


def mixed(count: int) -> list[tuple[Augmentation, ...]]:
    """20 % of the features corrupted, 10 % hidden, and noise of 0.1 deviations."""
    return [(Corrupt(0.2), Noise(0.1), Mask(0.1))] * count


PRESETS: dict[str, Callable[[int], list[tuple[Augmentation, ...]]]] = {
    "corruption": corruption,
    "scarf": scarf,
    "noise": noise,
    "masking": masking,
    "mixed": mixed,
}


def make_views(name: str, spec: Mapping[str, Any], *, count: int) -> MultiView:
    """Views by name.

    Args:
        name: One of `PRESETS`.
        spec: Of the data.
        count: How many views of each row.

    Raises:
        ConfigError: If there is no such preset, or ``count`` is no number from 1 up.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"Views: count must be a whole number from 1 up, not {count!r}.")
    return MultiView(tuple(PRESETS[name](count)), Layout.of(spec))


def check_rows(rows: Tensor, columns: int) -> None:
    """Raise a DataError unless ``rows`` are floating and ``(n, columns)``."""
    if not isinstance(rows, Tensor) or rows.ndim != 2 or rows.shape[1] != columns or not rows.is_floating_point():
        what = f"{rows.dtype} {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
        raise DataError(f"rows must be a floating tensor (n, {columns}), got {what}")


def _applied(steps: tuple[Augmentation, ...], x: Tensor, drawn: list[Parameters], layout: Layout) -> Tensor:
    for step, parameters in zip(steps, drawn, strict=True):
        x = step.apply(x, to_device(parameters, x.device), layout)
    return x


def _check_share(owner: object, **shares: float) -> None:
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{type(owner).__name__}: {name} must lie between 0 and 1, not {value!r}.")
