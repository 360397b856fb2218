"""Twofold learns representations by contrast, from any kind of data.

>>> import twofold
>>> model = twofold.SimCLR(encoder="resnet18").fit("photos/", epochs=100)   # doctest: +SKIP
>>> vectors = model.embed("photos/")                                        # doctest: +SKIP

Everything is imported when it is first used, so ``import twofold`` is quick and does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold import contrast as contrast
    from twofold import data as data
    from twofold import evaluation as evaluation
    from twofold import modalities as modalities
    from twofold import nn as nn
    from twofold.recipes.base import Recipe as Recipe
    from twofold.recipes.catalogue import get as recipe
    from twofold.recipes.saving import load as load
    from twofold.recipes.views.byol import BYOL as BYOL
    from twofold.recipes.views.cacr import CACR as CACR
    from twofold.recipes.views.dcl import DCL as DCL
    from twofold.recipes.views.dino import DINO as DINO
    from twofold.recipes.views.isogclr import ISogCLR as ISogCLR
    from twofold.recipes.views.mochi import MoCHi as MoCHi
    from twofold.recipes.views.moco import MoCoV2 as MoCoV2
    from twofold.recipes.views.moco import MoCoV3 as MoCoV3
    from twofold.recipes.views.multiview import MVDHEL as MVDHEL
    from twofold.recipes.views.multiview import MVInfoNCE as MVInfoNCE
    from twofold.recipes.views.nnclr import NNCLR as NNCLR
    from twofold.recipes.views.redundancy import BarlowTwins as BarlowTwins
    from twofold.recipes.views.redundancy import VICReg as VICReg
    from twofold.recipes.views.simclr import SimCLR as SimCLR
    from twofold.recipes.views.simsiam import SimSiam as SimSiam
    from twofold.recipes.views.supcon import SupCon as SupCon
    from twofold.recipes.views.swav import SwAV as SwAV
    from twofold.recipes.views.understanding import HardContrastive as HardContrastive
    from twofold.version import __version__ as __version__


_VIEWS = "twofold.recipes.views"
_PUBLIC: dict[str, str] = {
    "BYOL": f"{_VIEWS}.byol",
    "CACR": f"{_VIEWS}.cacr",
    "DCL": f"{_VIEWS}.dcl",
    "DINO": f"{_VIEWS}.dino",
    "BarlowTwins": f"{_VIEWS}.redundancy",
    "HardContrastive": f"{_VIEWS}.understanding",
    "ISogCLR": f"{_VIEWS}.isogclr",
    "MVDHEL": f"{_VIEWS}.multiview",
    "MVInfoNCE": f"{_VIEWS}.multiview",
    "MoCHi": f"{_VIEWS}.mochi",
    "MoCoV2": f"{_VIEWS}.moco",
    "MoCoV3": f"{_VIEWS}.moco",
    "NNCLR": f"{_VIEWS}.nnclr",
    "Recipe": "twofold.recipes.base",
    "SimCLR": f"{_VIEWS}.simclr",
    "SimSiam": f"{_VIEWS}.simsiam",
    "SupCon": f"{_VIEWS}.supcon",
    "SwAV": f"{_VIEWS}.swav",
    "VICReg": f"{_VIEWS}.redundancy",
    "__version__": "twofold.version",
    "load": "twofold.recipes.saving",
    "recipe": "twofold.recipes.catalogue:get",
}
_ROOMS = ("contrast", "data", "evaluation", "modalities", "nn")

__all__ = [*_PUBLIC, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"twofold.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'twofold' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
