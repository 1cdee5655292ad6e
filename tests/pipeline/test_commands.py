"""Every command by one name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows import commands
from nonlocal_core.escaping import escaped


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.commands", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_all_commands_are_listed_with_what_they_do(tmp_path: Path) -> None:
    lines = dict(
        line.strip().split("  ", 1) for line in run(tmp_path).stdout.splitlines() if line.startswith("  ")
    )
    assert lines.keys() == {name for name, _, _ in commands.files()}
    assert {"full", "crossval", "predict", "doctor", "registry", "pretrained", "serve"} <= lines.keys()
    assert all(text.strip().endswith((".", "…")) for text in lines.values())


def test_a_command_runs_from_any_folder_with_its_words(tmp_path: Path) -> None:
    done = run(tmp_path, "describe", "tiny", "--classes", "7")
    assert (done.returncode, done.stderr) == (0, "")
    assert "head   7" in done.stdout
    wrong = run(tmp_path, "full", "tiny", "train.epoch=2")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: there is no setting 'train.epoch'")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("ful", "did you mean full?"),
        ("xyz", "nonlocal-i3d --help lists all"),
        ("\x1b[2J\n", "nonlocal-i3d --help lists all"),
    ],
)
def test_an_unknown_command_is_one_line(tmp_path: Path, word: str, hint: str) -> None:
    done = run(tmp_path, word)
    said = f"error: there is no command {escaped(word)}: {hint}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
