"""Tokenizers: one of one's own, trained on the data, or that of a pretrained model; whole in one piece of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import ConfigError, DataError, require

PAD, MASK = "<pad>", "<mask>"
"""Special tokens of a tokenizer that is trained here: number 0 and 1."""
VOCABULARY = (300, 100_000)
"""Sizes a vocabulary may have: from a little more than the 256 bytes it begins with."""
DEFAULT_VOCABULARY = 8192
LENGTHS = (4, 8192)
"""Tokens a text may have."""
PREFIX = "hf:"
"""Of the names of tokenizers and encoders that come from Hugging Face or a folder of that form."""

_TRAINED_ON = 200_000  # texts, evenly spread over the data
_TRAINED_CHARACTERS = 4096  # of a text
_CHARACTERS_A_TOKEN = 64  # more are never looked at: a text without spaces must not take for ever
_AT_ONCE = 8192


@dataclass(frozen=True)
class Tokenizer:
    """Texts to token numbers.

    Attributes:
        json: All of it, as the library `tokenizers` writes it, with padding.
        origin: Where it comes from: "data", or the name it was asked for by.
    """

    json: str
    origin: str

    def facts(self, length: int) -> dict[str, Any]:
        """What encoders and views must know, JSON-able: numbers of special tokens, size of the vocabulary, length.

        Raises:
            DataError: If the tokenizer is damaged, has no padding token, or needs more room than the length gives.
        """
        document, library = self._document(), self._library()
        vocabulary = library.get_vocab(with_added_tokens=True)
        special = sorted({int(entry["id"]) for entry in document["added_tokens"] if entry.get("special")})
        mask = next((vocabulary[word] for word in ("[MASK]", MASK) if word in vocabulary), None)
        around = library.num_special_tokens_to_add(False)
        if around >= length:
            raise DataError(f"length={length}: this tokenizer adds {around} tokens to every text, so take a longer one")
        return {
            "length": length,
            "vocabulary": max(vocabulary.values(), default=0) + 1,
            "pad": int(document["padding"]["pad_id"]),
            "mask": mask,
            "special": special,
            "tokenizer": self.json,
            "tokenizer_origin": self.origin,
        }

    def encode(self, texts: Sequence[str], length: int) -> tuple[list[np.ndarray], int]:
        """The token numbers of each text, int32, at most ``length`` with special ones; and how many texts were cut."""
        library = self._library()
        library.no_padding()
        library.enable_truncation(length)
        library.encode_special_tokens = True  # "<pad>" that stands in a text is text
        longest = _CHARACTERS_A_TOKEN * length
        numbers: list[np.ndarray] = []
        cut = 0
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            found = library.encode_batch_fast([text[:longest] for text in part])
            numbers += [np.array(encoding.ids, dtype=np.int32) for encoding in found]
            cut += sum(len(text) > longest or bool(e.overflowing) for text, e in zip(part, found, strict=True))
        return numbers, cut

    def lengths(self, texts: Sequence[str], longest: int) -> list[int]:
        """How many tokens each text has, at most ``longest``."""
        return [len(one) for one in self.encode(texts, longest)[0]]

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self.json)
            padded = isinstance(document["padding"]["pad_id"], int) and isinstance(document["added_tokens"], list)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"the tokenizer is damaged: {type(error).__name__}: {str(error)[:200]}") from error
        if not padded:
            raise DataError("the tokenizer is damaged: it has no padding token")
        return dict(document)

    def _library(self) -> Any:
        library = require("tokenizers", extra="text", purpose="reading texts")
        try:
            return library.Tokenizer.from_str(self.json)
        except Exception as error:  # the library raises nothing more specific
            raise DataError(f"the tokenizer is damaged: {str(error)[:200]}") from error


def trained(texts: Sequence[str], vocabulary: int | None = None) -> Tokenizer:
    """A byte-level BPE (Sennrich et al., ACL 2016; on bytes as in GPT-2) of these texts; the same texts give the same.

    Texts are brought to Unicode's form NFKC, to lower case and to single spaces first. On bytes every text can be
    written, so there is no token for the unknown. Words are joined from pieces that occur twice or more.

    Args:
        texts: Up to 200,000 of them, evenly spread, are looked at, and up to 4096 characters of each.
        vocabulary: Tokens, special ones included; 8192 by default. Small data gives fewer.

    Raises:
        ConfigError: If ``vocabulary`` is out of range.
        MissingExtraError: If `tokenizers` is not installed.
    """
    size = DEFAULT_VOCABULARY if vocabulary is None else vocabulary
    if not isinstance(size, int) or isinstance(size, bool) or not VOCABULARY[0] <= size <= VOCABULARY[1]:
        raise ConfigError(f"vocabulary={vocabulary!r}: a whole number in {VOCABULARY[0]}..{VOCABULARY[1]} is needed")
    library = require("tokenizers", extra="text", purpose="reading texts")
    made = library.Tokenizer(library.models.BPE())
    spaces = library.normalizers.Replace(library.Regex(r"\s+"), " ")
    made.normalizer = library.normalizers.Sequence(
        [library.normalizers.NFKC(), library.normalizers.Lowercase(), spaces, library.normalizers.Strip()]
    )
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=[PAD, MASK],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    step = max(1, len(texts) // _TRAINED_ON)
    made.train_from_iterator((text[:_TRAINED_CHARACTERS] for text in texts[::step]), trainer)
    made.enable_padding(pad_id=0, pad_token=PAD)
    return Tokenizer(made.to_str(), "data")


def named(name: str) -> Tokenizer:
    """The tokenizer of a model: ``hf:NAME_OR_FOLDER``, a tokenizer.json, or the JSON itself, as it stands in a spec.

    Raises:
        ConfigError: If there is none, or it has no padding token.
        DataError: If a file or the JSON is damaged.
    """
    if is_json(name):
        return _checked(Tokenizer(name, "given"))
    if not name.startswith(PREFIX):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"tokenizer={name!r}: give hf:NAME, hf:FOLDER or a file tokenizer.json")
        return _checked(Tokenizer(_padded(path.read_text(encoding="utf-8", errors="replace"), name), name))
    library = require("transformers", extra="text", purpose=f"the tokenizer {name!r}")
    bare = name.removeprefix(PREFIX).removesuffix("@scratch")
    try:
        loaded = library.AutoTokenizer.from_pretrained(
            bare, trust_remote_code=False, local_files_only=Path(bare).is_dir()
        )
        backend, pad = loaded.backend_tokenizer, loaded.pad_token or loaded.eos_token
        backend.no_truncation()
        backend.enable_padding(pad_id=backend.token_to_id(pad), pad_token=pad)
    except Exception as error:  # the library raises whatever the files lead it to
        raise ConfigError(
            f"tokenizer {name!r} could not be loaded; is the name or folder right, and is there a tokenizer.json or "
            f"vocabulary beside the model? ({type(error).__name__}: {str(error)[:300]})"
        ) from error
    return _checked(Tokenizer(backend.to_str(), name))


def is_json(name: str) -> bool:
    """Whether this is a tokenizer itself and no name of one."""
    return name.lstrip().startswith("{")


def _padded(text: str, where: str) -> str:
    """The JSON of a tokenizer with padding, of one of its own special tokens if it has none yet."""
    library = require("tokenizers", extra="text", purpose="reading texts")
    try:
        made = library.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more specific
        raise DataError(f"{where}: no tokenizer, or damaged ({str(error)[:200]})") from error
    made.no_truncation()
    if made.padding is None:
        known = made.get_vocab(with_added_tokens=True)
        pad = next((word for word in (PAD, "[PAD]", "<|endoftext|>", "</s>") if word in known), None)
        if pad is None:
            raise ConfigError(
                f"tokenizer={where!r} has no padding token: give it one, enable_padding, and save it again"
            )
        made.enable_padding(pad_id=known[pad], pad_token=pad)
    return str(made.to_str())


def _checked(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.facts(LENGTHS[1])
    return tokenizer
