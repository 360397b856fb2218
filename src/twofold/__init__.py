"""Twofold learns representations by contrast, from any kind of data.

>>> import twofold
>>> model = twofold.SimCLR(encoder="resnet18").fit("photos/", epochs=100)   # doctest: +SKIP
>>> vectors = model.embed("photos/")                                        # doctest: +SKIP

Everything is imported when it is first used, so ``import twofold`` is quick and does not load torch.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as type checkers read it; importing typing would take a fifth of the time
if TYPE_CHECKING:
    from twofold import contrast as contrast
    from twofold import data as data
    from twofold import evaluation as evaluation
    from twofold import modalities as modalities
    from twofold import nn as nn
    from twofold.recipes.base import Recipe as Recipe
    from twofold.recipes.catalogue import get as recipe
    from twofold.recipes.graph.bgrl import BGRL as BGRL
    from twofold.recipes.graph.dgi import DGI as DGI
    from twofold.recipes.graph.gca import GCA as GCA
    from twofold.recipes.graph.grace import GRACE as GRACE
    from twofold.recipes.graph.graphcl import GraphCL as GraphCL
    from twofold.recipes.graph.graphmae import GraphMAE as GraphMAE
    from twofold.recipes.graph.heco import HeCo as HeCo
    from twofold.recipes.graph.meow import MEOW as MEOW
    from twofold.recipes.interactions.cl4srec import CL4SRec as CL4SRec
    from twofold.recipes.interactions.lightgcl import LightGCL as LightGCL
    from twofold.recipes.interactions.lightgcn import LightGCN as LightGCN
    from twofold.recipes.interactions.sasrec import SASRec as SASRec
    from twofold.recipes.interactions.sgl import SGL as SGL
    from twofold.recipes.paired.align import ALIGN as ALIGN
    from twofold.recipes.paired.clip import CLIP as CLIP
    from twofold.recipes.paired.collap import CoLLAP as CoLLAP
    from twofold.recipes.paired.contrastive_gap import ContrastiveGap as ContrastiveGap
    from twofold.recipes.paired.cwcl import CWCL as CWCL
    from twofold.recipes.paired.lit import LiT as LiT
    from twofold.recipes.paired.negclip import NegCLIP as NegCLIP
    from twofold.recipes.paired.siglip import SigLIP as SigLIP
    from twofold.recipes.points.point_cmae import PointCMAE as PointCMAE
    from twofold.recipes.points.point_mae import PointMAE as PointMAE
    from twofold.recipes.points.pointcontrast import PointContrast as PointContrast
    from twofold.recipes.saving import load as load
    from twofold.recipes.series.halp import HaLP as HaLP
    from twofold.recipes.series.har_hn import HarHN as HarHN
    from twofold.recipes.series.skeleton_moco import SkeletonMoCo as SkeletonMoCo
    from twofold.recipes.series.ts2vec import TS2Vec as TS2Vec
    from twofold.recipes.table.scarf import SCARF as SCARF
    from twofold.recipes.table.supremix import SupReMix as SupReMix
    from twofold.recipes.text.contriever import Contriever as Contriever
    from twofold.recipes.text.simcse import SimCSE as SimCSE
    from twofold.recipes.text.simcse import SupervisedSimCSE as SupervisedSimCSE
    from twofold.recipes.text.whitenedcse import WhitenedCSE as WhitenedCSE
    from twofold.recipes.video.cvrl import CVRL as CVRL
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
    "BGRL": "twofold.recipes.graph.bgrl",
    "BYOL": f"{_VIEWS}.byol",
    "CACR": f"{_VIEWS}.cacr",
    "CL4SRec": "twofold.recipes.interactions.cl4srec",
    "CLIP": "twofold.recipes.paired.clip",
    "CVRL": "twofold.recipes.video.cvrl",
    "Contriever": "twofold.recipes.text.contriever",
    "DCL": f"{_VIEWS}.dcl",
    "DGI": "twofold.recipes.graph.dgi",
    "DINO": f"{_VIEWS}.dino",
    "GCA": "twofold.recipes.graph.gca",
    "GRACE": "twofold.recipes.graph.grace",
    "GraphCL": "twofold.recipes.graph.graphcl",
    "GraphMAE": "twofold.recipes.graph.graphmae",
    "HeCo": "twofold.recipes.graph.heco",
    "MEOW": "twofold.recipes.graph.meow",
    "BarlowTwins": f"{_VIEWS}.redundancy",
    "HaLP": "twofold.recipes.series.halp",
    "HarHN": "twofold.recipes.series.har_hn",
    "HardContrastive": f"{_VIEWS}.understanding",
    "ISogCLR": f"{_VIEWS}.isogclr",
    "LightGCL": "twofold.recipes.interactions.lightgcl",
    "LightGCN": "twofold.recipes.interactions.lightgcn",
    "LiT": "twofold.recipes.paired.lit",
    "MVDHEL": f"{_VIEWS}.multiview",
    "MVInfoNCE": f"{_VIEWS}.multiview",
    "MoCHi": f"{_VIEWS}.mochi",
    "MoCoV2": f"{_VIEWS}.moco",
    "MoCoV3": f"{_VIEWS}.moco",
    "NNCLR": f"{_VIEWS}.nnclr",
    "PointCMAE": "twofold.recipes.points.point_cmae",
    "PointContrast": "twofold.recipes.points.pointcontrast",
    "PointMAE": "twofold.recipes.points.point_mae",
    "Recipe": "twofold.recipes.base",
    "SASRec": "twofold.recipes.interactions.sasrec",
    "SCARF": "twofold.recipes.table.scarf",
    "SGL": "twofold.recipes.interactions.sgl",
    "SigLIP": "twofold.recipes.paired.siglip",
    "SkeletonMoCo": "twofold.recipes.series.skeleton_moco",
    "TS2Vec": "twofold.recipes.series.ts2vec",
    "SimCLR": f"{_VIEWS}.simclr",
    "SimCSE": "twofold.recipes.text.simcse",
    "SimSiam": f"{_VIEWS}.simsiam",
    "SupCon": f"{_VIEWS}.supcon",
    "SupReMix": "twofold.recipes.table.supremix",
    "SupervisedSimCSE": "twofold.recipes.text.simcse",
    "SwAV": f"{_VIEWS}.swav",
    "VICReg": f"{_VIEWS}.redundancy",
    "WhitenedCSE": "twofold.recipes.text.whitenedcse",
    "__version__": "twofold.version",
    "load": "twofold.recipes.saving",
    "recipe": "twofold.recipes.catalogue:get",
    "ALIGN": "twofold.recipes.paired.align",
    "CoLLAP": "twofold.recipes.paired.collap",
    "ContrastiveGap": "twofold.recipes.paired.contrastive_gap",
    "CWCL": "twofold.recipes.paired.cwcl",
    "NegCLIP": "twofold.recipes.paired.negclip",
}
_ROOMS = ("contrast", "data", "evaluation", "modalities", "nn")

if TYPE_CHECKING:
    from typing import Any

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
