"""`import twofold` is quick, its names are all there, and checkers and the interpreter see the same ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import twofold
from twofold.recipes import catalogue

HEAVY = ("torch", "numpy", "sklearn", "pyarrow", "PIL", "transformers", "datasets", "jinja2", "rich")


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_loads_nothing_heavy():
    done = run_python(f"import sys, twofold, twofold.cli; print([m for m in {HEAVY} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_help_and_version_load_no_torch():
    for argument in ("--help", "--version"):
        done = run_python(
            f"import sys; sys.argv = ['twofold', {argument!r}]\n"
            "from twofold.cli import main\n"
            "try:\n    main()\n"
            "except SystemExit as stop:\n    assert not stop.code\n"
            "print('torch' in sys.modules)"
        )
        assert done.stdout.strip().endswith("False"), done.stderr
    assert twofold.__version__ in done.stdout


def test_python_dash_m_is_the_command_line():
    done = subprocess.run([sys.executable, "-m", "twofold", "-h"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("train", "evaluate", "embed", "compare", "recipes", "demo"))


@pytest.mark.parametrize("name", twofold.__all__)
def test_public_names_resolve(name):
    assert getattr(twofold, name) is not None
    assert name in dir(twofold)


def test_public_names_are_unique_and_others_are_refused():
    assert len(twofold.__all__) == len(set(twofold.__all__))
    with pytest.raises(AttributeError, match="no attribute 'SimCRL'"):
        twofold.SimCRL  # noqa: B018


def test_every_recipe_is_public_under_its_class_name():
    for name in catalogue.RECIPES:
        cls = catalogue.get(name)
        assert getattr(twofold, cls.__name__) is cls
        assert twofold.recipe(name) is cls
        assert cls.card.name == name
        assert cls.card.paper[-4:].isdigit(), f"{name}: the paper ends with its year"
        assert cls.card.new[0].islower() or cls.card.new[:2].isupper()
        assert not cls.card.new.endswith(".")


def test_type_checkers_see_what_the_interpreter_sees():
    tree = ast.parse(Path(twofold.__file__).read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    declared = {}
    for statement in block.body:
        for alias in statement.names:
            name = alias.asname or alias.name
            declared[name] = "" if statement.module == "twofold" else f"{statement.module}:{alias.name}"
    resolved = {
        name: path if ":" in path else f"{path}:{name}" for name, path in twofold._PUBLIC.items()
    } | dict.fromkeys(twofold._ROOMS, "")
    assert declared == resolved
