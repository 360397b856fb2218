"""The evaluation of whole graphs in ten folds: given ones beside a text file, or stratified ones."""

import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.modalities.graph import MODALITY, data
from twofold.modalities.graph.graph_tasks import given_folds


@pytest.fixture
def file(tmp_path):
    """Forty rings, every second one with a chord, and four folds of them; two rings are in none."""
    lines = ["40"]
    for i in range(40):
        n = 5 + i % 3
        lines.append(f"{n} {i % 2}")
        for k in range(n):
            neighbours = {(k - 1) % n, (k + 1) % n} | ({2} if i % 2 and k == 0 else {0} if i % 2 and k == 2 else set())
            lines.append(f"{k % 2} {len(neighbours)} {' '.join(map(str, sorted(neighbours)))}")
    path = tmp_path / "rings.txt"
    path.write_text("\n".join(lines) + "\n")
    folds = tmp_path / "10fold_idx"
    folds.mkdir()
    for k in range(4):
        test = [i for i in range(38) if i % 4 == k]
        (folds / f"test_idx-{k + 1}.txt").write_text("\n".join(map(str, test)) + "\n")
        train = [i for i in range(38) if i % 4 != k]
        (folds / f"train_idx-{k + 1}.txt").write_text("\n".join(map(str, train)) + "\n")
    return path


def test_given_folds_are_taken(file):
    dataset = data.read(file)
    folds = given_folds(str(file), dataset)
    assert [len(test) for _, test in folds] == [10, 10, 9, 9]
    assert torch.equal(folds[2][1], torch.arange(2, 38, 4))
    task = MODALITY.task(file, dataset.spec)
    assert task.name == "folds"
    assert task.protocol["split"] == "4 folds that the data brings"
    found = task.measure({"graphs": torch.nn.functional.one_hot(dataset.labels).float()})["accuracy"]
    assert found.value == 1
    assert found.n == 38
    noise = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert task.measure({"graphs": noise})["accuracy"].value < 0.8


def test_without_training_parts_all_others_are_learned_from(file):
    for path in file.parent.glob("10fold_idx/train_idx-*.txt"):
        path.unlink()
    folds = given_folds(file, data.read(file))
    assert all(len(train) + len(test) == 40 for train, test in folds)


def test_stratified_folds_otherwise(file, tmp_path):
    moved = tmp_path / "alone" / "rings.txt"
    moved.parent.mkdir()
    moved.write_text(file.read_text())
    dataset = data.read(moved)
    task = MODALITY.task(moved, dataset.spec)
    assert task.protocol["split"] == "10 folds stratified by class, seed 0"
    assert task.chance == {"accuracy": 0.5}
    assert given_folds(dataset, dataset) is None


def test_few_graphs_have_the_standard_protocol(file):
    dataset = data.read(file)
    dataset.labels = torch.where(torch.arange(40) < 25, dataset.labels, -1)
    dataset.labels[dataset.labels == 1] = torch.where(torch.arange(12) < 4, 1, -1)
    assert MODALITY.task(dataset, dataset.spec) is None
    with pytest.raises(DataError, match="10 folds need 10 labelled items of every class"):
        MODALITY.task(dataset, dataset.spec, name="folds")
    with pytest.raises(ConfigError, match="no task 'links' for whole graphs; there are: folds"):
        MODALITY.task(dataset, dataset.spec, name="links")
    assert MODALITY.task(file, dataset.spec, test=file) is None


def test_broken_folds(file):
    first = file.parent / "10fold_idx" / "test_idx-1.txt"
    first.write_text("0\n40\n")
    with pytest.raises(DataError, match=r"test_idx-1\.txt: 1 of its entries are no numbers of graphs, such as '40'"):
        given_folds(file, data.read(file))
    first.write_text("0\n1\n")
    with pytest.raises(DataError, match=r"some of its graphs stand in train_idx-1\.txt too"):
        given_folds(file, data.read(file))
