"""From a film (.mp4, .webm, .avi, .mkv ...) to a clip, with PyAV."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from twofold.errors import require
from twofold.limits import free_memory, in_words
from twofold.modalities.pixels.decode import UnreadableError
from twofold.modalities.video.readers.form import Clip, Form, Pace

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".ogv"})
"""File names that are taken for films in a folder tree."""

MAX_PIXELS = 2**25
"""Films of larger frames than this (8K has just under it) are skipped before anything is decoded."""

_PIXEL_BYTES = 32  # at worst, for the frames that a decoder keeps to predict others from
# Which demuxer reads what begins like this. FFmpeg's own guess would also take playlists, which name other files and
# addresses; these containers are read from an open file and can name none.
_CONTAINERS = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"free", "mov"),
    (4, b"skip", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (8, b"AVI ", "avi"),
    (0, b"\0\0\1\xba", "mpeg"),
    (0, b"\0\0\1\xb3", "mpegvideo"),
    (0, b"OggS", "ogg"),
)
_HEAD = 12
_BROKEN = (OSError, ValueError, RuntimeError, TypeError, ArithmeticError, LookupError, MemoryError)


def film_size(source: str | bytes) -> tuple[int, int]:
    """Width and height that a film claims.

    Args:
        source: A path, or the content of a file.

    Raises:
        UnreadableError: With the reason.
    """
    with _opened(source) as (_, stream):
        return int(stream.codec_context.width), int(stream.codec_context.height)


def read_film(source: str | bytes, form: Form) -> Clip:
    """The beginning of a film. Frames that are not kept are decoded and dropped, so memory is that of the clip.

    Args:
        source: A path, or the content of a file.
        form: What to bring it to.

    Raises:
        UnreadableError: With the reason: no known container or codec, damaged, no frames.
    """
    with _opened(source) as (container, stream):
        frames, aspect, ended = _decoded(container, stream, form)
        claimed = _claimed(container, stream, form)
    if ended and 2 * len(frames) < claimed:
        raise UnreadableError(f"damaged: its header claims {claimed} frames, {len(frames)} are there")
    return Clip.of(frames, aspect, pace=f" at {form.fps:g} a second")


def _decoded(container: Any, stream: Any, form: Form) -> tuple[list[np.ndarray], float, bool]:
    """The frames that are kept, width / height, and whether the film ended before there were enough."""
    library = require("av", extra="video", purpose="reading films")
    pace, frames, aspect = Pace(form), list[np.ndarray](), 1.0
    seconds = 1 / float(stream.average_rate or form.fps)
    try:
        for number, frame in enumerate(container.decode(stream)):
            if not pace.keeps(number * seconds if frame.time is None else frame.time):
                continue
            pixels, aspect = _squashed(frame, form, float(stream.sample_aspect_ratio or 1))
            frames.append(pixels)
            if len(frames) == form.frames:
                return frames, aspect, False
    except (*_BROKEN, library.FFmpegError) as error:
        raise UnreadableError(f"damaged after {len(frames)} frames ({_reason(error)})") from error
    return frames, aspect, True


def _squashed(frame: Any, form: Form, pixel_aspect: float) -> tuple[np.ndarray, float]:
    """A frame as an upright square, (channels, size, size), and its width / height as it is meant to be shown."""
    form_of_pixels = "gray" if form.channels == 1 else "rgb24"
    pixels = frame.to_ndarray(format=form_of_pixels, width=form.size, height=form.size, interpolation="AREA")
    pixels = pixels.reshape(form.size, form.size, form.channels)
    aspect = frame.width / frame.height * pixel_aspect
    turns = round(frame.rotation / 90) % 4  # phones store upright films lying, and how to turn them
    if turns:
        pixels, aspect = np.rot90(pixels, turns), (1 / aspect if turns % 2 else aspect)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)), aspect


def _claimed(container: Any, stream: Any, form: Form) -> int:
    """How many frames would be kept of a film that is as long as its header claims; 0 where it does not say."""
    rate = float(stream.average_rate or 0)
    seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    seconds = seconds or float(container.duration or 0) / 1e6
    if not (math.isfinite(seconds) and seconds > 0 and rate > 0):
        return 0
    return min(form.frames, int(seconds * min(rate, form.fps) / form.stride))


@contextmanager
def _opened(source: str | bytes) -> Iterator[tuple[Any, Any]]:
    """The container and its first stream of pictures, checked as far as can be without decoding."""
    library = require("av", extra="video", purpose="reading films")
    broken = (*_BROKEN, library.FFmpegError)
    with ExitStack() as closing:
        file = closing.enter_context(_file(source))
        kind = _container(file)
        try:
            container = closing.enter_context(library.open(file, format=kind))
            streams = container.streams.video
        except broken as error:
            raise UnreadableError(f"damaged ({_reason(error)})") from error
        if not streams:
            raise UnreadableError("holds no moving picture, only sound or data")
        try:
            _check(streams[0])
        except broken as error:
            raise UnreadableError(f"damaged ({_reason(error)})") from error
        yield container, streams[0]


def _check(stream: Any) -> None:
    context = stream.codec_context
    if context is None or not context.is_decoder:
        raise UnreadableError("its codec is not known to FFmpeg; convert it first: ffmpeg -i FILM -c:v libx264 OUT.mp4")
    pixels = context.width * context.height
    if pixels == 0:
        raise UnreadableError("damaged: its header states no size")
    if pixels > MAX_PIXELS:
        raise UnreadableError(f"too large: it claims {context.width} × {context.height} pixels (limit {MAX_PIXELS:,})")
    if pixels * _PIXEL_BYTES > (free := free_memory()):
        raise UnreadableError(
            f"too large: frames of {context.width} × {context.height} pixels may need "
            f"{in_words(pixels * _PIXEL_BYTES)} of memory, {in_words(free)} are free"
        )
    context.thread_count = 1  # several clips are decoded at once instead
    context.options = {"max_pixels": str(MAX_PIXELS)}  # of frames that turn out to be larger than was claimed


def _file(source: str | bytes) -> IO[bytes]:
    if isinstance(source, bytes):
        if not source:
            raise UnreadableError("empty (0 bytes)")
        return io.BytesIO(source)
    path = Path(source)
    if not path.is_file():
        raise UnreadableError("not a file but a folder, a pipe or a device" if path.exists() else "no such file")
    if path.stat().st_size == 0:
        raise UnreadableError("empty (0 bytes)")
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableError(_reason(error)) from error


def _container(file: IO[bytes]) -> str:
    """The demuxer for a file by its first bytes."""
    head = file.read(_HEAD)
    file.seek(0)
    for offset, magic, kind in _CONTAINERS:
        if head[offset : offset + len(magic)] == magic:
            return kind
    raise UnreadableError("not a film in a known container (MP4, MOV, WebM, MKV, AVI, MPEG, Ogg)")


def _reason(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text[:200] or type(error).__name__
