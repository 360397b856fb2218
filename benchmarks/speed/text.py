"""A step of unsupervised SimCSE, and the exact step of a batch of 4096, against sentence-transformers.

Item 7: ``simcse`` with its defaults against ``SentenceTransformerTrainer`` with ``MultipleNegativesRankingLoss`` and
its defaults. Both train the same network from the same folder, a BERT of MiniLM's size (6 layers, 384 wide, 12 heads,
1536 inside, dropout 0.1) with random weights, on the same sentences of 64 tokens, 64 a step, each of which goes through
the network twice, with AdamW. Ours also has SimCSE's head, one linear layer. Defaults differ in the number format: ours
is bfloat16 where the processor has units for it, theirs is float32. So theirs with ``bf16=True`` is a third contestant,
and ours in float32 a fourth. ``losses`` in the result file says that all of them learn the same thing.

Item 8: a batch of 4096 whose sentences go through the network 32 at a time, against
``CachedMultipleNegativesRankingLoss(mini_batch_size=32)``: the exact gradient in the memory of a micro-batch, both ways
by the same method (Gao et al., RepL4NLP 2021). Theirs counts sentences, ours samples of two sentences each, so 32
sentences at a time are ``micro_batch=16``; ``micro_batch=32`` is shown beside it. The network is smaller here (2
layers, 256 wide, sentences of 8 to 32 tokens), so that a step takes seconds and not minutes. Time, and then memory
beyond what was held before the step.

A call of a contestant is a few steps of its own training loop, with reading, tokens, optimizer and log. What happens
once a run is left out of ours (a run's looks at the health of the embedding, 40 of them, are not among these steps);
theirs has the start of ``train()`` in it, about 0.1 s a call.

    python benchmarks/speed/text.py
"""

from __future__ import annotations

import logging
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from harness import Row, Target, parser, race, start, weigh, write

THEIRS = "sentence-transformers"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = 30_522
TEMPERATURE = 0.05
LR = 5e-5


@dataclass(frozen=True)
class Size:
    """A BERT, and the sentences it reads."""

    layers: int
    width: int
    heads: int
    shortest: int
    """Tokens of the shortest sentence, special ones included."""
    longest: int


MINILM = Size(layers=6, width=384, heads=12, shortest=64, longest=64)
SMALL = Size(layers=2, width=256, heads=4, shortest=8, longest=32)


def main() -> None:
    given = parser(__doc__, "text")
    given.add_argument("--steps", type=int, default=0, help="a call of item 7; 0: 3, or 1 if --quick")
    arguments = given.parse_args()
    start(arguments)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        losses: dict[str, dict[str, float]] = {}
        rows = simcse(Path(scratch), arguments.steps or (1 if arguments.quick else 3), arguments.quick, losses)
        rows += cached(Path(scratch), 512 if arguments.quick else 4096, arguments.quick, losses)
    notes = [
        "item 8 is on a smaller network than MiniLM and on shorter sentences, so that a step takes seconds",
        "precision: ours is bf16 where the processor has units for it, theirs float32, both by default",
        "losses are means over the steps of the last call; dropout and the order of the sentences differ",
    ]
    peers = ["transformers", *([THEIRS] if absence() is None else [])]
    write(
        arguments,
        title="SimCSE against sentence-transformers",
        numbers=[7, 8],
        rows=rows,
        peers=peers,
        notes=notes,
        losses=losses,
    )


def simcse(scratch: Path, steps: int, quick: bool, losses: dict[str, dict[str, float]]) -> list[Row]:
    """Item 7: steps of 64 sentences."""
    folder, texts = material(scratch / "minilm", MINILM, 64 * 16)
    kept = losses.setdefault("item 7", {})
    arms = {"twofold": ours(folder, texts, 64, None, steps, "auto", kept, "twofold")}
    if not quick:
        arms["twofold float32"] = ours(folder, texts, 64, None, steps, "float32", kept, "twofold float32")
    missing = absence()
    if missing is None:
        arms[THEIRS] = theirs(folder, texts, 64, None, steps, False, kept, THEIRS)
        if not quick:
            arms[f"{THEIRS} bf16"] = theirs(folder, texts, 64, None, steps, True, kept, f"{THEIRS} bf16")
    case = {"item": 7, "network": "MiniLM", "tokens": 64, "batch": 64, "steps": steps}
    absent = {} if missing is None else {THEIRS: missing}
    rounds = 2 if quick else 3
    return [race(case, arms, rounds=rounds, patience=1, absent=absent, targets=[Target(THEIRS, at_least=1.8)])]


def cached(scratch: Path, batch: int, quick: bool, losses: dict[str, dict[str, float]]) -> list[Row]:
    """Item 8: one step of a large batch in micro-batches of 32."""
    folder, texts = material(scratch / "small", SMALL, batch)
    kept = losses.setdefault("item 8", {})
    arms = {"twofold": ours(folder, texts, batch, 16, 1, "auto", kept, "twofold")}
    if not quick:
        arms["twofold, 64 at a time"] = ours(folder, texts, batch, 32, 1, "auto", kept, "twofold, 64 at a time")
    missing = absence()
    if missing is None:
        arms[THEIRS] = theirs(folder, texts, batch, 32, 1, False, kept, THEIRS)
    absent = {} if missing is None else {THEIRS: missing}
    case = {"item": 8, "network": "BERT 2 x 256", "tokens": "8-32", "batch": batch, "at a time": 32}
    faster, smaller = Target(THEIRS, at_least=1.2), Target(THEIRS, at_most=1.0)
    rounds = 1 if quick else 3
    rows = [race(case, arms, rounds=rounds, patience=0, absent=absent, targets=[faster])]
    return rows if quick else [*rows, weigh(case, arms, absent=absent, targets=[smaller])]


def absence() -> str | None:
    """Why sentence-transformers cannot train here; None if it can."""
    try:
        from sentence_transformers.util import is_training_available
    except (ImportError, RuntimeError, OSError) as error:  # a torchvision of another build raises RuntimeError
        return f"not importable: {type(error).__name__}: {error}"
    return None if is_training_available() else "its trainer needs the packages datasets and accelerate"


def material(folder: Path, size: Size, count: int) -> tuple[Path, list[str]]:
    """A folder with a network of random weights and its tokenizer, and sentences of words that it knows."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = [f"w{number}" for number in range(VOCABULARY - len(SPECIAL))]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate((*SPECIAL, *words))}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=128, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    drawn = random.Random(0)
    lengths = [drawn.randint(size.shortest, size.longest) - 2 for _ in range(count)]
    return folder, [" ".join(drawn.choices(words, k=length)) for length in lengths]


def ours(
    folder: Path,
    texts: list[str],
    batch: int,
    micro_batch: int | None,
    steps: int,
    precision: Any,
    losses: dict[str, float],
    name: str,
) -> Callable[[], None]:
    """``steps`` steps of a long run of ``simcse``."""
    loop = _our_loop(folder, texts, batch, micro_batch, precision)

    def call() -> None:
        losses[name] = sum(next(loop) for _ in range(steps)) / steps

    return call


def _our_loop(folder: Path, texts: list[str], batch: int, micro_batch: int | None, precision: Any) -> Iterator[float]:
    """The losses of a run, step by step: what ``fit`` does between its beginning and its end."""
    from twofold.recipes import catalogue
    from twofold.recipes.running import resolved
    from twofold.training.allocator import freed_memory_is_kept
    from twofold.training.distributed import Process
    from twofold.training.options import TrainingOptions
    from twofold.training.randomness import seeded_init
    from twofold.training.trainer import Trainer

    simcse: Any = catalogue.get("simcse")
    recipe = simcse(encoder=f"hf:{folder}", temperature=TEMPERATURE)
    dataset = recipe.modality.read(texts, **recipe.modality.reading_with(recipe.chosen_encoder), length=64)
    wanted = TrainingOptions(
        epochs=10_000, batch_size=batch, micro_batch=micro_batch, lr=LR, precision=precision, health_steps=10**9
    )
    with seeded_init(0):
        recipe.build(dataset.spec)
    settings = resolved(recipe, dataset, wanted)
    process = Process(rank=0, world=1, local_rank=0, device=torch.device("cpu"))
    trainer = Trainer(recipe, dataset, recipe.make_views(), settings, process=process)
    recipe.train()
    with freed_memory_is_kept():
        for step, fetched in trainer.loader.batches(1, trainer.total_steps):  # the first step looks at the health
            yield trainer._step(step, fetched)["loss"]


def theirs(
    folder: Path,
    texts: list[str],
    batch: int,
    mini_batch: int | None,
    steps: int,
    bf16: bool,
    losses: dict[str, float],
    name: str,
) -> Callable[[], None]:
    """``steps`` steps of sentence-transformers' trainer, as its documentation shows it."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss
    from transformers import PrinterCallback

    model = SentenceTransformer(str(folder), device="cpu")
    scale = {"scale": 1 / TEMPERATURE}
    if mini_batch is None:
        loss = MultipleNegativesRankingLoss(model, **scale)
    else:
        loss = CachedMultipleNegativesRankingLoss(model, mini_batch_size=mini_batch, **scale)
    options = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=batch,
        max_steps=steps,
        learning_rate=LR,
        bf16=bf16,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    pairs = Dataset.from_dict({"anchor": texts, "positive": texts})
    trainer = SentenceTransformerTrainer(model=model, args=options, train_dataset=pairs, loss=loss)
    trainer.remove_callback(PrinterCallback)

    def call() -> None:
        losses[name] = float(trainer.train().training_loss)

    return call


if __name__ == "__main__":
    main()
