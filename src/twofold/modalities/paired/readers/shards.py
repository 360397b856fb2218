"""Shards as WebDataset writes them: .tar files in which files of one stem are one sample.

They are streamed and never extracted: what a member is called leads nowhere, links and devices are left alone, and no
size that a header states is believed beyond the size of the shard itself. The encoded files go through one temporary
Parquet file, which every kind of data can read, and which is gone when they are read.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from twofold.errors import ConfigError, DataError
from twofold.modalities.paired.dataset import Pairs
from twofold.modalities.paired.readers.files import ENDINGS
from twofold.modalities.paired.readers.tables import Wanted, read_tables
from twofold.modalities.paired.sides import Side

LABEL_ENDINGS = ("cls", "cls.txt", "label")
MAX_TEXT = 2**20
"""Bytes of a text; more is no caption."""
_GROUP = 256  # rows written at a time
_GROUP_BYTES = 64 * 1024**2

Sample = dict[str, bytes]


def read_shards(paths: Sequence[Path], sides: Sequence[Side], wanted: Wanted) -> Pairs:
    """Pairs from one or several uncompressed .tar files.

    A side's file is the one with its ending: ``first_column`` and ``second_column``, such as jpg and txt, or else a
    usual one of its modality. A file ``.cls`` is the class.

    Raises:
        ConfigError: If a side's modality has no usual endings and none are given.
        DataError: If a shard is damaged, or there are no pairs in it.
    """
    endings = [_endings(side, getattr(wanted, f"{side.name}_column")) for side in sides]
    with tempfile.TemporaryDirectory(prefix="twofold-") as folder:
        table = Path(folder) / "shards.parquet"
        names, dropped = _write(table, (pair for path in paths for pair in _samples(path)), sides, endings, paths[0])
        pairs = read_tables([table], sides, Wanted("first", "second", label_column="label"))
    pairs.ids = names
    pairs.skipped = dropped | pairs.skipped
    return pairs


def _endings(side: Side, asked: str | None) -> tuple[str, ...]:
    if asked is not None:
        return (asked.lower().lstrip("."),)
    if side.modality.name not in ENDINGS:
        raise ConfigError(
            f"which files of a shard are the {side.item}s? Name their ending, such as {side.name}_column='npy'"
        )
    return tuple(ending.lstrip(".") for ending in ENDINGS[side.modality.name])


def _write(
    table: Path,
    samples: Iterable[tuple[str, Sample]],
    sides: Sequence[Side],
    endings: Sequence[tuple[str, ...]],
    where: Path,
) -> tuple[list[str], dict[str, str]]:
    """Write the pairs of shards as one Parquet file; their names, and the samples that are none, and why."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    kinds = [arrow.string() if side.modality.name == "text" else arrow.binary() for side in sides]
    schema = arrow.schema([("first", kinds[0]), ("second", kinds[1]), ("label", arrow.string())])
    names: list[str] = []
    dropped: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    weight = 0
    with parquet.ParquetWriter(table, schema) as writer:
        for name, sample in samples:
            row: dict[str, Any] = {
                side.name: _cell(sample, side, known) for side, known in zip(sides, endings, strict=True)
            }
            if None in row.values():
                dropped[name] = f"no pair: its files end in {', '.join(sorted(sample))}"
                continue
            label = next((sample[ending] for ending in LABEL_ENDINGS if ending in sample), None)
            rows.append(row | {"label": None if label is None else label.decode("utf-8", "replace").strip()})
            names.append(name)
            weight += sum(map(len, sample.values()))
            if len(rows) >= _GROUP or weight > _GROUP_BYTES:
                writer.write_table(arrow.Table.from_pylist(rows, schema))
                rows, weight = [], 0
        writer.write_table(arrow.Table.from_pylist(rows, schema))
    if len(dropped) > len(names) or not names:
        name, reason = next(iter(dropped.items()), ("the shard", "it holds no files"))
        wanted = " and ".join("/".join(known) for known in endings)
        raise DataError(f"{where}: most samples are no pairs of {wanted}, such as {name} ({reason})")
    return names, dropped


def _cell(sample: Sample, side: Side, endings: tuple[str, ...]) -> bytes | str | None:
    content = next((sample[ending] for ending in endings if sample.get(ending)), None)
    if content is None or side.modality.name != "text":
        return content
    return content[:MAX_TEXT].decode("utf-8", "replace").strip() or None


def _samples(path: Path) -> Iterator[tuple[str, Sample]]:
    """Samples of a shard: a name, and the content of its files by ending."""
    size = path.stat().st_size
    current = ""
    sample: Sample = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                vars(archive)["members"] = []  # else the archive remembers every member
                if not member.isreg() or member.issparse():
                    continue
                folder, _, file = member.name.rpartition("/")
                stem, _, ending = file.partition(".")
                if not stem or not ending:
                    continue
                name = f"{folder}/{stem}" if folder else stem
                if name != current and sample:
                    yield f"{path.name}:{current}"[:200], sample
                    sample = {}
                current = name
                if member.size > size:
                    raise DataError(f"{path}: a file of {member.size:,} bytes is claimed in a shard of {size:,}")
                content = archive.extractfile(member)  # a stream of the content; nothing is written
                sample[ending.lower()] = b"" if content is None else content.read()
            if sample:
                yield f"{path.name}:{current}"[:200], sample
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, RecursionError) as error:
        raise DataError(
            f"{path}: damaged, or no uncompressed .tar file ({str(error)[:200]}); unpack a .tar.gz to .tar first"
        ) from error
