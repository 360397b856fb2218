"""Two words of a tokenized text change places: a caption that is wrong and reads as well as the right one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import DataError

_LISTED = (
    "a an and are as at be been but by can did do does for from had has have he her his if in into is it its near next "
    "no not of off on onto or our over she so some than that the their them then there these they this those to two "
    "under up was we were what when where which while who whose will with you your"
)
FUNCTION_WORDS = frozenset(_LISTED.split())
"""English words that are never swapped: a swap with one of them gives no sentence."""

_MARKS = ("Ġ", "▁")  # of tokens that begin a word, in byte-level BPE and in SentencePiece
_CONTINUED = "##"  # of tokens that do not, in WordPiece


class WordSwap(nn.Module):
    """Swaps two words of each text, drawn among those that are no function words.

    Which words are nouns, verbs or adjectives is not known without a tagger, so any two may be swapped. A word is a
    token that begins one and those that continue it; tokens without a letter or digit stand for themselves.

    Args:
        spec: Of texts: "tokenizer" (its JSON), "vocabulary", "pad" and "special".

    Raises:
        DataError: If the tokenizer has no list of tokens.
    """

    begins: Tensor
    function: Tensor
    lettered: Tensor

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__()
        tokens = _tokens(str(spec["tokenizer"]), int(spec["vocabulary"]))
        mark = next((mark for mark in _MARKS if any(token.startswith(mark) for token in tokens)), "")
        kept = set(range(len(tokens))) - {int(spec["pad"]), *map(int, spec["special"])}
        plain = [token.removeprefix(mark) for token in tokens]
        lettered = [i in kept and any(map(str.isalnum, token)) for i, token in enumerate(plain)]
        begins = [token.startswith(mark) if mark else not token.startswith(_CONTINUED) for token in tokens]
        facts = {
            "lettered": lettered,
            "begins": [begin or not letters for begin, letters in zip(begins, lettered, strict=True)],
            "function": [token.lower() in FUNCTION_WORDS for token in plain],
        }
        for name, values in facts.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.bool))

    def forward(self, ids: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Swapped texts, and which of them differ from what they were (two words are needed, not the same twice).

        Args:
            ids: int64 ``(n, tokens)``.
            draw: Of the same shape, numbers from 0 up: of each text the words at the two largest are swapped.
        """
        starts = self.begins[ids]
        if ids.shape[1] < 2:
            return ids, torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        alone = torch.cat([starts[:, 1:], torch.ones_like(starts[:, :1])], 1)  # words of one token
        swappable = starts & self.lettered[ids] & ~(self.function[ids] & alone)
        chosen = draw.masked_fill(~swappable, -1.0).topk(2, dim=1)
        number = starts.cumsum(1)  # which word each token belongs to
        one, other = number.gather(1, chosen.indices).split(1, dim=1)
        place = torch.where(number == one, other, torch.where(number == other, one, number))
        swapped = ids.gather(1, place.argsort(dim=1, stable=True))
        changed = (chosen.values[:, 1] >= 0) & (swapped != ids).any(1)
        return torch.where(changed[:, None], swapped, ids), changed


def _tokens(tokenizer: str, vocabulary: int) -> list[str]:
    """The tokens by number; those without a name are empty."""
    try:
        document = json.loads(tokenizer)
        listed = document["model"]["vocab"]
        pairs = listed.items() if isinstance(listed, dict) else ((entry[0], i) for i, entry in enumerate(listed))
        numbers = {int(number): str(token) for token, number in pairs}
        numbers |= {int(entry["id"]): str(entry["content"]) for entry in document.get("added_tokens", ())}
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError(f"words cannot be swapped: the tokenizer lists no tokens ({type(error).__name__})") from error
    return [numbers.get(i, "") for i in range(vocabulary)]
