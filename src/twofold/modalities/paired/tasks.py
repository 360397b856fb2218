"""The usual evaluation of pairs: retrieval both ways, zero-shot classes, swapped captions, the modality gap."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Measurement, MetricInfo, Task
from twofold.evaluation.crossmodal import (
    DEPTHS,
    class_prototypes,
    modality_gap,
    pair_geometry,
    retrieve_both_ways,
    separability,
    swap_hits,
    zero_shot,
)
from twofold.evaluation.intervals import bootstrap_mean
from twofold.evaluation.retrieval import RetrievalResult, random_ranking, shared_codes
from twofold.modalities.paired.dataset import OneSide, Pairs
from twofold.modalities.paired.sides import SIDES, Side

TASKS = ("retrieval", "zero-shot", "swap", "gap")
"""What can be measured on pairs; without a name, all that the data allows."""
DEFAULT_PROMPT = "{}"
_BOOTSTRAP_SEED = 0
_PROMPT_BYTES = 2**16
_QUERIES = "95 % bootstrap over queries"
_ITEMS = "95 % bootstrap over items"


@dataclass(frozen=True, eq=False)
class Items:
    """The items of one side that pairs are made of, each once.

    Attributes:
        rows: int64 ``(m,)``, their positions in the side's data set.
        keys: What each of them is, ``(m,)``: pairs of equal keys belong together.
        place: Position in the side's data set → position among these.
    """

    rows: Tensor
    keys: list[Hashable]
    place: dict[int, int]


@dataclass(frozen=True, eq=False)
class _Setting:
    """What the measures read beside the embeddings."""

    first: Items
    second: Items
    pairs: Tensor  # int64 (p, 2), places of each sample's first item and its first item of the second side
    labels: Tensor | None  # of the first side's items, -1 where unknown
    templates: int
    wrong: Tensor | None  # int64 (w, 3): places of the first item, of the right text and of the wrong text


def make_task(pairs: Pairs, sides: Sequence[Side], *, name: str | None = None, prompts: str | None = None) -> Task:
    """What can be measured on pairs.

    Args:
        pairs: Held-out pairs.
        sides: How the sides are read, in the form that the encoder was trained on.
        name: One of :data:`TASKS`; None measures all that the data allows.
        prompts: A template with {} in place of a class name, or a file of such, one a line.

    Raises:
        ConfigError: If the named task needs something that these pairs do not have, or templates are wrong.
    """
    first, second = items_of(pairs, "first"), items_of(pairs, "second")
    embedded = {
        "first": OneSide(pairs.first, "first", rows=first.rows),
        "second": OneSide(pairs.second, "second", rows=second.rows),
    }
    texts = sides[1].modality.name == "text"
    classes = pairs.labels is not None and pairs.class_names is not None and texts
    possible = {"retrieval": True, "zero-shot": classes, "swap": pairs.swapped is not None, "gap": True}
    if name is not None and not possible[name]:
        raise ConfigError(f"task {name!r} needs {_NEEDS[name]}, which these pairs do not have")
    measured = [task for task in TASKS if possible[task] and name in (None, task)]
    templates = read_prompts(prompts) if "zero-shot" in measured else []
    if "zero-shot" in measured:
        written = [
            template.replace("{}", one.replace("_", " ")) for one in pairs.class_names or [] for template in templates
        ]
        embedded["prompts"] = OneSide(sides[1].read(written), "second")
    if "swap" in measured and pairs.swapped is not None:
        embedded["swapped"] = OneSide(pairs.swapped[0], "second", rows=pairs.swapped[1][:, 1])
    setting = _Setting(
        first,
        second,
        torch.tensor([[first.place[a], second.place[b]] for a, b in _first_choices(pairs)]),
        _labels_of(pairs, first),
        len(templates),
        _wrong_of(pairs, first, second),
    )
    kinds = [side.modality.name for side in sides]

    def measure(rows: Mapping[str, Tensor]) -> dict[str, Measurement]:
        if rows["first"].shape[1] != rows["second"].shape[1]:  # of raw features, which are no common space
            return {}
        return {key: value for task in measured for key, value in _MEASURES[task](rows, setting).items()}

    return Task(
        name="+".join(measured),
        sides=embedded,
        measure=measure,
        metrics=metrics_of(*(side.item for side in sides)),
        protocol={task: _PROTOCOL[task] for task in measured}
        | ({"prompts": f"{', '.join(templates[:5])}; {len(templates)} in all"} if templates else {}),
        chance=_chance(setting, measured, len(pairs.class_names or [])),
        raw=kinds[0] == kinds[1],
    )


def items_of(pairs: Pairs, side: str) -> Items:
    """Every item of a side that occurs, once, in the order of the samples; its key is that of its first sample."""
    rows: Sequence[Sequence[int]] = pairs.second_rows
    if side == "first":
        rows = [[row] for row in pairs.first_rows.tolist()]
    place: dict[int, int] = {}
    keys: list[Hashable] = []
    for sample, belonging in enumerate(rows):
        for row in belonging:
            if row not in place:
                place[row] = len(place)
                keys.append(pairs.keys[sample])
    return Items(torch.tensor(list(place)), keys, place)


def read_prompts(prompts: str | None) -> list[str]:
    """Templates from an option: one of its own, or a file of such.

    Raises:
        ConfigError: If it is no template and no file, or a template has no {}.
        DataError: If the file cannot be read.
    """
    if prompts is None:
        return [DEFAULT_PROMPT]
    if "{}" in prompts:
        return [prompts]
    path = Path(prompts).expanduser()
    if not path.is_file():
        raise ConfigError(f"prompts={prompts!r} is neither a template with {{}} for the class name nor a file of such")
    try:
        with path.open("rb") as file:
            lines = file.read(_PROMPT_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the templates cannot be read ({error})") from error
    templates = [line.strip() for line in lines if line.strip()]
    if not templates or not all("{}" in template for template in templates):
        wrong = next((template for template in templates if "{}" not in template), "nothing")
        raise ConfigError(f"{path}: every line must be a template with {{}} for the class name, found {wrong[:80]!r}")
    return templates


def metrics_of(first: str, second: str) -> dict[str, MetricInfo]:
    """How to read each metric, in the words of the two sides."""
    found: dict[str, MetricInfo] = {}
    for key, title in (("first_to_second", f"{first} → {second}"), ("second_to_first", f"{second} → {first}")):
        found |= {f"{key}_recall_at_{k}": MetricInfo(f"{title} R@{k}", True, _QUERIES) for k in DEPTHS}
        found[f"{key}_map"] = MetricInfo(f"{title} mAP", True, _QUERIES)
    return found | {
        "zero_shot": MetricInfo(f"zero-shot accuracy of {first}s", True, _ITEMS),
        "swap": MetricInfo(f"right {second} before swapped one", True, _ITEMS),
        "gap": MetricInfo("modality gap (distance of centroids)", False),
        "separability": MetricInfo("modality told by a linear classifier (0.5: no gap)", False),
        "alignment": MetricInfo("alignment of pairs", False),
        "uniformity_first": MetricInfo(f"uniformity of {first}s (t = 2)", False),
        "uniformity_second": MetricInfo(f"uniformity of {second}s (t = 2)", False),
    }


_NEEDS = {
    "zero-shot": "classes with names (label_column=) and a second side of texts",
    "swap": "wrong texts (swap_column=)",
}

_PROTOCOL = {
    "retrieval": (
        "cosine ranking of all items of the other side; relevant is what has the query's key, of which there may be "
        "several; R@k = share of queries with a relevant item among the first k; ties count as misses"
    ),
    "zero-shot": (
        "class names in templates, embedded; a class is the normalized mean of its normalized prompts, an item gets "
        "the class with the highest cosine, a tie is wrong; no label of these pairs is used to learn"
    ),
    "swap": "share of items whose own text has a higher cosine than the same text with words swapped; a tie is wrong",
    "gap": (
        "on the unit sphere; separability is the balanced accuracy of a logistic regression for the modality, five "
        "folds"
    ),
}


def _first_choices(pairs: Pairs) -> list[tuple[int, int]]:
    return [(int(a), rows[0]) for a, rows in zip(pairs.first_rows, pairs.second_rows, strict=True)]


def _labels_of(pairs: Pairs, items: Items) -> Tensor | None:
    if pairs.labels is None:
        return None
    labels = torch.full((len(items.rows),), -1, dtype=torch.int64)
    for row, label in zip(reversed(pairs.first_rows.tolist()), reversed(pairs.labels.tolist()), strict=True):
        labels[items.place[row]] = label  # of an item in several samples, the first one's
    return labels


def _wrong_of(pairs: Pairs, first: Items, second: Items) -> Tensor | None:
    if pairs.swapped is None:
        return None
    samples = _first_choices(pairs)
    return torch.tensor(
        [
            [first.place[samples[sample][0]], second.place[samples[sample][1]], i]
            for i, sample in enumerate(pairs.swapped[1][:, 0].tolist())
        ]
    )


def _chance(setting: _Setting, measured: Sequence[str], classes: int) -> dict[str, float]:
    levels: dict[str, float] = {}
    if "retrieval" in measured:
        codes = shared_codes(setting.first.keys, setting.second.keys)
        for key, (asking, offered) in {"first_to_second": codes, "second_to_first": codes[::-1]}.items():
            relevant = torch.bincount(offered, minlength=int(max(asking.max(), offered.max())) + 1)[asking]
            recall, precision = random_ranking(relevant, len(offered), ks=DEPTHS)
            levels |= {f"{key}_recall_at_{k}": value for k, value in recall.items()} | {f"{key}_map": precision}
    if "zero-shot" in measured:
        levels["zero_shot"] = 1 / classes
    if "swap" in measured:
        levels["swap"] = 0.5
    return levels


def _scored(scores: Tensor, at: Tensor, total: int, unit: str) -> Measurement:
    """The mean of scores of the items at some positions, with its interval."""
    per_item = torch.full((total,), torch.nan, dtype=torch.float64)
    per_item[at] = scores.double()
    interval = bootstrap_mean(scores.double().numpy(), generator=np.random.default_rng(_BOOTSTRAP_SEED))
    return Measurement(*interval, unit=unit, n=len(scores), per_item=per_item)


def _finite(rows: Tensor) -> Tensor:
    return rows.isfinite().all(1).nonzero().flatten()


def _retrieval(rows: Mapping[str, Tensor], setting: _Setting) -> dict[str, Measurement]:
    at = {side: _finite(rows[side]) for side in SIDES}
    keys = {side: [getattr(setting, side).keys[i] for i in at[side].tolist()] for side in SIDES}
    ways = retrieve_both_ways(*(rows[side][at[side]] for side in SIDES), *(keys[side] for side in SIDES))
    found: dict[str, Measurement] = {}
    for key, side, result in zip(("first_to_second", "second_to_first"), SIDES, ways, strict=True):
        found |= _one_way(result, at[side], len(rows[side]), key)
    return found


def _one_way(result: RetrievalResult, at: Tensor, total: int, key: str) -> dict[str, Measurement]:
    counted = result.counted
    if not counted.any():
        return {}
    scores = {f"{key}_recall_at_{k}": (hits, "share of queries") for k, hits in result.recall.items()}
    scores[f"{key}_map"] = (result.average_precision, "average precision")
    return {name: _scored(values[counted], at[counted], total, unit) for name, (values, unit) in scores.items()}


def _zero_shot(rows: Mapping[str, Tensor], setting: _Setting) -> dict[str, Measurement]:
    assert setting.labels is not None  # or it would not be measured
    prototypes = class_prototypes(rows["prompts"].unflatten(0, (-1, setting.templates)))
    at = (rows["first"].isfinite().all(1) & (setting.labels >= 0)).nonzero().flatten()
    _, right = zero_shot(rows["first"][at], prototypes, setting.labels[at])
    return {"zero_shot": _scored(right, at, len(rows["first"]), "accuracy")}


def _swap(rows: Mapping[str, Tensor], setting: _Setting) -> dict[str, Measurement]:
    assert setting.wrong is not None  # or it would not be measured
    x, right, wrong = (
        rows[side][setting.wrong[:, column]] for column, side in enumerate(("first", "second", "swapped"))
    )
    at = (x.isfinite() & right.isfinite() & wrong.isfinite()).all(1).nonzero().flatten()
    hits = swap_hits(x[at], right[at], wrong[at])
    return {"swap": _scored(hits, at, len(x), "share of items")} if len(hits) else {}


def _gap(rows: Mapping[str, Tensor], setting: _Setting) -> dict[str, Measurement]:
    x, y = (rows[side][setting.pairs[:, column]] for column, side in enumerate(SIDES))
    both = (x.isfinite() & y.isfinite()).all(1)
    x, y = x[both], y[both]
    if len(x) < 5:
        return {}
    found = {"gap": modality_gap(x, y), "separability": separability(x, y)} | pair_geometry(x, y)
    units = {"gap": "distance", "separability": "accuracy", "alignment": "squared distance"}
    return {
        key: Measurement(value, unit=units.get(key, "log mean potential"), n=len(x)) for key, value in found.items()
    }


_MEASURES = {"retrieval": _retrieval, "zero-shot": _zero_shot, "swap": _swap, "gap": _gap}
