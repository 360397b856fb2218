"""One folder, one run: the lock, and what happens to it when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from twofold.errors import RunError
from twofold.training import run_lock
from twofold.training.run_lock import NAME

HOLD = """
import sys, time
from pathlib import Path
from twofold.training.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_run_is_refused_and_told_who_holds_the_folder(holder, tmp_path):
    with (
        pytest.raises(RunError, match=rf"in use by another run \(process {holder.pid} on .*, since \d{{4}}-"),
        run_lock.run_lock(tmp_path),
    ):
        pytest.fail("both hold the lock")


def test_a_killed_holder_leaves_no_lock(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / NAME).exists()
    with run_lock.run_lock(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / NAME).read_text()
    assert (tmp_path / NAME).read_text() == ""
    with run_lock.run_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path):
    with (
        pytest.raises(RunError, match=r"cannot be written to \(.*\): choose another --out"),
        run_lock.run_lock(tmp_path / "missing"),
    ):
        pytest.fail("there is no such folder")


def test_a_file_system_without_locks_only_warns(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"cannot be locked here \(No locks available\)"), run_lock.run_lock(tmp_path):
        pass
