"""Texts: lines, tables, documents; views on tokens; transformers of one's own or pretrained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.text import data, views
from twofold.modalities.text.encoders import check_name, make_encoder
from twofold.modalities.text.tasks import task_of
from twofold.modalities.text.tokens import PREFIX
from twofold.modalities.text.views import GIVEN, PRESETS, first_text

__all__ = ["MODALITY", "TextModality"]

RAW_WIDTH = 4096
"""Raw features are no wider: tokens of larger vocabularies share numbers."""
SNIPPET = 160
"""Characters of a preview."""


class TextModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "text"
    item = "text"
    raw = "bag of tokens"
    default_encoder = "transformer"

    def read(
        self,
        source: Any,
        *,
        column: str | None = None,
        label_column: str | None = None,
        split: str | None = None,
        length: int | None = None,
        vocabulary: int | None = None,
        tokenizer: str | None = None,
    ) -> Dataset:
        """Read texts; see :func:`twofold.modalities.text.data.read`.

        Args:
            source: Text file (a text a line), table (.csv, .tsv, .jsonl, .parquet), folder of text files, of split
                files or of a retrieval set, Hugging Face data set, list of texts, or a data set that is read already.
            column: Of a table, the column of texts; several, with commas between, are the views of a sample.
            label_column: Of a table, the column of classes.
            split: Which part of data that comes in parts, such as train or test.
            length: Tokens kept of a text; none takes what 95 % do not exceed, at most 128.
            vocabulary: Tokens of the tokenizer that is trained on the texts; none takes 8192.
            tokenizer: That of a model instead, hf:NAME_OR_FOLDER, or a tokenizer.json.
        """
        return data.read(
            source,
            column=column,
            label_column=label_column,
            split=split,
            length=length,
            vocabulary=vocabulary,
            tokenizer=tokenizer,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {"tokenizer": encoder} if isinstance(encoder, str) and encoder.startswith(PREFIX) else {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"tokenizer": spec["tokenizer"], "length": spec["length"]}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        ours = dataset.spec
        if ours.get("modality") != "text":
            raise DataError(f"The encoder was trained on texts, the data is {ours.get('modality')!r}.")
        if ours["tokenizer"] != spec["tokenizer"]:
            raise DataError("The texts are in tokens of another tokenizer than the encoder's: read them again with it.")
        if ours["length"] > spec["length"]:
            raise DataError(f"The encoder takes {spec['length']} tokens, the texts have up to {ours['length']}.")

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        if preferred in PRESETS:
            return preferred
        return GIVEN if int(spec.get("columns", 1)) > 1 else views.DEFAULT

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return views.make_views(name or self.choose_views(spec, preferred=preferred), spec, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec, rebuild=rebuild or None)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        return first_text(batch["inputs"], int(spec["pad"]))

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """log(1 + count) of each token, ``(n, min(vocabulary, 4096))``."""
        ids = self.prepare(batch, spec)
        width = min(int(spec["vocabulary"]), RAW_WIDTH)
        counts = torch.zeros(len(ids), width, device=ids.device)
        counts.scatter_add_(1, ids % width, (ids != int(spec["pad"])).float())
        return counts.log1p_()

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        return task_of(source if test is None else test, spec, name=name, reading=reading)

    def previews(self, dataset: Dataset, index: Tensor) -> list[str]:
        texts = [_text_of(dataset, i) for i in index.tolist()]
        return [text if len(text) <= SNIPPET else f"{text[:SNIPPET].rstrip()} ..." for text in texts]


def _text_of(dataset: Any, i: int) -> str:
    """A sample as it was read; of a part of a data set, that of the whole."""
    while hasattr(dataset, "positions"):
        dataset, i = dataset.dataset, int(dataset.positions[i])
    return str(dataset.text(i)) if hasattr(dataset, "text") else str(dataset.ids[i])


MODALITY = TextModality()
