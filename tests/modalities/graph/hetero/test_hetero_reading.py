"""Heterogeneous graphs from HeteroData and from folders: the same graph, and what is wrong with others."""

import numpy as np
import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.modalities.graph import MODALITY, hetero
from twofold.modalities.graph.hetero import data


def test_what_is_read_of_a_hetero_data(source):
    dataset = MODALITY.read(source)
    spec = dataset.spec
    assert (spec["level"], spec["target"], spec["samples"], len(dataset)) == ("hetero", "paper", 36, 36)
    assert {kind: form["features"] for kind, form in spec["types"].items()} == {"paper": 12, "author": 5, "subject": 0}
    assert [form["normalize"] for form in spec["types"].values()] == ["rows", "columns", "none"]
    assert spec["metapaths"] == {
        "paper-author-paper": ["paper", "author", "paper"],
        "paper-subject-paper": ["paper", "subject", "paper"],
    }
    assert set(spec["neighbours"]) == {"author", "subject"}
    x = dataset.graph.x["paper"]
    torch.testing.assert_close(x.sum(1), (source["paper"].x.sum(1) > 0).float())
    batch = dataset.fetch(torch.tensor([7, 2]))
    assert torch.equal(batch["inputs"].numbers, torch.tensor([7, 2]))
    assert torch.equal(batch["label"], source["paper"].y[[7, 2]])
    assert "36 paper" in MODALITY.describe(dataset)
    assert "3 classes; 12 nodes a class" in MODALITY.describe(dataset)


def test_a_folder_holds_the_same_graph(source, folder):
    first, second = hetero.read(source), hetero.read(folder)
    assert torch.equal(first.labels, second.labels)
    for a, b in zip(first.graph.paths.values(), second.graph.paths.values(), strict=True):
        assert torch.equal(a.starts, b.starts)
        assert torch.equal(a.partners, b.partners)
        assert torch.equal(a.counts, b.counts)
    torch.testing.assert_close(first.graph.x["paper"], second.graph.x["p"])
    torch.testing.assert_close(first.graph.x["author"], second.graph.x["a"])
    assert list(second.splits) == ["20"]
    assert torch.equal(second.splits["20"].test, first.splits[""].test)


def test_a_matrix_of_a_meta_path_is_read_where_no_links_give_it(folder, source):
    from scipy import sparse

    links = source["paper", "subject"].edge_index[1]
    same = (links[:, None] == links[None]).numpy()
    sparse.save_npz(folder / "ptp.npz", sparse.csr_matrix(same))
    sparse.save_npz(folder / "psp.npz", sparse.csr_matrix(same))
    dataset = hetero.read(folder)
    assert dataset.spec["metapaths"] == {"p-s-p": ["p", "s", "p"], "ptp": []}
    given, counted = dataset.graph.paths["ptp"], dataset.graph.paths["p-s-p"]
    assert torch.equal(given.partners, counted.partners)


def test_chosen_meta_paths_target_and_nearest_pairs(source):
    dataset = MODALITY.read(source, metapaths="paper-author-paper, paper-subject-paper", nearest=2)
    assert dataset.spec["nearest"] == 2
    widest = max(int(path.starts.diff().max()) for path in hetero.read(source).graph.paths.values())
    assert int(dataset.graph.paths["paper-subject-paper"].starts.diff().max()) < widest
    other = MODALITY.read(source, target="author")
    assert other.labels is None
    assert list(other.spec["metapaths"]) == ["author-paper-author"]
    again = MODALITY.read(source, **MODALITY.reading_for(dataset.spec))
    assert again.spec == dataset.spec


def test_links_of_a_type_with_itself_are_meta_paths(source):
    source["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1, 1], [1, 2, 2]])
    dataset = hetero.read(source)
    assert dataset.spec["metapaths"] == {"cites": []}
    path = dataset.graph.paths["cites"]
    dense = torch.zeros(36, 36)
    dense[path.owners, path.partners] = path.counts
    assert torch.equal(dense, dense.T)
    assert torch.equal(dense.diagonal(), torch.ones(36))
    assert int(dense.sum()) == 36 + 4
    with pytest.raises(DataError, match="another heterogeneous graph: metapaths"):
        hetero.HETERO.check_fits(dataset, hetero.read(source, metapaths="paper-author-paper").spec)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda s: s["author", "paper"].edge_index[0].fill_(99),
            DataError,
            "nodes 99 to 99 of author, and there are 24",
        ),
        (lambda s: s["paper"].x[3].fill_(torch.nan), DataError, r"x of paper: 1 row \(3\) is NaN"),
        (lambda s: s["subject"].pop("num_nodes"), DataError, "how many nodes of subject there are is not said"),
        (lambda s: s["paper"].pop("y"), DataError, "which type's nodes are the samples"),
        (lambda s: s["author", "paper"].pop("edge_index"), DataError, "author-writes-paper has no edge_index"),
    ],
)
def test_what_is_wrong_with_a_graph(source, change, error, message):
    change(source)
    with pytest.raises(error, match=message):
        hetero.read(source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "papers"}, "has no such type; it has paper, author, subject"),
        (
            {"metapaths": "paper-venue-paper"},
            "must be a chain of types from paper to paper, such as paper-author-paper",
        ),
        ({"metapaths": "author-paper-author"}, "must be a chain of types from paper to paper"),
        ({"normalize": "rows"}, "some of author in the graph are negative"),
    ],
)
def test_what_cannot_be_asked_for(source, options, message):
    with pytest.raises(ConfigError, match=message):
        hetero.read(source, **options)


def test_types_that_are_not_linked(source):
    with pytest.raises(DataError, match="author and subject are not linked; linked are: author-paper, paper-subject"):
        hetero.read(source, metapaths="paper-author-subject-paper")


def test_damaged_folders(folder):
    (folder / "pa.txt").write_text("0 1\n2 x\n")
    with pytest.raises(DataError, match=r"pa\.txt, line 2: '2 x' are not two numbers"):
        hetero.read(folder)
    (folder / "pa.txt").write_text("0 99\n")
    with pytest.raises(DataError, match=r"pa\.txt: its edges name nodes 99 to 99 of a"):
        hetero.read(folder)


def test_python_objects_and_wrong_positions_are_refused(folder):
    np.save(folder / "train_20.npy", np.array([0, 77]))
    with pytest.raises(DataError, match=r"train_20\.npy: it must hold positions of nodes, whole numbers from 0 to 35"):
        hetero.read(folder)
    np.save(folder / "labels.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        hetero.read(folder)


def test_a_matrix_that_lies_about_its_shape(folder):
    arrays = dict(np.load(folder / "p_feat.npz"))
    arrays["shape"] = np.array([2, 2])
    np.savez(folder / "p_feat.npz", **arrays)
    with pytest.raises(DataError, match=r"p_feat\.npz: its entries lie outside of the shape"):
        hetero.read(folder)
    arrays["shape"] = np.array([2**40, 2**20])
    np.savez(folder / "p_feat.npz", **arrays)
    with pytest.raises(DataError, match="of memory"):
        hetero.read(folder)


def test_what_is_no_heterogeneous_graph(tmp_path, source, folder):
    assert data.is_source(source)
    assert data.is_source(folder)
    assert not data.is_source(tmp_path)
    with pytest.raises(DataError, match="is no heterogeneous graph"):
        MODALITY.read(tmp_path, level="hetero")


def test_raw_features_and_previews(source):
    dataset = hetero.read(source)
    raw = hetero.HETERO.raw_features(dataset.fetch(torch.arange(36)), dataset.spec)
    assert torch.equal(raw, dataset.graph.x["paper"])
    bare = hetero.read(source, target="subject")
    raw = hetero.HETERO.raw_features(bare.fetch(torch.tensor([1, 0])), bare.spec)
    assert raw.shape == (2, 1)
    assert "paper 3" in hetero.HETERO.previews(dataset, torch.tensor([3]))[0]
