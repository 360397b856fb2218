"""Files with one cloud or mesh: what is read from each format, and what is said of bad ones."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
import torch
import trimesh

from twofold.errors import DataError, TwofoldError
from twofold.modalities.points.data import read
from twofold.modalities.points.readers.files import SUFFIXES, read_file
from twofold.modalities.points.readers.shapes import Cloud, Mesh

PLY = (
    "ply\nformat ascii 1.0\ncomment made by hand\nelement vertex 4\nproperty float x\nproperty float y\n"
    "property float z\n{more}end_header\n{rows}"
)
ROWS = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def reason(path):
    with pytest.raises(DataError) as caught:
        read(path, points=8)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["ply", "ply-ascii", "off", "obj", "stl", "stl_ascii"])
def test_meshes_come_with_all_their_faces(tmp_path, kind):
    box = trimesh.creation.box((2, 4, 6))
    content = box.export(file_type="ply", encoding="ascii") if kind == "ply-ascii" else box.export(file_type=kind)
    mesh = read_file(write(tmp_path / f"box.{kind[:3]}", content))
    assert isinstance(mesh, Mesh)
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    assert len(mesh.faces) == 12
    assert area == pytest.approx(2 * (8 + 12 + 24), rel=1e-5)


def test_parts_of_an_obj_file_are_one_mesh_and_materials_are_not_opened(tmp_path):
    text = "mtllib /etc/passwd\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nusemtl a\nf 1 2 3\nusemtl \xe9\nf 1 2 3 4\n"
    mesh = read_file(write(tmp_path / "two.obj", text.encode("latin-1")))
    assert isinstance(mesh, Mesh)
    assert len(mesh.faces) == 3


def test_polygons_of_ply_files_are_triangulated(tmp_path):
    text = PLY.format(
        more="element face 2\nproperty list uchar int vertex_indices\n", rows=ROWS + "4 0 1 2 3\n3 0 1 3\n"
    )
    mesh = read_file(write(tmp_path / "mixed.ply", text))
    assert isinstance(mesh, Mesh)
    assert len(mesh.faces) == 3


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_ply_clouds_keep_normals_and_colours(tmp_path, encoding):
    names = "property float nx\nproperty float ny\nproperty float nz\nproperty uchar red\nproperty uchar green\n"
    rows = np.zeros(4, dtype="<f4,<f4,<f4,<f4,<f4,<f4,u1,u1")
    for name, values in zip(rows.dtype.names, ([0, 1, 2, 3], 0, 5, 0, 0, 1, [0, 51, 102, 255], 255), strict=True):
        rows[name] = values
    text = PLY.format(more=names, rows="").encode()
    if encoding == "ascii":
        text += "".join(" ".join(f"{v:g}" for v in row.tolist()) + "\n" for row in rows).encode()
    else:
        text = text.replace(b"ascii", b"binary_little_endian") + rows.tobytes()
    cloud = read_file(write(tmp_path / "scan.ply", text))
    assert isinstance(cloud, Cloud)
    assert cloud.places.tolist() == [[0, 0, 5], [1, 0, 5], [2, 0, 5], [3, 0, 5]]
    assert cloud.normals.tolist() == [[0, 0, 1]] * 4
    assert cloud.extras == pytest.approx(np.array([[0, 1], [0.2, 1], [0.4, 1], [1, 1]]))


@pytest.mark.parametrize("text", ["# made by hand\n0 1 2\n3 4 5\n", "0,1,2\n3,4,5\n", "\n0\t1 2\r\n3 4  5"])
def test_text_files(tmp_path, text):
    assert read_file(write(tmp_path / "a.xyz", text)).places.tolist() == [[0, 1, 2], [3, 4, 5]]


BAD = {
    "not.ply": (b"plx\nformat ascii 1.0\nend_header\n", "not a .ply file"),
    "format.ply": (PLY.format(more="", rows=ROWS).replace("ascii", "utf8"), "its format is 'format utf8 1.0'"),
    "vast.ply": (PLY.format(more="", rows=ROWS).replace("vertex 4", "vertex 1000000000"), "promises 1,000,000,000"),
    "vaster.ply": (PLY.format(more="", rows=ROWS).replace("vertex 4", f"vertex {'9' * 30}"), "header has the line"),
    "cut.ply": (PLY.format(more="", rows=ROWS)[:-8], "cut short"),
    "nothing.ply": (PLY.format(more="", rows="").replace("vertex 4", "vertex 0"), "it has no points"),
    "flat.ply": (PLY.format(more="", rows="0 0\n" * 6).replace("property float z\n", ""), "no element 'vertex'"),
    "corner.ply": (
        PLY.format(more="element face 1\nproperty list uchar int vertex_indices\n", rows=ROWS + "3 0 1 9\n"),
        "faces name corners 0 to 9, it has 4",
    ),
    "nan.ply": (PLY.format(more="", rows=ROWS.replace("1 0 0", "nan 0 0")), "1 of its 4 points have NaN"),
    "vast.off": ("OFF\n1000000000 1 0\n0 0 0\n", "claims 1,000,000,000 corners"),
    "not.off": ("OF\n1 1 0\n0 0 0\n", "must begin with OFF"),
    "cut.off": ("OFF\n3 1 0\n0 0 0\n1 0 0\n", "damaged or not a .off file"),
    "not.obj": ("hello", "it has no points"),
    "two.obj": ("v 0 0\nv 1 0\nv 1 1\nf 1 2 3\n", "coordinates instead of 3"),
    "line.obj": ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "mesh without surface"),
    "vast.stl": (b"\0" * 80 + b"\xff\xff\xff\x7f" + b"\0" * 50, "promises 2,147,483,647 triangles"),
    "none.stl": (b"\0" * 84, "it has no points"),
    "ragged.xyz": ("0 0 0\n1 1\n", "Every line needs as many numbers"),
    "atoms.xyz": ("2\nwater\nH 0 0 0\nO 0 0 1\n", "its first line is '2'"),
    "flat.xyz": ("0 0\n1 1\n", r"its shape is \(2, 2\)"),
    "empty.xyz": ("# nothing\n", "it has no points"),
    "nan.xyz": ("0 0 0\nnan 1 1\ninf 0 0\n", "2 of its 3 points have NaN or infinite values; remove those"),
    "place.xyz": ("1 1 1\n1 1 1\n", "all its points lie in one place"),
    "huge.xyz": ("1e300 0 0\n0 1e-300 0\n" * 2, None),
}


@pytest.mark.parametrize("name", [name for name, (_, message) in BAD.items() if message])
def test_bad_files_are_refused_with_the_reason(tmp_path, name):
    content, message = BAD[name]
    text = reason(write(tmp_path / name, content))
    assert name in text
    with pytest.raises(DataError, match=message):
        raise DataError(text)


def test_numbers_of_any_size_are_brought_to_the_unit_ball(tmp_path):
    batch = read(write(tmp_path / "huge.xyz", BAD["huge.xyz"][0]), points=4).fetch(torch.arange(1))
    assert float(batch["inputs"].norm(dim=2).max()) == pytest.approx(1)


@pytest.mark.parametrize("name", ["vast.ply", "vast.off", "vast.stl"])
def test_what_a_header_claims_is_not_allocated(tmp_path, name):
    path = write(tmp_path / name, BAD[name][0])
    reason(path)
    tracemalloc.start()
    reason(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_array_files_of_one_cloud_in_folders(tmp_path, table):
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "one.npy", table)
    np.save(tmp_path / "a" / "two.npy", table + 1)
    np.save(tmp_path / "a" / "many.npy", np.stack([table, table]))
    data = read(tmp_path)
    assert len(data.fetch(torch.arange(3))["index"]) == 2
    assert data.skipped == {"a/many.npy": "its shape is (2, 30, 3); a cloud is (points, 3) or (points, 3 + columns)"}


def test_pickles_are_not_read(tmp_path, table):
    objects = np.empty(2, dtype=object)
    objects[:] = [table, table[:5]]
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    with pytest.raises(DataError, match="can run any code"):
        read(tmp_path / "o.npy")
    with pytest.raises(DataError, match="pickled files are not read"):
        read(write(tmp_path / "o.pkl", b""))


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Bytes flipped, cut out, put in, or cut off."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 2, 6])):
        at = draw.randrange(len(changed))
        match draw.randrange(4):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                del changed[at : at + draw.randrange(1, 9)]
            case 2:
                changed[at:at] = draw.choice([b"1000000000", b"-1", b"nan", b"\n", b"\0", b"1e400", b" 7 "])
            case _ if at > 1:
                del changed[at:]
        if not changed:
            break
    return bytes(changed)


@pytest.mark.parametrize("kind", ["ply", "ascii", "off", "obj", "stl", "npy", "npz"])
def test_mutated_files_give_clouds_or_our_errors(tmp_path, kind, table):
    box = trimesh.creation.box()
    path = tmp_path / f"a.{'ply' if kind == 'ascii' else kind}"
    if kind in ("npy", "npz"):
        (np.save if kind == "npy" else np.savez)(path, **{"arr" if kind == "npy" else "points": table[None]})
        content = path.read_bytes()
    else:
        content = box.export(file_type="ply", encoding="ascii") if kind == "ascii" else box.export(file_type=kind)
        content = content if isinstance(content, bytes) else content.encode()
    draw = random.Random(0)
    refused = 0
    for _ in range(60):
        path.write_bytes(mutated(content, draw))
        try:
            assert torch.isfinite(read(path, points=8).fetch(torch.arange(1))["inputs"]).all()
        except TwofoldError:
            refused += 1
    assert refused > 10


def test_every_ending_is_read_by_something(tmp_path):
    for suffix in SUFFIXES:
        with pytest.raises(DataError, match=r"damaged|no points|not lines"):
            read_file(write(tmp_path / f"x{suffix}", b"?"))
