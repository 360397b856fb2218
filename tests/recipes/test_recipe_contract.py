"""What every recipe promises, whatever its method: options, building, one's own loop, copies, embedding."""

from __future__ import annotations

import copy
import inspect
import math

import pytest
import torch
from torch import nn

import twofold
from comparing import states_differ
from twofold.errors import ConfigError, DataError, RunError
from twofold.recipes import catalogue
from twofold.recipes.base import Card, Recipe

RECIPES = sorted(name for name in catalogue.RECIPES if "any" in catalogue.get(name).card.modalities)
SPEC = {"modality": "image", "channels": 1, "size": 8, "mean": [0.3], "std": [0.4], "samples": 64}


class OwnEncoder(nn.Module):
    """An encoder of the user's, without batch norm; says nothing about its width."""

    def __init__(self, width=12):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.LayerNorm(width), nn.GELU())

    def forward(self, images):
        return self.layers(images)


def test_arguments_have_names():
    with pytest.raises(ConfigError, match=r"SimCLR takes keyword arguments only, such as SimCLR\(encoder="):
        twofold.SimCLR("resnet18")


def test_wrong_options_are_all_named():
    with pytest.raises(ConfigError) as caught:
        twofold.DCL(temprature=0.1, temperature=-1, view_count=1, positive_sigma="x")
    assert len(caught.value.problems) == 4
    assert "DCL has no option 'temprature'; did you mean 'temperature'?" in str(caught.value)
    with pytest.raises(ConfigError, match="There is no modality 'imgae'; did you mean 'image'"):
        twofold.SimCLR(modality="imgae")
    with pytest.raises(ConfigError, match="There is no recipe 'simclrr'; did you mean 'simclr'"):
        twofold.recipe("simclrr")


@pytest.mark.parametrize("name", RECIPES)
def test_constructors_take_keywords_only_and_remember_all_options(name):
    cls = catalogue.get(name)
    kinds = {p.kind for p in list(inspect.signature(cls.__init__).parameters.values())[1:]}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}
    recipe = cls(view_count=2, views="weak")
    assert recipe.options["view_count"] == recipe.view_count == 2
    assert recipe.options["views"] == "weak"
    assert {"encoder", "modality", "views"} <= set(recipe.options)
    assert states_differ(recipe, cls(**recipe.options)) == []


PAIRS_ONLY = {"isogclr"}
"""Methods that are defined for two views alone."""
VIEWS = [(name, views) for name in RECIPES for views in (2, 3) if views == 2 or name not in PAIRS_ONLY]


@pytest.mark.parametrize("name", sorted(PAIRS_ONLY))
def test_methods_for_two_views_refuse_more_at_once(name):
    with pytest.raises(ConfigError, match="view_count must be at least 2 and at most 2, got 3"):
        catalogue.get(name)(view_count=3)


@pytest.mark.parametrize(("name", "views"), VIEWS)
def test_a_loop_of_ones_own_needs_no_fit(name, views, make_recipe, a_batch):
    torch.manual_seed(0)
    recipe = make_recipe(name, view_count=views).build(SPEC)
    optimizer = torch.optim.SGD(recipe.parameters(), lr=0.01)
    start = copy.deepcopy(recipe.encoder.state_dict())
    for step in range(2):
        batch = a_batch(views, 16, seed=step, label=torch.arange(16) % 3)
        losses = recipe(batch)
        assert all(value.ndim == 0 and math.isfinite(float(value.detach())) for value in losses.values())
        losses["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            recipe.after_step({k: v.detach() for k, v in recipe.represent(batch).items()}, batch)
    moved = [key for key, value in recipe.encoder.named_parameters() if not torch.equal(value, start[key])]
    assert moved, "the loss reaches the encoder"


@pytest.mark.parametrize("name", RECIPES)
def test_a_deep_copy_is_the_same_and_apart(name, make_recipe, a_batch):
    recipe = make_recipe(name).build(SPEC)
    twin = copy.deepcopy(recipe)
    assert type(twin) is type(recipe)
    assert twin.options == recipe.options
    assert twin.spec == recipe.spec
    assert states_differ(recipe, twin) == []
    label = torch.arange(16) % 3
    first, second = (r(a_batch(r.view_count, 16, label=label))["total"] for r in (recipe, twin))
    assert torch.equal(first, second)
    with torch.no_grad():
        next(twin.encoder.parameters()).add_(1)
    assert states_differ(recipe, twin) != []


@pytest.mark.parametrize("name", RECIPES)
def test_building_again_starts_afresh_with_the_same_names(name, make_recipe):
    recipe = make_recipe(name)
    torch.manual_seed(1)
    first = set(recipe.build(SPEC).state_dict())
    before = copy.deepcopy(recipe)
    torch.manual_seed(1)
    recipe.build(SPEC)
    assert set(recipe.state_dict()) == first
    assert states_differ(recipe, before) == []
    recipe.build(SPEC | {"channels": 3, "mean": [0.3] * 3, "std": [0.4] * 3, "samples": 80})
    assert recipe.built_spec["channels"] == 3


def test_nothing_works_before_it_is_built():
    recipe = twofold.SimCLR()
    for use in (lambda: recipe.embed("x"), recipe.make_views, lambda: recipe.save("x"), lambda: recipe.evaluate("x")):
        with pytest.raises(RunError, match=r"SimCLR has no networks yet: call fit\(data\) or build"):
            use()


@pytest.mark.parametrize("training", [True, False])
def test_embedding_leaves_the_mode_and_the_weights(training, make_recipe, digits_set):
    recipe = make_recipe("simclr").build(digits_set.spec).train(training)
    before = copy.deepcopy(recipe)
    vectors = recipe.embed(digits_set, batch_size=50)
    assert vectors.shape == (192, recipe.encoder.dim)
    assert vectors.dtype == torch.float32
    assert not vectors.requires_grad
    assert not vectors.is_inference()
    assert recipe.training is training
    assert all(part.training is training for part in recipe.modules())
    assert states_differ(recipe, before) == []
    assert torch.allclose(vectors, recipe.embed(digits_set, batch_size=192), atol=1e-5)


def test_embedding_leaves_the_mode_also_when_it_fails(make_recipe, digits_set):
    class Broken(type(digits_set)):
        def fetch(self, index):
            raise OSError("the disk is gone")

    recipe = make_recipe("simclr").build(digits_set.spec).train()
    with pytest.raises(DataError, match="the disk is gone"):
        recipe.embed(Broken(digits_set.images))
    assert recipe.training


def test_embedding_what_does_not_fit(make_recipe, digits_set):
    recipe = make_recipe("simclr").build(digits_set.spec)
    with pytest.raises(DataError, match="takes 1 channels, the pictures have 4"):
        recipe.embed(type(digits_set)(torch.zeros(3, 4, 8, 8, dtype=torch.uint8)))


def test_grey_and_coloured_and_larger_pictures_are_brought_to_the_form_of_training(make_recipe, digits_set):
    recipe = make_recipe("simclr").build(digits_set.spec)
    colour = digits_set.images[:5].expand(-1, 3, -1, -1).contiguous()
    assert torch.allclose(recipe.embed(colour), recipe.embed(digits_set)[:5], atol=2e-2)
    assert recipe.embed(torch.randint(256, (4, 1, 20, 20), dtype=torch.uint8)).shape == (4, recipe.encoder.dim)


@pytest.mark.parametrize("name", [n for n in RECIPES if catalogue.get(n).needs_labels])
def test_recipes_that_need_labels_say_so(name, make_recipe, quick_fit, digits_set):
    with pytest.raises(ConfigError, match="learns from labels, and the data has none"):
        quick_fit(name, type(digits_set)(digits_set.images))


def test_supcon_is_the_only_one_that_needs_labels():
    assert [name for name in RECIPES if catalogue.get(name).needs_labels] == ["supcon"]


@pytest.mark.parametrize("name", ["simclr", "moco-v2", "byol", "dino", "simsiam"])
def test_an_encoder_of_ones_own(name, make_recipe, quick_fit, digits_set, tmp_path):
    recipe, _ = quick_fit(make_recipe(name, encoder=OwnEncoder()), digits_set, out=tmp_path / "run")
    assert recipe.encoder.dim == 12
    vectors = recipe.embed(digits_set)
    with pytest.raises(RunError, match=r"made with an encoder of your own: pass its module, encoder=\.\.\."):
        twofold.load(tmp_path / "run")
    again = twofold.load(tmp_path / "run", encoder=OwnEncoder())
    assert torch.equal(again.embed(digits_set), vectors)
    with pytest.raises(DataError, match="does not hold this recipe's weights"):
        twofold.load(tmp_path / "run", encoder=OwnEncoder(13))


def test_an_own_encoder_must_give_rows(make_recipe):
    with pytest.raises(ConfigError, match=r"must give a tensor \(n, dim\)"):
        make_recipe("simclr", encoder=nn.Identity()).build(SPEC)


def test_a_new_recipe_is_a_few_lines(quick_fit, digits_set):
    class Cosine(twofold.SimCLR):
        """Pulls views together and nothing else.

        Args:
            pull: How hard.
        """

        def __init__(self, *, pull: float = 1.0, **common):
            super().__init__(**common)
            self.pull = pull

        def objective(self, outputs, batch):
            pull = -nn.functional.cosine_similarity(outputs["z"][0], outputs["z"][1]).mean()
            return {"total": self.pull * pull, "pull": pull}

    recipe, result = quick_fit(Cosine(pull=2.0, encoder="convnet-w16"), digits_set)
    assert recipe.options["pull"] == 2.0
    assert recipe.options["temperature"] == 0.1
    assert result.last["loss"] == pytest.approx(2 * result.last["pull"])
    with pytest.raises(ConfigError, match="Cosine has no option 'pul'; did you mean 'pull'"):
        Cosine(pul=1)


class Bound(twofold.SimCLR):
    """A recipe of one kind of data, with an encoder of its choice."""

    card = Card(name="bound", title="", paper="", new="", modalities=("points",))
    preferred_encoder = "dgcnn-w8"


def test_a_recipe_of_one_kind_of_data():
    recipe = Bound()
    assert recipe.options["modality"] == recipe.modality.name == "points"
    assert recipe.chosen_encoder == "dgcnn-w8"
    assert Bound(encoder="pointnet").chosen_encoder == "pointnet"
    with pytest.raises(ConfigError, match="Bound learns from points, not from image: leave modality out"):
        Bound(modality="image")
    assert twofold.SimCLR().options["modality"] == "image"


def test_the_base_leaves_the_method_to_its_subclasses(a_batch):
    with pytest.raises(NotImplementedError):
        Recipe()(a_batch())
