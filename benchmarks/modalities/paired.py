"""Emoji drawings and their names: systems on pairs beside the untrained encoder and chance.

    python benchmarks/modalities/paired.py --data DATA [RECIPE ...]

The drawings of Google (Noto) and Twitter come with this package; DATA holds a folder ``emoji`` with two more sets, as
``npm pack emojione@2.2.7 @lobehub/fluent-emoji-3d`` writes them there: ``emojione-2.2.7.tgz`` (CC BY 4.0) and
``lobehub-fluent-emoji-3d-1.1.0.tgz`` (MIT). They are read as they are, nothing is unpacked. Names are those of Unicode's
CLDR in six languages, with the English search words; all come with this package.

Trained on: the 1,168 emoji of the built-in training part as Google, EmojiOne and Fluent draw them, each with up to
seven captions (a name in six languages, the search words), of which one is drawn in each step. Measured on:

- held-out drawings: the same emoji as drawn by Twitter, never seen; their name among 1,168 (R@1), and their group among
  8 and subgroup among 90-odd by its name (zero-shot: no label was used, but names of emoji share words with groups);
- held-out emoji: 404 emoji of other families, by all four; the name of a drawing among 404 and back (R@1, R@10).
- languages: names of the held-out drawings in German, French, Spanish, Italian and Japanese (R@1).

Options were chosen with ``--select`` on a fifth of the training families, which that run does not train on, with CLIP
alone, and are those of all systems. Each first tower is a small convolutional network on 32 × 32 pixels, each second a
mean of word vectors. LiT and CWCL lock a first tower that SimCLR has trained on the same drawings without names; its
time is in theirs. NegCLIP has a task of its own below, since names have no order: scenes of two emoji, "A left of B".

Finished runs are kept in ``--out``; the result is written beside this script.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import statistics
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import twofold
from twofold.data import EmojiDataset
from twofold.evaluation.crossmodal import modality_gap, retrieve_both_ways, separability
from twofold.modalities import get
from twofold.modalities.image.data import ImageArrays
from twofold.modalities.paired import Pairs
from twofold.recipes import catalogue, measuring, running, saving
from twofold.recipes.base import Recipe
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "paired.json"
SIZE = 32
ARCHIVES = {"emojione": ("emojione-2.2.7.tgz", r"package/assets/png/([0-9a-f-]+)\.png"),
            "fluent": ("lobehub-fluent-emoji-3d-1.1.0.tgz", r"package/assets/([0-9a-f-]+)\.webp")}
TRAINED_ON = ("google", "emojione", "fluent")
HELD_OUT = "twitter"
LANGUAGES = ("en", "de", "fr", "es", "it", "ja")


def emoji_with_vendors(data: Path) -> EmojiDataset:
    """All emoji by all four vendors, as the built-in set has them by two: train and test part as there."""
    known = twofold.data.emoji("all", size=SIZE, target="subgroup")
    one_each = {code: i for i, code in enumerate(known.code) if known.vendor[i] == "google"}
    by_stem = {plain(code): i for code, i in one_each.items()}
    images, columns = [known.images], {name: list(values) for name, values in known.columns.items()}
    for vendor, (archive, pattern) in ARCHIVES.items():
        found = drawings(data / "emoji" / archive, pattern, set(by_stem))
        for stem in sorted(found):
            row = {name: values[by_stem[stem]] for name, values in known.columns.items()} | {"vendor": vendor}
            for name, value in row.items():
                columns[name].append(value)
            images.append(found[stem][None])
    return EmojiDataset(torch.cat(images), columns, target="subgroup", class_names=known.class_names or [])


def plain(code: str) -> str:
    """Codepoints without the variation selector, which vendors write or leave out."""
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def drawings(archive: Path, pattern: str, wanted: set[str]) -> dict[str, Tensor]:
    """uint8 (3, 32, 32) on white by codepoints, from the files of a package."""
    from PIL import Image

    found = {}
    with tarfile.open(archive) as package:
        for member in package:
            match = re.fullmatch(pattern, member.name)
            if match is None or plain(match[1]) not in wanted:
                continue
            with Image.open(io.BytesIO(package.extractfile(member).read())) as file:  # type: ignore[union-attr]
                picture = file.convert("RGBA").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            white = Image.new("RGBA", picture.size, "white")
            pixels = np.array(Image.alpha_composite(white, picture).convert("RGB"))
            found[plain(match[1])] = torch.from_numpy(pixels).movedim(-1, 0).contiguous()
    return found
