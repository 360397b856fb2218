"""The catalogue of recipes, for the terminal and for the docs.

python -m twofold.apps.catalogue > docs/recipes.md
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from twofold import modalities
from twofold.options import Option, options_of
from twofold.recipes import catalogue
from twofold.recipes.cards import Card

if TYPE_CHECKING:
    from twofold.recipes.base import Recipe

INTRODUCTION = """\
<!-- Written by `python -m twofold.apps.catalogue > docs/recipes.md` from the recipes' docstrings and signatures. -->

# Recipes

A recipe is one published system. Its options are the keyword arguments of its class, and the command line has the same
ones with dashes: `temperature=0.2` is `--temperature 0.2`, `view_count=4` is `--view-count 4`."""


def cards(modality: str | None = None) -> list[Card]:
    """The cards of all recipes, or of those that run on a modality, by name.

    Raises:
        ConfigError: If there is no such modality.
    """
    if modality is not None:
        modalities.check_name(modality)
    found = [catalogue.card(name) for name in sorted(catalogue.RECIPES)]
    return [card for card in found if modality is None or {"any", modality} & set(card.modalities)]


def as_text(modality: str | None = None) -> str:
    """A table for the terminal: name, paper, modality, what is new, status."""
    import io

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for heading in ("recipe", "paper", "modality", "what is new", "status"):
        table.add_column(heading, no_wrap=heading == "recipe")
    for card in cards(modality):
        table.add_row(card.name, card.paper, ", ".join(card.modalities), card.new, card.status)
    console = Console(file=io.StringIO(), width=_width())
    console.print(table)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def as_markdown() -> str:
    """A page for the docs: a table of all recipes, what all have in common, and a section for each."""
    from twofold.recipes.base import Recipe
    from twofold.training.options import TrainingOptions

    overview = _table(
        ("recipe", "paper", "what is new", "status"),
        ([f"[`{c.name}`](#{c.name})", c.paper, c.new, c.status] for c in cards()),
    )
    common = options_of(Recipe)
    parts = [INTRODUCTION, overview, *(_recipe_section(catalogue.get(card.name), common) for card in cards())]
    parts += ["## Options of all recipes", _option_table(common)]
    parts += ["## Options of training", _option_table(options_of(TrainingOptions))]
    for name in modalities.MODALITIES:
        parts += [f"## Options of reading: {name}", _option_table(_reading_options(name))]
    return "\n\n".join(parts)


def _recipe_section(recipe: type[Recipe], common: Mapping[str, Option]) -> str:
    card = recipe.card
    about = inspect.cleandoc(recipe.__doc__ or "").partition("\nArgs:\n")[0].strip()
    heading = f"## {card.name}"
    origin = f"`twofold.{recipe.__name__}` · *{card.title}* · modality: {', '.join(card.modalities)}"
    own = {name: option for name, option in options_of(recipe).items() if option != common.get(name)}
    return "\n\n".join([heading, origin, about.replace("``", "`"), *_wishes(recipe), _option_table(own)])


def _wishes(recipe: type[Recipe]) -> list[str]:
    """What the recipe needs, and what it chooses otherwise than others do."""
    from twofold.recipes.base import Recipe

    wishes = [f"`{name}` {_shown(value)}" for name, value in recipe.training_defaults.items()]
    if recipe.preferred_views != Recipe.preferred_views:
        wishes.append(f"`views` {recipe.preferred_views}")
    sentences = ["It needs labels."] if recipe.needs_labels else []
    return [*sentences, *([f"Where you do not choose, it takes {', '.join(wishes)}."] if wishes else [])]


def _reading_options(modality: str) -> dict[str, Option]:
    options = options_of(modalities.get(modality).read)
    return {name: option for name, option in options.items() if name not in ("self", "source")}


def _option_table(options: Mapping[str, Option]) -> str:
    rows = ([f"`{o.name}`", _values(o), _shown(o.default), o.help.replace("``", "`")] for o in options.values())
    return _table(("option", "values", "default", "meaning"), rows)


def _values(option: Option) -> str:
    """The types and bounds, or the choices, of an option."""
    names = {"Module": "module", "str": "text", "bool": "yes/no"}
    kinds = [names.get(kind.__name__, kind.__name__) for kind in option.kinds if kind is not type(None)]
    words = [f"`{choice}`" for choice in option.choices] or [f"{kind} {option.range}".strip() for kind in kinds]
    if type(None) in option.kinds:
        words.append("none")
    return ", ".join(words)


def _shown(value: Any) -> str:
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else f"{value}"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(headings)]
    lines += [["---"] * len(lines[0])]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _width() -> int:
    import shutil

    return max(80, shutil.get_terminal_size((120, 40)).columns)


if __name__ == "__main__":
    print(as_markdown())
