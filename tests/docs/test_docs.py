"""The pages of the repository: their Python runs, their commands, links, paths and names exist, no page is stale.

Convention: the ```python blocks of a page run from top to bottom as one script, in an empty folder, with warnings as
errors. Blocks that need the reader's own files are marked ```python notest. Commands stand in ```console blocks.
"""

from __future__ import annotations

import ast
import functools
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from twofold import cli
from twofold.apps import catalogue
from twofold.apps.compare import plan_of
from twofold.apps.options import words_and_options
from twofold.options import options_of
from twofold.recipes.base import Recipe
from twofold.recipes.catalogue import RECIPES, get

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "twofold"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ARROWS = {
    "contrast": set(),
    "nn": {"contrast"},
    "training": {"nn", "contrast"},
    "evaluation": {"nn", "contrast"},
    "modalities": {"evaluation", "nn", "contrast"},
    "data": {"modalities"},
    "recipes": {"modalities", "training", "evaluation", "nn", "contrast"},
    "apps": {"data", "recipes", "modalities", "training", "evaluation", "nn", "contrast"},
}
"""Room → the rooms that docs/architecture.md lets it import."""

ENDINGS = r"\.(?:py|md|toml|txt|cff|parquet)"
REPOSITORY_PATH = re.compile(r"(?<![\w./-])(?:src|docs|tests|examples|benchmarks)/[\w./-]*\w")
"""Anywhere in the prose of a page; paths in a room of the package are known by their ending, in code spans."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def fenced(page: Path, info: str) -> list[tuple[int, str]]:
    """``(line number, content)`` of the page's blocks with exactly this info string."""
    pattern = re.compile(rf"^```{re.escape(info)}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    text = page.read_text(encoding="utf-8")
    return [(text[: match.start(1)].count("\n"), match[1]) for match in pattern.finditer(text)]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_spans(page: Path) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", prose(page)))


def script_of(page: Path) -> str:
    """All runnable blocks as one script, with every line where it stands on the page."""
    script = ""
    for line, block in fenced(page, "python"):
        script += "\n" * (line - script.count("\n")) + block
    return script


def run_python(file: Path, folder: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", file], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if fenced(p, "python")], ids=lambda page: page.name)
def test_python_of_a_page_runs(page, tmp_path):
    script = tmp_path / f"{page.stem.replace('-', '_')}.py"
    script.write_text(script_of(page), encoding="utf-8")
    run_python(script, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_runs(example, tmp_path):
    run_python(example, tmp_path)


def test_there_are_pages_with_python_and_examples():
    assert fenced(ROOT / "docs" / "write-your-own.md", "python")
    assert EXAMPLES


def test_the_example_and_the_page_show_the_same_method():
    _, first = fenced(ROOT / "docs" / "write-your-own.md", "python")[0]
    assert first in (ROOT / "examples" / "own_method.py").read_text(encoding="utf-8")


@each_page
def test_blocks_that_do_not_run_are_valid_python(page):
    for _, block in fenced(page, "python notest"):
        ast.parse(block)


@each_page
def test_every_block_says_what_it_is(page):
    opened = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)[::2]
    assert set(opened) <= {"python", "python notest", "console", "text", "bibtex", "toml"}


@each_page
def test_links_inside_the_repository_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} does not exist"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


def anchors(page: Path) -> set[str]:
    """The names under which headings can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_files_and_folders_that_are_named_exist(page):
    for path in REPOSITORY_PATH.findall(prose(page)):
        assert (ROOT / path).exists(), f"{path} does not exist"
    for span in code_spans(page):
        if re.fullmatch(rf"[\w.-]+/[\w./-]+{ENDINGS}", span):
            assert (ROOT / span).exists() or (PACKAGE / span).exists(), f"{span} does not exist"


@each_page
def test_public_names_that_are_mentioned_exist(page):
    for span in code_spans(page):
        if re.fullmatch(r"twofold(\.\w+)+", span):
            assert resolve(span) is not None


def resolve(dotted: str) -> object:
    """What a dotted name stands for; AttributeError if nothing does."""
    module, _, rest = dotted.partition(".")
    found: object = importlib.import_module(module)
    for name in rest.split("."):
        module = f"{module}.{name}"
        if not hasattr(found, name):
            importlib.import_module(module)
        found = getattr(found, name)
    return found


@each_page
def test_commands_on_a_page_are_understood(page):
    for _, block in fenced(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["twofold"]:
                understand(words[1:])


def understand(words: list[str]) -> None:
    """Parse a command line without running it; raises if there is no such command or option."""
    name, *rest = words
    context = cli.main.commands[name].make_context(name, rest)
    if name == "compare":
        plan_of(*words_and_options([*context.params["recipes"], *context.args]))


def test_the_page_of_recipes_is_up_to_date():
    """If this fails: python -m twofold.apps.catalogue > docs/recipes.md"""
    assert (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8") == catalogue.as_markdown() + "\n"


def test_the_page_of_recipes_has_every_option_with_its_help():
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    for name in RECIPES:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        own = set(next(vars(c)["__init__"] for c in get(name).__mro__ if "__init__" in vars(c)).__kwdefaults__)
        own -= set(options_of(Recipe))
        assert own <= set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        assert all(option.help for option in options_of(get(name)).values())


@functools.cache
def imported_rooms(room: str) -> frozenset[str]:
    """The rooms whose modules are imported anywhere in a room's files."""
    modules: set[str] = set()
    for file in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
    ours = {module.split(".")[1] for module in modules if module.startswith("twofold.")}
    return frozenset(ours - {room})


@pytest.mark.parametrize("room", ARROWS)
def test_arrows_point_one_way(room):
    assert imported_rooms(room) & set(ARROWS) <= ARROWS[room]


@pytest.mark.parametrize("room", ["contrast", "nn"])
def test_the_heart_and_the_heads_import_no_other_module_of_ours(room):
    assert imported_rooms(room) <= ARROWS[room]


def test_every_room_has_an_arrow_rule():
    rooms = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists()}
    assert rooms == set(ARROWS)
