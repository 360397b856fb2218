"""No source of ours runs code from a file: a walk over the syntax trees, and a table of what the walk must catch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("src", "benchmarks", "examples") for path in (ROOT / room).rglob("*.py"))

FORBIDDEN = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"), "runs text as code"),
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), "runs a shell"),
    **dict.fromkeys(("torch.jit.load", "torch.package.PackageImporter", "torch.hub.load"), "runs code of the file"),
    **dict.fromkeys(("yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all"), "makes any object"),
    **dict.fromkeys(("runpy.run_path", "runpy.run_module", "imp.load_source"), "runs a file"),
    "code.interact": "runs text as code",
    "pandas.read_pickle": "unpickles",
    "numpy.lib.format.read_array": "unpickles where it is asked to; read the header and the bytes",
    "importlib.util.spec_from_file_location": "runs a file",
    "datasets.load_from_disk": "follows names out of the folder; read it with readers of ours",
}
"""Calls that are never right, by full name, and why."""
PICKLES = ("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle")
PICKLE_CALLS = ("load", "loads", "open", "Unpickler", "decode", "Shelf", "DbfilenameShelf")
IMPORTERS = {
    "src/twofold/__init__.py": "names of its own table",
    "src/twofold/data/__init__.py": "names of its own table",
    "src/twofold/modalities/__init__.py": "names of its own table",
    "src/twofold/recipes/catalogue.py": "names of its own table, and module:class that the user typed",
    "src/twofold/errors.py": "an optional dependency that our code names",
}
"""Where importlib.import_module may be called with something that is no literal, and with what."""


def faults(text: str, name: str = "snippet.py") -> list[str]:
    """What is unsafe in a source: ``line: reason``."""
    tree = ast.parse(text)
    names = imported_names(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            reasons = call_faults(node, full_name(node.func, names), name)
        elif isinstance(node, ast.keyword | ast.Dict):
            reasons = option_faults(node)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            reasons = reference_faults(full_name(node, names))
        else:
            continue
        found += [f"{getattr(node, 'lineno', 0)}: {reason}" for reason in reasons]
    return sorted(set(found))


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Local name → full name of everything that is imported anywhere in a source."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """``numpy.load`` for ``np.load``; a method of an expression begins with a dot."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{full_name(node.value, names)}.{node.attr}"
    return ""


def call_faults(node: ast.Call, called: str, file: str) -> Iterator[str]:
    module, _, leaf = called.rpartition(".")
    if called in ("torch.load", "torch.serialization.load") and not literal(node, "weights_only", True):
        yield "torch.load without weights_only=True can run code"
    if called in ("numpy.load", "numpy.lib.npyio.load", "np.load") and not literal(node, "allow_pickle", False):
        yield "np.load without allow_pickle=False can unpickle"
    weights = not any(harmless in module for harmless in ("Config", "Tokenizer"))  # JSON and word lists
    if leaf == "from_pretrained" and weights and not literal(node, "use_safetensors", True):
        yield "from_pretrained without use_safetensors=True can unpickle"
    if leaf in ("extractall", "unpack_archive") or (leaf == "extract" and "zip" in module + "tar"):
        yield f"{leaf} can write outside the folder"
    if called.startswith("subprocess.") and given(node, "shell") and not literal(node, "shell", False):
        yield "a shell runs whatever is in its text"
    fixed = bool(node.args) and isinstance(node.args[0], ast.Constant)
    if called == "importlib.import_module" and not fixed and file not in IMPORTERS:
        yield "imports a module whose name may come from a file"


def reference_faults(name: str) -> Iterator[str]:
    """Faults of names, whether they are called or handed on."""
    if name in FORBIDDEN:
        yield f"{name} {FORBIDDEN[name]}"
    module, _, leaf = name.rpartition(".")
    if module.split(".")[0] in PICKLES and leaf in PICKLE_CALLS:
        yield f"{name} can run code of the file"
    if leaf == "load_module" or (leaf == "exec_module" and module):
        yield f"{leaf} runs a file"


def option_faults(node: ast.keyword | ast.Dict) -> Iterator[str]:
    """``trust_remote_code`` and ``allow_pickle``, as keyword or in a dictionary, must be a literal False."""
    if isinstance(node, ast.keyword):
        options = [(node.arg, node.value)]
    else:
        keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
        options = list(zip(keys, node.values, strict=True))
    for name, value in options:
        if name in ("trust_remote_code", "allow_pickle") and not is_literal(value, False):
            yield f"{name} is not a literal False"
        if name == "weights_only" and not is_literal(value, True):
            yield "weights_only is not a literal True"


def given(node: ast.Call, name: str) -> bool:
    return any(keyword.arg == name for keyword in node.keywords)


def literal(node: ast.Call, name: str, value: bool) -> bool:
    return any(keyword.arg == name and is_literal(keyword.value, value) for keyword in node.keywords)


def is_literal(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_source_loads_nothing_unsafe(path: Path):
    assert faults(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) == []


def test_all_sources_are_walked():
    walked = {path.relative_to(ROOT).as_posix() for path in SOURCES}
    assert {"src/twofold/training/checkpoint.py", "examples/own_method.py"} | set(IMPORTERS) <= walked
    assert any(name.startswith("benchmarks/") for name in walked)


@pytest.mark.parametrize(
    "snippet",
    [
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "import torch; torch.load(path, weights_only=safe)",
        "import torch; torch.load(path, **{'weights_only': False})",
        "import torch as t; t.load(path)",
        "from torch import load; load(path)",
        "from torch import load as read; read(path)",
        "import torch; torch.load(path, pickle_module=pickle)",
        "import torch; torch.jit.load(path)",
        "from torch.jit import load; load(path)",
        "import torch.package; torch.package.PackageImporter(path)",
        "import torch; torch.hub.load('a/b', 'c')",
        "import pickle; pickle.load(file)",
        "import pickle as p; p.loads(data)",
        "from pickle import loads; loads(data)",
        "from pickle import loads; table = map(loads, rows)",
        "import pickle\nclass U(pickle.Unpickler): pass",
        "import cloudpickle; cloudpickle.load(file)",
        "import dill; dill.loads(data)",
        "import joblib; joblib.load(path)",
        "import shelve; shelve.open(path)",
        "import marshal; marshal.loads(data)",
        "import pandas as pd; pd.read_pickle(path)",
        "import numpy as np; np.load(path)",
        "import numpy as np; np.load(path, allow_pickle=True)",
        "import numpy as np; np.load(path, None, flag)",
        "import numpy; numpy.load(path, allow_pickle=trusted)",
        "from numpy import load; load(path)",
        "options = {'allow_pickle': True}",
        "import numpy as np; np.lib.format.read_array(file)",
        "eval(text)",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "import builtins; builtins.eval(text)",
        "__import__(name)",
        "run = eval",
        "import yaml; yaml.load(text)",
        "import yaml; yaml.load(text, Loader=yaml.Loader)",
        "import os; os.system(command)",
        "from os import system; system(command)",
        "import subprocess; subprocess.run(command, shell=True)",
        "import subprocess; subprocess.Popen(command, shell=flag)",
        "from subprocess import run; run(command, shell=True)",
        "AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=True)",
        "AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=flag)",
        "options = {'trust_remote_code': flag}",
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, use_safetensors=None)",
        "library.AutoModel.from_pretrained(name, use_safetensors=False)",
        "import zipfile; zipfile.ZipFile(path).extractall(folder)",
        "import tarfile\nwith tarfile.open(path) as archive: archive.extractall()",
        "import shutil; shutil.unpack_archive(path)",
        "import importlib; importlib.import_module(config['module'])",
        "from importlib import import_module; import_module(name)",
        "import importlib.util; importlib.util.spec_from_file_location('x', path)",
        "spec.loader.exec_module(module)",
        "import runpy; runpy.run_path(path)",
        "import datasets; datasets.load_from_disk(folder)",
    ],
)
def test_what_must_be_caught(snippet: str):
    assert faults(snippet)


@pytest.mark.parametrize(
    "snippet",
    [
        "import torch; torch.load(path, map_location='cpu', weights_only=True)",
        "import pickle\ntry: pass\nexcept pickle.UnpicklingError: pass",
        "import numpy as np; np.load(path, allow_pickle=False)",
        "import json; json.loads(text); json.load(file)",
        "from safetensors.torch import load_file, load; load_file(path); load(data)",
        "import tomllib; tomllib.load(file)",
        "import yaml; yaml.safe_load(text)",
        "import re; re.compile(pattern)",
        "model.eval(); model.compile()",
        "from twofold.recipes import saving; saving.load(folder)",
        "import subprocess; subprocess.run([program, argument], check=True)",
        "import subprocess; subprocess.run([program], shell=False)",
        "library.AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)",
        "library.AutoConfig.from_pretrained(name)",
        "library.AutoTokenizer.from_pretrained(name, trust_remote_code=False)",
        "options = {'trust_remote_code': False}",
        "import importlib; importlib.import_module('PIL.Image')",
        "import zipfile; zipfile.ZipFile(path).open(member)",
        "import ast; ast.literal_eval(text)",
    ],
)
def test_what_must_not_be_caught(snippet: str):
    assert faults(snippet) == []


def test_a_fault_says_where_it_is():
    assert faults("import torch\n\ntorch.load(path)") == ["3: torch.load without weights_only=True can run code"]
