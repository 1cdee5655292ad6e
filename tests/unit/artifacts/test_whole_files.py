from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nonlocal_core.artifacts import files


def test_a_file_is_replaced_at_the_end_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    files.write_json(file, {"é": 1})
    with files.replacing(file) as unfinished:
        unfinished.write_text("half")
        assert json.loads(file.read_text()) == {"é": 1}
        unfinished.write_text("whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "whole"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "a"
    files.write_atomically(file, b"before")
    with pytest.raises(error), files.replacing(file) as unfinished:
        unfinished.write_text("half")
        raise error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"before"}


def test_what_killed_processes_left_of_a_file_is_removed(tmp_path: Path) -> None:
    for name in ("a", "a.tmp12", "a.tmp7", "b", "b.tmp12"):
        (tmp_path / name).touch()
    files.remove_unfinished(tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "b.tmp12"]
    files.remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_a_running_process_writes_is_left_alone(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "a") as unfinished:
        unfinished.write_text("half")  # by another descriptor than the one that holds the lock
        code = "import sys, pathlib\nfrom nonlocal_core.artifacts import files\n"
        code += "files.remove_unfinished(pathlib.Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        files.remove_unfinished(tmp_path)
        assert unfinished.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom nonlocal_core.artifacts import files\n"
        "with files.replacing(Path(sys.argv[1]) / 'a') as unfinished:\n"
        "    unfinished.write_text('half')\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    assert len(list(tmp_path.glob("a.tmp*"))) == 1
    files.remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_byte_and_name_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system is asked for, in order, with the real calls behind it."""
    said: list[tuple[str, str]] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def noted_fsync(descriptor: int) -> None:
        said.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.partition(".tmp")[0]))
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        said.append(("name", Path(target).name))
        replace(source, target)

    def noted_rename(source: Path, target: Path) -> None:
        said.append(("name", Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "rename", noted_rename)
    folder = tmp_path / "folder.partial"
    folder.mkdir()
    files.write_atomically(folder / "file", b"x")
    assert said == [("sync", "file"), ("name", "file"), ("sync", "folder.partial")]
    said.clear()
    files.publish(folder, tmp_path / "folder")
    assert said == [
        ("sync", "file"), ("sync", "folder.partial"), ("name", "folder"), ("sync", tmp_path.name)
    ]  # fmt: skip
    assert (tmp_path / "folder" / "file").read_bytes() == b"x"
