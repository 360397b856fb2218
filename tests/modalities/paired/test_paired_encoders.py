"""Two towers, one space: names, own modules, locked towers, towers of earlier runs, and building again."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import twofold
from twofold.errors import ConfigError, DataError
from twofold.modalities.paired import MODALITY, PairEncoder
from twofold.modalities.paired.encoders import make_encoder, parsed

NAME = "convnet-w4+embedding-bag-w8@16"


@pytest.fixture(scope="module")
def pairs(arrays):
    return MODALITY.read(arrays)


@pytest.fixture(scope="module")
def ready(pairs):
    return MODALITY.prepare(pairs.fetch(torch.arange(8)), pairs.spec)


def test_each_side_is_projected_and_both_are_averaged(pairs, ready):
    encoder = make_encoder(NAME, pairs.spec).eval()
    first, second = (encoder({side: ready[side]}) for side in ("first", "second"))
    assert first.shape == second.shape == (8, encoder.dim) == (8, 16)
    assert torch.allclose(first, encoder.first(ready["first"]) @ encoder.first_projection.weight.T, atol=1e-6)
    both = encoder(ready)
    assert torch.allclose(both, F.normalize(F.normalize(first, dim=1) + F.normalize(second, dim=1), dim=1), atol=1e-6)
    with pytest.raises(ValueError, match="'first' or 'second' or both"):
        encoder({"third": ready["first"]})


def test_names():
    assert parsed("a-w4+b@64") == ("a-w4", "b", 64)
    assert parsed("default+hf:x/y@scratch") == ("default", "hf:x/y@scratch", 256)
    for name in ("a", "a+b+c", "+b", "a+b@0"):
        if name == "a+b@0":
            assert parsed(name)[1] == "b@0"  # left to the side's modality, which has no such encoder
            continue
        with pytest.raises(ConfigError, match="an encoder of pairs is FIRST"):
            parsed(name)


def test_the_sides_own_defaults_and_complaints(pairs):
    encoder = make_encoder("default+default@8", pairs.spec)
    assert encoder.first.dim == 512
    with pytest.raises(ConfigError, match="there is no encoder 'convnt'"):
        make_encoder("convnt+default", pairs.spec)
    with pytest.raises(ConfigError, match="facts of both sides"):
        make_encoder(NAME, {name: pairs.spec[name] for name in ("modality", "first")})
    with pytest.raises(DataError, match="no facts of pairs"):
        make_encoder(NAME, {"modality": "image"})


def test_modules_of_ones_own(pairs, ready):
    towers = nn.ModuleDict({"first": nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), "second": nn.EmbeddingBag(999, 6)})
    with torch.no_grad():
        towers["first"](ready["first"])
    encoder = make_encoder(towers, pairs.spec)
    assert encoder(ready).shape == (8, 256)
    own = PairEncoder(encoder.first, encoder.second, 7)
    assert make_encoder(own, pairs.spec) is own
    with pytest.raises(ConfigError, match="needs an attribute dim"):
        make_encoder(nn.Linear(2, 2), pairs.spec)
    with pytest.raises(ConfigError, match="towers 'first' and 'second'"):
        make_encoder(nn.ModuleDict({"a": nn.Linear(2, 2)}), pairs.spec)


def test_a_locked_tower_stays_as_it_is(pairs, ready):
    encoder = make_encoder(NAME, pairs.spec)
    encoder.lock("first")
    before = {name: value.clone() for name, value in encoder.first.state_dict().items()}
    encoder.train()
    rows = encoder({"first": ready["first"]})
    assert not rows.requires_grad
    assert rows.shape[1] == encoder.dim == encoder.first.dim
    assert encoder({"second": ready["second"]}).shape == rows.shape
    assert all(torch.equal(before[name], value) for name, value in encoder.first.state_dict().items())
    assert encoder.second.training
    assert not any(module.training for module in encoder.first.modules())
    with pytest.raises(ValueError, match="'first' or 'second', got 'left'"):
        encoder.lock("left")


def test_it_builds_without_memory(pairs):
    with torch.device("meta"):
        encoder = make_encoder(NAME, pairs.spec)
        encoder.lock("second")
    assert all(parameter.is_meta for parameter in encoder.parameters())


@pytest.fixture(scope="module")
def run(tmp_path_factory, arrays):
    """A run of SimCLR on the pictures alone."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    twofold.SimCLR(encoder="convnet-w4").fit(arrays[0], epochs=1, batch_size=8, workers=0).save(folder)
    return folder


def test_a_tower_of_an_earlier_run(run, pairs, ready, tmp_path):
    tower = twofold.load(run).encoder
    name = f"run:{run}+embedding-bag-w8@16"
    encoder = make_encoder(name, pairs.spec).eval()
    assert torch.equal(encoder.first(ready["first"]), tower(ready["first"]))
    model = twofold.LiT(encoder=name).fit((pairs.first, pairs.second), epochs=1, batch_size=8, workers=0)
    expected = model.embed(pairs.first, side="first")
    assert torch.allclose(expected, tower(ready["first"]), atol=1e-6)
    model.save(tmp_path / "lit")
    config = json.loads((tmp_path / "lit" / "config.json").read_text())
    config["options"]["encoder"] = "run:/nowhere+embedding-bag-w8@16"  # nothing is read from there again
    (tmp_path / "lit" / "config.json").write_text(json.dumps(config))
    assert torch.equal(twofold.load(tmp_path / "lit").embed(pairs.first, side="first"), expected)


def test_data_is_read_as_the_run_read_it(run, arrays):
    texts = arrays[1]
    asked = MODALITY.reading_with(f"run:{run}+default")
    big = torch.zeros(8, 3, 20, 20, dtype=torch.uint8)
    assert MODALITY.read((big, texts), **asked).spec["first"]["size"] == 8
    assert MODALITY.read((big, texts), first="image:size=16", **asked).spec["first"]["size"] == 16


def test_a_run_that_is_none_is_told(run, pairs, tmp_path):
    with pytest.raises(DataError, match="no folder of a finished run"):
        make_encoder(f"run:{tmp_path}+default", pairs.spec)
    with pytest.raises(DataError, match="was trained on 'image', and this side is text"):
        make_encoder(f"default+run:{run}", pairs.spec)
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="does not hold the weights"):
        make_encoder(f"run:{tmp_path}+default", pairs.spec)


@pytest.mark.parametrize("name", ["hf:somebody/model+default", "default+hf:somebody/model", "run:x+default"])
def test_building_again_fetches_nothing(pairs, name):
    with pytest.raises(DataError, match="without the facts that it is built from again"):
        make_encoder(name, pairs.spec, rebuild={"first": {}, "second": {}})


def test_facts_of_a_run_cannot_name_a_model_to_fetch(pairs):
    facts = {"run": {"encoder": "hf:somebody/model", "spec": pairs.spec["first"], "rebuild": {}}}
    with pytest.raises(DataError, match="without the facts that it is built from again"):
        make_encoder("run:x+default", pairs.spec, rebuild={"first": facts, "second": {}})
    with pytest.raises(DataError, match="damaged"):
        make_encoder("run:x+default", pairs.spec, rebuild={"first": {"run": {"encoder": 3}}, "second": {}})
