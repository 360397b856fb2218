"""Encoded clips: what kind of file one is, and folders and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.folders import files_below, folder_classes, listed_files, numbered
from twofold.modalities.pixels.decode import UnreadableError
from twofold.modalities.video.readers import films, pictures
from twofold.modalities.video.readers.form import Clip, Form

SUFFIXES = films.SUFFIXES | pictures.ANIMATIONS
"""Names of files that hold one clip each."""

Encoded = str | bytes | Sequence[str]
"""A file's path or content, or the paths of the frames of a sequence."""

_ANIMATED = (b"GIF8", b"\x89PNG", b"RIFF")
_HEAD = 12


@dataclass
class ClipSource:
    """Where clips lie, and what is known of them; every reader returns this.

    Attributes:
        read: Position and form to a clip; called from several threads. May raise UnreadableError.
        size: Position to width and height, as far as they are known without decoding. May raise UnreadableError.
        ids: One readable name a clip.
        name: What was read, in words, for messages.
        channels: 1 if all clips are grey.
        labels: int64 (n,), -1 = none; or None.
        class_names: Names of the classes, or None.
        notes: What else a user should know.
    """

    read: Callable[[int, Form], Clip]
    size: Callable[[int], tuple[int, int]]
    ids: Sequence[str]
    name: str
    channels: int = 3
    labels: Tensor | None = None
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def encoded_clips(load: Callable[[int], Encoded], ids: Sequence[str], name: str) -> ClipSource:
    """Clips that are files, or sequences of them; ``load`` gives those of a position."""
    return ClipSource(lambda i, form: read_clip(load(i), form), lambda i: clip_size(load(i)), ids, name)


def read_clip(source: Encoded, form: Form) -> Clip:
    """Decode a film, an animation or a sequence of pictures.

    Raises:
        UnreadableError: With the reason.
    """
    if not isinstance(source, str | bytes):
        return pictures.read_sequence(source, form)
    return pictures.read_animation(source, form) if _is_animation(source) else films.read_film(source, form)


def clip_size(source: Encoded) -> tuple[int, int]:
    """Width and height that a clip claims.

    Raises:
        UnreadableError: With the reason.
    """
    if not isinstance(source, str | bytes):
        return pictures.picture_size(source[0])
    return pictures.picture_size(source) if _is_animation(source) else films.film_size(source)


def read_folders(folders: Sequence[Path], split: str | None) -> ClipSource:
    """All clips below folders: films and animations, or if there are none, sequences of numbered pictures.

    Where exactly one level of folders varies, its names are the classes.

    Raises:
        DataError: If there are no clips.
    """
    notes: list[str] = []
    ids: list[str] = []
    clips: list[Encoded] = []
    classes: list[str | None] = []
    for root in folders:
        folder, found = _clips_below(root, split, notes)
        classes += folder_classes(list(found), folder, "clips", notes)
        names = [folder.name if name == "." else name for name in found]
        ids += names if len(folders) == 1 else [f"{root}/{name}" for name in names]
        clips += found.values()
    source = encoded_clips(clips.__getitem__, ids, ", ".join(map(str, folders)))
    source.notes = notes
    source.labels, source.class_names = numbered(classes)
    return source


def read_listed(paths: Sequence[Path]) -> ClipSource:
    """The clips of a list of files."""
    found = listed_files(paths, suffixes=SUFFIXES, things="clips")
    name = str(paths[0]) if len(paths) == 1 else f"a list of {len(paths)} files"
    return encoded_clips(found.paths.__getitem__, found.ids, name)


def frames_of(folder: Path) -> list[str]:
    """The frames of a folder that is one clip.

    Raises:
        UnreadableError: If it holds no sequence of numbered pictures, or several.
    """
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in pictures.FRAMES]
    found, _ = pictures.sequences(names)
    if len(found) != 1:
        raise UnreadableError(f"a folder with {len(found) or 'no'} sequences of numbered pictures; one is needed")
    return [str(folder / name) for names in found.values() for name in names]


def _clips_below(root: Path, split: str | None, notes: list[str]) -> tuple[Path, dict[str, Encoded]]:
    """The folder that is read, and the clips in it by their path below it."""
    folder, names = files_below(root, suffixes=SUFFIXES | pictures.FRAMES, split=split, things="clips", notes=notes)
    files = [name for name in names if _suffix(name) in films.SUFFIXES | {".gif", ".apng"}]
    frames = [name for name in names if _suffix(name) in pictures.FRAMES]
    animated = [name for name in frames if _suffix(name) in pictures.ANIMATIONS]
    if not files and len(animated) == len(frames):
        files = animated  # WebP is both: alone it is taken for animations
    if files:
        if others := len(names) - len(files):
            notes.append(f"{others} pictures beside the clips of {root} are left out")
        return folder, {name: str(folder / name) for name in files}
    found, left_out = pictures.sequences(frames)
    if not found:
        raise DataError(
            f"{root} holds {len(frames)} pictures and no clips: no film, no animation, and no two pictures of a folder "
            "whose names differ in a number at their end only"
        )
    if left_out:
        notes.append(f"{left_out} pictures of {root} belong to no sequence and are left out")
    return folder, {name: [str(folder / one) for one in members] for name, members in found.items()}


def _is_animation(source: str | bytes) -> bool:
    """Whether a file is of a format that Pillow reads; AVI is a RIFF file, too."""
    head = source[:_HEAD] if isinstance(source, bytes) else _head(source)
    return head.startswith(_ANIMATED) and head[8:] != b"AVI "


def _head(path: str) -> bytes:
    try:
        if not Path(path).is_file():
            return b""  # opening a pipe would wait for ever; whoever reads it says what is wrong
        with Path(path).open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise UnreadableError(f"cannot be opened ({error.strerror or error})") from error


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()
