"""What the report's map, its neighbours and its pictures are made of."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from twofold.apps.report import choose_items, choose_queries, layout, neighbours, thumbnails
from twofold.apps.report.pictures import sheet
from twofold.errors import DataError


def test_layout_is_deterministic_and_keeps_clusters() -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 10), 20, axis=0) + 0.05 * rng.normal(size=(60, 10))
    first, second = layout(vectors, 3), layout(torch.from_numpy(vectors), 3)
    assert first.shape == (60, 2)
    assert np.array_equal(first, second)
    nearest = np.linalg.norm(first[:, None] - first[None], axis=-1).argsort(axis=1)[:, 1:4]
    assert (nearest // 20 == np.arange(60)[:, None] // 20).all()


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 1), (29, 5), (40, 1)])
def test_small_or_flat_sets_fall_back_to_principal_components(shape: tuple[int, int]) -> None:
    points = layout(np.random.default_rng(0).normal(size=shape), 0)
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()


def test_collapsed_embeddings_still_have_a_map() -> None:
    assert np.allclose(layout(np.ones((50, 8)), 0), 0)


def test_layout_refuses_what_it_cannot_place() -> None:
    with pytest.raises(DataError, match="1 of 3 embeddings"):
        layout(np.array([[0.0], [np.nan], [1.0]]), 0)
    with pytest.raises(DataError, match="choose_items"):
        layout(np.zeros((1501, 2)), 0)


def test_embeddings_must_be_rows() -> None:
    with pytest.raises(DataError, match=r"shape \(n, d\), not \(3,\)"):
        layout(np.zeros(3), 0)


def test_neighbours_are_those_of_a_plain_search() -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 5))
    indices, similarities = neighbours(vectors, [4, 9], k=8)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query, found, values in zip((4, 9), indices, similarities, strict=True):
        expected = sorted((j for j in range(30) if j != query), key=lambda j: -unit[query] @ unit[j])[:8]
        assert found.tolist() == expected
        assert values == pytest.approx(unit[expected] @ unit[query])
    assert neighbours(vectors[:3], [0], k=8)[0].shape == (1, 2)


def test_queries_take_classes_in_turn_and_unlabelled_last() -> None:
    labels = np.array([0] * 50 + [1] * 3 + [2] * 3 + [-1] * 40)
    chosen = labels[choose_queries(len(labels), 0, labels, queries=9)]
    assert sorted(chosen.tolist()) == [0] * 3 + [1] * 3 + [2] * 3
    assert choose_items(10, 0).tolist() == list(range(10))
    assert len(set(choose_items(5000, 0).tolist())) == 1500


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (2, 64), (3, 64), (5, 31)])
def test_thumbnails_are_square_pictures(channels: int, size: int) -> None:
    made = thumbnails(torch.full((2, channels, size, size), 200, dtype=torch.uint8), 24)
    with Image.open(io.BytesIO(made[0])) as picture:
        assert picture.size == (24, 24)
        assert picture.convert("L").getpixel((12, 12)) == 200


def test_thumbnail_of_a_squashed_picture_gets_its_shape_back() -> None:
    wide = thumbnails(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8), 24, aspect=torch.tensor([2.0]))
    with Image.open(io.BytesIO(wide[0])) as picture:
        opaque = np.asarray(picture)[:, :, 3] > 0
    assert opaque.sum(axis=0).max() == 12
    assert opaque.sum(axis=1).max() == 24


def test_thumbnails_refuse_floats() -> None:
    with pytest.raises(DataError, match="uint8"):
        thumbnails(torch.zeros(1, 3, 8, 8))


def test_sheet_shows_every_picture_in_its_cell() -> None:
    greys = [0, 60, 120, 180, 240]
    made = sheet(thumbnails(torch.tensor(greys, dtype=torch.uint8)[:, None, None, None].expand(5, 1, 16, 16), 16))
    with Image.open(io.BytesIO(base64.b64decode(made.uri.split(",")[1]))) as picture:
        pixels = np.asarray(picture.convert("L")).astype(int)
    for place, grey in enumerate(greys):
        row, col = divmod(place, made.columns)
        assert abs(pixels[row * made.cell + 8, col * made.cell + 8] - grey) < 8
    assert made.position(0) == "0.0000% 0.0000%"
    with pytest.raises(DataError, match="Thumbnail 0"):
        sheet([b"no picture"])
