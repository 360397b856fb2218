"""Clips that are made of pictures: animations (GIF, WebP, APNG) and sequences of picture files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import PurePosixPath

import numpy as np

from twofold.modalities.pixels import decode as pictures
from twofold.modalities.pixels.decode import UnreadableError, open_picture
from twofold.modalities.video.readers.form import Clip, Form, Pace

ANIMATIONS = frozenset({".gif", ".webp", ".apng"})
"""File names that are taken for animations in a folder tree."""
FRAMES = pictures.SUFFIXES - {".gif"}
"""File names that are taken for frames of a sequence."""

_NUMBERED = re.compile(r"(.*?)[-_. ]?(\d{1,18})", re.DOTALL)
_USUAL_DELAY = 0.1  # seconds, what browsers take where an animation states none
_LONGEST_DELAY = 1e6  # milliseconds
_MAX_PIXELS = 2**25
_BROKEN = (OSError, SyntaxError, ValueError, LookupError, TypeError, RuntimeError, ArithmeticError, AttributeError)


def picture_size(source: str | bytes) -> tuple[int, int]:
    """Width and height that a picture or an animation claims.

    Raises:
        UnreadableError: With the reason.
    """
    with open_picture(source, _MAX_PIXELS) as image:
        width, height = image.size
        return width, height


def read_animation(source: str | bytes, form: Form) -> Clip:
    """The beginning of an animation, at its own pace: frames stay as long as each one says.

    Args:
        source: A path, or the content of a file.
        form: What to bring it to.

    Raises:
        UnreadableError: With the reason: damaged, or a picture without motion.
    """
    frames, aspect, time, pace = list[np.ndarray](), 1.0, 0.0, Pace(form)
    with open_picture(source, _MAX_PIXELS) as image:
        for number in count():
            try:
                image.seek(number)
                image.load()
            except EOFError:
                break
            except _BROKEN as error:
                raise UnreadableError(f"damaged at frame {number + 1} ({error})") from error
            if pace.keeps(time):
                pixels, aspect = pictures.decode(image, size=form.size, channels=form.channels)
                frames.append(pixels)
                if len(frames) == form.frames:
                    break
            delay = image.info.get("duration") or 0
            time += delay / 1000 if 0 < delay < _LONGEST_DELAY else _USUAL_DELAY
    return Clip.of(frames, aspect, pace=f" at {form.fps:g} a second")


def read_sequence(paths: Sequence[str], form: Form) -> Clip:
    """The first frames of a sequence of picture files; it has no times, so only the stride thins it out.

    Raises:
        UnreadableError: If a frame cannot be used; the message names it.
    """
    frames, aspect = list[np.ndarray](), 1.0
    for path in paths[:: form.stride][: form.frames]:
        try:
            pixels, aspect = pictures.decode(path, size=form.size, channels=form.channels, max_pixels=_MAX_PIXELS)
        except UnreadableError as error:
            raise UnreadableError(f"frame {PurePosixPath(path).name}: {error}") from error
        frames.append(pixels)
    return Clip.of(frames, aspect)


def sequences(names: Sequence[str]) -> tuple[dict[str, list[str]], int]:
    """Numbered pictures as clips.

    Pictures of one folder whose names differ in their last number only are one clip, in the order of these numbers:
    ``walk-1.png, walk-2.png``, or ``0001.jpg, 0002.jpg``. Where every folder holds one such sequence, a clip is named
    by its folder, else by folder and the common part of the names.

    Args:
        names: Paths with / between their parts.

    Returns:
        The clips of at least two frames, name to paths, sorted; and how many pictures belong to none.
    """
    found: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        path = PurePosixPath(name)
        if match := _NUMBERED.fullmatch(path.stem):
            found[str(path.parent), match[1]].append((int(match[2]), name))
    clips = {key: [name for _, name in sorted(frames)] for key, frames in sorted(found.items()) if len(frames) > 1}
    alone = len({folder for folder, _ in clips}) == len(clips)
    named = {
        folder if alone else f"{folder}/{prefix}".removeprefix("./").rstrip("/"): frames
        for (folder, prefix), frames in clips.items()
    }
    return named, len(names) - sum(map(len, clips.values()))
