"""All recipes by name. A new recipe is one file and one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from twofold.errors import ConfigError
from twofold.options import did_you_mean
from twofold.recipes import cards
from twofold.recipes.cards import Card

if TYPE_CHECKING:
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
    "simcse": "twofold.recipes.text.simcse:SimCSE",
    "simcse-supervised": "twofold.recipes.text.simcse:SupervisedSimCSE",
    "contriever": "twofold.recipes.text.contriever:Contriever",
    "whitenedcse": "twofold.recipes.text.whitenedcse:WhitenedCSE",
    "scarf": "twofold.recipes.table.scarf:SCARF",
    "supremix": "twofold.recipes.table.supremix:SupReMix",
    "cvrl": "twofold.recipes.video.cvrl:CVRL",
    "clip": "twofold.recipes.paired.clip:CLIP",
    "siglip": "twofold.recipes.paired.siglip:SigLIP",
    "lit": "twofold.recipes.paired.lit:LiT",
    "align": "twofold.recipes.paired.align:ALIGN",
    "cwcl": "twofold.recipes.paired.cwcl:CWCL",
    "contrastive-gap": "twofold.recipes.paired.contrastive_gap:ContrastiveGap",
    "negclip": "twofold.recipes.paired.negclip:NegCLIP",
    "collap": "twofold.recipes.paired.collap:CoLLAP",
    "ts2vec": "twofold.recipes.series.ts2vec:TS2Vec",
    "har-hn": "twofold.recipes.series.har_hn:HarHN",
    "skeleton-moco": "twofold.recipes.series.skeleton_moco:SkeletonMoCo",
    "halp": "twofold.recipes.series.halp:HaLP",
    "grace": "twofold.recipes.graph.grace:GRACE",
    "gca": "twofold.recipes.graph.gca:GCA",
    "dgi": "twofold.recipes.graph.dgi:DGI",
    "bgrl": "twofold.recipes.graph.bgrl:BGRL",
    "graphcl": "twofold.recipes.graph.graphcl:GraphCL",
    "graphmae": "twofold.recipes.graph.graphmae:GraphMAE",
    "heco": "twofold.recipes.graph.heco:HeCo",
    "meow": "twofold.recipes.graph.meow:MEOW",
    "lightgcn": "twofold.recipes.interactions.lightgcn:LightGCN",
    "sgl": "twofold.recipes.interactions.sgl:SGL",
    "lightgcl": "twofold.recipes.interactions.lightgcl:LightGCL",
    "sasrec": "twofold.recipes.interactions.sasrec:SASRec",
    "cl4srec": "twofold.recipes.interactions.cl4srec:CL4SRec",
    "pointcontrast": "twofold.recipes.points.pointcontrast:PointContrast",
    "point-mae": "twofold.recipes.points.point_mae:PointMAE",
    "point-cmae": "twofold.recipes.points.point_cmae:PointCMAE",
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


def card(name: str) -> Card:
    """A recipe's card, read without importing the recipe.

    Raises:
        ConfigError: If there is none of that name.
    """
    if name not in RECIPES:
        raise ConfigError(f"There is no recipe {name!r}{did_you_mean(name, RECIPES)}")
    module, _, class_name = RECIPES[name].partition(":")
    return cards.read(module, class_name)


def holds(recipe: type[Recipe]) -> bool:
    """Whether the catalogue's recipe of that name is this very class."""
    return RECIPES.get(recipe.card.name) == f"{recipe.__module__}:{recipe.__qualname__}"
