"""How good an encoder is: held-out items, standard protocols, and the same for encoders that learned nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import Dataset, Subset
from twofold.errors import ConfigError, DataError
from twofold.evaluation import Encoded, Evaluation, Features, Task, evaluate_encoders, evaluate_task, stratified_split
from twofold.recipes.base import Recipe
from twofold.recipes.running import Embedded, embed, raw_features
from twofold.training.distributed import on_main
from twofold.training.randomness import generator, seeded_init

UNTRAINED_SEED = 1_000_003
"""Another seed than that of any training run, so that the untrained encoder is not the start of the trained one."""


def evaluate(
    recipe: Recipe,
    source: Any,
    *,
    test: Any = None,
    task: str | None = None,
    metrics: Sequence[str] | None = None,
    test_fraction: float = 0.3,
    seed: int = 0,
    device: str | torch.device = "cpu",
    baselines: bool = True,
    keys: str | None = None,
    remark: str = "",
    **reading: Any,
) -> Evaluation:
    """Measure a trained recipe beside the same encoder untrained and the raw inputs.

    By the kind of data's own task, where the source is one for it (pairs with scores, a graph with a split, ...: see
    ``Modality.task``), and else by the standard protocol on labels, to which ``metrics``, ``test_fraction`` and
    ``keys`` belong. Within a group of processes all embed, the main one measures, and every one gets the result.

    Args:
        recipe: A built recipe.
        source: Labelled data. If it is a folder with sub-folders train and test, these are bank and test.
        test: Held-out data, if it is apart from ``source``. Its classes are matched with those of ``source`` by name.
        task: Which task of the kind of data; none takes what suits the source.
        metrics: Groups of metrics; all by default. See ``twofold.evaluation.METRIC_GROUPS``.
        test_fraction: Without parts of its own, this share of ``source`` is held out, stratified by class.
        seed: Of that split, of probes, clusterings and bootstrap.
        device: Where to embed.
        baselines: Measure the untrained encoder and the raw inputs too.
        keys: Name of an attribute of the data (one value a sample), such as the built-in emoji's ``code``: samples
            with the same key should retrieve each other.
        remark: What else a reader of the numbers must know; stands in the protocol.
        **reading: Options with which the modality reads ``source`` and ``test``.

    Returns:
        Rows "trained", "untrained" and "raw" with intervals, chance levels and the protocol in words.

    Raises:
        ConfigError: If an option is wrong.
        DataError: If the data cannot be read or split.
    """
    if baselines and isinstance(recipe.options["encoder"], torch.nn.Module):
        raise ConfigError("An encoder of your own cannot be built again untrained: evaluate with baselines=False.")
    own = recipe.modality.task(source, recipe.built_spec, test=test, name=task, **reading)
    if own is not None:
        seen = remark and not own.held_out
        words = "the encoder was trained on these very samples, so the scores say little about new ones" if seen else ""
        return evaluate_own(recipe, own, seed=seed, device=device, baselines=baselines, remark=words)
    return _evaluate_by_labels(
        recipe,
        *_parts_embedded(recipe, source, test, test_fraction=test_fraction, seed=seed, device=device, reading=reading),
        metrics=metrics,
        seed=seed,
        device=device,
        baselines=baselines,
        keys=keys,
        remark=remark,
    )


def _evaluate_by_labels(
    recipe: Recipe,
    parts: Sequence[Side],
    words: str,
    *,
    metrics: Sequence[str] | None,
    seed: int,
    device: str | torch.device,
    baselines: bool,
    keys: str | None,
    remark: str,
) -> Evaluation:
    """:func:`evaluate` by the standard protocol, on bank and test that are embedded already."""
    labels_of = [parts[0][0].labels, _labels_as_in(parts[0][0], parts[1][0])]

    def encoded(label: str, rows: Sequence[Tensor]) -> Encoded:
        sides = [_features(*part, x, labels, keys) for part, x, labels in zip(parts, rows, labels_of, strict=True)]
        return Encoded(label, *sides)

    encoders = {"trained": encoded(f"{type(recipe).__name__}, trained", [part.rows for part, _ in parts])}
    if baselines:
        untrained = untrained_copy(recipe)
        rows = _for_both(parts, lambda part: _again(untrained, part, device))
        encoders["untrained"] = encoded("same encoder, untrained", rows)
    protocol = {"split": words} | ({"remark": remark} if remark else {})
    chosen: dict[str, Any] = {} if metrics is None else {"metrics": metrics}

    def measured() -> Evaluation:
        if baselines:
            raw = _for_both(parts, lambda part: raw_features(part, recipe))
            encoders["raw"] = encoded(f"{recipe.modality.raw}, standardized", raw)
        return evaluate_encoders(encoders, seed=seed, protocol=protocol, **chosen)

    return on_main(measured)


def evaluate_own(
    recipe: Recipe,
    task: Task,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    baselines: bool = True,
    remark: str = "",
) -> Evaluation:
    """:func:`evaluate` on a task of the modality."""
    sides = {name: embed(recipe, dataset, device=device) for name, dataset in task.sides.items()}
    encoders = {
        "trained": (f"{type(recipe).__name__}, trained", {name: _whole(s, s.rows) for name, s in sides.items()})
    }
    if baselines:
        untrained = untrained_copy(recipe)
        rows = {name: _whole(side, _again(untrained, side, device)) for name, side in sides.items()}
        encoders["untrained"] = ("same encoder, untrained", rows)

    def measured() -> Evaluation:
        if baselines and task.raw:
            raw = {name: _whole(side, raw_features(side, recipe)) for name, side in sides.items()}
            encoders["raw"] = (recipe.modality.raw, raw)
        return evaluate_task(task, encoders, seed=seed, remark=remark)

    return on_main(measured)


def _whole(part: Embedded, rows: Tensor) -> Tensor:
    """Rows of all samples of a side: NaN for those that could not be read."""
    whole = torch.full((len(part.dataset), rows.shape[1]), torch.nan)
    whole[part.index] = rows.float()
    return whole


Side = tuple[Embedded, Tensor | None]
"""Embedded data, and which of its rows count (None: all)."""


def _parts_embedded(
    recipe: Recipe,
    source: Any,
    test: Any,
    *,
    test_fraction: float,
    seed: int,
    device: str | torch.device,
    reading: dict[str, Any],
) -> tuple[list[Side], str]:
    """Bank and test, and how they came about, in words."""
    bank_source, test_source, words = _sources(source, test, reading)
    embedded = embed(recipe, bank_source, device=device, **reading)
    if test_source is not None:
        return [(embedded, None), (embed(recipe, test_source, device=device, **reading), None)], words
    labels = embedded.labels if embedded.labels is not None else torch.full((len(embedded.rows),), -1)
    split = stratified_split(labels, generator=generator("split", seed), test_fraction=test_fraction)
    share = f"{1 - test_fraction:.0%} / {test_fraction:.0%}, stratified by class, seed {seed}"
    return [(embedded, split.train), (embedded, split.test)], f"{share}; {' '.join(split.messages)}".rstrip("; ")


def train_and_test(recipe: Recipe, source: Any, test: Any, reading: dict[str, Any]) -> tuple[Dataset, Dataset]:
    """Labelled data in two parts, of which the first may be trained on; the same for every recipe and seed.

    Raises:
        DataError: If the data has no labels or cannot be split.
    """
    bank_source, test_source, _ = _sources(source, test, reading)
    bank = recipe.modality.read(bank_source, **reading)
    if test_source is not None:
        return bank, recipe.modality.read(test_source, **(recipe.modality.reading_for(bank.spec) | reading))
    if bank.labels is None:
        raise DataError(f"{source} has no labels, and a comparison needs them: give class folders or a label column.")
    split = stratified_split(bank.labels, generator=generator("split", 0))
    return Subset(bank, split.train), Subset(bank, split.test)


def untrained_copy(recipe: Recipe) -> Recipe:
    """The same recipe with freshly drawn networks, in evaluation mode."""
    with seeded_init(UNTRAINED_SEED):
        fresh = type(recipe)(**recipe.options)
        return fresh.build(recipe.built_spec, rebuild=recipe.encoder.rebuild).eval()


def _sources(source: Any, test: Any, reading: Mapping[str, Any]) -> tuple[Any, Any, str]:
    """Bank source, test source (None: split the bank) and how they came about."""
    if test is not None:
        return source, test, "bank and test given apart"
    if reading.get("split") is not None:
        return source, None, ""
    if isinstance(source, str | Path) and (Path(source) / "train").is_dir() and (Path(source) / "test").is_dir():
        return Path(source) / "train", Path(source) / "test", "the folder's own train and test parts"
    return source, None, ""


def _labels_as_in(bank: Embedded, test: Embedded) -> Tensor | None:
    """The test's labels by the bank's numbers: classes are matched by name (a number is its own name).

    Raises:
        DataError: If the test has classes that the bank does not know.
    """
    names, known = test.dataset.class_names, bank.dataset.class_names
    if test.labels is None or bank.labels is None or names == known:
        return test.labels
    occurring = test.labels[test.labels >= 0].unique().tolist()
    numbers = {name: i for i, name in enumerate(known)} if known else {str(i): i for i in bank.labels.tolist()}
    called = {i: names[i] if names else str(i) for i in occurring}
    if unknown := sorted(name for name in called.values() if name not in numbers):
        raise DataError(
            f"The test data has classes that the bank does not know: {', '.join(unknown)}. "
            f"The bank has: {', '.join(map(str, numbers))}."
        )
    labels = test.labels.clone()
    for i, name in called.items():
        labels[test.labels == i] = numbers[name]
    return labels


def _features(part: Embedded, take: Tensor | None, rows: Tensor, labels: Tensor | None, keys: str | None) -> Features:
    values = None
    if keys is not None:
        if not hasattr(part.dataset, keys):
            raise ConfigError(f"keys={keys!r}: the data has no such attribute.")
        column = getattr(part.dataset, keys)
        values = [column[i] for i in part.index.tolist()]
    features = Features(rows, labels, values)
    return features if take is None else features.take(take)


def _for_both(parts: Sequence[Side], vectors: Callable[[Embedded], Tensor]) -> list[Tensor]:
    """Vectors of bank and test; of one data set that is both, computed once."""
    bank, test = parts[0][0], parts[1][0]
    first = vectors(bank)
    return [first, first if test is bank else vectors(test)]


def _again(recipe: Recipe, part: Embedded, device: str | torch.device) -> Tensor:
    """Another recipe's embeddings of the samples of ``part``."""
    return embed(recipe, part.dataset, device=device).rows
