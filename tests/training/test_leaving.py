"""Processes of a group end with the exit code of their work, whatever torch keeps of the group."""

import os
import signal
import subprocess
import sys

import pytest

CODE = """
import sys, atexit, os
atexit.register(os.abort)  # what happens while Python ends does not count any more
from twofold.training.distributed import leave
sys.stdout.write("said"); sys.stderr.write("warned")
leave({code})
"""

ABORTS = """
import atexit, os, sys
from twofold.__main__ import run
atexit.register(os.abort)
sys.argv = ["twofold", "--help"]
run()
"""


@pytest.mark.parametrize("code", [0, 75])
def test_a_process_leaves_with_its_code_and_all_that_it_said(code):
    ended = subprocess.run([sys.executable, "-c", CODE.format(code=code)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "said", "warned")


@pytest.mark.parametrize(("world", "code"), [("1", -signal.SIGABRT), ("2", 0)])
def test_the_command_of_a_group_is_not_there_while_python_ends(world, code):
    """What is registered there aborts, as torch sometimes does; a command on its own ends like any other."""
    ended = subprocess.run(
        [sys.executable, "-c", ABORTS],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"WORLD_SIZE": world},
    )
    assert ended.returncode == code
    assert "twofold" in ended.stdout


@pytest.mark.parametrize(("arguments", "fine"), [(["--version"], True), (["train", "no-such-recipe", "x"], False)])
def test_the_command_keeps_its_code(arguments, fine):
    command, ended = [sys.executable, "-m", "twofold", *arguments], []
    for world in ("1", "2"):
        environment = os.environ | {"WORLD_SIZE": world}
        one = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        ended.append((one.returncode, one.stdout, one.stderr))
    assert ended[0] == ended[1]
    assert (ended[0][0] == 0) == fine
