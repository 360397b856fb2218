"""Small text encoders that are trained from scratch."""

from __future__ import annotations

from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.text.padding import trimmed_on_cpu
from twofold.nn.attention import attend
from twofold.nn.dropout import dropout

HEAD_WIDTH = 64
_DEVIATION = 0.02


class Block(nn.Module):
    """Attention and a perceptron, each with its norm before and added to what came in; dropout where BERT has it.

    Args:
        width: Of the tokens; a multiple of 64.
        dropout: Of attention and of what each of the two adds.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = width // HEAD_WIDTH, dropout
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values, self.mixed = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: Tensor, inside: Tensor) -> Tensor:
        """Tokens ``(n, tokens, width)``, of which those ``inside``, bool ``(n, tokens)``, are attended to."""
        hidden = hidden + self._dropped(self._attended(self.attention_norm(hidden), inside))
        return hidden + self._dropped(self.perceptron(self.perceptron_norm(hidden)))

    def _attended(self, hidden: Tensor, inside: Tensor) -> Tensor:
        queries, keys, values = (
            self.queries_keys_values(hidden).unflatten(2, (3, self.heads, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = attend(queries, keys, values, mask=inside[:, None, None], dropout=dropout)
        return self.mixed(mixed.transpose(1, 2).flatten(2))

    def _dropped(self, hidden: Tensor) -> Tensor:
        return dropout(hidden, self.dropout, self.training)


class TokenTransformer(nn.Module):
    """A transformer like BERT's small ones (Turc et al., 2019: ``-w256-d4`` is mini, ``-w128-d2`` tiny).

    Unlike in BERT, norms come before attention and perceptron, there are no segments, and the feature is the mean over
    the text's tokens. Dropout as in BERT: it is what makes two passes over one text differ.

    Args:
        vocabulary: Token numbers are below it.
        length: Tokens that there are positions for.
        pad: Number of the token that fills up; it is not attended to and not averaged.
        width: Of the tokens, and of the features; a multiple of 64.
        depth: Blocks.
        dropout: Of embeddings, of attention, and of what a block adds.
    """

    def __init__(
        self, vocabulary: int, length: int, pad: int, *, width: int = 256, depth: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if width % HEAD_WIDTH:
            raise ConfigError(f"encoder 'transformer': its width must be a multiple of {HEAD_WIDTH}, not {width}")
        self.dim, self.pad = width, pad
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.reset()

    def reset(self) -> None:
        """Draw the weights: BERT's deviation of 0.02, but tokens of deviation 1, as T5 has them.

        With small ones, positions and the blocks' noise drown at the start what a text consists of.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_DEVIATION)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.tokens.weight)
        nn.init.normal_(self.positions.weight, std=_DEVIATION)

    def forward(self, ids: Tensor) -> Tensor:
        """Features ``(n, width)`` of token numbers ``(n, tokens)``."""
        ids = trimmed_on_cpu(ids, self.pad)
        inside = ids != self.pad
        if ids.shape[1] > self.positions.num_embeddings:
            raise ValueError(f"texts of {ids.shape[1]} tokens, there are {self.positions.num_embeddings} positions")
        hidden = self.dropout(self.tokens(ids) + self.positions.weight[: ids.shape[1]])
        for block in self.blocks:
            hidden = block(hidden, inside)
        return mean_of_tokens(self.norm(hidden), inside)


class EmbeddingBag(nn.Module):
    """The mean of the tokens' vectors: no order and no context, but many times as fast as a transformer.

    Args:
        vocabulary: Token numbers are below it.
        pad: Number of the token that fills up, which is not averaged.
        width: Of the features.
        dropout: Share of the tokens' vectors' numbers that are set to 0 in training.
    """

    def __init__(self, vocabulary: int, pad: int, *, width: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.dim, self.pad = width, pad
        self.tokens = nn.Embedding(vocabulary, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Features ``(n, width)`` of token numbers ``(n, tokens)``."""
        return mean_of_tokens(self.dropout(self.tokens(ids)), ids != self.pad)


def mean_of_tokens(hidden: Tensor, inside: Tensor) -> Tensor:
    """The mean of vectors ``(n, tokens, d)`` where ``inside``, bool ``(n, tokens)``; 0 of a text without tokens."""
    weight = inside[..., None].to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
