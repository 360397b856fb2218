"""Embeddings as files for other tools: Parquet, NumPy, CSV."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from twofold.apps import sources
from twofold.apps.options import reading_options
from twofold.errors import ConfigError, RunError
from twofold.recipes import running, saving
from twofold.recipes.running import Embedded
from twofold.training import distributed
from twofold.training.files import write_bytes
from twofold.training.progress import make_progress


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
        quiet = not process.is_main or not sys.stderr.isatty()
        with make_progress(recipe.card.name, quiet=quiet) as progress:
            embedded = running.embed(
                recipe,
                sources.resolve(source, part="all", size=size),
                batch_size=batch_size,
                device=process.device,
                progress=progress,
                **reading,
            )
        if process.is_main:
            _write(out, WRITERS[out.suffix](embedded))
    return (*embedded.rows.shape, len(embedded.dataset.skipped))


def _write(out: Path, content: bytes) -> None:
    try:
        write_bytes(out, content)
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror or error}. Nothing half-written is left.") from error


def _parquet(embedded: Embedded) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = embedded.rows.numpy()
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
    columns = {"id": pa.array(embedded.ids)} | _labels(embedded) | {"embedding": vectors}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def _csv(embedded: Embedded) -> bytes:
    import pyarrow as pa
    import pyarrow.csv

    rows = embedded.rows.numpy()
    columns = {"id": pa.array(embedded.ids)} | _labels(embedded)
    columns |= {f"e{i}": pa.array(rows[:, i]) for i in range(rows.shape[1])}
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def _npy(embedded: Embedded) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, embedded.rows.numpy(), allow_pickle=False)
    return file.getvalue()


def _labels(embedded: Embedded) -> dict[str, object]:
    import pyarrow as pa

    if embedded.labels is None:
        return {}
    names = embedded.dataset.class_names
    known = [None if i < 0 else (names[i] if names else i) for i in embedded.labels.tolist()]
    return {"label": pa.array(known)}


WRITERS: dict[str, Callable[[Embedded], bytes]] = {".parquet": _parquet, ".npy": _npy, ".csv": _csv}
"""Ending → writer."""
