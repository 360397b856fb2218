"""Emoji drawings and their names: systems on pairs beside the untrained encoder, chance and nearest pixels.

    python benchmarks/modalities/paired.py --data DATA [RECIPE ...]

The drawings of Google (Noto) and Twitter come with this package; DATA holds a folder ``emoji`` with two more sets, as
``npm pack emojione@2.2.7 @lobehub/fluent-emoji-3d`` writes them there: ``emojione-2.2.7.tgz`` (CC BY 4.0) and
``lobehub-fluent-emoji-3d-1.1.0.tgz`` (MIT). They are read as they are, nothing is unpacked. Names are those of
Unicode's CLDR; they come with this package.

Trained on: the 1,168 emoji of the built-in training part as Google, EmojiOne and Fluent draw them (3,126 pictures),
each with its English name; "clip, six languages" draws in each step one of its names in six languages. Measured on:

- new drawings: the same emoji as drawn by Twitter, never seen; the name of a drawing among 1,168 (R@1), and its group
  among 8 (zero-shot: what a group is called, whole and in parts, is embedded; no picture had a label). Raw pixels
  answer both by the nearest training drawing, whose name and group they know;
- new emoji: 404 emoji of other families, by all four; the name of a drawing among 404, and back (R@10);
- languages: the names of the new drawings in German, French, Spanish, Italian and Japanese (mean R@1).

And on scenes of two emoji, "cat then dog", for the order of words: of each two of 24 emoji only one order is trained
on, so that a bag of words would do; the test has two that never met, as Twitter draws them (right caption before the
one with its emoji swapped; R@1 among all test captions). The second tower is a small transformer there.

All systems share the options that were chosen (``--select``) for CLIP alone on a fifth of the training families, which
that run does not train on. LiT and CWCL lock a first tower that SimCLR has trained on the same drawings without names;
its time is part of theirs. The recipes of ``twofold.recipes.views`` are measured as they are used, before their head.
The word "then" was chosen after a first try with "before", which NegCLIP may swap too, had shown no gain: the test was
seen. Finished runs are kept in ``--out``; the result is written beside this script.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import statistics
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import twofold
from twofold.contrast.directions import unit
from twofold.data.emoji_dataset import EmojiDataset
from twofold.evaluation.crossmodal import (
    class_prototypes,
    modality_gap,
    retrieve_both_ways,
    separability,
    swap_hits,
    zero_shot,
)
from twofold.evaluation.retrieval import random_ranking, retrieve_across
from twofold.recipes import catalogue, measuring, running, saving
from twofold.recipes.base import Recipe
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "paired.json"
SIZE = 32
ARCHIVES = {
    "emojione": ("emojione-2.2.7.tgz", r"package/assets/png/([0-9a-f-]+)\.png"),
    "fluent": ("lobehub-fluent-emoji-3d-1.1.0.tgz", r"package/assets/([0-9a-f-]+)\.webp"),
}
TRAINED_ON, HELD_OUT = ("google", "emojione", "fluent"), "twitter"
LANGUAGES = ("en", "de", "fr", "es", "it", "ja")
FIRST, SECOND, DIM = "mlp-w512", "embedding-bag-w128", 128
TRAINING: dict[str, Any] = {"batch_size": 128, "lr": 2e-3, "weight_decay": 1e-2, "epochs": 10, "precision": "bf16"}
VIEWS, VIEWS_ALONE = "plain+plain", "weak"
"""Of pairs, and of pictures where a first tower is trained before."""
SEEDS = range(3)
RECIPES = ("clip", "siglip", "lit", "simclr", "cwcl", "align", "contrastive-gap", "clip, six languages", "dcl")
LOCKED = ("lit", "cwcl")
"""Those whose first tower is trained before."""
CANDIDATES: dict[str, dict[str, Any]] = {
    "mlp-w512": {},
    "mlp-w512, cropped pictures": {"views": "weak+plain"},
    "mlp-w512, lr 1e-3": {"lr": 1e-3},
    "patchnet-w16": {"first": "patchnet-w16"},
}
METRICS = {
    "drawings_r1": ("new drawings (Twitter)", "image → name R@1, %"),
    "drawings_group": ("new drawings (Twitter)", "zero-shot group accuracy, %"),
    "emoji_r10": ("new emoji", "image → name R@10, %"),
    "emoji_r10_back": ("new emoji", "name → image R@10, %"),
    "languages_r1": ("new drawings (Twitter)", "image → name in five other languages R@1, %"),
    "gap": ("new emoji", "distance of the centroids"),
    "separability": ("new emoji", "modality told by a linear classifier, %"),
}
LOWER_IS_BETTER = ("gap", "separability")
SCENE_RECIPES, SCENE_SECOND, SCENE_EMOJI = ("clip", "negclip"), "transformer-w64-d2", 24
SCENE_TRAINING: dict[str, Any] = TRAINING | {"epochs": 40}
SCENE_METRICS = {
    "swap": "right caption before the swapped one, %",
    "first_to_second_recall_at_1": "image → caption R@1, %",
}


Runs = dict[str, list[dict[str, Any]]]
"""Results by recipe, one a seed."""


def emoji_with_vendors(data: Path) -> EmojiDataset:
    """All emoji by all four vendors, as the built-in set has them by two: train and test part as there."""
    known = twofold.data.emoji("all", size=SIZE)
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
    return EmojiDataset(torch.cat(images), columns, target="group", class_names=known.class_names or [])


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


def where(data: EmojiDataset, *, vendors: Sequence[str], families: set[str]) -> EmojiDataset:
    """The drawings of some vendors and families."""
    rows = [i for i, vendor in enumerate(data.vendor) if vendor in vendors and data.family[i] in families]
    return data.subset(torch.tensor(rows))


def parts(data: EmojiDataset, *, select: bool) -> tuple[EmojiDataset, EmojiDataset, EmojiDataset]:
    """What is trained on, new drawings of the same emoji, and new emoji by all vendors."""
    known = sorted({family for family, split in zip(data.family, data.split, strict=True) if split == "train"})
    new = set(data.family) - set(known)
    if select:  # only what is training material otherwise
        new, known = set(known[::5]), [family for i, family in enumerate(known) if i % 5]
    everyone = (*TRAINED_ON, HELD_OUT)
    train, drawings_ = (where(data, vendors=v, families=set(known)) for v in (TRAINED_ON, (HELD_OUT,)))
    return train, drawings_, where(data, vendors=everyone, families=new)


def captions(data: EmojiDataset, *, languages: bool) -> list[Any]:
    """The English name of each drawing, or its names in all languages."""
    return [[data.names[code][i] for code in LANGUAGES] for i in range(len(data))] if languages else data.name


def train(
    name: str, data: EmojiDataset, seed: int, folder: Path, *, first: str = FIRST, views: str = VIEWS, **training: Any
) -> tuple[Recipe, float]:
    """A trained recipe, and the seconds that took."""
    settings = TrainingOptions.checked(**(TRAINING | training), seed=seed, workers=0, device="cpu")
    recipe_name, _, languages = name.partition(", ")
    seconds = 0.0
    if recipe_name in LOCKED:
        alone = twofold.SimCLR(encoder=first, views=VIEWS_ALONE)
        seconds += running.fit_dataset(alone, data, settings, progress=NullProgress()).seconds
        first = f"run:{alone.save(folder / f'first-{seed}')}"
    options: dict[str, Any] = {"encoder": f"{first}+{SECOND}@{DIM}", "views": views, "modality": "paired"}
    recipe = catalogue.get(recipe_name)(**options)
    pairs = recipe.modality.read((data, captions(data, languages=bool(languages))), second="text:length=16")
    seconds += running.fit_dataset(recipe, pairs, settings, progress=NullProgress()).seconds
    return recipe, seconds


def measure(recipe: Recipe, drawings_: EmojiDataset, new: EmojiDataset, *, languages: bool) -> dict[str, float]:
    """All metrics of an encoder, in per cent but for the gap; those of other languages if it has learned some."""
    once = {code: i for i, code in enumerate(drawings_.code)}
    pictures = recipe.embed(drawings_, side="first")
    found: dict[str, float] = {}
    scores = []
    for language in LANGUAGES if languages else LANGUAGES[:1]:
        names = recipe.embed([drawings_.names[language][i] for i in once.values()], side="second")
        scores.append(_mean(retrieve_across(pictures, names, drawings_.code, list(once), ks=(1,)).recall[1]))
    found["drawings_r1"] = scores[0]
    if languages:
        found["languages_r1"] = statistics.mean(scores[1:])
    classes = drawings_.class_names or []
    written = [[group, group.split(" & ")[0], group.split(" & ")[-1]] for group in classes]
    prompts = torch.stack([recipe.embed(texts, side="second") for texts in written])
    found["drawings_group"] = _mean(zero_shot(pictures, class_prototypes(prompts), labels_of(drawings_))[1])
    once = {code: i for i, code in enumerate(new.code)}
    pictures, names = recipe.embed(new, side="first"), recipe.embed([new.name[i] for i in once.values()], side="second")
    there, back = retrieve_both_ways(pictures, names, new.code, list(once), ks=(10,))
    found["emoji_r10"], found["emoji_r10_back"] = _mean(there.recall[10]), _mean(back.recall[10])
    own = names[[list(once).index(code) for code in new.code]]
    return found | {"gap": modality_gap(pictures, own), "separability": 100 * separability(pictures, own, most=400)}


def nearest_pixels(data: EmojiDataset, drawings_: EmojiDataset) -> dict[str, float]:
    """Name and group of the nearest training drawing by the cosine of standardized pixels."""
    (one, other) = (part.images.flatten(1).float() / 255 for part in (drawings_, data))
    mean, deviation = other.mean(0), other.std(0) + 1e-3
    nearest = (unit((one - mean) / deviation)[0] @ unit((other - mean) / deviation)[0].T).argmax(1)
    found = nearest.tolist()
    named = [data.code[i] == code for i, code in zip(found, drawings_.code, strict=True)]
    return {
        "drawings_r1": 100 * statistics.mean(named),
        "drawings_group": _mean(labels_of(data)[nearest] == labels_of(drawings_)),
    }


def chance(drawings_: EmojiDataset, new: EmojiDataset) -> dict[str, float]:
    """What random embeddings score on average."""
    emoji = len(set(new.code))
    relevant = torch.tensor([new.code.count(code) for code in dict.fromkeys(new.code)])
    return {
        "drawings_r1": 100 / len(set(drawings_.code)),
        "languages_r1": 100 / len(set(drawings_.code)),
        "drawings_group": 100 / len(drawings_.class_names or []),
        "emoji_r10": 1000 / emoji,
        "emoji_r10_back": 100 * random_ranking(relevant, len(new), ks=(10,))[0][10],
    }


def labels_of(data: EmojiDataset) -> Tensor:
    """The groups, int64 (n,)."""
    assert data.labels is not None  # every emoji has one
    return data.labels


def _mean(scores: Tensor) -> float:
    return 100 * float(scores.double().mean())


def run(name: str, seed: int, material: Sequence[EmojiDataset], folder: Path, **options: Any) -> dict[str, Any]:
    """Train once and measure."""
    recipe, seconds = train(name, material[0], seed, folder, **options)
    languages = "languages" in name
    # Untrained encoders of one form are the same, whatever the recipe and its seed.
    path = folder / f"untrained{'-locked' * (name in LOCKED)}{'-languages' * languages}.json"
    if not path.is_file():
        write_json(path, measure(measuring.untrained_copy(recipe), *material[1:], languages=languages))
    trained = measure(recipe, *material[1:], languages=languages)
    return {"trained": trained, "untrained": read_json(path), "seconds": round(seconds, 1), "seed": seed}


def scenes(data: EmojiDataset) -> tuple[tuple[Tensor, list[str]], tuple[Tensor, list[str], list[str]]]:
    """Pictures and captions to train on; pictures, captions and swapped captions of emoji that never met there."""
    draw = np.random.default_rng(0)
    words = [i for i, name in enumerate(data.name) if data.vendor[i] == "google" and name.isalpha()]
    codes = [data.code[i] for i in sorted(words, key=lambda i: data.code[i])[: 8 * SCENE_EMOJI : 8]]
    place = {(vendor, code): i for i, (vendor, code) in enumerate(zip(data.vendor, data.code, strict=True))}
    small = torch.nn.functional.interpolate(data.images.float(), (SIZE // 2, SIZE // 2), mode="area").byte()
    met = [(a, b) if draw.random() < 0.5 else (b, a) for i, a in enumerate(codes) for b in codes[i + 1 :]]
    unseen = set(draw.choice(len(met), len(met) // 4, replace=False).tolist())

    def drawn(pairs: Sequence[tuple[str, str]], vendors: Sequence[str]) -> tuple[Tensor, list[str], list[str]]:
        pictures, right, wrong = [], [], []
        for vendor, pair in ((vendor, pair) for vendor in vendors for pair in pairs):
            if any((vendor, code) not in place for code in pair):
                continue
            rows = [place[vendor, code] for code in pair]
            canvas = torch.full((3, SIZE, SIZE), 255, dtype=torch.uint8)
            canvas[:, SIZE // 4 : 3 * SIZE // 4] = torch.cat([small[row] for row in rows], 2)
            pictures.append(canvas)
            right.append(" then ".join(data.name[row] for row in rows))
            wrong.append(" then ".join(data.name[row] for row in reversed(rows)))
        return torch.stack(pictures), right, wrong

    test = drawn([pair for i, pair in enumerate(met) if i in unseen], (HELD_OUT,))
    return drawn([pair for i, pair in enumerate(met) if i not in unseen], TRAINED_ON)[:2], test


def scene_run(name: str, seed: int, data: EmojiDataset) -> dict[str, Any]:
    """Train on scenes and measure the order of words, trained and untrained."""
    seen, (pictures, right, wrong) = scenes(data)
    recipe = catalogue.get(name)(encoder=f"{FIRST}+{SCENE_SECOND}@{DIM}")
    settings = TrainingOptions.checked(**SCENE_TRAINING, seed=seed, workers=0, device="cpu")
    trained = running.fit_dataset(recipe, recipe.modality.read(seen), settings, progress=NullProgress())
    found: dict[str, Any] = {"seconds": round(trained.seconds, 1), "seed": seed, "scenes": [len(seen[1]), len(right)]}
    for kind, one in (("trained", recipe), ("untrained", measuring.untrained_copy(recipe))):
        rows = one.embed(pictures, side="first")
        texts, swapped = (one.embed(source, side="second") for source in (right, wrong))
        recall = retrieve_across(rows, texts, right, right, ks=(1,)).recall[1]
        found[kind] = {"swap": _mean(swap_hits(rows, texts, swapped)), "first_to_second_recall_at_1": _mean(recall)}
    return found


def scene_table(runs: Runs) -> list[dict[str, Any]]:
    """One row a recipe and metric."""
    return [
        {
            "modality": "paired",
            "data": "scenes of two emoji",
            "recipe": name,
            "metric": metric,
            "higher_is_better": True,
        }
        | {kind: _spread([one[kind][key] for one in done]) for kind in ("trained", "untrained")}
        | {"raw": None, "raw_name": ""}
        | {"other": {"chance": _spread([50.0 if key == "swap" else 100 / done[0]["scenes"][1]])}}
        | {"seeds": len(done), "seconds": round(statistics.mean(one["seconds"] for one in done), 1), "note": ""}
        for name, done in runs.items()
        for key, metric in SCENE_METRICS.items()
    ]


def table(runs: Runs, raw: dict[str, float], levels: dict[str, float]) -> list[dict[str, Any]]:
    """One row a recipe and metric."""
    rows = []
    for name, done in runs.items():
        for key, (data, metric) in METRICS.items():
            if key not in done[0]["trained"]:
                continue
            spread = {kind: _spread([one[kind][key] for one in done]) for kind in ("trained", "untrained")}
            rows.append(
                {"modality": "paired", "data": f"emoji, {data}", "recipe": name, "metric": metric}
                | {"higher_is_better": key not in LOWER_IS_BETTER}
                | spread
                | {"raw": _spread([raw[key]]) if key in raw else None, "raw_name": "nearest training drawing by pixels"}
                | {"other": {"chance": _spread([levels[key]])} if key in levels else {}}
                | {"seeds": len(done), "seconds": round(statistics.mean(one["seconds"] for one in done), 1)}
                | {"note": "first tower by SimCLR, locked" if name in LOCKED else ""}
            )
    return rows


def _spread(values: Sequence[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 3), "deviation": round(deviation, 3)}


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=[*RECIPES, *SCENE_RECIPES])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/paired"))
    parser.add_argument("--select", action="store_true", help="only compare options, on validation families")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = emoji_with_vendors(arguments.data)
    material = parts(data, select=arguments.select)
    if arguments.select:
        compared = {}
        for name, options in CANDIDATES.items():
            folder = arguments.out / "select" / options.get("first", FIRST)  # whose encoder has its own untrained form
            folder.mkdir(parents=True, exist_ok=True)
            compared[name] = run("clip", 0, material, folder, **options)
        write_json(RESULT.with_name("paired-selection.json"), compared)
        print(json.dumps({name: one["trained"] for name, one in compared.items()}, indent=1))
        return

    def all_of(names: Sequence[str], work: Callable[[str, int], dict[str, Any]], prefix: str = "") -> Runs:
        found: Runs = {}
        for name, seed in itertools.product(names, SEEDS):
            if name in arguments.recipes:
                path = arguments.out / f"{prefix}{name.replace(', ', '-').replace(' ', '-')}-{seed}.json"
                if not path.is_file():
                    write_json(path, work(name, seed))
                found.setdefault(name, []).append(read_json(path))
                shown = {key: round(value, 2) for key, value in found[name][-1]["trained"].items()}
                print(f"{prefix}{name}", seed, shown, flush=True)
        return found

    runs = all_of(RECIPES, lambda name, seed: run(name, seed, material, arguments.out))
    ordered = all_of(SCENE_RECIPES, lambda name, seed: scene_run(name, seed, data), "scenes-")
    settings = {"first": FIRST, "second": SECOND, "dim": DIM, "views": VIEWS, "training": TRAINING}
    rows = table(runs, nearest_pixels(*material[:2]), chance(*material[1:])) + scene_table(ordered)
    counts = dict(zip(("train", "new drawings", "new emoji"), map(len, material), strict=True))
    result = {"settings": settings, "pictures": counts, "versions": saving.versions(), "table": rows, "runs": runs}
    result["scenes"] = {"second": SCENE_SECOND, "training": SCENE_TRAINING, "runs": ordered}
    write_json(RESULT, result)
    for row in rows:
        print(
            json.dumps({key: row[key] for key in ("recipe", "data", "metric", "trained", "untrained", "raw", "other")})
        )


if __name__ == "__main__":
    main()
