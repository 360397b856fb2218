"""Saved recipes: two files, no code, and errors that say what is wrong with them."""

from __future__ import annotations

import json

import pytest
import torch

import twofold
from comparing import states_differ
from twofold.errors import ConfigError, DataError, RunError
from twofold.recipes import catalogue, saving

FREE = sorted(name for name in catalogue.RECIPES if "any" in catalogue.get(name).card.modalities)


@pytest.fixture
def saved(make_recipe, digits_set, tmp_path):
    return make_recipe("nnclr", temperature=0.3).build(digits_set.spec).save(tmp_path / "model")


@pytest.mark.parametrize("name", FREE)
def test_everything_comes_back(name, make_recipe, digits_set, tmp_path):
    recipe = make_recipe(name).build(digits_set.spec)
    folder = recipe.save(tmp_path / "model")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    again = twofold.load(folder)
    assert type(again) is type(recipe)
    assert again.options == recipe.options
    assert again.built_spec == recipe.built_spec
    assert not again.training
    assert states_differ(recipe, again) == []


def test_saving_does_not_change_the_recipe(make_recipe, digits_set, tmp_path):
    recipe = make_recipe("byol").build(digits_set.spec).train()
    recipe.save(tmp_path / "model")
    recipe.save(tmp_path / "model")
    assert recipe.training
    assert all(p.requires_grad for p in recipe.encoder.parameters())


def test_the_configuration_is_plain_and_tells_the_versions(saved):
    config = json.loads((saved / "config.json").read_text())
    assert config["recipe"] == "nnclr"
    assert config["options"]["temperature"] == 0.3
    assert config["versions"]["torch"] == torch.__version__
    assert config["versions"]["twofold"] == twofold.__version__


def test_not_built_is_not_saved(tmp_path):
    with pytest.raises(RunError, match="SimCLR has no networks yet"):
        twofold.SimCLR().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_folders_that_hold_no_recipe(tmp_path):
    with pytest.raises(DataError, match=r"is no run folder: it has no config\.json"):
        twofold.load(tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": ["Bert"]}')
    with pytest.raises(DataError, match="another program's"):
        twofold.load(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(DataError, match="another program's"):
        twofold.load(tmp_path)
    (tmp_path / "config.json").write_text('{"format": ')
    with pytest.raises(DataError, match=r"config\.json, line 1"):
        twofold.load(tmp_path)


def test_another_format(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(DataError, match=f"has format 99; this version reads format {saving.FORMAT}"):
        twofold.load(saved)


def test_damaged_or_missing_weights(saved):
    weights = saved / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"model\.safetensors does not hold this recipe's weights"):
        twofold.load(saved)
    weights.unlink()
    with pytest.raises(DataError, match=r"training has not finished\. Resume it with its command"):
        twofold.load(saved)


def test_a_pickle_is_never_opened(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"x": Trap()}, saved / "model.safetensors")
    with pytest.raises(DataError, match="does not hold this recipe's weights"):
        twofold.load(saved)
    assert not (tmp_path / "sprung").exists()


class Unregistered(twofold.SimCLR):
    """A recipe that the catalogue does not hold, though it has SimCLR's card."""


def test_a_recipe_of_ones_own_is_never_loaded_as_another(digits_set, tmp_path):
    model = Unregistered(encoder="convnet-w16").build(digits_set.spec)
    folder = model.save(tmp_path / "own")
    with pytest.raises(RunError, match="recipe=Unregistered"):
        twofold.load(folder)
    again = twofold.load(folder, recipe=Unregistered)
    assert type(again) is Unregistered
    assert torch.equal(again.embed(digits_set), model.embed(digits_set))


def test_a_recipe_by_module_and_class():
    assert catalogue.get("twofold.recipes.views.dcl:DCL") is twofold.DCL
    with pytest.raises(ConfigError, match="no recipe 'nowhere:Nothing'"):
        catalogue.get("nowhere:Nothing")


def test_views_of_ones_own_train_and_are_not_saved(digits_set, tmp_path):
    seen = []

    def noisy(inputs, *, generator, **extra):
        seen.append(len(inputs))
        plain = inputs.float() / 255
        return [plain, (plain + 0.1 * torch.rand(plain.shape, generator=generator)).clamp(0, 1)]

    model = twofold.SimCLR(encoder="convnet-w16", views=noisy)
    model.fit(digits_set, out=tmp_path / "run", epochs=1, batch_size=64, precision="float32", workers=0)
    assert seen == [64, 64, 64]
    again = twofold.load(tmp_path / "run")
    assert again.options["views"] is None
    assert torch.equal(again.embed(digits_set), model.embed(digits_set))
