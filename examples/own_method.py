"""A method of one's own in thirty lines, trained on handwritten digits beside SimCLR; takes seconds on a CPU.

    python examples/own_method.py

The idea: negatives that look alike are often the same thing, so they should repel less. A pair rule says how much.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

import twofold
from twofold.contrast.directions import unit
from twofold.contrast.layout import flatten_views, positive_similarity
from twofold.contrast.pairs import both
from twofold.contrast.reductions import logsumexp
from twofold.options import NonNegative
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.catalogue import RECIPES


class Lenient(twofold.SimCLR):
    """Decoupled contrast in which negatives that are alike repel less.

    ℓ_a = −s(a, p(a))/τ + log Σ_{b of other samples} (1 − s(a, b))^κ exp(s(a, b)/τ)

    Args:
        leniency: κ; with 0 it is DCL.
    """

    card: ClassVar[Card] = Card(
        name="lenient", title="Lenient contrast", paper="your name here", new="negatives that are alike repel less"
    )

    def __init__(self, *, leniency: NonNegative = 1.0, **common: Any) -> None:
        super().__init__(**common)
        self.leniency = leniency

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        (z,) = unit(outputs["z"])
        views = flatten_views(z)
        rule = both(views.other_items(), self.weigh)
        repulsion = logsumexp(views.anchors, views.candidates, scale=1 / self.temperature, rule=rule)
        return (repulsion - positive_similarity(z) / self.temperature).mean()

    def weigh(self, rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        """The pair rule, for one tile of anchors and candidates: a weight for each pair of them."""
        return (1 - similarity).clamp(min=1e-6) ** self.leniency

    def chance_level(self, batch_size: int) -> float | None:
        return None  # SimCLR's does not hold here


RECIPES["lenient"] = f"{__name__}:Lenient"  # now it can be saved, loaded and compared by name


def main() -> None:
    """Train both with the same budget and print how well neighbours share a class."""
    train, test = twofold.data.digits("train"), twofold.data.digits("test")
    for method in (twofold.SimCLR, Lenient):
        model = method(encoder="convnet-w16", temperature=0.2)
        model.fit(train, epochs=10, batch_size=128, lr=3e-3)
        knn = model.evaluate(train, test=test, metrics=["knn"], baselines=False).rows[0].metrics["knn"]
        print(f"{method.__name__:8} 20-NN accuracy {knn.value:.3f}, 95 % interval {knn.low:.3f} to {knn.high:.3f}")


if __name__ == "__main__":
    main()
