"""LightGCN and LightGCL: rows passed along the graph of users and items, and training steps, beside what is usual.

    python benchmarks/speed/interactions.py --data DATA

DATA holds ``ml-100k/ml-100k.inter`` (100,000 interactions of 943 users with 1,682 items; the package recbole on PyPI
carries it; GroupLens, for research). Without it a graph of its size is generated. The second graph is generated: 30,000
users, 40,000 items, 1,000,000 interactions, both sides drawn by a power law.

**Propagation**: one product of the normalized adjacency and 64 numbers a node, forward and backward; the matrix is made
beforehand for everybody. torch's is the product of a COO matrix, as LightGCN's code and RecBole have it; LGConv is that
of PyTorch Geometric on ``edge_index`` with weights that are normalized already (its LightGCN normalizes them in each
layer of each step).

**Steps of lightgcn**: 2,048 interactions with a negative each, vectors 64 wide, 3 layers, Adam. On ml-100k as many as
make an epoch of RecBole, on the large graph a few. Ours is the recipe as a user would start it, with its trainer: the
drawing of interactions, the check of losses and gradients and the clipping of gradients are timed too. So are the
building of the networks and one measurement of the embedding's health, which costs as much as a step: a run of
RecBole's usual length does that every 300 steps, so here, and most on the large graph with its few steps, it counts too
much. RecBole 1.2 is run by its own trainer, without evaluation, with its defaults but for the size of batches. It was
written for numpy 1 and an older scipy: three names that numpy 2 has dropped and one method of scipy's dictionary
matrices are given back to it below. Both read all interactions.

**Steps of lightgcl**: the same with 2 layers, a graph of rank 5, and a contrast of 512 users and items with all.
RecBole has no LightGCL. "Plain torch" is the method written as the authors' released code is: COO products, all layers
kept, dense matrices of nodes in the batch and all nodes. Its negatives are drawn without a look at what a user chose.

About four minutes on two cores.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Row, Target, parser, race, start, write
from steps import first_steps
from torch import Tensor, nn
from torch.nn import functional as F

from twofold import modalities
from twofold.modalities.interactions.data import Interactions
from twofold.modalities.interactions.graph import Bipartite, low_rank

USERS, ITEMS, COUNT = 30_000, 40_000, 1_000_000
ML_100K = (943, 1682, 100_000)
WIDTH, BATCH, NODES, LR = 64, 2048, 512, 1e-3
RANK, TEMPERATURE, WEIGHT, L2, CLAMP = 5, 0.2, 0.2, 1e-7, 5.0
STEPS_OF_A_RUN = 12_000
"""RecBole's 300 epochs on ml-100k: how long the run is whose first steps are measured."""


def power_law(users: int, items: int, count: int) -> Interactions:
    """Interactions of users and items that are drawn by a power law, each once."""
    draw = torch.Generator().manual_seed(0)
    side = [torch.arange(1, size + 1, dtype=torch.float64) ** -power for size, power in ((users, 0.6), (items, 0.9))]
    keys = torch.arange(max(users, items)).clamp(max=users - 1) * items + torch.arange(max(users, items)) % items
    while len(keys) < count:  # it begins with one of each, so that no user or item is without
        user, item = (torch.multinomial(weight, count, replacement=True, generator=draw) for weight in side)
        keys = torch.cat([keys, user * items + item])
        first = np.sort(np.unique(keys.numpy(), return_index=True)[1])
        keys = keys[torch.from_numpy(first)]
    keys = keys[:count]
    user_names, item_names = ([str(i) for i in range(size)] for size in (users, items))
    empty = torch.zeros(2, 0, dtype=torch.int64)
    return Interactions(user_names, item_names, torch.stack([keys // items, keys % items]), empty, facts={}, skipped={})


def sets(folder: Path | None, *, quick: bool) -> Iterator[tuple[str, Any, int]]:
    """Name, data and measured steps."""
    path = None if folder is None else folder / "ml-100k" / "ml-100k.inter"
    if path is not None and path.is_file():
        dataset: Any = modalities.get("interactions").read(str(path), split="all")
        name = "ml-100k"
    else:
        dataset, name = power_law(*ML_100K), "generated, as large as ml-100k"
    yield name, dataset, 10 if quick else -(-dataset.graph.edges.shape[1] // BATCH)
    if not quick:
        yield "generated, 30,000 x 40,000", power_law(USERS, ITEMS, COUNT), 6


def usual_matrix(graph: Bipartite) -> Tensor:
    """The normalized adjacency as COO."""
    return graph.matrix.to_sparse_coo().coalesce()


def propagation(name: str, graph: Bipartite, rounds: int) -> Row:
    """One layer, forward and backward."""
    table = torch.randn(graph.users + graph.items, WIDTH, requires_grad=True)
    upstream, matrix = torch.randn_like(table), usual_matrix(graph)

    def of(layer: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def call() -> None:
            table.grad = None
            layer(table).backward(upstream)

        return call

    arms = {"twofold": of(graph.propagate), "torch COO": of(lambda rows: torch.sparse.mm(matrix, rows))}
    absent = {}
    if _is_there("torch_geometric"):
        from torch_geometric.nn import LGConv

        conv, edges, weight = LGConv(normalize=False), matrix.indices().flip(0), matrix.values()
        arms["PyG LGConv"] = of(lambda rows: conv(rows, edges, weight))
    else:
        absent["PyG LGConv"] = "torch_geometric is not installed"
    case = {"work": "propagation, forward and backward", "data": name, "width": WIDTH, "nodes": len(table)}
    targets = [Target("torch COO", at_least=10.0), Target("PyG LGConv", at_least=20.0)]
    return race(case, arms, rounds=rounds, absent=absent, targets=targets)


def ours(recipe: str, dataset: Any, steps: int) -> Callable[[], None]:
    """Steps of a recipe."""
    epochs = -(-STEPS_OF_A_RUN // max(1, len(dataset) // NODES))
    training = {"lr": LR, "batch_size": NODES, "epochs": epochs}
    return first_steps(recipe, dataset, steps, options={}, training=training)


@contextlib.contextmanager
def older_libraries() -> Iterator[None]:
    """What RecBole 1.2 asks of numpy and scipy and newer ones do not have."""
    import scipy.sparse

    for name, kind in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
        if not hasattr(np, name):
            setattr(np, name, kind)
    if not hasattr(scipy.sparse.dok_matrix, "_update"):
        scipy.sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)
    arguments, sys.argv = sys.argv, sys.argv[:1]  # which RecBole would read
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.argv = arguments


class Part:
    """The first batches of a loader, anew each time."""

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps = loader, steps

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.loader), self.steps)


def recbole(dataset: Any, steps: int, folder: Path) -> Callable[[], None]:
    """Steps of RecBole's LightGCN."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender.lightgcn import LightGCN
    from recbole.trainer import Trainer

    (folder / "set").mkdir()
    lines = [f"{user}\t{item}" for user, item in dataset.graph.edges.T.tolist()]
    (folder / "set" / "set.inter").write_text("\n".join(["user_id:token\titem_id:token", *lines]) + "\n")
    options = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "use_gpu": False,
        "train_batch_size": BATCH,
        "embedding_size": WIDTH,
        "n_layers": 3,
        "load_col": {"inter": ["user_id", "item_id"]},
        "eval_args": {"split": {"RS": [0.998, 0.001, 0.001]}, "order": "RO", "group_by": None, "mode": "full"},
    }
    with contextlib.chdir(folder):  # it writes logs where it stands
        config = Config(model="LightGCN", dataset="set", config_dict=options)
        loader, _, _ = data_preparation(config, create_dataset(config))
        trainer = Trainer(config, LightGCN(config, loader.dataset))

    def call() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer._train_epoch(Part(loader, steps), 0)

    return call


def lightgcn(name: str, dataset: Any, steps: int, rounds: int) -> Row:
    """Steps of lightgcn beside RecBole."""
    case = {"work": f"{steps} steps of lightgcn", "data": name, "batch": BATCH, "layers": 3}
    arms, absent = {"twofold": ours("lightgcn", dataset, steps)}, {}
    targets = [Target("RecBole", at_least=3.0)]
    if not _is_there("recbole"):
        absent["RecBole"] = "recbole is not installed"
        return race(case, arms, rounds=rounds, absent=absent, targets=targets)
    with older_libraries(), tempfile.TemporaryDirectory() as folder:
        try:
            arms["RecBole"] = recbole(dataset, steps, Path(folder))
        except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:  # older than its libraries
            absent["RecBole"] = f"{type(error).__name__}: {error}"
        return race(case, arms, rounds=rounds, absent=absent, targets=targets)


class PlainLightGCL(nn.Module):
    """LightGCL as its released code computes it."""

    def __init__(self, graph: Bipartite) -> None:
        super().__init__()
        self.graph = graph
        whole = usual_matrix(graph)
        above = whole.indices()[0] < graph.users
        edges = whole.indices()[:, above] - torch.tensor([[0], [graph.users]])
        shape = (graph.users, graph.items)
        self.matrix = torch.sparse_coo_tensor(edges, whole.values()[above], shape, check_invariants=True).coalesce()
        self.turned = self.matrix.transpose(0, 1).coalesce()
        reduced = low_rank(graph, RANK)
        self.left, self.right = reduced.left, reduced.right
        self.users = nn.Parameter(torch.randn(graph.users, WIDTH) / 10)
        self.items = nn.Parameter(torch.randn(graph.items, WIDTH) / 10)

    def forward(self) -> Tensor:
        """The loss of a batch."""
        user: list[Tensor] = [self.users]
        item: list[Tensor] = [self.items]
        around_user, around_item = list(user), list(item)
        for _ in range(2):
            around_user.append(self.left @ (self.right.T @ item[-1]))
            around_item.append(self.right @ (self.left.T @ user[-1]))
            above = torch.sparse.mm(self.matrix, item[-1])
            item.append(torch.sparse.mm(self.turned, user[-1]))
            user.append(above)
        all_users, all_items = summed(user), summed(item)
        chosen = self.graph.edges[:, torch.randint(self.graph.edges.shape[1], (BATCH,))]
        who, what = all_users[chosen[0]], all_items[chosen[1]]
        other = all_items[torch.randint(self.graph.items, (BATCH,))]
        ranking = F.softplus((who * other).sum(1) - (who * what).sum(1)).mean()
        nodes = torch.randint(self.graph.users + self.graph.items, (NODES,))
        are_users = nodes < self.graph.users
        contrast = one_kind(summed(around_user), all_users, nodes[are_users])
        contrast = contrast + one_kind(summed(around_item), all_items, nodes[~are_users] - self.graph.users)
        decay = self.users.norm(2).square() + self.items.norm(2).square()
        return ranking + WEIGHT * contrast + L2 * decay


def summed(layers: list[Tensor]) -> Tensor:
    """Their sum, as one addition after the other."""
    total = layers[0]
    for layer in layers[1:]:
        total = total + layer
    return total


def one_kind(around: Tensor, everyone: Tensor, nodes: Tensor) -> Tensor:
    """The contrast of some nodes with all of their kind."""
    anchors = around[nodes]
    repulsion = torch.log(torch.exp(anchors @ everyone.T / TEMPERATURE).sum(1) + 1e-8).mean()
    attraction = ((anchors * everyone[nodes]).sum(1) / TEMPERATURE).clamp(-CLAMP, CLAMP).mean()
    return repulsion - attraction


def lightgcl(name: str, dataset: Any, steps: int, rounds: int) -> Row:
    """Steps of lightgcl beside plain torch."""
    network = PlainLightGCL(dataset.graph)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)

    def plain() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            network().backward()
            optimizer.step()

    case = {"work": f"{steps} steps of lightgcl", "data": name, "batch": BATCH, "layers": 2}
    arms = {"twofold": ours("lightgcl", dataset, steps), "plain torch": plain}
    return race(
        case, arms, rounds=rounds, absent={"RecBole": "has no LightGCL"}, targets=[Target("plain torch", at_least=3.0)]
    )


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def main() -> None:
    """Measure, print and write."""
    made = parser(__doc__, "interactions")
    made.add_argument("--data", type=Path, help="folder with ml-100k/ml-100k.inter")
    arguments = made.parse_args()
    start(arguments)
    torch.manual_seed(0)
    rows = []
    for name, dataset, steps in sets(arguments.data, quick=arguments.quick):
        is_large = len(dataset) > 10_000
        rows.append(propagation(name, dataset.graph, 2 if arguments.quick else 5))
        rounds = 2 if arguments.quick or is_large else 5
        rows.append(lightgcn(name, dataset, steps, rounds))
        rows.append(lightgcl(name, dataset, steps, rounds))
    peers = [dist for dist in ("torch_geometric", "recbole", "scipy") if _is_there(dist)]
    notes = ["RecBole runs on numpy and scipy that are newer than it, with four names given back to it."]
    write(arguments, title="Recommendation on graphs", numbers=[10], rows=rows, peers=peers, notes=notes)


if __name__ == "__main__":
    main()
