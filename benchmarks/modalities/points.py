"""The furniture of Sweet Home 3D: SimCLR, PointContrast, Point-MAE and Point-CMAE beside untrained encoders.

    mkdir -p DATA/furniture && cd DATA/furniture
    apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb .
    python benchmarks/modalities/points.py --data DATA --out runs/points

820 meshes (OBJ), of which 818 remain in 11 categories of at least 25, such as kitchen or bedroom: rooms rather than
shapes. 70 % of each category are trained on and are the bank of the probes, 30 % are held out. ``--select`` compares
settings of SimCLR on a validation split within the 70 %; the best are those that are taken here. The settings of the
other recipes were fixed in advance. Finished runs are kept in ``--out``. Writes ``results/points.json`` beside this
script.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import zipfile
from pathlib import Path
from typing import Any

CANDIDATES: dict[str, dict[str, Any]] = {
    "shapes, temperature 0.1": {"views": "shapes", "temperature": 0.1},
    "shapes, temperature 0.5": {"views": "shapes", "temperature": 0.5},
    "crosspoint, temperature 0.1": {"views": "crosspoint", "temperature": 0.1},
    "point-mae, temperature 0.1": {"views": "point-mae", "temperature": 0.1},
}
CHOSEN = "crosspoint, temperature 0.1"
"""By --select: the best mean of the two metrics on the validation split."""
TRAINING: dict[str, Any] = {"epochs": 25, "batch_size": 128, "lr": 2e-3, "precision": "float32", "workers": 0}
SHORTER: dict[str, Any] = TRAINING | {"epochs": 10, "batch_size": 64}
PATCHES = "point-transformer-w96-d2-g16-k16"
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "simclr": ({"encoder": "pointnet-w16"} | CANDIDATES[CHOSEN], TRAINING),
    "pointcontrast": ({"encoder": "pointnet-w16", "matches": 64}, SHORTER),
    "point-mae": ({"encoder": PATCHES, "decoder_depth": 2}, SHORTER | {"lr": 1e-3}),
    "point-cmae": ({"encoder": PATCHES, "decoder_depth": 2}, SHORTER | {"lr": 1e-3}),
}
"""Options of each recipe, and of its training; about as many steps each."""
FURNITURE = "usr/share/sweethome3d/furniture"
SELECTION_EPOCHS = 8
POINTS = 256
LEAST = 25
"""Items that a category must have."""
METRICS = ("knn", "linear")
RESULT = Path(__file__).parent / "results" / "points.json"


def unpack(furniture: Path, out: Path) -> Path:
    """The meshes of the libraries (.sh3f, which are zip files) in one folder a category; done once."""
    meshes = out / "meshes"
    if (out / "unpacked").is_file():
        return meshes
    libraries = sorted(furniture.glob("*.sh3f"))
    if not libraries:
        raise SystemExit(f"{furniture} holds no .sh3f files; see the head of this script for how to get them.")
    for library in libraries:
        with zipfile.ZipFile(library) as archive:
            catalogue = archive.read("PluginFurnitureCatalog.properties").decode("latin-1")
            facts = dict(re.findall(r"^((?:model|category)#\d+)=(.*?)\s*$", catalogue, re.MULTILINE))
            for key in (key for key in facts if key.startswith("model#")):
                number = key.partition("#")[2]
                folder = meshes / facts[f"category#{number}"].replace("/", "-")
                folder.mkdir(parents=True, exist_ok=True)
                content = archive.read(facts[key].lstrip("/"))
                (folder / f"{library.stem}-{number}.obj").write_bytes(content)
    (out / "unpacked").touch()
    return meshes


def furniture_set(meshes: Path) -> Any:
    """All meshes as clouds, without the categories that are too small."""
    import torch

    from twofold import modalities
    from twofold.dataset import Subset

    clouds: Any = modalities.get("points").read(meshes, points=POINTS, up="y")
    readable = clouds.fetch(torch.arange(len(clouds)))["index"]
    labels = clouds.labels
    large = labels.bincount()[labels] >= LEAST
    print(modalities.get("points").describe(clouds), flush=True)
    return Subset(clouds, readable[large[readable]])


def run(
    train: Any, test: Any, recipe: str, options: dict[str, Any], training: dict[str, Any], *, seed: int
) -> dict[str, Any]:
    """Train and measure once; the values by row and metric, and the seconds of training."""
    from twofold.recipes import catalogue, measuring, running
    from twofold.training.options import TrainingOptions
    from twofold.training.progress import NullProgress

    model = catalogue.get(recipe)(modality="points", **options)
    settings = TrainingOptions.checked(**training, seed=seed)
    result = running.fit_dataset(model, train, settings, progress=NullProgress())
    report = measuring.evaluate(model, train, test=test, metrics=METRICS, seed=seed)
    values = {row.name: {key: round(m.value, 4) for key, m in row.metrics.items()} for row in report.rows}
    return values | {"seconds": round(result.seconds, 1), "seed": seed}


def finished(out: Path, train: Any, test: Any, recipe: str, seed: int) -> dict[str, Any]:
    """A run, or what is kept of it."""
    from twofold.training.files import read_json, write_json

    path = out / f"{recipe}-{seed}.json"
    if not path.is_file():
        write_json(path, run(train, test, recipe, *RECIPES[recipe], seed=seed))
    found: dict[str, Any] = read_json(path)
    print(recipe, found, flush=True)
    return found


def select(train: Any) -> dict[str, float]:
    """The mean of the metrics of each candidate on a validation split of the training part (seed 0)."""
    inner, validation = parts(train)
    scores = {}
    for name, settings in CANDIDATES.items():
        options = RECIPES["simclr"][0] | settings
        training = TRAINING | {"epochs": SELECTION_EPOCHS}
        trained = run(inner, validation, "simclr", options, training, seed=0)["trained"]
        scores[name] = round(statistics.mean(trained[key] for key in METRICS), 4)
        print(f"{scores[name]:.3f}  {name}", flush=True)
    return scores


def parts(data: Any) -> tuple[Any, Any]:
    """70 % and 30 %, stratified by category; the same for all seeds."""
    import torch

    from twofold.dataset import Subset
    from twofold.evaluation import stratified_split

    split = stratified_split(data.labels, generator=torch.Generator().manual_seed(0), test_fraction=0.3)
    return Subset(data, split.train), Subset(data, split.test)


def summarized(runs: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation over seeds, by row and metric."""
    return {
        row: {
            key: [round(statistics.mean(values), 4), round(statistics.stdev(values), 4)]
            for key in METRICS
            if (values := [one[row][key] for one in runs])
        }
        for row in ("trained", "untrained", "raw")
    }


def table_row(recipe: str, metric: str, title: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A line of the table over all kinds of data."""
    figures = {row: metrics[metric] for row, metrics in summarized(runs).items()}
    values = {row: {"mean": mean, "deviation": deviation} for row, (mean, deviation) in figures.items()}
    options, training = RECIPES[recipe]
    return {
        "modality": "points",
        "data": "Sweet Home 3D furniture, 11 categories",
        "recipe": recipe,
        "metric": title,
        "higher_is_better": True,
        **values,
        "raw_name": "D2 histogram and moments",
        "other": {},
        "seeds": len(runs),
        "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
        "note": f"{options['encoder']}, {POINTS} points, {training['epochs']} epochs; one split",
    }


def main() -> None:
    """Unpack, maybe select, run what is missing, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds furniture/")
    parser.add_argument("--out", type=Path, default=Path("runs/points"), help="where meshes are unpacked and runs kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--select", action="store_true", help="only compare the candidates for SimCLR")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from twofold.training.files import read_json, write_json

    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = furniture_set(unpack(arguments.data / "furniture" / FURNITURE, arguments.out))
    train, test = parts(data)
    selection = arguments.out / "selection.json"
    if arguments.select:
        write_json(selection, select(train))
        return
    runs = {
        recipe: [finished(arguments.out, train, test, recipe, seed) for seed in range(arguments.seeds)]
        for recipe in RECIPES
    }
    counts = test.labels.bincount()
    titles = {"knn": "20-NN accuracy", "linear": "linear probe accuracy"}
    result = {
        "data": {"train": len(train), "test": len(test), "classes": int((counts > 0).sum()), "points": POINTS},
        "majority": round(int(counts.max()) / len(test), 4),
        "settings": {name: options | training for name, (options, training) in RECIPES.items()},
        "selection": read_json(selection) if selection.is_file() else {},
        "table": [table_row(name, key, titles[key], found) for name, found in runs.items() for key in titles],
        "runs": runs,
        "made_with": {"python": platform.python_version(), "torch": torch.__version__, "cores": os.cpu_count()},
    }
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
