"""Build src/twofold/data/files/emoji.parquet from three npm packages.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 cldr-annotations-full@48.2.0
    python benchmarks/data/build_emoji.py FOLDER_WITH_THE_TARBALLS

The tarballs are checked against the sums below. The file comes out byte for byte the same as long as Pillow (its
libwebp) and pyarrow are of the versions that are recorded in the file's metadata.

What is left out, and why: flags (a category of rectangles of its own kind) and components (skin swatches); skin-tone
variants (recolourings of one drawing: near copies that would only inflate the counts); and emoji for which CLDR has no
name in one of the six languages (mostly family combinations and "facing right" mirror images, near copies again).

The split holds out whole families of look-alikes. A family is a connected component of the links in `kin_keys`
(names, codepoints, known series) and of near-duplicate pixels (`pixel_similarity`).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, features

SOURCES = {
    "emoji-datasource-google-16.0.0.tgz": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "emoji-datasource-twitter-16.0.0.tgz": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    "cldr-annotations-full-48.2.0.tgz": "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
}
VENDORS = ("google", "twitter")
LANGUAGES = ("de", "fr", "es", "it", "ja")
LEFT_OUT = ("Flags", "Component")

WEBP_QUALITY = 90
"""Mean PSNR at 64 px 32.8 dB (google), 34.3 dB (twitter); quality 95 gains 0.8 dB for 25 % more bytes."""

NEAR_COPY = 0.92
"""Cosine of mean-centred 16 x 16 pictures. Chosen by looking at pairs: round faces, coins and recoloured people lie
above it, below it are different drawings in one style."""

LARGEST_HELD_OUT = 12
"""Families of more emoji than this (round faces, clocks, zodiac ...) stay in training; else one series would be the
test."""

HELD_OUT_SHARE = 0.30
"""Share of the other families of each group that is held out."""

GENDER_AND_AGE = (
    "man woman men women person people boy girl child adult old older "
    "prince princess merman mermaid merperson mr mrs mx santa"
)
LOOK = "red orange yellow green blue purple brown black white grey pink light dark large small medium medium-small"
DIRECTION = (
    "left right up down leftwards rightwards upwards downwards up-right up-left down-right down-left up-down "
    "left-right left-facing right-facing front-facing oncoming"
)
NUMBER = (
    "one two three four five six seven eight nine ten eleven twelve first second third 1st 2nd 3rd "
    "0 1 2 3 4 5 6 7 8 9 single double"
)
FILLERS = "in with the of a and"
INCIDENTAL_WORDS = frozenset(" ".join((GENDER_AND_AGE, LOOK, DIRECTION, NUMBER, FILLERS)).split())
"""Words that tell the members of one family apart, or nothing apart."""

SERIES = (
    # (subgroup, pattern of the English name): drawings that vary one motif
    ("sky & weather", r"\bmoon\b"),
    ("sky & weather", "cloud"),
    ("sky & weather", "umbrella"),
    ("time", "o’clock|-thirty"),
    ("heart", r"\bhearts?\b"),
    ("cat-face", ""),
    ("monkey-face", ""),
    ("arrow", ""),
    ("zodiac", ""),
    ("keycap", ""),
    ("av-symbol", ""),
    ("punctuation", ""),
    ("family", ""),
    ("person-symbol", "famil"),
    ("alphanum", "^Japanese"),
    ("alphanum", "blood"),
    ("alphanum", "^input"),
    ("mail", "mailbox"),
    ("mail", "envelope|e-mail"),
    ("money", "banknote"),
    ("sound", "speaker"),
    ("sound", "^bell"),
    ("place-map", "globe"),
    ("warning", "^no |^non|prohibited"),
    ("emotion", "bubble|balloon"),
    ("other-symbol", "check|cross mark"),
    ("office", "chart"),
    ("office", "file folder"),
    ("office", "paperclip"),
    ("lock", "^(un)?locked"),
    ("person-role", "feeding"),
    ("animal-bird", "chick$"),
    ("time", "hourglass"),
    ("music", "musical note"),
    ("computer", "battery"),
    ("award-medal", "medal"),
    ("event", "tickets?$"),
    ("light & video", "magnifying"),
    ("game", "suit$"),
)


@dataclass
class Emoji:
    """One emoji: its names, and its drawing by each vendor as encoded bytes and as a 16 x 16 thumbnail."""

    code: str
    name: str
    group: str
    subgroup: str
    keywords: list[str]
    names: dict[str, str]
    images: dict[str, bytes] = field(default_factory=dict)
    thumbnails: dict[str, np.ndarray] = field(default_factory=dict)


def check_sources(folder: Path) -> None:
    for name, expected in SOURCES.items():
        path = folder / name
        if not path.is_file():
            raise SystemExit(f"{path} is missing; this script's docstring says how to get the three packages")
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != expected:
            raise SystemExit(f"{path} has sha256 {actual}, expected {expected}")


def read_json(archive: Path, member: str) -> Any:
    with tarfile.open(archive) as tar:
        return json.loads(read_member(tar, tar.getmember(member)))


def read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    if stream is None:
        raise SystemExit(f"{member.name} is no regular file of its tarball")
    return stream.read()


def read_annotations(archive: Path) -> dict[str, dict[str, dict]]:
    """Language -> emoji -> {"tts": [name], "default": [keywords]}."""
    member = "package/annotations/{}/annotations.json"
    return {
        language: read_json(archive, member.format(language))["annotations"]["annotations"]
        for language in ("en", *LANGUAGES)
    }


def read_emoji(folder: Path) -> list[Emoji]:
    """All emoji that are kept, in Unicode's order, with both drawings."""
    google, twitter, cldr = (folder / name for name in SOURCES)
    annotations = read_annotations(cldr)
    kept: dict[str, Emoji] = {}
    for entry in sorted(read_json(google, "package/emoji_pretty.json"), key=lambda entry: entry["sort_order"]):
        text = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
        key = text if text in annotations["en"] else text.replace("\ufe0f", "")
        if entry["category"] in LEFT_OUT or any(key not in named for named in annotations.values()):
            continue
        kept[entry["image"]] = Emoji(
            code=entry["unified"],
            name=annotations["en"][key]["tts"][0],
            group=entry["category"],
            subgroup=entry["subcategory"],
            keywords=annotations["en"][key]["default"],
            names={language: annotations[language][key]["tts"][0] for language in LANGUAGES},
        )
    for vendor, archive in zip(VENDORS, (google, twitter), strict=True):
        add_drawings(kept, archive, vendor)
    emoji = list(kept.values())
    missing = [one.name for one in emoji if set(one.images) != set(VENDORS)]
    if missing:
        raise SystemExit(f"no drawing by every vendor of: {', '.join(missing)}")
    return emoji


def add_drawings(emoji: dict[str, Emoji], archive: Path, vendor: str) -> None:
    """Composite each drawing on white, encode it, and keep a thumbnail for the search for near copies."""
    with tarfile.open(archive) as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            if folder != f"package/img/{vendor}/64" or name not in emoji:
                continue
            drawing = Image.open(io.BytesIO(read_member(tar, member))).convert("RGBA")
            picture = Image.new("RGBA", drawing.size, "white")
            picture.alpha_composite(drawing)
            picture = picture.convert("RGB")
            encoded = io.BytesIO()
            picture.save(encoded, format="WEBP", quality=WEBP_QUALITY, method=6)
            emoji[name].images[vendor] = encoded.getvalue()
            emoji[name].thumbnails[vendor] = np.asarray(picture.resize((16, 16), Image.Resampling.BOX), np.float32)


def kin_keys(emoji: Emoji) -> Iterator[tuple]:
    """Keys of one emoji; two emoji that share a key are of one family."""
    words = emoji.name.lower().replace(":", " ").split()
    yield "name", emoji.group, " ".join(word for word in words if word not in INCIDENTAL_WORDS)
    codes = [code for code in emoji.code.split("-") if code not in ("FE0F", "200D", "2640", "2642")]
    people = ("1F468", "1F469", "1F9D1")  # man, woman, person: the first part of every role and activity
    yield "code", *("person" if len(codes) > 1 and code in people else code for code in codes)
    for number, (subgroup, pattern) in enumerate(SERIES):
        if emoji.subgroup == subgroup and re.search(pattern, emoji.name):
            yield "series", number


def pixel_similarity(emoji: list[Emoji]) -> np.ndarray:
    """(n, n): the greatest cosine between any two drawings of two emoji, of any vendor, mirrored or not."""
    pictures = np.stack([one.thumbnails[vendor] for vendor in VENDORS for one in emoji])
    plain, mirrored = unit_rows(pictures), unit_rows(pictures[:, :, ::-1])
    cosine = np.maximum(plain @ plain.T, plain @ mirrored.T)
    n = len(emoji)
    return cosine.reshape(len(VENDORS), n, len(VENDORS), n).max(axis=(0, 2))


def unit_rows(pictures: np.ndarray) -> np.ndarray:
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def components(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` items, the smallest item that it is linked with over any number of steps."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for first, second in links:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return [root(item) for item in range(count)]


def find_families(emoji: list[Emoji], similarity: np.ndarray) -> list[str]:
    """The family of each emoji, named after its first member."""
    owner: dict[tuple, int] = {}
    links = [(number, owner.setdefault(key, number)) for number, one in enumerate(emoji) for key in kin_keys(one)]
    links += [(i, j) for i, j in np.argwhere(np.triu(similarity > NEAR_COPY, 1)).tolist()]
    return [emoji[first].name for first in components(len(emoji), links)]


def choose_split(emoji: list[Emoji], families: list[str]) -> list[str]:
    """Hold out a fixed share of the families of each group, in the order of their names' hashes."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for one, family in zip(emoji, families, strict=True):
        groups[family][one.group] += 1
    candidates: dict[str, list[str]] = defaultdict(list)
    for family, members in groups.items():
        if members.total() <= LARGEST_HELD_OUT:
            candidates[members.most_common(1)[0][0]].append(family)
    held_out: set[str] = set()
    for names in candidates.values():
        names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        held_out.update(names[: round(HELD_OUT_SHARE * len(names))])
    return ["test" if family in held_out else "train" for family in families]


def as_table(emoji: list[Emoji], families: list[str], split: list[str]) -> pa.Table:
    """One row a drawing: emoji in Unicode's order, and of each emoji one row a vendor."""
    rows = [
        {
            "image": one.images[vendor],
            "vendor": vendor,
            "code": one.code,
            "name": one.name,
            "group": one.group,
            "subgroup": one.subgroup,
            "keywords": one.keywords,
            **{f"name_{language}": name for language, name in one.names.items()},
            "family": family,
            "split": side,
        }
        for one, family, side in zip(emoji, families, split, strict=True)
        for vendor in VENDORS
    ]
    metadata = {
        "sources": json.dumps(SOURCES),
        "built_with": f"pillow {PIL.__version__}, libwebp {features.version('webp')}, pyarrow {pa.__version__}",
        "licences": "google: Apache-2.0; twitter: CC-BY-4.0; categories: MIT; names and keywords: Unicode-3.0",
        "split": f"{HELD_OUT_SHARE:.0%} of the families of up to {LARGEST_HELD_OUT} emoji in each group; "
        f"near copies: cosine > {NEAR_COPY}",
    }
    return pa.Table.from_pylist(rows).replace_schema_metadata(metadata)


def report(emoji: list[Emoji], families: list[str], split: list[str], similarity: np.ndarray) -> None:
    """Print what was built, and how near the test emoji are to the training emoji, beside random splits of one size."""
    test = np.array(split) == "test"
    sizes = Counter(families)
    held_out_families = len(set(np.array(families)[test]))
    print(f"{len(emoji)} emoji, {len(sizes)} families; held out: {test.sum()} emoji, {held_out_families} families")
    for group in dict.fromkeys(one.group for one in emoji):
        of_group = np.array([one.group == group for one in emoji])
        print(f"  {group}: {(of_group & ~test).sum()} train, {(of_group & test).sum()} test")
    print("largest families:", ", ".join(f"{name} {size}" for name, size in sizes.most_common(12)))

    def nearest(held_out: np.ndarray) -> np.ndarray:
        return similarity[np.ix_(held_out, ~held_out)].max(axis=1)

    rng = np.random.default_rng(0)
    random = np.concatenate([nearest(rng.permutation(test)) for _ in range(20)])
    for name, values in (("by family", nearest(test)), ("random emoji", random)):
        quartiles = ", ".join(f"{value:.3f}" for value in np.quantile(values, (0.25, 0.5, 0.75, 0.9)))
        copies = (values > NEAR_COPY).mean()
        print(f"nearest training emoji, {name}: quartiles and 90 % {quartiles}; near copies {copies:.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the three tarballs lie")
    packaged = Path(__file__).parents[2] / "src/twofold/data/files/emoji.parquet"
    parser.add_argument("--out", type=Path, default=packaged, help="default: the packaged file")
    options = parser.parse_args()
    check_sources(options.folder)
    emoji = read_emoji(options.folder)
    similarity = pixel_similarity(emoji)
    families = find_families(emoji, similarity)
    split = choose_split(emoji, families)
    table = as_table(emoji, families, split)
    text_columns = [name for name in table.column_names if name != "image"]
    pq.write_table(table, options.out, compression="zstd", use_dictionary=text_columns)
    report(emoji, families, split, similarity)
    print(f"wrote {options.out}: {table.num_rows} rows, {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
