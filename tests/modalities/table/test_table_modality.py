"""Rows of tables as a modality: views, encoders, regression, and recipes that learn from structured rows."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn

import twofold
from twofold import modalities
from twofold.dataset import Subset
from twofold.errors import ConfigError, DataError
from twofold.modalities.table import MODALITY, data
from twofold.modalities.table.columns import MISSING, UNKNOWN
from twofold.modalities.table.encoders import TableEncoder, make_encoder, one_hot_rows
from twofold.modalities.table.views import PRESETS, Corrupt, Layout, Mask, MultiView, Noise

QUICK = {"epochs": 40, "batch_size": 64, "lr": 1e-3, "workers": 0, "precision": "float32"}


def structured(count, seed, *, target=False):
    """Eight numbers and two categories that hang on four hidden classes, and eight numbers of noise."""
    draw = np.random.default_rng(seed)
    kind = draw.integers(4, size=count)
    centres = np.random.default_rng(99).normal(size=(4, 8))
    columns = {f"n{i}": centres[kind, i] + 0.7 * draw.normal(size=count) for i in range(8)}
    columns |= {f"noise{i}": draw.normal(size=count) for i in range(8)}
    columns["colour"] = np.array(list("rgby"))[np.where(draw.random(count) < 0.6, kind, draw.integers(4, size=count))]
    columns["half"] = np.where((kind < 2) ^ (draw.random(count) < 0.1), "low", "high")
    columns["n0"][::11] = np.nan
    if target:
        return columns | {"price": centres[kind, 0] * 10 + draw.normal(size=count)}
    return columns | {"label": kind}


@pytest.fixture(scope="module")
def rows():
    return data.read(structured(256, 0))


@pytest.fixture(scope="module")
def held_out(rows):
    return data.read(structured(256, 1), form=rows.spec)


@pytest.fixture(scope="module")
def trained(rows):
    return twofold.SimCLR(modality="table", encoder="mlp-w64-d2", temperature=0.5).fit(rows, **QUICK)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_found_by_name_and_has_all_that_a_modality_has():
    assert modalities.get("table") is MODALITY
    members = {n for n in vars(modalities.Modality) | modalities.Modality.__annotations__ if not n.startswith("_")}
    assert [name for name in members if not hasattr(MODALITY, name)] == []
    ours, theirs = (inspect.signature(read).parameters for read in (MODALITY.read, data.read))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_training_beats_the_untrained_encoder_on_rows_it_has_not_seen(trained, rows, held_out):
    report = trained.evaluate(rows, test=held_out, metrics=("knn",))
    found = {row.name: row.metrics["knn"].value for row in report.rows}
    assert set(found) == {"trained", "untrained", "raw"}
    assert found["trained"] > found["untrained"] + 0.02


def test_saved_and_loaded_it_embeds_new_tables_in_the_form_of_the_training(trained, held_out, tmp_path):
    vectors = trained.embed(held_out)
    assert vectors.shape == (256, 64)
    trained.save(tmp_path / "saved")
    again = twofold.load(tmp_path / "saved")
    assert torch.equal(again.embed(held_out), vectors)
    assert torch.allclose(again.embed(structured(256, 1)), vectors, atol=1e-6)
    shifted = {name: list(values)[:5] for name, values in structured(256, 1).items()}
    assert torch.allclose(again.embed(shifted), vectors[:5], atol=1e-5)


def test_what_fits(rows):
    MODALITY.check_fits(rows, rows.spec)
    assert MODALITY.reading_for(rows.spec) == {"form": rows.spec}
    with pytest.raises(DataError, match=r"read the data with form=model\.spec"):
        MODALITY.check_fits(data.read(structured(64, 3)), rows.spec)
    with pytest.raises(DataError, match="was trained on the columns"):
        MODALITY.check_fits(data.read(np.random.default_rng(0).normal(size=(9, 2))), rows.spec)
    with pytest.raises(DataError, match="trained on tables, the data is 'image'"):
        MODALITY.check_fits(twofold.data.digits("test"), rows.spec)


@pytest.mark.parametrize("name", PRESETS)
def test_views_are_drawn_from_the_generator_alone(name, rows):
    views = MODALITY.make_views(name, rows.spec, preferred="simclr", count=3)
    first, second, other = (views(rows.rows, generator=generator(seed)) for seed in (1, 1, 2))
    assert len(first) == len(views) == 3
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[2], other[2])
    assert all(view.shape == rows.rows.shape and view.dtype == torch.float32 for view in first)
    codes = first[1][:, -2:]
    assert torch.equal(codes, codes.round())


def test_scarf_views_are_one_clean_and_the_rest_corrupted(rows):
    clean, *corrupted = MODALITY.make_views(None, rows.spec, preferred="scarf", count=3)(
        rows.rows, generator=generator()
    )
    assert torch.equal(clean, rows.rows)
    share = torch.stack(corrupted)[:, :, 1:8].ne(rows.rows[:, 1:8]).float().mean()
    assert 0.55 < share < 0.62  # 60 %, of which one in 256 is drawn from the row itself


def test_corruption_takes_whole_features_of_other_rows(rows):
    layout = Layout.of(rows.spec)
    assert layout.features == 18
    changed = Corrupt(1.0).apply(rows.rows, Corrupt(1.0).draw(256, layout, generator()), layout)
    for column in range(rows.rows.shape[1]):
        assert set(changed[:, column].tolist()) <= set(rows.rows[:, column].tolist())
    place = (layout.owners == 0).nonzero().flatten().tolist()
    assert len(place) == 2  # a number and the mark of its gaps stay together
    pairs = {tuple(row) for row in rows.rows[:, place].tolist()}
    assert {tuple(row) for row in changed[:, place].tolist()} <= pairs
    kept = Corrupt(0.0).apply(rows.rows, Corrupt(0.0).draw(256, layout, generator()), layout)
    assert torch.equal(kept, rows.rows)


def test_noise_and_masks(rows):
    layout = Layout.of(rows.spec)
    noisy = Noise(0.5).apply(rows.rows, Noise(0.5).draw(256, layout, generator()), layout)
    assert torch.equal(noisy[:, 16:], rows.rows[:, 16:])
    assert float((noisy - rows.rows)[:, :16].std()) == pytest.approx(0.5, rel=0.05)
    hidden = Mask(1.0).apply(rows.rows, Mask(1.0).draw(256, layout, generator()), layout)
    empty = data.read({name: [None, *structured(8, 1)[name][:7]] for name in rows.form.names}, form=rows.spec)
    assert torch.equal(hidden[0], empty.rows[0])
    assert hidden[0, -1] == MISSING


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Corrupt(1.5), "Corrupt: rate must lie between 0 and 1, not 1.5"),
        (lambda: Mask(-0.1), "Mask: rate must lie between"),
        (lambda: Noise(float("inf")), "Noise: deviation must be finite"),
        (lambda: MultiView((), Layout.of(data.read(structured(9, 0)).spec)), "at least one view"),
        (
            lambda: MODALITY.make_views("scraf", {}, preferred="", count=2),
            "no views called 'scraf'; did you mean 'scarf'",
        ),
    ],
)
def test_views_that_there_are_not(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_are_no_rows_is_refused(rows):
    views = MODALITY.make_views(None, rows.spec, preferred="simclr", count=2)
    for wrong in (torch.zeros(3, 2), torch.zeros(3), torch.zeros(3, rows.rows.shape[1], dtype=torch.int64), [1]):
        with pytest.raises(DataError, match="rows must be a floating tensor"):
            views(wrong, generator=generator())
    with pytest.raises(ValueError, match=r"rows must have shape \(n, 19\), got \(3, 2\)"):
        make_encoder("mlp-w8", rows.spec)(torch.zeros(3, 2))


@pytest.mark.parametrize(("name", "dim", "layers"), [("mlp", 256, 4), ("mlp-w32", 32, 4), ("mlp-w16-d2", 16, 2)])
def test_encoders_by_name(name, dim, layers, rows):
    encoder = MODALITY.make_encoder(name, rows.spec, rebuild={})
    assert (encoder.dim, encoder.rebuild) == (dim, {})
    assert sum(isinstance(module, nn.Linear) for module in encoder.modules()) == layers
    encoder(rows.rows[:16]).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    with torch.device("meta"):
        assert MODALITY.make_encoder(name, rows.spec, rebuild={}).dim == dim


def test_unknown_categories_begin_at_zero_and_stay_there(rows, trained):
    for encoder in (make_encoder("mlp-w16-d2", rows.spec), trained.encoder):
        tables = encoder.backbone[0].tables
        assert len(tables) == 2
        assert all(bool((table.weight[UNKNOWN] == 0).all()) for table in tables)
        assert all(bool((table.weight[UNKNOWN + 1 :] != 0).any()) for table in tables)


def test_an_encoder_of_ones_own_gets_rows(rows):
    class Itself(nn.Module):
        def forward(self, x):
            return 2 * x

    encoder = make_encoder(Itself(), rows.spec)
    assert encoder.dim == 19
    assert torch.equal(encoder(rows.rows), 2 * rows.rows)
    assert make_encoder(encoder, rows.spec) is encoder
    assert isinstance(encoder, TableEncoder)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("mpl", "there is no encoder 'mpl'; did you mean 'mlp'"),
        ("mlp-k3", r"mlp has no option '-k3'; it has -wNUMBER \(width\), -dNUMBER \(depth\)"),
        (nn.Linear(3, 3), "the encoder Linear fails on a batch of shape"),
    ],
)
def test_encoders_that_there_are_not(encoder, message, rows):
    with pytest.raises(ConfigError, match=message):
        make_encoder(encoder, rows.spec)


def test_names_are_checked_before_there_is_data():
    assert MODALITY.problems(None, None) == MODALITY.problems("mlp-w16", "masking") == []
    encoder, views = MODALITY.problems("resnet18", "simclr")
    assert "there is no encoder 'resnet18'" in encoder
    assert "no views called 'simclr'" in views


def test_raw_features_are_numbers_and_one_hot_codes(rows):
    raw = MODALITY.raw_features(rows.fetch(torch.arange(5)), rows.spec)
    assert torch.equal(raw[:, :17], rows.rows[:5, :17])
    hot = raw[:, 17:].split([one.codes for one in rows.form.categories], dim=1)
    assert [part.argmax(1).tolist() for part in hot] == rows.rows[:5, 17:].T.int().tolist()
    assert raw[:, 17:].sum(1).tolist() == [2.0] * 5
    assert torch.equal(one_hot_rows(rows.rows[:5], rows.spec), raw)


def test_previews_are_snippets_also_of_a_part(rows):
    first, second = MODALITY.previews(rows, torch.tensor([4, 2]))
    assert first.startswith("n0 ")
    assert first.endswith(", ...")
    assert first != second
    assert MODALITY.previews(Subset(rows, torch.tensor([4, 2])), torch.tensor([0, 1])) == [first, second]


def test_a_target_is_measured_by_regression():
    source = structured(300, 0, target=True)
    model = twofold.SimCLR(modality="table", encoder="mlp-w64-d2", temperature=0.5)
    model.fit(source, target_column="price", **QUICK | {"epochs": 10})
    report = model.evaluate(source)
    found = {row.name: {key: value.value for key, value in row.metrics.items()} for row in report.rows}
    assert set(found) == {"trained", "untrained", "raw", "training-mean"}
    assert found["training-mean"]["ridge_r2"] == pytest.approx(0, abs=0.1)
    assert found["raw"]["ridge_r2"] > 0.5
    assert found["trained"]["ridge_r2"] > 0.3
    assert report.protocol["split"] == "70% / 30% at random, seed 0"
    apart = model.evaluate(source, test=structured(100, 5, target=True), baselines=False)
    assert apart.protocol["split"] == "training and test given apart"


def test_tasks_by_name(rows):
    assert MODALITY.task(rows, rows.spec) is None
    with pytest.raises(ConfigError, match="no task 'links' for table: there is 'regression'"):
        MODALITY.task(rows, rows.spec, name="links")
    with pytest.raises(DataError, match="no numbers to predict: name their column with target_column"):
        MODALITY.task(rows, rows.spec, name="regression")
    both = structured(60, 0, target=True) | {"label": structured(60, 0)["label"]}
    read = data.read(both, label_column="label", target_column="price")
    assert MODALITY.task(read, read.spec) is None
    assert MODALITY.task(read, read.spec, name="regression").name == "regression"
