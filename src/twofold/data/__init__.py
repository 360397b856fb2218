"""Data that comes with the package: emoji drawings and handwritten digits, each with a fixed, honest split."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.data.digits_dataset import digits
    from twofold.data.emoji_dataset import EmojiDataset, emoji

__all__ = ["EmojiDataset", "digits", "emoji"]

# No module here is called like a function: importing a submodule sets its name on the package and would hide it.
_HOME = {"EmojiDataset": "emoji_dataset", "digits": "digits_dataset", "emoji": "emoji_dataset"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
