"""Saved recipes and models that were made to do harm: nothing is imported, fetched or allocated for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from payloads import Payload, torch_bytes

import twofold
from twofold.errors import ConfigError, DataError, RunError
from twofold.modalities.image.encoders import make_encoder
from twofold.recipes import catalogue
from twofold.training.files import read_json, write_json

SPEC = {"modality": "image", "channels": 1, "size": 8, "mean": [0.5], "std": [0.3], "samples": 64}


def change(folder: Path, **entries: Any) -> Path:
    """The folder, with other entries in its config.json."""
    (folder / "config.json").write_text(json.dumps(read_json(folder / "config.json") | entries))
    return folder


# Saved recipes --------------------------------------------------------------------------------------------------------


def test_names_of_modules_in_a_configuration_are_not_imported(
    code: str, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "harmful_module.py").write_text(f"{code}class Recipe: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    change(saved, recipe="harmful_module:Recipe")
    with pytest.raises(RunError, match=r"harmful_module:Recipe.*are not imported: pass its class, recipe="):
        twofold.load(saved)
    with pytest.raises(ConfigError, match="There is no recipe"):
        catalogue.named("harmful_module:Recipe")
    assert type(twofold.load(saved, recipe=twofold.NNCLR)) is twofold.NNCLR


@pytest.mark.parametrize("name", ["hf:google/vit-base-patch16-224", "hf:.", "timm:resnet18", "torchvision:resnet18"])
def test_encoders_are_never_fetched(saved: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("loading went to the network"))
    options = read_json(saved / "config.json")["options"]
    change(saved, options=options | {"encoder": name})
    with pytest.raises(RunError, match=r"loading fetches nothing.*encoder=\.\.\."):
        twofold.load(saved)


@pytest.mark.parametrize(
    ("name", "rebuild"),
    [
        ("timm:hf-hub:evil/model", {"timm": "hf-hub:evil/model"}),
        ("timm:resnet18", {"timm": "local-dir:model"}),
        ("timm:resnet18", {"timm": "../model"}),
        ("torchvision:resnet18", {"torchvision": "evil/model"}),
        ("torchvision:resnet18", {"torchvision": ["resnet18"]}),
        ("torchvision:resnet18", {"wrong": 1}),
    ],
)
def test_addresses_of_hubs_are_no_names_of_models(name: str, rebuild: Any, monkeypatch: pytest.MonkeyPatch):
    from types import SimpleNamespace

    class Never(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            pytest.fail(f"the library was asked for {name}")

    monkeypatch.setattr("twofold.modalities.image.backbones.pretrained.require", lambda *_, **__: Never())
    with pytest.raises(ConfigError, match=r"no name of .* own models"):
        make_encoder(name, SPEC, rebuild=rebuild)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "no-such-model"}, "could not be built again"),
        ({"model_type": "timm_wrapper", "architecture": "hf-hub:evil/model"}, "leads to code or files outside"),
        ({"attn_implementation": "evil/kernel"}, "leads to code or files outside"),
        ({"use_timm_backbone": True, "backbone": "hf-hub:evil/model"}, "leads to code or files outside"),
        ({"vision_config": {"quantization_config": {"quant_method": "evil"}}}, "leads to code or files outside"),
        ({"hidden_size": "x"}, "could not be built again"),
        ({"num_hidden_layers": 10**12}, "no number in its configuration can be as large"),
        ({"num_attention_heads": 0}, "could not be built again"),
    ],
)
def test_configurations_of_transformers_stay_in_transformers(changes: dict[str, Any], message: str):
    pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = {"model_type": "vit", "image_size": 16, "patch_size": 8, **small}
    facts = {"pooling": "pooler", "size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    spec = SPEC | {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert make_encoder("hf:x", spec, rebuild=facts | {"config": config}).dim == 16
    with pytest.raises(ConfigError, match=message):
        make_encoder("hf:x", spec, rebuild=facts | {"config": config | changes})
    for broken in ({"config": [1]}, {"pooling": "x"}, {"size": 10**9}, {"mean": "x"}, {"mean": [float("nan")] * 3}):
        with pytest.raises(ConfigError):
            make_encoder("hf:x", spec, rebuild=facts | {"config": config} | broken)


def test_code_beside_a_rebuilt_model_is_not_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("transformers")
    (tmp_path / "modeling_x.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    harmful = {"auto_map": {"AutoModel": "modeling_x.Model"}, "_name_or_path": str(tmp_path)}
    config = {"model_type": "vit", "image_size": 16, "patch_size": 8, **small, **harmful}
    facts = {"config": config, "pooling": "pooler", "size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    spec = SPEC | {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
    assert make_encoder("hf:x", spec, rebuild=facts).dim == 16  # the library's own class of that name


@pytest.mark.parametrize(
    ("options", "spec", "message"),
    [
        ({"queue_size": 10**12}, {"samples": 10**12}, "much larger than its weights"),
        ({"hidden_dim": 10**9, "projection_dim": 10**9}, {}, "much larger than its weights"),
        ({"hidden_dim": 10**400}, {}, "nothing can be built"),
        ({"queue_size": "many"}, {}, "queue_size must be int"),
        ({"temperature": 0}, {}, "temperature must be above 0"),
        ({"no_such_option": 1}, {}, "has no option 'no_such_option'"),
        ({"encoder": ["convnet"]}, {}, "encoder must be"),
        ({"encoder": "vit-small-p1-d9999"}, {}, "much larger than its weights"),
        ({"encoder": "convnet-w9999"}, {}, "much larger than its weights"),
        ({"modality": "os"}, {}, "no modality 'os'"),
        ({"projection_dim": 17}, {}, "does not hold this recipe's weights"),
        ({}, {"channels": "x"}, "must be a whole number in 1..4096, got 'x'"),
        ({}, {"channels": True}, "must be a whole number"),
        ({}, {"channels": 10**9, "mean": [0.5], "std": [0.5]}, "must be a whole number"),
        ({}, {"size": 10**9}, "must be a whole number in 1..4096"),
        ({}, {"mean": [float("nan")]}, "finite"),
        ({}, {"std": [-1.0]}, "positive"),
        ({}, {"std": "x"}, "list of finite numbers"),
        ({}, {"mean": {"a": 1}}, "list of finite numbers"),
    ],
)
def test_absurd_sizes_and_wrong_types(saved: Path, options: Any, spec: Any, message: str):
    config = read_json(saved / "config.json")
    change(saved, options=config["options"] | options, spec=config["spec"] | spec)
    with pytest.raises(DataError, match=message):
        twofold.load(saved)


@pytest.mark.parametrize("name", ["recipe", "own_recipe", "own_encoder", "options", "spec", "rebuild", "versions"])
@pytest.mark.parametrize("value", [[], 7, float("nan"), None, "gone"])
def test_entries_of_the_wrong_type_and_missing_ones(saved: Path, name: str, value: Any):
    if (name, value) in [("own_recipe", None)]:
        return
    change(saved, **{name: value})
    if value == "gone":
        config = read_json(saved / "config.json")
        del config[name]
        (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=rf"{name} is missing or of the wrong type|another program's"):
        twofold.load(saved)


@pytest.mark.parametrize("entry", ["training", "reading", "result", "source", "command", "started", "samples"])
def test_entries_of_a_run_of_the_wrong_type(saved: Path, entry: str):
    with pytest.raises(DataError, match=f"{entry} is missing or of the wrong type"):
        twofold.load(change(saved, **{entry: 0.5}))


@pytest.mark.parametrize(
    "text",
    ['{"format": 1, "recipe": ' + "[" * 100_000, '{"format": ' + "9" * 5000 + ', "recipe": "simclr"}', "[" * 100_000],
    ids=["nested", "digits", "only nested"],
)
def test_json_that_is_hostile_to_its_parser(saved: Path, text: str):
    (saved / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json"):
        twofold.load(saved)


# Hugging Face models --------------------------------------------------------------------------------------------------


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    folder = tmp_path / "model"
    transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **small)).save_pretrained(folder)
    return folder


def test_a_model_with_pickled_weights_only(payload: Payload, model_folder: Path):
    (model_folder / "model.safetensors").unlink()
    (model_folder / "pytorch_model.bin").write_bytes(torch_bytes({"embeddings.cls_token": payload}))
    with pytest.raises(ConfigError, match=r"Pickled weights are not read.*pass the module as the encoder"):
        make_encoder(f"hf:{model_folder}", SPEC)


def test_a_pickle_that_is_called_safetensors(payload: Payload, model_folder: Path):
    (model_folder / "model.safetensors").write_bytes(torch_bytes({"embeddings.cls_token": payload}))
    with pytest.raises(ConfigError, match="could not be loaded"):
        make_encoder(f"hf:{model_folder}", SPEC)


@pytest.mark.parametrize("known", [True, False])
def test_a_model_with_code(code: str, model_folder: Path, known: bool):
    for name in ("configuration_x.py", "modeling_x.py", "processing_x.py", "tokenization_x.py", "__init__.py"):
        (model_folder / name).write_text(code)
    config = read_json(model_folder / "config.json")
    config["auto_map"] = {"AutoConfig": "configuration_x.X", "AutoModel": "modeling_x.X"}
    config["model_type"] = "vit" if known else "x"
    write_json(model_folder / "config.json", config)
    parts = {"auto_map": {"AutoImageProcessor": "processing_x.X", "AutoTokenizer": ["tokenization_x.X", None]}}
    for name in ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json"):
        write_json(model_folder / name, parts)
    if known:  # transformers has this architecture itself, and the code is left alone
        assert make_encoder(f"hf:{model_folder}", SPEC).dim == 16
    else:
        with pytest.raises(ConfigError, match="code that comes with a model is not run"):
            make_encoder(f"hf:{model_folder}", SPEC)


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "evil/kernel"},
        {"attn_implementation": {"": "evil/kernel"}},
        {"quantization_config": {"quant_method": "awq"}},
        {"model_type": "timm_wrapper", "architecture": "hf-hub:evil/model"},
    ],
)
def test_a_model_that_leads_elsewhere(model_folder: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("loading went to the network"))
    write_json(model_folder / "config.json", read_json(model_folder / "config.json") | changes)
    with pytest.raises(ConfigError, match=r"outside transformers|could not be loaded"):
        make_encoder(f"hf:{model_folder}", SPEC)
