"""Numbers as they should read on a page: per cent where the unit is a share, signs on differences, plain durations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Units whose values are shares of one; they read better as per cent, and their differences as percentage points.
SHARES = frozenset(
    {"accuracy", "balanced accuracy", "precision", "recall", "f1", "map", "mean average precision", "purity", "share"}
    | {"fraction", "hit rate", "error", "error rate", "share of queries", "average precision"}
)
MINUS = "−"
MOST_PARTS, MOST_LETTERS = 20, 400  # of a value that is shown


def number(value: float, decimals: int | None = None) -> str:
    """A number with a true minus sign; four significant digits unless told how many decimals.

    Thousands are grouped by a thin no-break space, and what is not finite is said in words.
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite" if value > 0 else f"{MINUS}infinite"
    if decimals is not None:
        text = f"{value:,.{decimals}f}"
    elif value != 0 and not 1e-3 <= abs(value) < 1e15:
        text = f"{value:.3g}"
    else:
        digits = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{digits}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    if not text.strip("-0."):
        text = text.lstrip("-")
    return text.replace(",", "\u202f").replace("-", MINUS)


def value_text(value: Any) -> str:
    """Anything of a configuration or a data summary, readable: grouped numbers, yes and no, lists with commas.

    Of long lists and long texts (the users of a shop, a tokenizer) only the beginning.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f").replace("-", MINUS)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {value_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(value_text(part) for part in value[:MOST_PARTS])
        return f"{shown}, ... ({len(value)} in all)" if len(value) > MOST_PARTS else shown
    text = "none" if value is None else str(value)
    return f"{text[:MOST_LETTERS]} ... ({len(text)} characters)" if len(text) > MOST_LETTERS else text


def duration(seconds: float) -> str:
    """Seconds as a person would say them: ``4.2 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


@dataclass(frozen=True)
class Metric:
    """How one metric of an evaluation is named and printed."""

    key: str
    title: str
    unit: str
    higher_is_better: bool
    interval: str

    @classmethod
    def read(cls, key: str, about: Mapping[str, Any], unit: str = "") -> Metric:
        """From the ``metrics`` part of an evaluation; ``unit`` is used where that part names none."""
        return cls(
            key,
            str(about.get("title", key)),
            str(about.get("unit", unit)),
            bool(about.get("higher_is_better", True)),
            str(about.get("interval", "")),
        )

    @property
    def percent(self) -> bool:
        """Whether values are shares of one and read as per cent."""
        return self.unit.lower() in SHARES

    @property
    def scale(self) -> float:
        """What a value is multiplied with before it is printed."""
        return 100.0 if self.percent else 1.0

    @property
    def suffix(self) -> str:
        """What stands behind a value, with its own no-break space; units in words stand beside the title instead."""
        return "\u00a0%" if self.percent else ""

    def bare(self, value: float) -> str:
        """The value without its unit: one decimal for shares, three otherwise."""
        return number(value * self.scale, 1 if self.percent else 3)

    def text(self, value: float) -> str:
        """The value with its unit."""
        return self.bare(value) + self.suffix

    def signed(self, value: float) -> str:
        """A difference with its sign and without its unit."""
        bare = self.bare(value)
        return bare if bare.startswith(MINUS) or not bare.strip("0.") else f"+{bare}"

    def difference(self, value: float) -> str:
        """A difference with its sign; differences of shares are in percentage points."""
        return self.signed(value) + ("\u00a0points" if self.percent else self.suffix)

    def span(self, low: float, high: float) -> str:
        """An interval in words."""
        return f"{self.bare(low)} to {self.bare(high)}"

    def spread(self, value: float, low: float, high: float) -> str:
        """``±`` half the interval where it is about symmetric, otherwise both its ends."""
        below, above = value - low, high - value
        if abs(below - above) <= 0.2 * max(below, above, 1e-12):
            return f"±\u00a0{self.bare((high - low) / 2)}"
        return f"{self.bare(low)}\u2009–\u2009{self.bare(high)}"

    def better(self, left: float, right: float) -> bool:
        """Whether ``left`` is the better value."""
        return left > right if self.higher_is_better else left < right
