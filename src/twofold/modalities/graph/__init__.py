"""Graphs: nodes of one graph or whole graphs, with one kind of nodes or several; views, encoders, tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import ConfigError, DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.graph import data
from twofold.modalities.graph.data import Normalize
from twofold.modalities.graph.encoders import check_name
from twofold.modalities.graph.homogeneous import Homogeneous
from twofold.modalities.graph.readers.objects import is_hetero
from twofold.modalities.graph.views import PRESETS
from twofold.options import Count, Fraction, PositiveInt

if TYPE_CHECKING:
    from twofold.modalities.graph.hetero import Hetero

__all__ = ["MODALITY", "GraphModality"]

_HOMOGENEOUS = Homogeneous()


class GraphModality:
    """See :class:`twofold.modalities.Modality`; each method asks the kind of graph that the spec's "level" names."""

    name = "graph"
    item = "node or graph"
    raw = "features"
    default_encoder = "gcn"

    def read(
        self,
        source: Any,
        *,
        level: Literal["node", "graph", "hetero"] | None = None,
        root: str | None = None,
        normalize: Normalize = "auto",
        degrees: Count | None = None,
        undirected: bool = True,
        held_out: Fraction = 0.0,
        held_out_seed: Count = 0,
        target: str | None = None,
        metapaths: str | None = None,
        nearest: PositiveInt | None = None,
    ) -> Dataset:
        """Read graphs; see :func:`twofold.modalities.graph.data.read`.

        Args:
            source: PyTorch Geometric's Data, several of them, HeteroData or a data set of that library; (x, edge_index)
                or (x, edge_index, y); .npz file; folder with edges.csv and nodes.csv; table of edges; .txt file of many
                graphs; folder in the form of HeCo's sets (level hetero); a public set by name, such as planetoid:Cora;
                or a data set that is read already.
            level: What a sample is: node, graph, or a node of a graph with several kinds of nodes (hetero).
            root: For public sets by name: the folder that holds, or will hold, them; it must be one that you trust.
            normalize: How features are scaled: rows to sum 1, columns to mean 0 and deviation 1, none, or what suits.
            degrees: Use one-hot degrees up to this number as features; none does so only where there are no features.
            undirected: Add to every edge its reverse.
            held_out: Share of the edges taken out before anything else, for the task links.
            held_out_seed: Decides which edges.
            target: Of several kinds of nodes, that which is the samples; none takes the one that has labels.
            metapaths: Ways from target nodes to target nodes, such as paper-author-paper,paper-subject-paper; none
                takes what the source names, or each neighbouring kind and back.
            nearest: Of each meta-path keep the pairs among so many most similar ones of either node; none keeps all.
        """
        if level == "hetero" or is_hetero(source):
            from twofold.modalities.graph import hetero

            return hetero.read(source, target=target, metapaths=metapaths, nearest=nearest, normalize=normalize)
        return data.read(
            source,
            level=level,
            root=root,
            normalize=normalize,
            degrees=degrees,
            undirected=undirected,
            held_out=held_out,
            held_out_seed=held_out_seed,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        from twofold.modalities.graph import hetero

        return hetero.reading_with(encoder)

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"level": spec["level"]} | _kind(spec).reading_for(spec)

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return _kind(spec).training_defaults(spec)

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "graph":
            raise DataError(f"The encoder was trained on graphs, the data is {dataset.spec.get('modality')!r}.")
        _kind(spec).check_fits(dataset, spec)

    def describe(self, dataset: Dataset) -> str:
        return _kind(dataset.spec).describe(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        from twofold.modalities.graph import hetero

        return name_problems(encoder, views, check=_check_name, presets=[*PRESETS, *hetero.PRESETS])

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return _kind(spec).choose_views(spec, preferred=preferred)

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return _kind(spec).make_views(name, spec, preferred=preferred, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return _kind(spec).make_encoder(encoder, spec, rebuild=rebuild)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Any:
        return _kind(spec).prepare(batch, spec)

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        return _kind(spec).raw_features(batch, spec)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        return _kind(spec).task(source, spec, test=test, name=name, **reading)

    def previews(self, dataset: Dataset, index: Tensor) -> list[str]:
        return _kind(dataset.spec).previews(dataset, index)


def _check_name(name: str) -> None:
    """Raise a ConfigError if neither kind of graph has an encoder of this name."""
    from twofold.modalities.graph import hetero

    try:
        check_name(name)
    except ConfigError:
        if name.split("-")[0] not in hetero.ENCODERS:
            raise
        hetero.check_name(name)


def _kind(spec: dict[str, Any]) -> Homogeneous | Hetero:
    """What knows graphs of this level; graphs with several kinds of nodes are loaded when they are first met."""
    if spec["level"] != "hetero":
        return _HOMOGENEOUS
    from twofold.modalities.graph import hetero

    return hetero.HETERO


MODALITY = GraphModality()
