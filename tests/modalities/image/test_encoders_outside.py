"""Encoders of timm and torchvision, where they are installed (``make test-timm``)."""

from __future__ import annotations

import pytest
import torch

from twofold.modalities.image.encoders import make_encoder

SPEC = {"modality": "image", "channels": 3, "size": 64, "mean": [0.5] * 3, "std": [0.25] * 3, "samples": 8}


@pytest.mark.parametrize(
    ("library", "name", "dim"),
    [("timm", "resnet18", 512), ("torchvision", "resnet18", 512), ("timm", "convnext_atto", 320)],
)
def test_an_outside_encoder_embeds_trains_and_is_rebuilt(library, name, dim):
    pytest.importorskip(library)
    encoder = make_encoder(f"{library}:{name}@scratch", SPEC)
    images = torch.rand(4, 3, 64, 64)
    features = encoder(images)
    assert features.shape == (4, dim) == (4, encoder.dim)
    features.square().sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in encoder.parameters() if p.grad is not None) > 0

    again = make_encoder(f"{library}:{name}@scratch", SPEC, rebuild=encoder.rebuild)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.eval()(images), encoder.eval()(images))


def test_our_resnet_takes_the_weights_of_torchvisions():
    models = pytest.importorskip("torchvision.models")
    large = SPEC | {"size": 224}
    ours, theirs = make_encoder("resnet18", large), models.resnet18(weights=None)
    weights = {name: value for name, value in theirs.state_dict().items() if not name.startswith("fc.")}
    ours.backbone.load_state_dict(weights)
    images = torch.rand(2, 3, 224, 224)
    theirs.fc = torch.nn.Identity()
    normalized = (images - 0.5) / 0.25
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(normalized), rtol=1e-4, atol=1e-4)
