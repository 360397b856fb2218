from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from twofold.errors import RunError
from twofold.training import checkpoint, files


def save(folder: Path, step: int, **changes: Any) -> Path:
    state: dict[str, Any] = {
        "model": {"weight": torch.full((3, 2), float(step))},
        "optimizer": {"state": {0: {"step": torch.tensor(float(step))}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "meta": {"step": step},
    }
    return checkpoint.save(folder, step, **(state | changes))


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_everything_comes_back(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    net(torch.randn(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    path = save(
        tmp_path, 12, model=net.state_dict(), optimizer=optimizer.state_dict(), meta={"loss": torch.inf, "a": [1]}
    )
    assert path == tmp_path / "checkpoints" / "step-00000012"
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.path, found.step, found.meta) == (path, 12, {"loss": None, "a": [1]})
    model = found.model()
    assert model.keys() == net.state_dict().keys()
    assert all(
        torch.equal(model[name], value) and model[name].dtype is value.dtype for name, value in net.state_dict().items()
    )
    loaded, original = found.optimizer(), optimizer.state_dict()
    assert loaded["param_groups"] == original["param_groups"]
    assert all(torch.equal(loaded["state"][0][name], value) for name, value in original["state"][0].items())


def test_tied_weights_views_and_empty_tensors_survive(tmp_path: Path) -> None:
    big = torch.arange(12.0).view(3, 4)
    state = {
        "a": big,
        "tied": big,
        "row": big[1],
        "turned": big.T,
        "none": torch.empty(0, 3),
        "void": torch.empty(0),
        "scalar": torch.tensor(5),
    }
    save(tmp_path, 1, model=state)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    loaded = found.model()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())
    assert (found.path / "model.safetensors").stat().st_size < 2000


def test_the_last_ones_are_kept_and_leftovers_removed(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step)
    (tmp_path / "checkpoints" / ".tmp-1-dead").mkdir()
    (tmp_path / "checkpoints" / "notes.txt").touch()
    save(tmp_path, 40)
    assert kept(tmp_path) == ["notes.txt", "step-00000030", "step-00000040"]
    save(tmp_path, 50, keep=1)
    assert kept(tmp_path) == ["notes.txt", "step-00000050"]


def test_a_step_is_replaced_and_later_ones_are_forgotten(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step, keep=3)
    save(tmp_path, 20, meta={"again": True}, keep=3)
    assert kept(tmp_path) == ["step-00000010", "step-00000020"]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.meta == {"again": True}


def test_one_that_was_being_replaced_is_still_found(tmp_path: Path) -> None:
    path = save(tmp_path, 20)
    path.rename(path.with_name(path.name + ".replaced"))
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 20
    save(tmp_path, 30)
    assert kept(tmp_path) == ["step-00000030"]


def test_stopping_in_the_middle_of_a_replacement_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = save(tmp_path, 20)
    rename = Path.rename

    def stop(path: Path, target: Path) -> Path:
        if target == final:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 20)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 20


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_one_is_named_and_passed_over(tmp_path: Path, name: str, damage: str) -> None:
    save(tmp_path, 1)
    file = save(tmp_path, 2) / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        position = content.index(b'"step": 2') + 8 if name == "meta.json" else len(content) // 2
        changed = bytes([content[position] ^ 1])
        file.write_bytes(content[:position] + (changed + content[position + 1 :] if damage == "flip" else b""))
    with pytest.warns(UserWarning, match=rf"step-00000002 is damaged: .*{re.escape(name)}.* Trying the one before"):
        found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert torch.equal(found.model()["weight"], torch.ones(3, 2))


def test_a_torn_latest_does_not_push_out_good_ones(tmp_path: Path) -> None:
    save(tmp_path, 10)
    (save(tmp_path, 20) / "model.safetensors").unlink()
    save(tmp_path, 15, keep=1)
    assert kept(tmp_path) == ["step-00000015"]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "nowhere") is None


def test_a_foreign_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    document = files.read_json(path / "meta.json")
    body = {**document, "format": 99}
    del body["sha256"]
    files.write_json(path / "meta.json", {**body, "sha256": checkpoint._digest(body)})
    with pytest.raises(RunError, match="has format 99; this version of twofold reads 1"):
        checkpoint.load(path)
    files.write_json(path / "meta.json", [])
    with pytest.raises(RunError, match="damaged"):
        checkpoint.load(path)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1, optimizer={"state": Malicious(tmp_path / "pwned")})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    with pytest.raises(RunError, match=r"optimizer\.pt cannot be read safely"):
        found.optimizer()
    assert not (tmp_path / "pwned").exists()


def test_a_failing_disk_leaves_earlier_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def full_disk(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_file", full_disk)
    with pytest.raises(RunError, match=r"step-00000002 cannot be written.*No space left"):
        save(tmp_path, 2)
    assert kept(tmp_path) == ["step-00000001"]


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep=0"):
        save(tmp_path, 1, keep=0)
    with pytest.raises(TypeError, match="'extra' is a dict, not a tensor"):
        save(tmp_path, 1, model={"extra": {}})
    assert checkpoint.latest(tmp_path) is None


KILLER = """
import os, random, signal, sys, time, warnings
from pathlib import Path
import torch
from twofold.training import checkpoint

torch.set_num_threads(1)
warnings.simplefilter("error")
folder, chance = Path(sys.argv[1]), random.Random(0)


def save(step):
    value = torch.full((200, 100), float(step))
    model = {"w": value, "v": value}
    checkpoint.save(folder, step, model=model, optimizer={"s": value}, meta={"n": step}, keep=2)


def write(step, started):
    while True:
        for _ in range(1 + (step % 4 == 0)):  # some steps are written twice, as the last one of a run may be
            os.write(started, b".")
            save(step)
        step += 1


save(0)
began = time.monotonic()
save(1)
duration, reached, torn = time.monotonic() - began, 1, 0
for trial in range(25):
    reading, started = os.pipe()
    child = os.fork()
    if child == 0:
        write(reached + 1, started)
    for _ in range(chance.randint(1, 3)):
        os.read(reading, 1)
    time.sleep(duration * chance.random())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading), os.close(started)
    torn += any((folder / "checkpoints").glob(".tmp-*"))
    found = checkpoint.latest(folder)
    assert found is not None and found.step >= reached, (found, reached)
    reached = found.step
    whole = torch.full((200, 100), float(reached))
    assert found.meta == {"n": reached}
    assert torch.equal(found.model()["w"], whole) and torch.equal(found.model()["v"], whole)
    assert torch.equal(found.optimizer()["s"], whole)
print(reached, torn)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    script = tmp_path / "killer.py"
    script.write_text(KILLER)
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    reached, torn = map(int, done.stdout.split())
    assert reached > 10
    assert torn > 2  # some were killed in the middle of writing, or the test shows nothing
