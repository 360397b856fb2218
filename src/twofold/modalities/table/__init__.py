"""Rows of tables: numbers and categories from files, data frames and arrays; batched views; encoders of rows."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.table import data, views
from twofold.modalities.table.columns import Form
from twofold.modalities.table.encoders import check_name, make_encoder, one_hot_rows
from twofold.modalities.table.tasks import check_task, regression_task
from twofold.modalities.table.views import PRESETS

__all__ = ["MODALITY", "TableModality"]


class TableModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "table"
    item = "row"
    raw = "columns (one-hot)"
    default_encoder = "mlp"

    def read(
        self,
        source: Any,
        *,
        numeric: str | None = None,
        categorical: str | None = None,
        label_column: str | None = None,
        target_column: str | None = None,
        form: dict[str, Any] | None = None,
    ) -> Dataset:
        """Read rows; see :func:`twofold.modalities.table.data.read`.

        Args:
            source: Table (.csv, .tsv, .jsonl, .parquet), data frame, array, dictionary of columns, a pair of one of
                these and labels, or a data set that is read already.
            numeric: Names of columns that are numbers, with commas between; none looks at the values.
            categorical: Names of columns that are categories, with commas between; none looks at the values.
            label_column: The column of classes; none takes a usual name.
            target_column: The column of numbers to predict; none takes a usual name that holds measurements.
            form: What a trained recipe brings data to; given by the recipe itself.
        """
        return data.read(
            source,
            numeric=numeric,
            categorical=categorical,
            label_column=label_column,
            target_column=target_column,
            form=form,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"form": spec}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "table":
            raise DataError(f"The encoder was trained on tables, the data is {dataset.spec.get('modality')!r}.")
        ours, theirs = Form.of(dataset.spec), Form.of(spec)
        if ours.names != theirs.names:
            raise DataError(f"The encoder was trained on the columns {theirs.names}, the data has {ours.names}.")
        if ours != theirs:
            raise DataError(
                "The encoder was trained on other categories, medians or moments: read the data with form=model.spec."
            )

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return preferred if preferred in views.PRESETS else views.DEFAULT

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return views.make_views(name or self.choose_views(spec, preferred=preferred), spec, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        rows: Tensor = batch["inputs"]
        return rows

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        return one_hot_rows(batch["inputs"], spec)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        """Regression, where there is a target and either it is asked for or there are no labels."""
        check_task(name)
        reading = self.reading_for(spec) | reading
        dataset = self.read(source, **reading)
        has_target = data.targets_of(dataset) is not None
        if name is None and (dataset.labels is not None or not has_target):
            return None
        return regression_task(dataset, None if test is None else self.read(test, **reading))

    def previews(self, dataset: Dataset, index: Tensor) -> list[str]:
        """The first cells of each row."""
        return data.snippets(dataset, index)


MODALITY = TableModality()
"""The one instance."""
