"""Fitting: option mixes, run folders that are claimed and resumed, embeddings; and that learning happens."""

from __future__ import annotations

import json
import math
import threading

import pytest
import torch

import twofold
from twofold.dataset import Subset
from twofold.errors import ConfigError, DataError
from twofold.evaluation import weighted_knn
from twofold.recipes import running
from twofold.training.progress import Progress


class Told(Progress):
    """Keeps what a run says."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_fit_takes_training_and_reading_options_mixed(digits_set, tmp_path):
    images = digits_set.images.numpy()
    recipe = twofold.SimCLR(encoder="convnet-w16")
    same = recipe.fit(images, out=tmp_path / "run", epochs=1, batch_size=64, size=8, device="cpu", workers=0)
    assert same is recipe
    assert not recipe.training
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["training"]["batch_size"] == 64
    assert config["reading"] == {"size": 8}
    assert config["source"] == ["ndarray"], "data in memory is named by its type, not printed"
    assert config["samples"] == 192
    assert config["result"]["skipped"] == {}
    assert config["result"]["seconds"] > 0


def test_names_of_sources(tmp_path):
    assert running.source_names("photos") == ["photos"]
    assert running.source_names([tmp_path, "b"]) == [str(tmp_path), "b"]
    assert running.source_names((torch.zeros(2), torch.zeros(2))) == ["tuple"]


def test_all_wrong_options_of_fit_in_one_message(digits_set):
    with pytest.raises(ConfigError) as caught:
        twofold.SimCLR().fit(digits_set, epohcs=3, lr=-1, size="big", temperature=0.1)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "Fitting SimCLR has no option 'epohcs'; did you mean 'epochs'?" in text
    assert "'temperature'" in text


def test_a_finished_run_is_not_repeated(quick_fit, make_recipe, digits_set, tmp_path):
    first, result = quick_fit("simclr", digits_set, out=tmp_path / "run", epochs=2)
    files = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    told = Told()
    second, again = quick_fit("simclr", digits_set, out=tmp_path / "run", epochs=2, progress=told)
    assert told.notes == ["Nothing to do: all 8 steps are done."]
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files
    assert again.last == result.last
    assert again.seconds == pytest.approx(result.seconds, rel=0.5)
    assert again.steps == 8
    assert torch.equal(first.embed(digits_set), second.embed(digits_set))


def test_resuming_with_other_options_is_refused_with_all_differences(quick_fit, make_recipe, digits_set, tmp_path):
    quick_fit("simclr", digits_set, out=tmp_path / "run")
    with pytest.raises(ConfigError) as caught:
        quick_fit(make_recipe("simclr", temperature=0.3), digits_set, out=tmp_path / "run", lr=0.5, workers=1)
    text = str(caught.value)
    assert "temperature is 0.1, not 0.3" in text
    assert "lr is 0.001, not 0.5" in text
    assert "workers" not in text, "what does not change the result is free"
    assert "another --out" in text
    with pytest.raises(ConfigError, match="recipe is simclr, not dcl"):
        quick_fit("dcl", digits_set, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="samples is 192, not 100"):
        quick_fit("simclr", digits_set.subset(torch.arange(100)), out=tmp_path / "run")
    own = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    with pytest.raises(ConfigError, match="own_encoder is False, not True"):
        quick_fit(make_recipe("simclr", encoder=own), digits_set, out=tmp_path / "run")


def test_folders_that_are_not_ours_are_left_alone(quick_fit, make_recipe, digits_set, tmp_path):
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("precious")
    with pytest.raises(ConfigError, match="holds other files and no run: give --out a new or empty folder"):
        quick_fit("simclr", digits_set, out=foreign)
    assert [p.name for p in foreign.iterdir()] == ["chapter.txt"]
    (foreign / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="another program's"):
        quick_fit("simclr", digits_set, out=foreign)
    with pytest.raises(ConfigError, match="holds other files"):
        quick_fit("simclr", digits_set, out=foreign / "chapter.txt")
    saved = make_recipe("simclr").build(digits_set.spec).save(tmp_path / "saved")
    with pytest.raises(ConfigError, match="holds a saved recipe and no run"):
        quick_fit("simclr", digits_set, out=saved)
    (tmp_path / "empty").mkdir()
    quick_fit("simclr", digits_set, out=tmp_path / "empty")
    assert (tmp_path / "empty" / "model.safetensors").is_file()


def test_embedding_keeps_order_and_says_which_rows_could_be_read(make_recipe, digits_set):
    class Holes(Subset):
        """Every fifth sample cannot be read."""

        def fetch(self, index):
            return super().fetch(index[index % 5 != 0])

    data = Holes(digits_set, torch.arange(30, 60))
    recipe = make_recipe("simclr").build(digits_set.spec)
    seen = []
    progress = Told()
    progress.advance = lambda count, total: seen.append((count, total))
    embedded = running.embed(recipe, data, batch_size=8, progress=progress)
    expected = [i for i in range(30) if i % 5]
    assert embedded.index.tolist() == expected
    assert embedded.ids == [data.ids[i] for i in expected]
    assert torch.equal(embedded.labels, digits_set.labels[30:60][embedded.index])
    assert sum(count for count, _ in seen) == 24
    whole = recipe.embed(digits_set)
    assert torch.allclose(embedded.rows, whole[30:60][embedded.index], atol=1e-5)
    raw = running.raw_features(embedded, recipe)
    assert raw.shape == (24, 64)
    pixels = digits_set.images[30:60][embedded.index].flatten(1) / 255
    mean, std = digits_set.spec["mean"][0], digits_set.spec["std"][0]
    assert torch.allclose(raw, (pixels - mean) / std, atol=1e-4)


def test_cores_embed_side_by_side_what_one_embeds(make_recipe, digits_set):
    recipe = make_recipe("simclr").build(digits_set.spec)
    threads, seen = torch.get_num_threads(), set()
    recipe.encoder.register_forward_hook(lambda *_: seen.add((threading.get_ident(), torch.get_num_threads())))
    try:
        torch.set_num_threads(1)
        alone = running.embed(recipe, digits_set)
        assert seen == {(threading.get_ident(), 1)}
        torch.set_num_threads(3)
        together = running.embed(recipe, digits_set)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert len(seen) > 1
    assert all(cores == 1 for _, cores in seen)
    assert torch.equal(together.index, alone.index)
    torch.testing.assert_close(together.rows, alone.rows)
    assert recipe.training


@pytest.mark.parametrize("cores", [1, 3])
def test_samples_that_cannot_be_read_are_named_whoever_reads_them(make_recipe, digits_set, cores):
    class Faulty(Subset):
        def fetch(self, index):
            if 40 in index.tolist():
                raise ValueError("the disk is gone")
            return super().fetch(index)

    recipe = make_recipe("simclr").build(digits_set.spec).train()
    threads, data = torch.get_num_threads(), Faulty(digits_set, torch.arange(64))
    try:
        torch.set_num_threads(cores)
        with pytest.raises(DataError, match=r"one of the samples .*: ValueError: the disk is gone"):
            running.embed(recipe, data, batch_size=48)
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(threads)
    assert recipe.training


def test_large_inputs_are_embedded_in_pieces(make_recipe, digits_set, monkeypatch):
    recipe = make_recipe("simclr").build(digits_set.spec)
    whole = running.embed(recipe, digits_set)
    seen = []
    recipe.encoder.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    monkeypatch.setattr(running, "PIECE_BYTES", 20 * 64 * 4)  # twenty pictures of 8 x 8 floats
    pieces = running.embed(recipe, digits_set)
    assert max(seen) == 20
    assert sum(seen) == len(digits_set)
    torch.testing.assert_close(pieces.rows, whole.rows)


def test_nothing_readable_is_an_error(make_recipe, digits_set):
    class Empty(Subset):
        def fetch(self, index):
            return super().fetch(index[:0])

    data = Empty(digits_set, torch.arange(10))
    data.skipped = {"a.png": "is no picture"}
    with pytest.raises(DataError, match=r"Nothing of .* could be read: .*a\.png.*is no picture"):
        running.embed(make_recipe("simclr").build(digits_set.spec), data)


def accuracy(recipe, bank, test):
    found = weighted_knn(recipe.embed(bank), bank.labels, recipe.embed(test), k=20, temperature=0.1)
    return (found.predictions == test.labels).float().mean().item()


@pytest.mark.slow
def test_simclr_learns_to_tell_digits_apart():
    bank, test = twofold.data.digits("train"), twofold.data.digits("test")
    torch.manual_seed(0)
    recipe = twofold.SimCLR(encoder="convnet-w16", temperature=0.2).build(bank.spec)
    untrained = accuracy(recipe.eval(), bank, test)
    recipe.fit(bank, epochs=20, batch_size=200, lr=4e-3, precision="float32", workers=0)
    trained = accuracy(recipe, bank, test)
    assert trained > 0.93
    assert trained > untrained + 0.01
    assert not math.isclose(trained, untrained)
