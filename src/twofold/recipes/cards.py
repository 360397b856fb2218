"""What a recipe is, in a few words: readable without importing the recipe, and so without torch."""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Card:
    """A recipe's line in the catalogue."""

    name: str
    title: str
    paper: str
    """Authors, venue and year."""
    new: str
    """What the system added, in one sentence."""
    modalities: tuple[str, ...] = ("any",)
    status: str = "implemented"
    """``implemented``, or what ``benchmarks/replication`` found: ``replicates``, ``inconclusive`` ..."""


def read(module: str, class_name: str) -> Card:
    """The card that stands in a class of a module, from its source: ``card = Card(...)`` with literal arguments.

    Args:
        module: Its dotted name.
        class_name: The class in it.

    Raises:
        LookupError: If there is no such module, class or card.
    """
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise LookupError(f"There is no module {module}")
    for part in ast.parse(Path(found.origin).read_text(encoding="utf-8")).body:
        if isinstance(part, ast.ClassDef) and part.name == class_name:
            for line in part.body:
                if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "card":
                    return _card(line.value)
    raise LookupError(f"{module} has no class {class_name} with a card")


def _card(call: ast.expr | None) -> Card:
    if not isinstance(call, ast.Call):
        raise LookupError("a card is written as Card(...)")
    named = {word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg}
    return Card(*map(ast.literal_eval, call.args), **named)
