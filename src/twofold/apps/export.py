"""Embeddings as files for other tools: Parquet, NumPy, CSV."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from twofold.apps import sources
from twofold.apps.options import reading_options
from twofold.dataset import Dataset
from twofold.errors import ConfigError, RunError
from twofold.recipes import running, saving
from twofold.training import distributed
from twofold.training.files import remove_leftovers, whole_file
from twofold.training.progress import make_progress

GROUP_BYTES = 8 * 1024**2
"""Rows are written in groups of about so many bytes: large enough to be read fast, small enough to be held twice."""

Part = tuple[Tensor, Tensor]
"""Rows and the samples they are of."""


def embed(
    run: Path,
    source: Sequence[str],
    out: Path,
    *,
    extra: Sequence[str] = (),
    batch_size: int | None = None,
    device: str = "cpu",
) -> tuple[int, int, int]:
    """Write the embeddings of a source: ``id``, ``label`` where there are labels, ``embedding``.

    They are written as they come, by a thread: beside what the data's own reader holds, and its lists of names and
    labels, memory does not grow with the number of samples. The file appears when it is whole.

    Args:
        run: A run folder.
        source: Paths, or the name of a built-in set (all of it).
        out: A .parquet, .npy (numbers only, in the order of the source) or .csv file.
        extra: Reading options of the run's modality, as on the command line.
        batch_size: Samples in a step; none takes 256, or what the kind of data wants.
        device: Where to embed.

    Returns:
        How many rows, of how many numbers, and how many samples could not be read.

    Raises:
        ConfigError: If the file's ending is none of these, or a reading option is wrong.
    """
    if out.suffix not in WRITERS:
        raise ConfigError(f"--out {out}: the ending must be one of {', '.join(WRITERS)}.")
    recipe = saving.load(run)
    reading = reading_options(recipe.modality.name, extra, beside=("out", "batch_size", "device"))
    size = recipe.built_spec.get("size")
    with distributed.processes(device) as process:
        dataset = running.open_source(recipe, sources.resolve(source, part="all", size=size), **reading)
        quiet = not process.is_main or not sys.stderr.isatty()
        with make_progress(recipe.card.name, quiet=quiet) as progress:
            parts = running.embed_batches(
                recipe, dataset, batch_size=batch_size, device=process.device, progress=progress
            )
            with closing(parts):
                rows, dim = _written(out, dataset, parts) if process.is_main else _counted(parts)
    return rows, dim, len(dataset.skipped)


def _written(out: Path, dataset: Dataset, parts: Iterator[Part]) -> tuple[int, int]:
    """Write all parts, each while the next is computed; how many rows there were, of how many numbers."""
    rows = dim = 0
    writer: Writer | None = None
    writing: Future[None] | None = None
    try:
        remove_leftovers(out.parent, of=out.name)
        with whole_file(out) as file, ExitStack() as closed, ThreadPoolExecutor(1, "twofold-writer") as pool:
            for vectors, index in _grouped(parts):
                rows, dim = rows + len(vectors), vectors.shape[1]
                writer = writer or closed.enter_context(closing(WRITERS[out.suffix](file, dataset, dim)))
                if writing:
                    writing.result()
                writing = pool.submit(writer.write, vectors, index)
            if writing:
                writing.result()
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror or error}. Nothing half-written is left.") from error
    return rows, dim


def _counted(parts: Iterator[Part]) -> tuple[int, int]:
    """As :func:`_written`, by a process that only computes."""
    shapes = [vectors.shape for vectors, _ in parts]
    return sum(shape[0] for shape in shapes), shapes[0][1]


def _grouped(parts: Iterator[Part]) -> Iterator[Part]:
    """The same rows in parts of about :data:`GROUP_BYTES`."""
    group: list[Part] = []
    size = 0
    for vectors, index in parts:
        group.append((vectors, index))
        size += vectors.nbytes
        if size >= GROUP_BYTES:
            yield _joined(group)
            group, size = [], 0
    if group:
        yield _joined(group)


def _joined(group: list[Part]) -> Part:
    vectors, index = zip(*group, strict=True)
    return torch.cat(vectors), torch.cat(index)


class Writer(Protocol):
    """A file that grows by rows; made with the open file, the data set and how many numbers a row has."""

    def __init__(self, file: IO[bytes], dataset: Dataset, dim: int) -> None: ...

    def write(self, rows: Tensor, index: Tensor) -> None:
        """Add rows ``(b, dim)`` of the samples ``index``."""

    def close(self) -> None:
        """Write what stands at the end of the file, or at its beginning and is known only now."""


class ParquetFile:
    """``id``, ``label`` where there are labels, and ``embedding``, a list of ``dim`` numbers; a row group a part."""

    def __init__(self, file: IO[bytes], dataset: Dataset, dim: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.dataset = dataset
        self.schema = pa.schema([*_names(dataset), ("embedding", pa.list_(pa.float32(), dim))])
        plain = [name for name in self.schema.names if name != "embedding"]
        # Dictionaries, statistics and packing cost time and save nothing on numbers that are all different.
        packed = dict.fromkeys(plain, "snappy") | {"embedding.list.element": "none"}
        self.parquet = pq.ParquetWriter(
            file, self.schema, use_dictionary=plain, write_statistics=plain, compression=packed
        )

    def write(self, rows: Tensor, index: Tensor) -> None:
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.numpy().reshape(-1)), rows.shape[1])
        self.parquet.write_table(pa.table([*_named(self.dataset, index), vectors], self.schema))

    def close(self) -> None:
        try:
            self.parquet.close()
        finally:
            self.parquet.is_open = False  # or it would try again, in vain, when it is collected


class CsvFile:
    """``id``, ``label`` where there are labels, and a column a number: ``e0``, ``e1`` ..."""

    def __init__(self, file: IO[bytes], dataset: Dataset, dim: int) -> None:
        import pyarrow as pa
        import pyarrow.csv

        self.dataset = dataset
        self.schema = pa.schema([*_names(dataset), *((f"e{i}", pa.float32()) for i in range(dim))])
        self.csv = pyarrow.csv.CSVWriter(file, self.schema)

    def write(self, rows: Tensor, index: Tensor) -> None:
        import pyarrow as pa

        columns = (pa.array(column) for column in rows.numpy().T)
        self.csv.write_table(pa.table([*_named(self.dataset, index), *columns], self.schema))

    def close(self) -> None:
        self.csv.close()


class NpyFile:
    """A matrix of numbers; that its header fits is seen to at the end, when the number of rows is known."""

    def __init__(self, file: IO[bytes], dataset: Dataset, dim: int) -> None:
        self.file, self.rows, self.dim = file, 0, dim
        self._write_header(len(dataset))
        self.begins = file.tell()

    def write(self, rows: Tensor, index: Tensor) -> None:
        self.file.write(rows.contiguous().numpy().data)
        self.rows += len(rows)

    def close(self) -> None:
        self.file.seek(0)
        self._write_header(self.rows)
        if self.file.tell() != self.begins:  # NumPy leaves room for longer numbers of rows
            raise RunError(f"A header of {self.rows} rows needs another length than one of more rows.")

    def _write_header(self, rows: int) -> None:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, self.dim)}
        np.lib.format.write_array_header_1_0(self.file, shape)


def _names(dataset: Dataset) -> list[tuple[str, Any]]:
    """Names and types of the columns that say whose row it is."""
    import pyarrow as pa

    label = pa.string() if dataset.class_names else pa.int64()
    return [("id", pa.string())] + ([] if dataset.labels is None else [("label", label)])


def _named(dataset: Dataset, index: Tensor) -> list[Any]:
    """The columns of :func:`_names` for some samples; without a known label, null."""
    import pyarrow as pa

    ids = pa.array([dataset.ids[i] for i in index.tolist()], pa.string())
    if dataset.labels is None:
        return [ids]
    names = dataset.class_names
    known = [None if i < 0 else (names[i] if names else i) for i in dataset.labels[index].tolist()]
    return [ids, pa.array(known, _names(dataset)[1][1])]


WRITERS: dict[str, type[Writer]] = {".parquet": ParquetFile, ".npy": NpyFile, ".csv": CsvFile}
"""Ending → writer."""
