"""Text encoders of transformers and sentence-transformers by name, and how to build them again offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError, require
from twofold.modalities.text.backbones.small import mean_of_tokens
from twofold.modalities.text.padding import trimmed_on_cpu
from twofold.modalities.text.tokens import PREFIX
from twofold.modalities.transformers_models import (
    SCRATCH,
    as_facts,
    built_again,
    choose_attention,
    refuse_elsewhere,
    shortened,
)

_POOLINGS = ("mean", "cls", "max")
_MODULES = "modules.json"


class PooledText(nn.Module):
    """A transformers text model, reduced to one vector a text.

    Args:
        model: The model; of models with encoder and decoder the encoder.
        pooling: "mean" of all tokens, special ones among them, as sentence-transformers does; "cls", the first token;
            "max" of each number over the tokens.
        pad: Number of the token that fills up.
    """

    def __init__(self, model: Any, pooling: str, pad: int) -> None:
        super().__init__()
        self.model, self.pooling, self.pad = model, pooling, pad
        self.dim = model.config.hidden_size

    def forward(self, ids: Tensor) -> Tensor:
        """Features (n, dim) of token numbers (n, tokens)."""
        ids = trimmed_on_cpu(ids, self.pad)
        inside = ids != self.pad
        hidden = self.model(input_ids=ids, attention_mask=inside.long()).last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "max":
            return hidden.masked_fill(~inside[..., None], -torch.inf).amax(1)
        return mean_of_tokens(hidden, inside)


def from_transformers(
    name: str, spec: Mapping[str, Any], rebuild: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """A text model from the hub or a local folder, and the facts that build it again without weights or network.

    Of a folder of sentence-transformers the pooling is read (modules.json); a model of transformers is pooled by the
    mean. Only safetensors weights are loaded and no code that comes with them is run.

    Args:
        name: ``hf:NAME_OR_FOLDER``, with ``@scratch`` behind it for random weights.
        spec: Of the data: "pad", "length", "vocabulary", "tokenizer_origin".
        rebuild: The facts of an encoder made earlier; empty: load it.

    Raises:
        ConfigError: If there is no such model, it has parts that are not known here, or the data does not fit it.
    """
    library = require("transformers", extra="text", purpose=f"the encoder {name!r}")
    if rebuild:
        if rebuild.get("pooling") not in _POOLINGS:
            raise ConfigError(f"encoder {name!r}: what it should be built again from is damaged: {shortened(rebuild)}")
        model = _text_tower(built_again(library, rebuild.get("config"), name))
        return _checked(model, rebuild["config"], rebuild["pooling"], name, spec), dict(rebuild)
    if spec.get("tokenizer_origin", "").removesuffix(SCRATCH) != name.removesuffix(SCRATCH):
        raise ConfigError(
            f"encoder {name!r} needs texts in tokens of its own, these are of {spec.get('tokenizer_origin')!r}: read "
            f"them with tokenizer={name.removesuffix(SCRATCH)!r}"
        )
    bare, scratch = name.removeprefix(PREFIX).removesuffix(SCRATCH), name.endswith(SCRATCH)
    where, pooling = _sentence_transformer(library, bare)
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": Path(bare).is_dir()}
    try:
        config = library.AutoConfig.from_pretrained(where, **options)
        refuse_elsewhere({**config.to_dict(), "attn_implementation": config._attn_implementation}, name)
        if scratch:
            model = library.AutoModel.from_config(config)
        else:
            model = library.AutoModel.from_pretrained(where, config=config, use_safetensors=True, **options)
    except ConfigError:
        raise
    except Exception as error:  # the library raises whatever a configuration leads it to
        raise ConfigError(
            f"encoder {name!r} could not be loaded; is it a text model with safetensors weights, and is the name or "
            "folder right? Pickled weights are not read, and code that comes with a model is not run: if you trust it, "
            f"load it yourself and pass the module as the encoder. ({type(error).__name__}: {error})"
        ) from error
    plain = as_facts(config)
    network = _checked(_text_tower(model.float()), plain, pooling, name, spec)
    return network, {"config": plain, "pooling": pooling}


def longest_text(name: str) -> int | None:
    """How many tokens the model of ``hf:FOLDER`` was made for, as sentence-transformers states it; None if unstated."""
    path = Path(name.removeprefix(PREFIX).removesuffix(SCRATCH)) / "sentence_bert_config.json"
    if not path.is_file():
        return None
    stated = _json(path, name)
    length = stated.get("max_seq_length") if isinstance(stated, dict) else None
    return length if isinstance(length, int) and length > 0 else None


def _sentence_transformer(library: Any, bare: str) -> tuple[str, str]:
    """Where the transformer of a model lies, and how its tokens are pooled.

    Raises:
        ConfigError: If a model of sentence-transformers has other parts than a transformer, a pooling and a norm.
    """
    root = Path(bare) if Path(bare).is_dir() else _from_hub(library, bare)
    if root is None or not (root / _MODULES).is_file():
        return bare, "mean"
    modules = _json(root / _MODULES, bare)
    try:
        kinds = {str(one["type"]).rsplit(".", 1)[-1]: str(one["path"]) for one in modules}
    except (TypeError, KeyError) as error:
        raise ConfigError(f"encoder 'hf:{bare}': its {_MODULES} is damaged ({error})") from error
    unknown = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    if unknown or "Transformer" not in kinds or "Pooling" not in kinds:
        raise ConfigError(
            f"encoder 'hf:{bare}' has the parts {', '.join(kinds)}; a Transformer and a Pooling are read (Normalize is "
            "left out). Load it with sentence-transformers, and pass a module of your own as the encoder"
        )
    if any(Path(path).is_absolute() or ".." in Path(path).parts for path in kinds.values()):
        raise ConfigError(f"encoder 'hf:{bare}': its {_MODULES} leads out of the folder")
    pooling = _pooling(_json(root / kinds["Pooling"] / "config.json", bare), bare)
    return (bare if not kinds["Transformer"] else str(root / kinds["Transformer"])), pooling


def _from_hub(library: Any, name: str) -> Path | None:
    """Where the small files of a model of the hub that sentence-transformers made were fetched to, or None."""
    try:
        found = library.utils.cached_file(name, _MODULES, _raise_exceptions_for_missing_entries=False)
        if found is None:
            return None
        for part in _json(Path(found), name):
            if str(part["type"]).endswith("Pooling"):
                library.utils.cached_file(name, f"{part['path']}/config.json")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"encoder 'hf:{name}': no such folder, and not to be had from the hub ({error})") from error
    return Path(found).parent


def _pooling(stated: Any, bare: str) -> str:
    entries = stated if isinstance(stated, dict) else {}
    chosen = entries.get("pooling_mode") or [
        key for key, value in entries.items() if key[:13] == "pooling_mode_" and value
    ]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
    names = [chosen] if isinstance(chosen, str) else [known.get(key, key) for key in chosen]
    if len(names) != 1 or names[0] not in _POOLINGS:
        told = ", ".join(names) or "none"
        raise ConfigError(f"encoder 'hf:{bare}': its pooling is {told}; one of {', '.join(_POOLINGS)} is read")
    return names[0]


def _text_tower(model: Any) -> nn.Module:
    """The part of a model that reads texts, without a pooler: unused parameters would break several processes."""
    tower: Any = getattr(model, "text_model", None) or (model.get_encoder() if _has_decoder(model) else model)
    if getattr(tower, "pooler", None) is not None:
        tower.pooler = None
    network: nn.Module = tower.train()
    return network


def _has_decoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def _checked(model: Any, config: Mapping[str, Any], pooling: str, name: str, spec: Mapping[str, Any]) -> nn.Module:
    """The model with its pooling, if the data's tokens and lengths fit it."""
    table = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    rows = getattr(table, "num_embeddings", None)
    problems = []
    if rows is not None and rows < spec["vocabulary"]:
        problems.append(f"it has {rows} tokens, the tokenizer {spec['vocabulary']}")
    stated = config.get("max_position_embeddings")
    if isinstance(stated, int) and 0 < stated < spec["length"]:
        problems.append(f"it has {stated} positions, the texts up to {spec['length']} tokens: set length={stated}")
    if problems:
        raise ConfigError([f"encoder {name!r} does not fit these texts: {problem}" for problem in problems])
    choose_attention(model)
    return PooledText(model, pooling, int(spec["pad"]))


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"encoder {name!r}: {path.name} is missing or damaged ({error})") from error
