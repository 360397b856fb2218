"""SimCLR on the furniture of Sweet Home 3D: the trained encoder beside the untrained one and shape descriptors.

    apt-get download sweethome3d-furniture && dpkg -x sweethome3d-furniture_*.deb furniture
    python benchmarks/modalities/points.py furniture/usr/share/sweethome3d/furniture --out runs/points

820 meshes (OBJ), of which 818 remain in 11 categories of at least 25, such as kitchen or bedroom: rooms rather than
shapes. 70 % of each category are trained on and are the bank of the probes, 30 % are held out. ``--select`` compares
settings on a validation split within the 70 %, and takes the best; without it those chosen so are taken. Writes
``benchmarks/modalities/results/points.json``.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import time
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
ENCODER = "pointnet-w16"
TRAINING: dict[str, Any] = {"epochs": 25, "batch_size": 128, "lr": 2e-3, "precision": "float32", "workers": 0}
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


def run(train: Any, test: Any, settings: dict[str, Any], *, epochs: int, seed: int) -> dict[str, Any]:
    """Train and measure once; the values by row and metric, and the seconds of training."""
    import twofold
    from twofold.recipes import measuring, running
    from twofold.training.options import TrainingOptions
    from twofold.training.progress import NullProgress

    model = twofold.SimCLR(modality="points", encoder=ENCODER, **settings)
    options = TrainingOptions.checked(**(TRAINING | {"epochs": epochs, "seed": seed}))
    result = running.fit_dataset(model, train, options.resolved(model.training_defaults), progress=NullProgress())
    report = measuring.evaluate(model, train, test=test, metrics=METRICS, seed=seed)
    values = {row.name: {key: round(m.value, 4) for key, m in row.metrics.items()} for row in report.rows}
    return values | {"seconds": round(result.seconds, 1), "seed": seed}


def select(train: Any) -> dict[str, float]:
    """The mean of the metrics of each candidate on a validation split of the training part (seed 0)."""
    inner, validation = parts(train)
    scores = {}
    for name, settings in CANDIDATES.items():
        trained = run(inner, validation, settings, epochs=SELECTION_EPOCHS, seed=0)["trained"]
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


def main() -> None:
    """Unpack, maybe select, run all seeds, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("furniture", type=Path, help="folder of .sh3f files")
    parser.add_argument("--out", type=Path, default=Path("runs/points"), help="where the meshes are unpacked")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--select", action="store_true", help="compare the candidates first, and take the best")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from twofold.training.files import write_json

    torch.set_num_threads(1)
    started = time.time()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = furniture_set(unpack(arguments.furniture, arguments.out))
    train, test = parts(data)
    scores = select(train) if arguments.select else {}
    chosen = max(scores, key=lambda name: scores[name]) if scores else CHOSEN
    runs = []
    for seed in range(arguments.seeds):
        runs.append(run(train, test, CANDIDATES[chosen], epochs=TRAINING["epochs"], seed=seed))
        print(runs[-1], flush=True)
    counts = test.labels.bincount()
    result = {
        "data": {"train": len(train), "test": len(test), "classes": int((counts > 0).sum()), "points": POINTS},
        "majority": round(int(counts.max()) / len(test), 4),
        "settings": {"encoder": ENCODER, "chosen": chosen} | CANDIDATES[chosen] | TRAINING,
        "selection": scores,
        "mean_and_deviation": summarized(runs),
        "runs": runs,
        "minutes": round((time.time() - started) / 60, 1),
        "made_with": {"python": platform.python_version(), "torch": torch.__version__, "cores": os.cpu_count()},
    }
    write_json(RESULT, result)
    print(result["mean_and_deviation"])


if __name__ == "__main__":
    main()
