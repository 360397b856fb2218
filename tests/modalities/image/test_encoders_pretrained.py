"""Encoders of transformers, timm and torchvision: weights, pooling, and rebuilding without them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.errors import ConfigError, MissingExtraError
from twofold.modalities.image.encoders import make_encoder


def spec(size: int = 32, channels: int = 3) -> dict[str, Any]:
    return {"channels": channels, "size": size, "mean": [0.4] * channels, "std": [0.2] * channels, "samples": 10}


def pictures(size: int = 32, channels: int = 3, count: int = 2) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("tiny-vit")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=4
    )
    transformers.ViTModel(config).save_pretrained(folder)
    processor = {"size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(
        json.dumps(processor | {"image_processor_type": "ViTImageProcessor"})
    )
    return folder


def test_hugging_face_folders(hub_folder: Path):
    transformers = pytest.importorskip("transformers")
    encoder = make_encoder(f"hf:{hub_folder}", spec(24)).eval()
    assert (encoder.dim, encoder.size) == (16, 16)
    assert encoder.mean.flatten().tolist() == [0.5] * 3
    model = transformers.ViTModel.from_pretrained(hub_folder).eval()
    resized = F.interpolate(pictures(24), (16, 16), mode="bilinear", antialias=True)
    expected = model(pixel_values=(resized - 0.5) / 0.25).pooler_output
    torch.testing.assert_close(encoder(pictures(24)), expected, atol=1e-5, rtol=1e-4)


def test_hugging_face_models_take_grey_pictures(hub_folder: Path):
    encoder = make_encoder(f"hf:{hub_folder}", spec(16, channels=1)).eval()
    grey = pictures(16, channels=1)
    torch.testing.assert_close(encoder(grey), encoder(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ConfigError, match="expects 3 channels, the pictures have 2"):
        make_encoder(f"hf:{hub_folder}", spec(16, channels=2))


def test_hugging_face_models_are_rebuilt_without_weights_or_folder(hub_folder: Path):
    trained = make_encoder(f"hf:{hub_folder}", spec(16))
    rebuild = json.loads(json.dumps(trained.rebuild))
    again = make_encoder("hf:/nowhere/any-more", spec(16), rebuild=rebuild)
    again.load_state_dict(trained.state_dict())
    torch.testing.assert_close(again.eval()(pictures(16)), trained.eval()(pictures(16)))
    assert again.rebuild == trained.rebuild


def test_a_pooler_without_weights_is_not_used(hub_folder: Path, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig.from_pretrained(hub_folder)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    encoder = make_encoder(f"hf:{tmp_path}", spec(16)).eval()
    assert encoder.rebuild["pooling"] == "mean"
    assert not any("pooler" in name for name, _ in encoder.named_parameters())
    model = transformers.ViTModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    expected = model(pixel_values=(pictures(16) - 0.4) / 0.2).last_hidden_state.mean(1)
    torch.testing.assert_close(encoder(pictures(16)), expected, atol=1e-5, rtol=1e-4)
    again = make_encoder(f"hf:{tmp_path}", spec(16), rebuild=encoder.rebuild)
    again.load_state_dict(encoder.state_dict())


def test_the_vision_tower_of_two_is_taken(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    vision = tower | {"image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=tower | {"vocab_size": 50}, vision_config=vision, projection_dim=8)
    both = transformers.CLIPModel(config).eval()
    both.save_pretrained(tmp_path)
    encoder = make_encoder(f"hf:{tmp_path}", spec(16)).eval()
    expected = both.vision_model(pixel_values=(pictures(16) - 0.4) / 0.2).pooler_output
    torch.testing.assert_close(encoder(pictures(16)), expected, atol=1e-5, rtol=1e-4)


def test_scratch_means_random_weights_and_half_precision_is_raised(hub_folder: Path, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    scratch = make_encoder(f"hf:{hub_folder}@scratch", spec(16))
    loaded = make_encoder(f"hf:{hub_folder}", spec(16))
    assert set(scratch.state_dict()) == set(loaded.state_dict())
    assert not torch.allclose(scratch.eval()(pictures(16)), loaded.eval()(pictures(16)))
    transformers.ViTModel.from_pretrained(hub_folder).to(torch.bfloat16).save_pretrained(tmp_path)
    assert {p.dtype for p in make_encoder(f"hf:{tmp_path}", spec(16)).parameters()} == {torch.float32}


def test_pickled_weights_are_refused(hub_folder: Path, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    transformers.ViTConfig.from_pretrained(hub_folder).save_pretrained(tmp_path)
    torch.save(transformers.ViTModel.from_pretrained(hub_folder).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        make_encoder(f"hf:{tmp_path}", spec(16))
    with pytest.raises(ConfigError, match="could not be loaded"):
        make_encoder(f"hf:{tmp_path / 'gone'}", spec(16))


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18"])
def test_missing_libraries_name_their_extra(name: str):
    if importlib.util.find_spec(name.partition(":")[0]):
        pytest.skip("it is installed here")
    with pytest.raises(MissingExtraError, match=r"pip install 'twofold\[timm\]'"):
        make_encoder(name, spec())


def test_timm_models(monkeypatch: pytest.MonkeyPatch):
    calls: list[dict[str, Any]] = []

    def create_model(name: str, **options: Any) -> nn.Module:
        calls.append({"name": name, **options})
        model = nn.Sequential(nn.Conv2d(options["in_chans"], 5, 24))
        facts = {"input_size": (3, 24, 24), "fixed_input_size": True, "mean": (0.1, 0.2, 0.3), "std": (1, 1, 1)}
        model.pretrained_cfg = facts  # type: ignore[assignment]
        return model

    fake = ModuleType("timm")
    fake.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", fake)
    encoder = make_encoder("timm:net", spec(32))
    assert (encoder.dim, encoder.size) == (5, 24)
    torch.testing.assert_close(encoder.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    make_encoder("timm:net@scratch", spec(32))
    grey = make_encoder("timm:net", spec(32, channels=1), rebuild=encoder.rebuild)
    assert [call["pretrained"] for call in calls] == [True, False, False]
    assert calls[0] == {"name": "net", "pretrained": True, "num_classes": 0, "in_chans": 3}
    assert grey.mean.flatten().tolist() == pytest.approx([0.2])


def test_torchvision_models(monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def get_model(name: str, weights: Any) -> nn.Module:
        asked.append(weights)
        trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(trunk, nn.Sequential(nn.Dropout(), nn.Linear(6, 1000)))

    fake = ModuleType("torchvision")
    models = SimpleNamespace(get_model=get_model, list_models=lambda module: ["net"])
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)  # type: ignore[arg-type]
    encoder = make_encoder("torchvision:net", spec())
    assert encoder.dim == 6
    make_encoder("torchvision:net", spec(), rebuild=encoder.rebuild)
    assert asked == ["DEFAULT", None]
    with pytest.raises(ConfigError, match="no classification model of that name"):
        make_encoder("torchvision:maskrcnn_resnet50_fpn@scratch", spec())  # would fetch the weights of its backbone
    assert encoder.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
