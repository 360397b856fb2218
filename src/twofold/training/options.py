"""The options of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal

from twofold.options import Count, Fraction, NonNegative, Positive, PositiveInt, check, options_of

EPOCHS, BATCH_SIZE = 100, 256
"""Where neither user nor recipe nor kind of data wants another number."""

DEFAULTS = {"adamw": (1e-3, 1e-4), "adam": (1e-3, 0.0), "sgd": (0.06, 5e-4), "lars": (0.3, 1e-6)}
"""Learning rate and weight decay, by optimizer."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; what is None is chosen by the recipe (``training_defaults``) or else by :meth:`resolved`.

    Args:
        epochs: Passes over the data; 100 unless the recipe or the kind of data wants another number.
        batch_size: Samples in a step, over all processes; 256 unless the recipe or the kind of data wants another.
        optimizer: Update rule; adamw unless the recipe wants another.
        lr: Peak learning rate, at the batch size given; 1e-3 for adamw and adam, 0.06 for sgd, 0.3 for lars.
        weight_decay: Decay of weights (never of biases and norms), apart from the gradient in adamw and a part of it in
            the others; 1e-4 for adamw, 0 for adam, 5e-4 for sgd, 1e-6 for lars.
        warmup: Share of the steps in which the learning rate rises linearly, before it falls by a cosine.
        grad_clip: Largest norm of the gradient; none does not clip.
        micro_batch: Samples that go through the networks at once; the gradient stays that of the whole batch, batch
            norm sees the micro-batch. None takes the whole batch.
        precision: Number format of the networks; auto takes bf16 where the hardware computes in it.
        loss_precision: Number format of the products in losses that are tiled, from about 512 rows on; bf16 is faster
            where the hardware computes in it, and rounds gradients a little (docs/results/speed.md).
        device: Where to train, such as cpu, cuda or mps; auto takes CUDA if there is one.
        workers: Threads that read ahead; does not change the result.
        seed: Of initialization, order, views and everything else that is drawn.
        checkpoint_minutes: Minutes between checkpoints; one is also written at the end and on interruption.
        checkpoint_steps: Steps between checkpoints, instead of minutes.
        tensorboard: Write TensorBoard event files into the run folder too.
        nonfinite: What to do at a step whose loss or gradient is NaN or infinite, after keeping it for
            `twofold replay`: stop, or skip it.
        shard: Split the encoder's parameters, gradients and optimizer state over the processes (FSDP2).
        health_steps: Steps between looks at the health of the representation; none takes 40 looks a run.
    """

    epochs: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    optimizer: Literal["adamw", "adam", "sgd", "lars"] | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None
    warmup: Fraction = 0.1
    grad_clip: Positive | None = None
    micro_batch: PositiveInt | None = None
    precision: Literal["auto", "float32", "bf16"] = "auto"
    loss_precision: Literal["float32", "bf16"] = "float32"
    device: str = "auto"
    workers: Count = 2
    seed: Count = 0
    checkpoint_minutes: Positive = 2.0
    checkpoint_steps: PositiveInt | None = None
    health_steps: PositiveInt | None = None
    tensorboard: bool = False
    nonfinite: Literal["stop", "skip"] = "stop"
    shard: bool = False

    FREE_ON_RESUME: ClassVar[tuple[str, ...]] = (
        "device",
        "workers",
        "checkpoint_minutes",
        "checkpoint_steps",
        "tensorboard",
        "nonfinite",
        "shard",
    )
    """What may differ when a run is resumed, since it does not change the steps (``shard``: beyond rounding)."""

    @classmethod
    def checked(cls, **values: Any) -> TrainingOptions:
        """Options from keyword arguments, with all faults in one message.

        Raises:
            ConfigError: Naming unknown options, wrong types and values out of range.
        """
        check(values, options_of(cls), owner="training")
        return cls(**values)

    def resolved(self, preferences: Mapping[str, Any]) -> TrainingOptions:
        """With every None that has a default filled in, from a recipe's preferences first."""
        if self.optimizer not in (None, preferences.get("optimizer", "adamw")):  # rates are meant for one optimizer
            preferences = {name: value for name, value in preferences.items() if name not in ("lr", "weight_decay")}
        unset = [f.name for f in fields(self) if getattr(self, f.name) is None]
        filled = replace(self, **{name: preferences[name] for name in unset if name in preferences})
        rate, decay = DEFAULTS[filled.optimizer or "adamw"]
        return replace(
            filled,
            epochs=filled.epochs or EPOCHS,
            batch_size=filled.batch_size or BATCH_SIZE,
            optimizer=filled.optimizer or "adamw",
            lr=rate if filled.lr is None else filled.lr,
            weight_decay=decay if filled.weight_decay is None else filled.weight_decay,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for the saved configuration."""
        return asdict(self)
