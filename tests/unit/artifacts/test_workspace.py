from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Manifest
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.config.section import Section
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import DamagedError, WorkspaceError

CHECKPOINT: dict[str, Any] = {"digest": "d", "file": "weights", "num_steps": 1, "num_clips": 1, "final_loss": 0.5}


class Some(Section):
    one: int
    two: tuple[float, ...]


def checkpoint(key: str = "k") -> Checkpoint:
    return Checkpoint(key=key, path=f"train/{key}", **CHECKPOINT)


def start(workspace: Path, make: str, then: str = "") -> subprocess.Popen[str]:
    """A process that builds the artifact `k` with the body of `make(folder)`."""
    code = "\n".join(
        [
            "import os, sys, time",
            "from pathlib import Path",
            "from nonlocal_core.artifacts import Checkpoint, Workspace",
            "def make(folder):",
            *(f"    {line}" for line in make.splitlines()),
            f"    return Checkpoint(key='k', path='train/k', **{CHECKPOINT!r})",
            f"workspace = Workspace({str(workspace)!r})",
            then or "workspace.build(Checkpoint, 'k', make, {})",
        ]
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def wait_for(path: Path, timeout_s: float = 30) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < deadline_s, f"{path} does not come"
        time.sleep(0.01)


def test_a_key_changes_with_all_that_is_asked():
    config, other = resolve("tiny", {}), resolve("tiny", {"cache.jpeg_quality": 80})
    keys = [
        key_of("cache", 1, [config.cache], ["a"]),
        key_of("train", 1, [config.cache], ["a"]),
        key_of("cache", 2, [config.cache], ["a"]),
        key_of("cache", 1, [other.cache], ["a"]),
        key_of("cache", 1, [config.cache, config.clip], ["a"]),
        key_of("cache", 1, [config.cache], ["b"]),
        key_of("cache", 1, [config.cache], ["a", "a"]),
        key_of("cache", 1, [config.cache], []),
        key_of("cache", 1, [], ["a"]),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_a_key_is_the_same_in_every_process_and_however_it_was_asked():
    config = resolve("tiny", {"train.base_lr": "1", "train.milestones": "1,2"})
    again = resolve("tiny", {"train": {"base_lr": 1.0, "milestones": [1, 2]}})
    key = key_of("train", 1, [config.train], ["a"])
    assert key_of("train", 1, [again.train], ["a"]) == key
    assert key_of("cache", 1, [Some(one=1, two=(2.0, 3.0))], ["a"]) == "28fd6cf740892fe2"


def test_parts_of_a_digest_are_told_apart():
    digests = {digest_of(*parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], [b"ab", b"c", 0])}
    assert len(digests) == 5
    assert digest_of("ab") == digest_of(b"ab")


def test_building_twice_makes_once(tmp_path):
    workspace, made = Workspace(tmp_path), []

    def make(folder: Path) -> Checkpoint:
        made.append(folder)
        (folder / "weights").write_text("1")
        return checkpoint()

    assert workspace.find(Checkpoint, "k") is None
    first = workspace.build(Checkpoint, "k", make, {"config": {"a": 1}})
    assert workspace.build(Checkpoint, "k", make, {}) == workspace.find(Checkpoint, "k") == first
    assert made == [tmp_path / "train/k.partial"]
    assert sorted(os.listdir(workspace.path(first))) == [ARTIFACT_FILE, "weights"]
    assert sorted(os.listdir(tmp_path / "train")) == ["k"]
    provenance = workspace.provenance(first)
    assert provenance["config"] == {"a": 1}
    assert provenance.keys() >= {"created_at", "host", "python", "version", "code", "seconds"}


def test_a_failed_make_leaves_its_files_and_no_artifact(tmp_path):
    workspace = Workspace(tmp_path)

    def fail(folder: Path) -> Checkpoint:
        (folder / "half").write_text("1")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        workspace.build(Checkpoint, "k", fail, {})
    assert workspace.find(Checkpoint, "k") is None
    workspace.build(Checkpoint, "k", lambda folder: checkpoint((folder / "half").read_text()), {})


def test_a_killed_build_leaves_a_partial_that_the_next_one_gets(tmp_path):
    process = start(tmp_path, "(folder / 'half').write_text('1')\ntime.sleep(60)")
    wait_for(tmp_path / "train/k.partial/half")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    workspace, found = Workspace(tmp_path), []
    assert workspace.find(Checkpoint, "k") is None

    def make(folder: Path) -> Checkpoint:
        found.extend(os.listdir(folder))
        return checkpoint()

    workspace.build(Checkpoint, "k", make, {})
    assert found == ["half"]
    assert workspace.find(Checkpoint, "k")


def test_a_build_that_is_killed_just_before_the_rename_is_made_again(tmp_path):
    workspace = Workspace(tmp_path)
    folder = workspace.partial(Checkpoint, "k")
    write_json(folder / ARTIFACT_FILE, {"reference": checkpoint().model_dump()})
    assert workspace.find(Checkpoint, "k") is None
    made = workspace.build(Checkpoint, "k", lambda folder: checkpoint().model_copy(update={"num_steps": 2}), {})
    assert made.num_steps == 2
    assert workspace.find(Checkpoint, "k") == made


def test_two_processes_that_build_the_same_make_it_once(tmp_path):
    make = "print('made', flush=True)\ntime.sleep(0.5)\n(folder / 'weights').write_text(str(os.getpid()))"
    processes = [start(tmp_path, make) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert "".join(outputs) == "made\n"


def test_a_lock_dies_with_its_process(tmp_path, caplog):
    hold = "with workspace.locked('x'):\n    Path(workspace.root / 'held').touch()\n    time.sleep(60)"
    process = start(tmp_path, "pass", then=hold)
    wait_for(tmp_path / "held")
    released_s = []
    caplog.set_level(logging.INFO)
    waiter = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {process.pid}"])
    with Workspace(tmp_path).locked("x"):
        released_s.append(time.monotonic())
    process.communicate()
    waiter.communicate()
    assert process.returncode == -signal.SIGKILL
    assert f"waiting for process {process.pid} on " in caplog.text


def test_a_lock_is_free_after_an_error_and_locks_have_names(tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(ZeroDivisionError), workspace.locked("x"):
        raise ZeroDivisionError
    with workspace.locked("x"), workspace.locked("y"):
        said = f"process {os.getpid()} on {socket.gethostname()}"
        assert [file.read_text() for file in (tmp_path / ".locks").iterdir()] == [said, said]
    assert [file.read_text() for file in (tmp_path / ".locks").iterdir()] == ["", ""]


def test_a_workspace_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match=r"file/below cannot be written \(Not a directory\).*workspace_dir="):
        Workspace(tmp_path / "file" / "below")
    with pytest.raises(WorkspaceError):
        Workspace(tmp_path / "file")


def test_a_workspace_may_be_named_from_home_or_here(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert Workspace("~/a b").root == Workspace("a b").root == tmp_path / "a b"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b'{"reference": {}}', b"\xff"])
def test_a_damaged_artifact_is_said_and_not_made_anew(tmp_path, content):
    workspace = Workspace(tmp_path)
    workspace.build(Checkpoint, "k", lambda folder: checkpoint(), {})
    file = tmp_path / "train/k" / ARTIFACT_FILE
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=r"train/k/artifact.json is damaged: delete .*train/k and run again"):
        workspace.build(Checkpoint, "k", lambda folder: checkpoint(), {})


def test_an_artifact_of_another_kind_is_damaged(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.build(Checkpoint, "k", lambda folder: checkpoint(), {})
    content = json.loads((tmp_path / "train/k" / ARTIFACT_FILE).read_text())
    content["reference"]["unknown"] = 1
    write_json(tmp_path / "train/k" / ARTIFACT_FILE, content)
    with pytest.raises(DamagedError):
        workspace.find(Checkpoint, "k")


def test_faults_are_named(tmp_path):
    def make(folder: Path) -> Checkpoint:
        (folder / "log").write_text("made")
        return checkpoint(folder.stem)

    workspace = Workspace(tmp_path)
    for key in ("aa", "bb", "cc", "dd"):
        workspace.build(Checkpoint, key, make, {})
    assert workspace.faults() == []
    root = workspace.root / "train"
    (root / "aa" / "log").write_text("mode")
    (root / "bb" / "log").unlink()
    (root / "cc" / ARTIFACT_FILE).write_text("{}x")
    described = (root / "dd" / ARTIFACT_FILE).read_text()
    (root / "dd" / ARTIFACT_FILE).write_text(described.replace('"checksum"', '"checksun"'))
    assert workspace.faults() == [
        "train/aa/log differs from its digest",
        "train/bb/log is missing",
        "train/cc/artifact.json cannot be read",
        "train/dd/artifact.json cannot be read",
    ]


def test_a_folder_without_artifact_json_does_not_exist(tmp_path):
    workspace = Workspace(tmp_path)
    (tmp_path / "train/k").mkdir(parents=True)
    (tmp_path / "train/k/old").write_text("")
    assert workspace.find(Checkpoint, "k") is None
    workspace.build(Checkpoint, "k", lambda folder: checkpoint(), {})
    assert os.listdir(tmp_path / "train/k") == [ARTIFACT_FILE]


def test_a_reference_is_frozen_and_refuses_another_kind():
    with pytest.raises(ValueError, match="frozen"):
        checkpoint().digest = "x"
    with pytest.raises(ValueError, match="unknown"):
        Checkpoint(key="k", path="p", unknown=1, **CHECKPOINT)  # type: ignore[call-arg]


def test_an_artifact_that_lost_a_file_is_made_again(tmp_path, caplog):
    workspace = Workspace(tmp_path)

    def make(folder):
        (folder / "manifest.parquet").write_text("rows")
        return Manifest(key="k", digest="d", path="index/k", videos_dir="v", num_videos=1, num_ok=1, num_labels=1)

    made = workspace.build(Manifest, "k", make, {})
    assert workspace.find(Manifest, "k") == made
    for damage in (lambda file: file.unlink(), lambda file: file.write_text("ro")):
        damage(workspace.path(made) / "manifest.parquet")
        assert workspace.find(Manifest, "k") is None
        assert "manifest.parquet" in caplog.text
        assert workspace.build(Manifest, "k", make, {}) == made
        assert (workspace.path(made) / "manifest.parquet").read_text() == "rows"
