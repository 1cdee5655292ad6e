"""A user who may read a workspace and not write it: what only reads works, the rest is one line."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nonlocal_core.errors import is_worth_retrying

# To root nothing is forbidden, unless it gives up two of its powers.
DROP = """
import ctypes, os, sys
for power in (1, 2) if not os.getuid() else ():
    assert ctypes.CDLL(None).prctl(24, power, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
PREDICT = """
import sys
from pathlib import Path
from nonlocal_core.prediction.predict import Request, predict
if __name__ == "__main__":
    videos = sorted(Path(sys.argv[2]).rglob("*.mp4"))
    print(predict(Request(source=videos[0], workspace_dir=Path(sys.argv[1]), overrides={"evaluate.num_clips": 1})))
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DROP, *map(str, words)], text=True, capture_output=True, timeout=300, check=False
    )


def files_of(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*")}


@pytest.fixture
def root(registered):
    """The workspace of the registered run, which nobody may write; its folder of locks is gone."""
    folder = registered.workspace.root
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & 0o555)
    yield folder
    for path, mode in modes.items():
        path.chmod(mode)


def test_a_workspace_is_read_without_the_right_to_write(root, registered, tmp_path):
    before = files_of(root)
    command = "nonlocal_core.registry"
    assert "champion" in run("-m", command, root, "list").stdout
    assert run("-m", command, root, "show", "champion").returncode == 0
    assert run("-m", command, root, "verify").stdout.startswith("as they were registered: v0001")
    scored = run("-m", "nonlocal_core.scores", root / registered.evaluation.path)
    assert "top-1" in scored.stdout, scored.stderr
    reported = run("-m", "nonlocal_core.html_report", root, "--attention", "0", "--out", tmp_path / "pages")
    assert reported.stdout == f"{tmp_path / 'pages/v0001.html'}\n", reported.stderr
    assert "<html" in (tmp_path / "pages/v0001.html").read_text()
    (tmp_path / "predict.py").write_text(PREDICT)
    predicted = run(tmp_path / "predict.py", root, registered.cache.videos_dir)
    assert "v0001" in predicted.stdout, predicted.stderr
    assert files_of(root) == before


def test_what_writes_says_whose_it_is_and_what_to_do(root):
    before = files_of(root)
    told = f"which belongs to {getpass.getuser()}: name another folder, or share this one by a common group, chmod"
    for words in (
        ("registry", root, "alias", "best", "v0001"),
        ("html_report", root, "--attention", "0"),
        ("prune", root),
    ):
        done = run("-m", f"nonlocal_core.{words[0]}", *words[1:])
        assert done.returncode == 4
        assert told in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert files_of(root) == before


def test_a_folder_of_videos_that_may_not_be_read_is_one_line(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    folder.chmod(0)
    done = run("-m", "nonlocal_core.inventory", folder)
    folder.chmod(0o700)
    assert done.returncode == 4
    assert f"you have no right to use {folder}, which belongs to" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not is_worth_retrying(PermissionError(13, os.strerror(13), str(folder)))
