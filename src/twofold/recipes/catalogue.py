"""All recipes by name. A new recipe is one file and one line here."""

from __future__ import annotations

import importlib

from twofold.errors import ConfigError
from twofold.options import did_you_mean
from twofold.recipes.base import Recipe

RECIPES: dict[str, str] = {
    "simclr": "twofold.recipes.views.simclr:SimCLR",
    "supcon": "twofold.recipes.views.supcon:SupCon",
    "moco-v2": "twofold.recipes.views.moco:MoCoV2",
    "moco-v3": "twofold.recipes.views.moco:MoCoV3",
    "byol": "twofold.recipes.views.byol:BYOL",
    "simsiam": "twofold.recipes.views.simsiam:SimSiam",
    "barlow": "twofold.recipes.views.redundancy:BarlowTwins",
    "vicreg": "twofold.recipes.views.redundancy:VICReg",
    "nnclr": "twofold.recipes.views.nnclr:NNCLR",
    "dino": "twofold.recipes.views.dino:DINO",
    "swav": "twofold.recipes.views.swav:SwAV",
    "dcl": "twofold.recipes.views.dcl:DCL",
    "mv-dhel": "twofold.recipes.views.multiview:MVDHEL",
    "mv-infonce": "twofold.recipes.views.multiview:MVInfoNCE",
    "cacr": "twofold.recipes.views.cacr:CACR",
    "mochi": "twofold.recipes.views.mochi:MoCHi",
    "isogclr": "twofold.recipes.views.isogclr:ISogCLR",
    "understanding-cl": "twofold.recipes.views.understanding:HardContrastive",
}
"""Name → ``module:class``, imported when asked for."""


def named(name: str) -> type[Recipe]:
    """A recipe's class by its name in the catalogue, and nothing else: for names that come from a file.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}{did_you_mean(name, RECIPES)}")
    return get(name)


def get(name: str) -> type[Recipe]:
    """A recipe's class by name; one of your own by ``module:class``, which is imported.

    Importing runs code, so only what the user typed may come here; names from files go through :func:`named`.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in RECIPES and ":" not in name:
        return named(name)
    module, _, attribute = RECIPES.get(name, name).partition(":")
    try:
        recipe: type[Recipe] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"There is no recipe {name!r}: {error}.") from error
    return recipe


def holds(recipe: type[Recipe]) -> bool:
    """Whether the catalogue's recipe of that name is this very class."""
    return RECIPES.get(recipe.card.name) == f"{recipe.__module__}:{recipe.__qualname__}"
