"""Changes of time: crops, warps, permuted pieces, reversal; and the overlapping crops of TS2Vec."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError
from twofold.modalities.series.views.base import (
    Augmentation,
    Facts,
    Parameters,
    at_places,
    at_steps,
    bernoulli,
    check_numbers,
    check_range,
    check_series,
    normal,
    smooth_curves,
    uniform,
)


@dataclass(frozen=True)
class CropTime(Augmentation):
    """Take a stretch, a share of the time that is uniform in ``share``, and stretch it to the whole length."""

    share: tuple[float, float] = (0.5, 1.0)

    def __post_init__(self) -> None:
        check_range(self, "share", self.share, low=0, high=1)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        share = uniform((shape[0], 1), *self.share, generator)
        return {"share": share, "start": uniform((shape[0], 1), 0, 1, generator) * (1 - share)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        time = torch.linspace(0, 1, series.shape[1], device=series.device)
        place = parameters["start"] + parameters["share"] * time
        return at_places(series, place * (series.shape[1] - 1))


@dataclass(frozen=True)
class ShiftTime(Augmentation):
    """Begin earlier or later by up to ``share`` of the time; what is missing is the series mirrored at its end.

    SkeletonCLR's temporal crop: mirrored at both ends by a sixth, then cut to the length (Li et al., CVPR 2021).
    """

    share: float = 1 / 6

    def __post_init__(self) -> None:
        check_numbers(self, share=self.share)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        reach = int(self.share * (shape[1] - 1))
        shape_of_shift = (shape[0], 1)
        return {"shift": torch.randint(-reach, reach + 1, shape_of_shift, generator=generator, device=generator.device)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        last = series.shape[1] - 1
        step = (torch.arange(last + 1, device=series.device) + parameters["shift"]).abs()
        return at_steps(series, torch.where(step > last, 2 * last - step, step))


@dataclass(frozen=True)
class TimeWarp(Augmentation):
    """Let time run faster here and slower there: the logarithm of the speed is normal at ``knots`` points."""

    sigma: float = 0.3
    knots: int = 4

    def __post_init__(self) -> None:
        check_numbers(self, high=10, sigma=self.sigma)
        check_numbers(self, high=1e3, knots=self.knots)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"knots": normal((shape[0], 1, max(2, self.knots)), generator).mul_(self.sigma).exp_()}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        steps = series.shape[1]
        if steps == 1:
            return series
        passed = smooth_curves(parameters["knots"], steps - 1).squeeze(1).cumsum(1)
        place = torch.cat([torch.zeros_like(passed[:, :1]), passed], 1) / passed[:, -1:] * (steps - 1)
        return at_places(series, place)


@dataclass(frozen=True)
class PermuteSegments(Augmentation):
    """Cut into up to ``most`` equal pieces (as many as are drawn for the sample) and put them in another order."""

    most: int = 5

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ConfigError(f"PermuteSegments: most must be 1 or more, not {self.most!r}.")

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        most = min(self.most, shape[1])
        count = torch.randint(1, most + 1, (shape[0], 1), generator=generator, device=generator.device)
        return {"count": count, "order": uniform((shape[0], most), 0, 1, generator)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        steps = series.shape[1]
        piece = torch.arange(steps, device=series.device) * parameters["count"] // steps
        rank = parameters["order"].gather(1, piece)
        return at_steps(series, rank.argsort(dim=1, stable=True))


@dataclass(frozen=True)
class ReverseTime(Augmentation):
    """Run backwards, with probability ``p``."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_numbers(self, p=self.p)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"chosen": bernoulli((shape[0],), self.p, generator)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        return torch.where(parameters["chosen"][:, None, None], series.flip(1), series)


@dataclass(frozen=True)
class OverlappingCrops:
    """TS2Vec's two views: crops of the same series that share a part (Yue et al., AAAI 2022, section 3.2).

    With length t, the common length l is drawn from {2, ..., t}, then the common part [b, b + l), then view 1 as
    [a, b + l) with a ≤ b, and view 2 as [b, c) with c ≥ b + l: the same lengths for the whole batch, at a place of its
    own for each sample.

    Args:
        facts: Of the data.
    """

    facts: Facts

    def __len__(self) -> int:
        return 2

    def __call__(self, inputs: Tensor, *, generator: torch.Generator) -> list[dict[str, Tensor]]:
        """Two views, each ``{"series": (n, length, c), "common": int64 (n, 2)}``, the bounds of the common part.

        Raises:
            DataError: If ``inputs`` have the wrong shape or type.
        """
        check_series(inputs, channels=len(self.facts.mean))
        series = inputs.float()
        n, t, _ = series.shape

        def whole(low: int, high: int, count: int = 1) -> Tensor:
            return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device)

        common = int(whole(min(2, t), t))
        start = int(whole(0, t - common))
        left = int(whole(0, start))
        right = int(whole(start + common, t))
        offset = whole(-left, t - right, n).to(series.device)[:, None]

        def cut(first: int, last: int, begin: int) -> dict[str, Tensor]:
            steps = torch.arange(first, last, device=series.device) + offset
            bounds = torch.tensor([begin, begin + common], device=series.device)
            return {"series": at_steps(series, steps), "common": bounds.expand(n, 2)}

        return [cut(left, start + common, start - left), cut(start, right, 0)]
