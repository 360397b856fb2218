"""A small heterogeneous graph with groups, which the tests of recipes use too, and the same as a folder."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "recipes"))
from hetero_source import papers


@pytest.fixture
def source():
    return papers()


def write_folder(folder, source):
    """The same graph in the form of HeCo's data sets: p, a and s."""
    from scipy import sparse

    folder.mkdir(exist_ok=True)
    np.save(folder / "labels.npy", source["paper"].y.numpy().astype(float))
    sparse.save_npz(folder / "p_feat.npz", sparse.coo_matrix(source["paper"].x.numpy()))
    np.save(folder / "a.npy", source["author"].x.numpy())
    (folder / "a.npy").rename(folder / "a_feat.npz")  # as one of the published files is
    written = source["author", "paper"].edge_index.flip(0).T.tolist()
    about = source["paper", "subject"].edge_index.T.tolist()
    for name, pairs in (("pa", written), ("ps", about)):
        (folder / f"{name}.txt").write_text("\n".join(f"{a}\t{b}" for a, b in pairs) + "\n")
    for part in ("train", "val", "test"):
        np.save(folder / f"{part}_20.npy", source["paper"][f"{part}_mask"].nonzero().flatten().numpy())
    return folder


@pytest.fixture
def folder(tmp_path, source):
    return write_folder(tmp_path / "papers", source)
