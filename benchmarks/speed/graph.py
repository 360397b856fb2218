"""GRACE on graphs: whole training steps beside PyTorch Geometric's convolution with the usual dense loss.

    python benchmarks/speed/graph.py --data DATA

DATA holds ``planetoid/Cora/raw`` (the files ind.*, from github.com/kimiyoung/planetoid; PyTorch Geometric unpickles
them: take them from a place that you trust). Without it, or without PyTorch Geometric, a random graph of Cora's size
and sparsity takes its place.

**Cora, per epoch.** All 2,708 nodes are contrasted, so an epoch is one step. Both sides do the same: two views with
edges and columns of features dropped at the rates of GRACE's code, graph convolutions 512 and 256 wide with ReLU, a
projector 256 wide with ELU, the loss over all nodes in both directions, Adam (AdamW here) with lr 5e-4 and weight decay
1e-5, float32. Ours is the recipe ``grace`` as a user would start it, with its trainer: the warm-up, the check of losses
and gradients, the clipping of gradients, and the measurement of the embedding's health in one of five steps are timed
too, and so is the building of the networks, once in five steps. The other side is a plain loop over GCNConv and
dropout_edge of PyTorch Geometric as installed by pip, and the loss as it is mostly written: dense matrices of all pairs
within and between the views. Of "reduced products" the loss multiplies in bfloat16 where the hardware does, which is
asked for by ``twofold.contrast.products.reduced()``, and the networks compute in the format that ``precision="auto"``
chooses, Twofold's default: bfloat16 where there are units for it, in the projector only, since convolutions stay in
float32 by themselves.

**The network alone.** The same without loss and optimizer: views, convolutions and projector, forward and backward.

**100,000 nodes.** One step of ``grace`` in float32 with all nodes of a stochastic block model (64 features, a million
directed edges) as anchors, convolutions 64 and 32 wide: its time, and the most memory that the whole process held,
libraries included. The dense loss would need 40 GB for each of its four matrices. With ``--quick`` it is 10,000 nodes.

About four minutes on two cores, of which the large graph takes more than half.
"""

from __future__ import annotations

import contextlib
import importlib.util
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import Row, Target, parser, race, start, value, write
from steps import first_steps
from torch import Tensor, nn
from torch.nn import functional as F

from twofold.modalities.graph import data
from twofold.modalities.graph.batches import Graph
from twofold.modalities.graph.readers.facts import OneGraph
from twofold.recipes import catalogue

RATES = ((0.2, 0.3), (0.4, 0.4))
"""Shares of edges and of features dropped in either view; GRACE's for Cora."""
WIDTH, TEMPERATURE, LR, DECAY = 256, 0.4, 5e-4, 1e-5
PEER = "PyTorch Geometric, dense loss"
EPOCHS_A_CALL = 5
NODES, BLOCKS = 100_000, 100


class Grace(nn.Module):
    """GRACE of PyTorch Geometric's layers, as implementations of it are written."""

    def __init__(self, features: int) -> None:
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.layers = nn.ModuleList([GCNConv(features, 2 * WIDTH), GCNConv(2 * WIDTH, WIDTH)])
        self.hidden, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Projections of all nodes."""
        for layer in self.layers:
            x = F.relu(layer(x, edge_index))
        return self.out(F.elu(self.hidden(x)))


def usual_views(x: Tensor, edge_index: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Two graphs without some edges, and with some columns at 0."""
    from torch_geometric.utils import dropout_edge

    made = []
    for edges, columns in RATES:
        dropped = x.clone()
        dropped[:, torch.rand(x.shape[1]) < columns] = 0
        made.append((dropped, dropout_edge(edge_index, p=edges)[0]))
    return made


def usual_loss(first: Tensor, second: Tensor) -> Tensor:
    """Eq. 1 of the paper in both directions, by matrices of all pairs."""

    def one_way(anchors: Tensor, others: Tensor) -> Tensor:
        within = torch.exp(anchors @ anchors.T / TEMPERATURE)
        between = torch.exp(anchors @ others.T / TEMPERATURE)
        return -torch.log(between.diag() / (within.sum(1) + between.sum(1) - within.diag()))

    first, second = F.normalize(first), F.normalize(second)
    return ((one_way(first, second) + one_way(second, first)) / 2).mean()


def usual_epochs(graph: Graph, epochs: int) -> Callable[[], None]:
    """A call that trains for some epochs in a plain loop."""
    network = Grace(graph.x.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=LR, weight_decay=DECAY)

    def call() -> None:
        network.train()
        for _ in range(epochs):
            optimizer.zero_grad()
            first, second = (network(*view) for view in usual_views(graph.x, graph.edge_index))
            usual_loss(first, second).backward()
            optimizer.step()

    return call


def usual_network(graph: Graph) -> Callable[[], None]:
    """Views and network alone, forward and backward."""
    network = Grace(graph.x.shape[1])

    def call() -> None:
        for view in usual_views(graph.x, graph.edge_index):
            network(*view).sum().backward()
        network.zero_grad()

    return call


def our_network(dataset: data.NodeData) -> Callable[[], None]:
    """The same of the recipe."""
    recipe = catalogue.get("grace")(encoder=f"gcn-w{WIDTH}-relu").build(dataset.spec)
    views, generator = recipe.make_views(), torch.Generator().manual_seed(0)
    batch = dataset.fetch(torch.arange(len(dataset)))

    def call() -> None:
        recipe.represent(batch | {"views": views(batch["inputs"], generator=generator)})["z"].sum().backward()
        recipe.zero_grad()

    return call


def cora(folder: Path | None) -> tuple[Any, str]:
    """The graph as a data set, and what it is."""
    raw = None if folder is None else folder / "planetoid" / "Cora" / "raw"
    if raw is None or not raw.is_dir() or not _is_there("torch_geometric"):
        return data.NodeData(like_cora()), "random graph of Cora's size"
    with tempfile.TemporaryDirectory() as root:  # PyTorch Geometric writes beside what it reads
        shutil.copytree(raw, Path(root) / "Cora" / "raw")
        return data.read("planetoid:Cora", root=root), "Cora"


def like_cora() -> OneGraph:
    """2,708 nodes, 5,278 undirected edges, 1,433 features of which about 18 are 1."""
    draw = torch.Generator().manual_seed(0)
    x = (torch.rand(2708, 1433, generator=draw) < 0.0127).float()
    return OneGraph(
        Graph(x, torch.randint(2708, (2, 5278), generator=draw)), "random", ids=[str(i) for i in range(2708)]
    )


def block_model(nodes: int) -> OneGraph:
    """A stochastic block model of about ten neighbours a node, nine of them of its own block."""
    draw = torch.Generator().manual_seed(0)
    label = torch.arange(nodes) % BLOCKS
    source = torch.arange(nodes).repeat(5)
    near = torch.randint(nodes // BLOCKS, (len(source),), generator=draw) * BLOCKS + label[source]
    far = torch.randint(nodes, (len(source),), generator=draw)
    target = torch.where(torch.rand(len(source), generator=draw) < 0.9, near, far)
    x = torch.randn(BLOCKS, 64, generator=draw)[label] + 3 * torch.randn(nodes, 64, generator=draw)
    return OneGraph(Graph(x, torch.stack([source, target])), "blocks", label, ids=[str(i) for i in range(nodes)])


def large(nodes: int, reduced: Callable[[], Any] | None) -> list[Row]:
    """A step with all nodes as anchors: seconds, and MB of the whole process. To be measured before anything else."""
    dataset = data.NodeData(block_model(nodes))
    recipe = catalogue.get("grace")(encoder="gcn-w32-relu").build(dataset.spec)
    views = recipe.make_views()
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=LR)
    optimizer.step()  # without gradients it does nothing but load what torch loads when it is first called
    seconds = {}
    for name, products in _arms(reduced).items():
        began = time.perf_counter()
        batch = dataset.fetch(torch.randperm(nodes))
        batch["views"] = views(batch.pop("inputs"), generator=torch.Generator().manual_seed(0))
        with products():
            recipe(batch)["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds[name] = time.perf_counter() - began
    matrix = f"each of its four matrices of all pairs takes {4 * nodes**2 / 1e9:.0f} GB"
    case = {"work": "a step of GRACE, all nodes anchors", "nodes": nodes, "edges": dataset.graph.edges}
    held = {"twofold": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    return [
        value(case, "s", seconds, absent={PEER: matrix}),
        value(case, "MB", held, absent={PEER: matrix}, targets=[Target(at_most=3072)]),
    ]


def cora_rows(folder: Path | None, reduced: Callable[[], Any] | None, *, quick: bool) -> list[Row]:
    """Epochs on Cora, in float32 and with reduced products, and the network alone."""
    dataset, name = cora(folder)
    has_peer = _is_there("torch_geometric")
    absent = {} if has_peer else {PEER: "torch_geometric is not installed"}
    rounds = 2 if quick else 5
    epochs = 2 if quick else EPOCHS_A_CALL
    options = {"encoder": f"gcn-w{WIDTH}-relu", "temperature": TEMPERATURE}
    training = {"lr": LR, "weight_decay": DECAY, "epochs": 200}
    rows = []
    for arm, products in _arms(reduced).items():
        precision = "float32" if arm == "twofold" else "auto"
        ours = first_steps("grace", dataset, epochs, options=options, training=training | {"precision": precision})
        arms = {arm: _within(products, ours)}
        if has_peer:
            arms[PEER] = usual_epochs(dataset.graph, epochs)
        case = {"work": f"{epochs} epochs of GRACE", "data": name, "products": arm.removeprefix("twofold").strip(", ")}
        target = Target(PEER, at_least=2.0 if arm == "twofold" else 3.0)
        rows.append(race(case, arms, ours=arm, rounds=rounds, absent=absent, targets=[target]))
    alone = {"twofold": our_network(dataset)}
    if has_peer:
        alone[PEER.partition(",")[0]] = usual_network(dataset.graph)
    case = {"work": "views and network of GRACE, forward and backward", "data": name}
    rows.append(race(case, alone, rounds=rounds, absent=absent))
    return rows


def _within(products: Callable[[], Any], call: Callable[[], None]) -> Callable[[], None]:
    def wrapped() -> None:
        with products():
            call()

    return wrapped


def _arms(reduced: Callable[[], Any] | None) -> dict[str, Callable[[], Any]]:
    return {"twofold": contextlib.nullcontext} | ({"twofold, reduced products": reduced} if reduced else {})


def _reduced() -> Callable[[], Any] | None:
    try:
        from twofold.contrast.products import reduced
    except ImportError:
        return None
    return reduced


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def main() -> None:
    """Measure, print and write."""
    made = parser(__doc__, "graph")
    made.add_argument("--data", type=Path, help="folder with planetoid/Cora/raw")
    arguments = made.parse_args()
    start(arguments)
    torch.manual_seed(0)
    reduced = _reduced()
    rows = large(10_000, reduced) if arguments.quick else large(NODES, None)  # first: the process's peak is asked for
    rows += cora_rows(arguments.data, reduced, quick=arguments.quick)
    notes = ["The peak of memory is that of the whole process, in which nothing else was done before."]
    if reduced is None:
        notes.append("This version has no reduced products.")
    peers = ["torch_geometric"] if _is_there("torch_geometric") else []
    write(arguments, title="GRACE on graphs", numbers=[9], rows=rows, peers=peers, notes=notes)


if __name__ == "__main__":
    main()
