from __future__ import annotations

import subprocess
import sys

import pytest
from registered import add, facts, ranks, scored
from small import files_of

from nonlocal_core import registry
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.registry.__main__ import main


@pytest.fixture
def said(workspace, capsys):
    """What a command prints, in a workspace with two entries of one line and one of another."""
    add(workspace, "a", 0.5)
    add(workspace, "b", 0.6)
    add(workspace, "c", 0.7, split_digest="others")
    files = files_of(workspace.root / "registry")

    def run(*words: str, code: int = 0, changes: bool = False) -> str:
        assert main([str(workspace.root), *words]) == code
        output, errors = capsys.readouterr()
        assert (files_of(workspace.root / "registry") != files) == changes
        if code:
            assert errors.startswith("error: ")
            assert errors.count("\n") == 1
        return output + errors

    return run


def test_list(said):
    lines = said("list").splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["v0001", "v0002", "v0003"]
    assert "60.00% 100.00%   100 of 100" in lines[2]
    assert "champion; better: top-1 60.00% against 50.00% of v0001" in lines[2]
    assert "previous; the first entry" in lines[1]
    assert lines[1].split()[6] == lines[2].split()[6] != lines[3].split()[6]  # the lines
    assert "starts the new line" in lines[3]


def test_show(said):
    text = said("show")
    assert text.startswith("v0002 (champion), ")
    for part in (
        "top-1 60.0 % of 100, 50.2–69.1 %\n  top-5 100.0 %\n",
        "100 of 100 videos scored (val, 30 views, frames ",
        "2 labels: falls, grows",
    ):
        assert part in text
    assert "decision                 better: top-1" in text
    assert said("show", "v0002") == text
    assert said("show", "previous").startswith("v0001 (previous), ")


def test_compare(said):
    assert said("compare", "v0001", "champion").splitlines() == [
        "videos        100 in both, of 100 and 100 scored",
        "top-1         v0001 50.00%, v0002 60.00%",
        "both right    50",
        "only v0001    0",
        "only v0002    10",
        "none right    40",
        "McNemar       p = 0.00195 (exact, two-sided)",
    ]
    assert said("compare", "v0002", "v0003").startswith(
        "not of one line: other val videos\nvideos        100 in both"
    )


def test_compare_without_a_video_in_common(workspace, said):
    registry.add(workspace, facts(*scored(workspace, "d", 0.5)), ranks([True], first=1000), RegistryConfig())
    text = said("compare", "v0001", "v0004", code=3, changes=True)
    assert "v0001 and v0004 have no video in common" in text


def test_promote_and_rollback(said):
    assert said("promote", "champion") == "v0002 is the champion already: nothing was changed\n"
    assert "champion points to v0002, not to v0001" in said("promote", "v0003", "--expect", "v0001", code=4)
    assert said("promote", "v0003", "--expect", "v0002", changes=True) == "champion v0003, previous v0002\n"
    assert said("rollback", changes=True) == "champion v0002, previous v0003\n"


def test_alias(said):
    assert said("alias") == "champion     v0002\nprevious     v0001\n"
    history = said("alias", "champion").splitlines()
    assert history[0] == "champion     v0002"
    assert [line.split("  ")[2] for line in history[1:]] == [
        "none -> v0001: the first entry",
        "v0001 -> v0002: better: top-1 60.00% against 50.00% of v0001, 100 videos",
    ]
    assert said("alias", "demo", "v0001", "--expect", "none", changes=True) == "demo v0001\n"
    assert said("alias", "demo", "--drop", changes=True) == "demo is forgotten\n"
    assert len(said("alias", "demo", changes=True).splitlines()) == 2  # its history


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["show", "v0009"], 3, "there is no entry v0009"),
        (["show", "demo"], 3, "nothing is called 'demo' in the registry"),
        (["compare", "v0001", "demo"], 3, "nothing is called 'demo'"),
        (["compare", "champion", "v0002"], 3, "both are v0002: name two entries"),
        (["promote", "v0009"], 3, "there is no entry v0009"),
        (["alias", "champion", "v0001"], 3, "champion is moved by promote and rollback only"),
        (["alias", "Demo", "v0001"], 3, "'Demo' cannot be an alias"),
        (["alias", "demo"], 3, "nothing is called 'demo'"),
        (["alias", "--drop"], 3, "--drop takes one alias"),
        (["alias", "demo", "v0001", "--drop"], 3, "--drop takes one alias"),
        (["verify", "demo"], 3, "nothing is called 'demo'"),
        (["verify", "v0009"], 3, "there is no entry v0009"),
    ],
)
def test_a_mistake_is_one_line(said, words, code, text):
    assert text in said(*words, code=code)


def test_there_is_no_registry(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), "list"]) == 3
    assert "there is no registry in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "v0001/checkpoint.safetensors differs from its digest": lambda folder: flip(folder / "checkpoint.safetensors"),
    "v0001/ranks.parquet differs from its digest": lambda folder: flip(folder / "ranks.parquet"),
    "v0001/ranks.parquet is missing": lambda folder: (folder / "ranks.parquet").unlink(),
    "v0001/entry.json cannot be read": lambda folder: (folder / "entry.json").write_text("{"),
    "v0001/notes.txt is no part of the entry": lambda folder: (folder / "notes.txt").write_text(""),
    "v0001/entry.json differs from its digest in registry.json": lambda folder: (folder / "entry.json").write_text(
        (folder / "entry.json").read_text().replace("0.5", "0.9")
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_verify_names_what_differs(workspace, said, what):
    assert said("verify") == "as they were registered: v0001, v0002, v0003\n"
    DAMAGE[what](workspace.root / "registry/v0001")
    text = said("verify", code=4, changes=True)
    assert text.splitlines()[0] == what
    assert text.splitlines()[1].startswith("error: ")
    assert what in said("verify", "v0001", code=4, changes=True)
    assert said("verify", "v0002", changes=True) == "as they were registered: v0002\n"


@pytest.mark.parametrize("words", [["list"], ["show", "v0001"], ["compare", "v0001", "v0002"]], ids=str)
def test_a_figure_that_was_edited_is_not_shown(workspace, said, words):
    DAMAGE["v0001/entry.json differs from its digest in registry.json"](workspace.root / "registry/v0001")
    text = said(*words, code=4, changes=True)
    assert "registry/v0001/entry.json is damaged: restore it, or delete" in text
    assert "90.00%" not in text


def test_verify_misses_a_folder_that_is_gone(workspace, said):
    for file in (workspace.root / "registry/v0003").iterdir():
        file.unlink()
    (workspace.root / "registry/v0003").rmdir()
    assert "v0003 was decided on, and its folder is gone\n" in said("verify", code=4, changes=True)


def test_the_command_needs_no_mindspore(workspace):
    add(workspace, "a", 0.5)
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['registry', {str(workspace.root)!r}, sys.argv[1]]\n"
        "try:\n    runpy.run_module('nonlocal_core.registry', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    for command in ("list", "show", "verify", "alias"):
        run = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, check=True)
        loaded = set(run.stdout.splitlines()[-1].split())
        assert "pydantic" in loaded
        assert loaded.isdisjoint({"mindspore", "prefect", "pandas", "pyarrow"}), command
