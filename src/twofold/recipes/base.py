"""The thin base of every recipe: what a published system chooses, and the few places where it may differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn

from twofold import modalities
from twofold.dataset import Views
from twofold.errors import ConfigError, RunError
from twofold.nn.dropout import quick_dropout
from twofold.options import ViewCount, defaults, options_of, problems_of
from twofold.recipes.cards import Card

__all__ = ["Batch", "Card", "Outputs", "Recipe", "by_view", "name_problems"]

Batch = dict[str, Any]
"""``views`` (a list), ``index``, ``label`` where there are labels, ``progress`` in [0, 1), ``generator``."""
Outputs = dict[str, Tensor]
"""Row-wise network outputs by name, each ``(views, n, ...)``."""


class Recipe(nn.Module):
    """A published system: views, encoder, heads, pairs, objective, and the one thing that is new.

    The constructor's keyword arguments are the configuration. Networks are made by :meth:`build`, once the data is
    known. A subclass overrides, where its method differs: ``build_heads``, ``represent`` (networks, row by row),
    ``objective`` (the loss over all rows), ``encode``, ``chance_level`` and the hooks. It never gathers over
    processes and never touches the optimizer.

    Args:
        encoder: Name of an encoder of the modality, or a module with rows ``(n, dim)`` as output; none takes the
            modality's own choice.
        modality: Kind of data, see ``twofold.modalities.MODALITIES``; none takes the recipe's own, or image.
        views: Name of a preset of views, or a callable ``(inputs, *, generator, **extra) -> list of views``; none takes
            what suits the recipe and the data.
        view_count: Views of each sample in a step.
    """

    card: ClassVar[Card] = Card(name="recipe", title="", paper="", new="")
    training_defaults: ClassVar[dict[str, Any]] = {}
    """Options of training that this recipe wants otherwise."""
    preferred_views: ClassVar[str] = "simclr"
    preferred_encoder: ClassVar[str | None] = None
    """The encoder where the user names none, if it is not the modality's own choice."""
    constant_lr: ClassVar[tuple[str, ...]] = ()
    """Prefixes of parameters whose learning rate is not scheduled."""
    needs_labels: ClassVar[bool] = False
    needs_target: ClassVar[bool] = False
    """Whether it learns from the data's ``target``, a number for each sample."""
    options: dict[str, Any]
    encoder: Any

    def __new__(cls, *args: Any, **options: Any) -> Self:
        if args:
            raise ConfigError(
                f"{cls.__name__} takes keyword arguments only, such as {cls.__name__}(encoder='resnet18')."
            )
        known = options_of(cls)
        problems = problems_of(options, known, owner=cls.__name__) + name_problems(cls, options)
        if problems:
            raise ConfigError(problems)
        recipe = super().__new__(cls)
        chosen = {**defaults(known), **options}
        chosen["modality"] = chosen["modality"] or cls.home()
        object.__setattr__(recipe, "options", chosen)
        return recipe

    def __init__(
        self,
        *,
        encoder: str | nn.Module | None = None,
        modality: str | None = None,
        views: str | Callable[..., Any] | None = None,
        view_count: ViewCount = 2,
    ) -> None:
        super().__init__()
        self.modality = modalities.get(modality or self.home())
        self.view_count = view_count
        self.spec: dict[str, Any] | None = None

    # What a recipe may override -------------------------------------------------------------------------------------

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        """Make heads, teacher, queue and the like; ``self.encoder`` is there, with rows of ``dim`` numbers."""

    def represent(self, batch: Batch) -> Outputs:
        """Everything the networks compute for a batch, row by row (no row may depend on another but by batch norm)."""
        raise NotImplementedError

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        """The loss: a scalar, or named scalars of which ``total`` is minimized."""
        raise NotImplementedError

    def encode(self, inputs: Any) -> Tensor:
        """What the user keeps, ``(n, dim)``, from prepared inputs: the encoder's output, before any head."""
        features: Tensor = self.encoder(inputs)
        return features

    def chance_level(self, batch_size: int) -> float | None:
        """The loss of an encoder that has learned nothing yet (all similarities equal); None where it says nothing."""
        return None

    def before_epoch(self, epoch: int) -> None:
        """Called at the start of each epoch; not when a run resumes within one, so what it sets must be a buffer."""

    def before_update(self, batch: Batch) -> None:
        """Called between the backward pass and the optimizer's step: to drop gradients, say."""

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        """Called after the optimizer's step, without gradients: teacher, queue, state."""

    # What is the same for all ---------------------------------------------------------------------------------------

    @final
    def build(self, spec: Mapping[str, Any], *, rebuild: Mapping[str, Any] | None = None) -> Self:
        """Make the networks for data with these facts (a data set's ``spec``); returns the recipe."""
        self.encoder = self.modality.make_encoder(self.chosen_encoder, dict(spec), rebuild=dict(rebuild or {}))
        self.spec = dict(spec)
        self.build_heads(int(self.encoder.dim), spec)
        return quick_dropout(self)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named losses of a batch; ``total`` is minimized."""
        return self.losses(self.represent(batch), batch)

    @final
    def losses(self, outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
        """:meth:`objective` in the form of named scalars."""
        value = self.objective(outputs, batch)
        return {"total": value} if isinstance(value, Tensor) else value

    @final
    def replace_networks(self, other: Recipe) -> None:
        """Take over the networks and state of another recipe of the same build."""
        for store in ("_modules", "_parameters", "_buffers"):
            setattr(self, store, getattr(other, store))

    @classmethod
    def home(cls) -> str:
        """The modality where the user names none."""
        first = cls.card.modalities[0]
        return modalities.DEFAULT if first == "any" else first

    @property
    def chosen_encoder(self) -> str | nn.Module:
        """The user's encoder, or the recipe's choice, or the modality's."""
        chosen: str | nn.Module | None = self.options["encoder"]
        return self.preferred_encoder or self.modality.default_encoder if chosen is None else chosen

    @final
    def make_views(self) -> Views:
        """The views this recipe trains on; see ``views`` and ``view_count``."""
        chosen = self.options["views"]
        if callable(chosen):
            return chosen
        return self.modality.make_views(chosen, self.built_spec, preferred=self.preferred_views, count=self.view_count)

    @property
    def built_spec(self) -> dict[str, Any]:
        """The facts the networks were built for.

        Raises:
            RunError: If :meth:`build` (or ``fit``) has not been called.
        """
        if self.spec is None:
            raise RunError(f"{type(self).__name__} has no networks yet: call fit(data) or build(dataset.spec) first.")
        return self.spec

    @final
    def fit(self, source: Any, *, out: str | Path | None = None, **options: Any) -> Self:
        """Train on ``source``; see :func:`twofold.recipes.running.fit`."""
        from twofold.recipes import running

        running.fit(self, source, out=out, **options)
        return self

    @final
    def embed(self, source: Any, *, batch_size: int | None = None, **reading: Any) -> Tensor:
        """Embeddings ``(n, dim)`` float32 of anything the modality reads; see :func:`twofold.recipes.running.embed`."""
        from twofold.recipes import running

        return running.embed(self, source, batch_size=batch_size, **reading).rows

    @final
    def evaluate(self, source: Any, *, test: Any = None, **options: Any) -> Any:
        """How good the encoder is, beside its baselines; see :func:`twofold.recipes.measuring.evaluate`."""
        from twofold.recipes import measuring

        return measuring.evaluate(self, source, test=test, **options)

    @final
    def save(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``config.json``; see :func:`twofold.recipes.saving.save`."""
        from twofold.recipes import saving

        return saving.save(self, Path(folder))


def name_problems(recipe: type[Recipe], options: Mapping[str, Any]) -> list[str]:
    """What is wrong with the names of modality, encoder and views, as far as that shows before there is data."""
    chosen = {name: options.get(name) for name in ("encoder", "views")}
    names = {name: value if isinstance(value, str) else None for name, value in chosen.items()}
    kind = options.get("modality") or recipe.home()
    if not isinstance(kind, str):
        return []  # which is a problem of the option
    try:
        modality = modalities.get(kind)
    except ConfigError as error:
        return error.problems
    if not {"any", kind} & set(recipe.card.modalities):
        bound = " or ".join(recipe.card.modalities)
        return [f"{recipe.__name__} learns from {bound}, not from {kind}: leave modality out, or take another recipe."]
    return modality.problems(**names) if any(names.values()) else []


def by_view(network: Callable[[Any], Tensor], views: Sequence[Any]) -> Tensor:
    """``network`` on each view by itself, stacked: ``(views, n, ...)``.

    Views go through one after the other, so that batch statistics are those of one view, as in the papers.
    """
    return torch.stack([network(view) for view in views])
