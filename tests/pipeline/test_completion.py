"""The completion of words in a real shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import commands, completion
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import settings

SHELL = """
source script.bash
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1)
compopt() { printf 'compopt %s %s\\n' "$1" "$2"; }
_nonlocal_i3d nonlocal-i3d
printf '%s\\n' "${COMPREPLY[@]}"
complete -p nonlocal-i3d
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the script, and a program of the name that it asks."""
    made = tmp_path_factory.mktemp("completion")
    program = made / "nonlocal-i3d"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m flows.commands "$@"\n')
    program.chmod(0o755)
    asked = [str(program), "completion", "bash"]
    (made / "script.bash").write_text(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    return made


def completed(folder: Path, line: str) -> list[str]:
    """What bash offers at the end of a line."""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    shell = ["bash", "--noprofile", "--norc", "-c", SHELL, "bash", line]
    done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *words, registered = done.stdout.splitlines()
    assert registered == "complete -o default -F _nonlocal_i3d nonlocal-i3d"
    return [word for word in words if word]


def test_bash_completes_commands_presets_settings_and_values(folder: Path) -> None:
    assert completed(folder, "nonlocal-i3d pre") == ["predict", "prepare", "pretrained"]
    assert completed(folder, "nonlocal-i3d full nl_i3d_incep") == ["nl_i3d_inception"]
    assert completed(folder, "nonlocal-i3d full tiny train.lr_b") == ["compopt -o nospace", "train.lr_batch="]
    cosines = ["cosine_whole", "cosine_by_epoch", "cosine_twice"]
    assert completed(folder, "nonlocal-i3d full tiny train.schedule=cosine") == cosines
    assert completed(folder, "nonlocal-i3d full videos_dir=") == [], "bash itself completes the name of a folder"


def test_each_command_has_its_own_words() -> None:
    def after(line: str) -> set[str]:
        return {*completion.candidates(f"nonlocal-i3d {line}")}

    assert after("") == {name for name, _, _ in commands.files()}
    keys = {f"{setting.key}=" for setting in settings()}
    assert after("full ") >= keys | {*PRESETS} | {"videos_dir=", "workspace_dir=", "--config"}
    assert after("predict ") & keys == {key for key in keys if key.startswith(("evaluate.", "runtime."))}
    assert not after("predict ") & {*PRESETS}
    assert after("predict checkpoint=i3d_inc") == {"checkpoint=i3d_inception_k400"}
    assert {"list", "show", "promote", "rollback", "export", "--expect"} <= after("registry ")
    assert {"list", "show", "get", "i3d_inception_k400"} <= after("pretrained ")
    assert after("pretrained get i3d_i") == {"i3d_inception_k400"}
    assert after("completion ") == {"bash", "zsh", "fish", "--help"}
    assert after("nothing ") == {"--help"}


def test_another_shell_is_one_line() -> None:
    command = [sys.executable, "-m", "flows.commands", "completion", "tcsh"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: name a shell: bash, zsh, fish\n")
