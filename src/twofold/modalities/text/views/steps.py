"""Changes of tokenized texts: whole batches, parameters of its own for every text, special tokens left in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError


@dataclass(frozen=True)
class Vocabulary:
    """What views must know of the tokens.

    Args:
        pad: Number of the token that fills up.
        special: Numbers of tokens that are no text, such as those for beginning and end.
        mask: Number of the token that hides another one; None if there is none.
    """

    pad: int
    special: tuple[int, ...] = ()
    mask: int | None = None

    def words(self, ids: Tensor) -> Tensor:
        """Which tokens are text: bool, of the shape of ``ids``."""
        kept = ids != self.pad
        for number in self.special:
            kept &= ids != number
        return kept


class Step(ABC):
    """A random change of tokenized texts ``(n, tokens)``. Subclasses are frozen dataclasses."""

    @abstractmethod
    def __call__(self, ids: Tensor, vocabulary: Vocabulary, generator: torch.Generator) -> Tensor:
        """Changed texts ``(n, at most as many tokens)``; every text that had a token of text still has one."""


@dataclass(frozen=True)
class Crop(Step):
    """A span of the text (independent cropping of Contriever: Izacard et al., TMLR 2022, §3.1).

    Args:
        share: Smallest and largest share of the text's tokens that a span has; the paper's 0.05 to 0.5 are of chunks
            of 256 tokens.
        least: Tokens that a span has at least, unless the text is shorter.
    """

    share: tuple[float, float] = (0.05, 0.5)
    least: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.share[0] <= self.share[1] <= 1 or self.least < 1:
            raise ConfigError(f"Crop: a share within [0, 1] and at least one token are needed, not {self}.")

    def __call__(self, ids: Tensor, vocabulary: Vocabulary, generator: torch.Generator) -> Tensor:
        share, place = _uniform((2, len(ids)), generator, ids.device)
        words = vocabulary.words(ids)
        count = words.sum(1)
        low, high = self.share
        wanted = (count * (low + (high - low) * share)).long().clamp(min=self.least)
        wanted = torch.minimum(wanted, count)
        start = ((count - wanted + 1) * place).long()
        number = words.cumsum(1) - 1  # of each token among those of its text
        inside = (number >= start[:, None]) & (number < (start + wanted)[:, None])
        return _kept(ids, inside | ~words, vocabulary.pad)


@dataclass(frozen=True)
class Delete(Step):
    """Leaves out each token with a probability, but never the last one that is left.

    Args:
        p: Probability; Contriever's 0.1.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        _check_probability(self, self.p)

    def __call__(self, ids: Tensor, vocabulary: Vocabulary, generator: torch.Generator) -> Tensor:
        drawn = _uniform(ids.shape, generator, ids.device)
        words = vocabulary.words(ids)
        luckiest = drawn.masked_fill(~words, -1).argmax(1, keepdim=True)
        stays = (drawn >= self.p).scatter(1, luckiest, True)
        return _kept(ids, stays | ~words, vocabulary.pad)


@dataclass(frozen=True)
class Hide(Step):
    """Replaces each token by the mask with a probability.

    Args:
        p: Probability; BERT's 0.15.
    """

    p: float = 0.15

    def __post_init__(self) -> None:
        _check_probability(self, self.p)

    def __call__(self, ids: Tensor, vocabulary: Vocabulary, generator: torch.Generator) -> Tensor:
        if vocabulary.mask is None:
            raise ConfigError("This tokenizer has no token for a mask: choose other views, such as 'deletion'.")
        hidden = (_uniform(ids.shape, generator, ids.device) < self.p) & vocabulary.words(ids)
        return ids.masked_fill(hidden, vocabulary.mask)


@dataclass(frozen=True)
class Shuffle(Step):
    """Moves tokens by fewer than ``window`` places: they are sorted by their place plus a number from [0, window).

    The noise of Lample et al. (ICLR 2018, §2.3).

    Args:
        window: 1 leaves all in place; the paper's is 4.
    """

    window: int = 4

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"Shuffle: window must be at least 1, not {self.window}.")

    def __call__(self, ids: Tensor, vocabulary: Vocabulary, generator: torch.Generator) -> Tensor:
        noise = _uniform(ids.shape, generator, ids.device) * self.window
        words = vocabulary.words(ids)
        places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        beyond = 2 * ids.shape[1] + self.window  # what is no text sorts to the end, and stays out of this
        shuffled = ids.gather(1, torch.where(words, places + noise, beyond).argsort(dim=1, stable=True))
        number = (words.cumsum(1) - 1).clamp(min=0)
        return torch.where(words, shuffled.gather(1, number), ids)


def _kept(ids: Tensor, keep: Tensor, pad: int) -> Tensor:
    """The tokens to keep, moved together; columns of padding only are cut off."""
    keep = keep & (ids != pad)
    order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
    count = keep.sum(1)
    moved = ids.gather(1, order)
    moved[torch.arange(ids.shape[1], device=ids.device) >= count[:, None]] = pad
    return moved[:, : max(1, int(count.max()))] if len(ids) else moved


def _uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Draws from [0, 1) on the generator's device, moved to ``device``."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def _check_probability(step: Step, p: float) -> None:
    if not 0 <= p <= 1:
        raise ConfigError(f"{type(step).__name__}: p must lie between 0 and 1, not {p!r}.")
