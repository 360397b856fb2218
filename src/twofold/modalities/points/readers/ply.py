"""The header of a PLY file: what it claims, and whether the file is large enough for that."""

from __future__ import annotations

from dataclasses import dataclass, field

from twofold.errors import DataError

_BYTES = {
    **dict.fromkeys(("char", "int8", "uchar", "uint8"), 1),
    **dict.fromkeys(("short", "int16", "ushort", "uint16", "float16"), 2),
    **dict.fromkeys(("int", "int32", "uint", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("int64", "uint64", "double", "float64"), 8),
}
_FORMATS = ("ascii", "binary_little_endian", "binary_big_endian")
_LONGEST = 64 * 1024


@dataclass
class _Element:
    """A part of the file: how often it comes, and the least number of bytes that each takes."""

    count: int
    least: int = 0
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlyHeader:
    """What a PLY file promises.

    Attributes:
        vertices: Its points.
        faces: Its faces.
        columns: Name of each number of a point -> its type.
    """

    vertices: int
    faces: int
    columns: dict[str, str]


def read_ply_header(content: bytes) -> PlyHeader:
    """The header of the bytes of a PLY file.

    Raises:
        DataError: If it is none, or promises more than the file can hold.
    """
    head, end, _ = content[:_LONGEST].partition(b"end_header")
    lines = [line.split() for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    if not end or len(lines) < 2 or lines[0] != ["ply"]:
        raise DataError("damaged or not a .ply file (it must begin with 'ply', and its header end with 'end_header')")
    if lines[1][:1] != ["format"] or lines[1][1:2] not in [[name] for name in _FORMATS]:
        raise DataError(f"damaged; its format is {' '.join(lines[1])[:40]!r}, not one of {', '.join(_FORMATS)}")
    elements = _elements(lines[2:], text=lines[1][1] == "ascii")
    present = len(content) - len(head) - len(end)
    promised = sum(element.count * element.least for element in elements.values())
    if promised > present:
        counts = ", ".join(f"{element.count:,} {name[:20]}" for name, element in elements.items())
        raise DataError(
            f"damaged or cut short; its header promises {counts}, at least {promised:,} bytes, and {present:,} follow"
        )
    vertex, face = elements.get("vertex"), elements.get("face")
    if vertex is None or not {"x", "y", "z"} <= vertex.columns.keys():
        raise DataError("it has no points (no element 'vertex' with x, y and z)")
    return PlyHeader(vertex.count, 0 if face is None else face.count, vertex.columns)


def _elements(lines: list[list[str]], *, text: bool) -> dict[str, _Element]:
    elements: dict[str, _Element] = {}
    current = None
    for line in lines:
        if line[0] in ("comment", "obj_info"):
            continue
        match line:
            case ["element", name, count] if count.isdecimal() and len(count) < 20 and name not in elements:
                current = elements[name] = _Element(int(count))
            case ["property", "list", count, kind, _] if current and count in _BYTES and kind in _BYTES:
                current.least += 2 if text else _BYTES[count]
            case ["property", kind, name] if current and kind in _BYTES and name not in current.columns:
                current.least += 2 if text else _BYTES[kind]
                current.columns[name] = kind
            case _:
                raise DataError(f"damaged; its header has the line {' '.join(line)[:60]!r}")
    if any(element.count and not element.least for element in elements.values()):
        raise DataError("damaged; its header has an element without properties")
    return elements
