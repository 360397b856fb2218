"""Reading graphs: every source gives the same graph, and every fault a message that names it."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from twofold.errors import ConfigError, DataError
from twofold.modalities.graph import MODALITY, data
from twofold.modalities.graph.links import hold_out
from twofold.modalities.graph.tidying import tidied

X = np.array([[1, 3], [0, 2], [0, 0], [5, 5]], dtype=np.float32)
EDGES = np.array([[0, 1, 2], [1, 2, 3]])
Y = np.array([0, 1, 1, 0])
BOTH_WAYS = {(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)}


def pairs(graph):
    return {tuple(edge) for edge in graph.edge_index.T.tolist()}


def a_data(**more):
    return Data(x=torch.from_numpy(X), edge_index=torch.from_numpy(EDGES), y=torch.from_numpy(Y), **more)


def masks():
    part = torch.tensor([0, 1, 2, 2])
    return {f"{name}_mask": part == i for i, name in enumerate(("train", "val", "test"))}


def as_data(folder):
    return a_data(**masks())


def as_npz(folder):
    parts = {name: mask.numpy() for name, mask in masks().items()}
    np.savez(folder / "g.npz", x=X, edge_index=EDGES, y=Y, **parts)
    return folder / "g.npz"


def as_tables(folder):
    (folder / "edges.csv").write_text("source,target\na,b\nb,c\nc,d\n")
    rows = ["id,label,split,f1,f2", "a,0,train,1,3", "b,1,valid,0,2", "c,1,test,0,0", "d,0,test,5,5"]
    (folder / "nodes.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("make", [as_data, as_npz, as_tables])
def test_every_source_gives_the_same_graph(make, tmp_path):
    dataset = data.read(make(tmp_path))
    assert pairs(dataset.graph) == BOTH_WAYS
    assert dataset.graph.x.tolist() == [[0.25, 0.75], [0, 1], [0, 0], [0.5, 0.5]]  # rows sum to 1
    assert dataset.labels.tolist() == [0, 1, 1, 0]
    split = dataset.splits[0]
    assert [part.nonzero().flatten().tolist() for part in (split.train, split.val, split.test)] == [[0], [1], [2, 3]]
    batch = dataset.fetch(torch.tensor([3, 1]))
    assert batch["inputs"].targets.tolist() == [3, 1] == batch["index"].tolist()
    assert batch["label"].tolist() == [0, 1]
    assert dataset.spec["features"] == 2
    assert "4 nodes" in data.summary(dataset)
    assert "1 / 1 / 2" in data.summary(dataset)


def test_sparse_matrices_in_pieces_are_read_as_the_amazon_sets_have_them(tmp_path):
    from scipy.sparse import csr_matrix

    adjacency = csr_matrix((np.ones(3), (EDGES[0], EDGES[1])), shape=(4, 4))
    features = csr_matrix(X)
    parts = {}
    for name, matrix in (("adj", adjacency), ("attr", features)):
        parts |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        parts[f"{name}_shape"] = np.array(matrix.shape)
    np.savez(tmp_path / "g.npz", labels=Y, **parts)
    dataset = data.read(tmp_path / "g.npz", normalize="none")
    assert pairs(dataset.graph) == BOTH_WAYS
    assert dataset.graph.x.tolist() == X.tolist()
    parts["adj_indptr"] = np.array([0, 2, 1, 3, 3])
    np.savez(tmp_path / "g.npz", labels=Y, **parts)
    with pytest.raises(DataError, match="adj_indptr does not fit"):
        data.read(tmp_path / "g.npz")


def test_graphs_as_samples(tmp_path):
    graphs = [Data(x=torch.rand(n, 2), edge_index=torch.tensor([[0], [1]]), y=torch.tensor([n % 2])) for n in (2, 3, 4)]
    dataset = data.read(graphs)
    assert dataset.spec["level"] == "graph"
    assert dataset.labels.tolist() == [0, 1, 0]
    batch = dataset.fetch(torch.tensor([2, 0]))
    assert batch["inputs"].ptr.tolist() == [0, 4, 6]
    assert batch["label"].tolist() == [0, 0]
    graphs[1].edge_index = torch.tensor([[0], [7]])
    dataset = data.read(graphs)
    assert list(dataset.skipped) == ["1"]
    assert "name nodes that do not exist" in dataset.skipped["1"]
    graphs[0].edge_index = graphs[2].edge_index = torch.tensor([[0], [9]])
    with pytest.raises(DataError, match="3 of 3 graphs cannot be read"):
        data.read(graphs)


def test_a_text_file_of_graphs(tmp_path):
    path = tmp_path / "toy.txt"
    path.write_text("2\n3 1\n0 1 1\n2 2 0 2\n0 1 1\n2 -1\n2 1 1\n0 1 0\n")
    dataset = data.read(path)
    assert len(dataset) == 2
    assert dataset.class_names is None or len(dataset.class_names) == 2
    assert dataset.graphs[0].x.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert pairs(dataset.graphs[0]) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    path.write_text("2\n3 1\n0 1 1\n2 2 0 2\n0 1 1\n")
    with pytest.raises(DataError, match="cut off"):
        data.read(path)
    path.write_text("1\n1 1\n0 3 1\n")
    with pytest.raises(DataError, match="line 3"):
        data.read(path)


def test_without_features_the_degrees_stand_for_them(tmp_path):
    (tmp_path / "edges.csv").write_text("u,v\n0,1\n0,2\n0,10\n")
    dataset = data.read(tmp_path / "edges.csv")
    assert dataset.ids == ["0", "1", "2", "10"]
    assert dataset.graph.x.argmax(1).tolist() == [3, 1, 1, 1]
    assert dataset.spec["degrees"] == 3
    assert data.read(tmp_path / "edges.csv", degrees=2).graph.x.argmax(1).tolist() == [2, 1, 1, 1]
    with pytest.raises(DataError, match="degrees=0"):
        data.read(tmp_path / "edges.csv", degrees=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edge_index": torch.tensor([[0, 1], [1, 4]])}, r"1 of 2 edges name nodes that do not exist, such as 1-4"),
        ({"edge_index": torch.tensor([[0, -1], [1, 2]])}, r"such as -1-2"),
        ({"edge_index": torch.tensor([[0.0, 0.5], [1, 2]])}, r"whole numbers; 1 edge \(1\)"),
        ({"edge_index": torch.tensor([[0, 1], [1, 2], [2, 3]])}, r"shape \(3, 2\); it must be \(2, edges\); transpose"),
        ({"edge_index": None}, "no edge_index"),
        ({"x": torch.tensor([[1.0], [torch.nan], [2.0], [torch.inf]])}, r"2 rows \(1, 3\) are NaN or infinite"),
        ({"x": torch.rand(4, 2, 2)}, r"features must be \(nodes, features\)"),
        ({"y": torch.tensor([0, 1, 1])}, "3 for 4 samples"),
        ({"train_mask": torch.ones(3, dtype=torch.bool)} | {"test_mask": torch.ones(4).bool()}, "3,.* for 4 nodes"),
        ({"train_mask": torch.ones(4).bool(), "test_mask": torch.ones(4).bool()}, "overlap"),
        ({"edge_weight": torch.ones(2)}, "2 edge weights for 3 edges"),
        ({"edge_weight": torch.tensor([1.0, -1.0, 1.0])}, r"1 edge \(1\)"),
    ],
)
def test_faults_of_a_graph_are_named(change, message):
    graph = a_data()
    for name, value in change.items():
        graph[name] = value
    with pytest.raises(DataError, match=message):
        data.read(graph)


@pytest.mark.parametrize(
    ("edges", "nodes", "message"),
    [
        ("source,target\na,b\nb,z\n", "id,f\na,1\nb,2\n", "row 1 names 'z'"),
        ("source,target\na,b\n", "id,f\na,1\na,2\nb,1\n", "'a' has more than one row"),
        ("source,target\na,b\n", "id,f\na,1\nb,\n", r"1 row \(1\) is NaN"),
        ("source,target\na,b\n", "id,f\na,1\nb,red\n", "column 'f' holds string"),
        ("source,target\na,b\nb,\n", "id,f\na,1\nb,2\n", "column 'target' is empty in 1 row"),
        ("only\na\n", "id,f\na,1\n", "two columns"),
        ("source,target\na,b\n", "id,split,f\na,train,1\nb,test,2\nc,training,2\n", None),
    ],
)
def test_faults_of_tables_are_named(edges, nodes, message, tmp_path):
    (tmp_path / "edges.csv").write_text(edges)
    (tmp_path / "nodes.csv").write_text(nodes)
    if message is None:
        assert int(data.read(tmp_path).splits[0].train.sum()) == 2
        return
    with pytest.raises(DataError, match=message):
        data.read(tmp_path)


def test_what_is_no_graph_is_refused(tmp_path):
    (tmp_path / "graph.pt").write_bytes(b"anything")
    with pytest.raises(DataError, match="can run any code"):
        data.read(tmp_path / "graph.pt")
    with pytest.raises(DataError, match="no table of edges"):
        data.read(tmp_path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "ind.cora.graph").write_bytes(b"")
    with pytest.raises(DataError, match="planetoid:Cora with root="):
        data.read(tmp_path)
    with pytest.raises(DataError, match="did you mean"):
        data.read("planetoid:Coro", root=str(tmp_path))
    with pytest.raises(DataError, match="cannot read graphs from a int"):
        data.read(3)
    with pytest.raises(DataError, match="empty list"):
        data.read([])
    with pytest.raises(ConfigError, match="is one graph"):
        data.read(a_data(), level="graph")
    with pytest.raises(ConfigError, match="some are negative"):
        data.read((-X, EDGES), normalize="rows")
    with pytest.raises(DataError, match="does not exist"):
        data.read(tmp_path / "nowhere.npz")


def test_loops_and_repetitions_go_and_are_told():
    graph = data.read((X, np.array([[0, 0, 0, 1, 1], [1, 1, 0, 0, 2]])))
    assert pairs(graph.graph) == {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert graph.graph.edges == 4
    text = data.summary(graph)
    assert "1 edges from a node to itself" in text
    assert "1 edges are repeated" in text
    assert "1 edges go one way only" in text
    one_way = data.read((X, EDGES), undirected=False)
    assert pairs(one_way.graph) == {(0, 1), (1, 2), (2, 3)}


def test_weights_follow_their_edges():
    weighted = a_data(edge_weight=torch.tensor([1.0, 2.0, 3.0]))
    graph = data.read(weighted).graph
    found = {tuple(edge): float(w) for edge, w in zip(graph.edge_index.T.tolist(), graph.edge_weight, strict=True)}
    assert found == {(0, 1): 1, (1, 0): 1, (1, 2): 2, (2, 1): 2, (2, 3): 3, (3, 2): 3}


def test_tidying_twice_is_tidying_once():
    draw = torch.Generator().manual_seed(0)
    graph = data.read((torch.rand(9, 2, generator=draw).numpy(), torch.randint(9, (2, 40), generator=draw).numpy()))
    again, notes = tidied(graph.graph, undirected=True)
    assert torch.equal(again.edge_index, graph.graph.edge_index)
    assert notes == []


def test_negative_features_are_scaled_by_columns_in_the_encoder():
    dataset = data.read((X - 2, EDGES))
    assert dataset.spec["normalize"] == "columns"
    encoder = MODALITY.make_encoder("gcn-w4", dataset.spec, rebuild={})
    scaled = encoder.normalized(dataset.graph.x)
    assert torch.allclose(scaled.mean(0), torch.zeros(2), atol=1e-6)
    assert torch.allclose(scaled.std(0, correction=0), torch.ones(2), atol=1e-6)
    views = MODALITY.make_views("grace", dataset.spec, preferred="grace", count=2)
    masked = views.views[0].steps[1]
    assert masked.fill == pytest.approx((X - 2).mean(0).tolist())


def test_labels_that_are_no_classes_are_left_out_and_told():
    several = data.read(a_data(), normalize="none")
    assert several.labels is not None
    for y in (torch.rand(4), torch.ones(4, 3)):
        graph = a_data()
        graph.y = y
        dataset = data.read(graph)
        assert dataset.labels is None
        assert "left out" in data.summary(dataset)


def test_several_splits_are_kept():
    many = {name: mask[:, None].expand(4, 3).clone() for name, mask in masks().items()}
    assert len(data.read(a_data(**many)).splits) == 3


@pytest.fixture(scope="module")
def grid():
    """A torus of 20 x 20 nodes."""
    place = torch.arange(400).reshape(20, 20)
    edges = [torch.stack([place.flatten(), place.roll(-1, d).flatten()]) for d in (0, 1)]
    return torch.eye(400)[:, :8].numpy(), torch.cat(edges, 1).numpy()


def test_edges_are_held_out_in_both_directions_and_always_the_same(grid):
    whole = data.read(grid)
    part = data.read(grid, held_out=0.25)
    held = part.held_out
    assert held.positives.shape == held.negatives.shape == (2, 200)
    assert part.graph.edges == whole.graph.edges - 400
    taken, kept, all_pairs = (pairs_of(p) for p in (held.positives, part.graph.edge_index, whole.graph.edge_index))
    assert not taken & kept
    assert taken | kept == all_pairs
    without = pairs_of(held.negatives)
    assert len(without) == 200
    assert not without & all_pairs
    again, other = data.read(grid, held_out=0.25), data.read(grid, held_out=0.25, held_out_seed=1)
    assert torch.equal(again.held_out.positives, held.positives)
    assert not torch.equal(other.held_out.positives, held.positives)
    assert data.read(grid, **MODALITY.reading_for(part.spec)).held_out.positives.equal(held.positives)


def pairs_of(edges):
    return {tuple(sorted(edge)) for edge in edges.T.tolist()}


def test_holding_out_what_cannot_be_is_refused(grid):
    with pytest.raises(ConfigError, match="some edges must be left"):
        data.read(grid, held_out=1.0)
    with pytest.raises(DataError, match="it must be some, and not all"):
        data.read((X, EDGES), held_out=0.01)
    full = data.read((X, np.array([[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]]))).graph
    with pytest.raises(DataError, match="so dense"):
        hold_out(full, share=0.3, seed=0, where="it")


def test_reading_twice_hands_the_data_back():
    dataset = data.read(a_data())
    assert data.read(dataset) is dataset
