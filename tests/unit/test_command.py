"""How every command of the library ends: lines, one line of a mistake, a reader that is gone."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from nonlocal_core import command, html_report, prune, scores
from nonlocal_core.command import show
from nonlocal_core.errors import ConfigError
from nonlocal_core.registry import __main__ as registry_command

REPOSITORY = Path(__file__).parents[2]


def failing(error):
    yield "a line"
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("no such thing"), 2, "error: no such thing\n"),
        (OSError(28, "No space left on device"), 4, "error: the disk is full: free some space and run again\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_what_went_wrong_is_one_line_after_the_others(capsys, error, code, said):
    assert show(failing(error)) == code
    assert tuple(capsys.readouterr()) == ("a line\n", said)


def test_a_word_that_a_shell_found_moves_no_cursor(capsys):
    for main, words in ((registry_command.main, ["list", "--\x1b[2J\n"]), (prune.main, ["--\x1b[2J\n"])):
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert "\x1b" not in said
        assert r"unrecognized arguments: --\u001b[2J\n" in said


def test_an_unknown_error_is_not_hidden():
    with pytest.raises(PermissionError):
        show(failing(PermissionError("no")))


def test_a_reader_that_goes_away_is_no_mistake():
    code = "import sys; from nonlocal_core.command import show; sys.exit(show(map(str, range(100000))))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_numbers_that_make_no_sense(tmp_path, capsys):
    (tmp_path / "registry").mkdir()
    assert html_report.main([str(tmp_path), "--attention", "-1"]) == 2
    assert capsys.readouterr().err == "error: --attention -1: name a number of videos, or 0 for none\n"
    assert scores.main([str(tmp_path), "--k", "5", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: --k 0")


COMMANDS = sorted(
    file.stem for file in (REPOSITORY / "nonlocal_core").glob("*.py") if "\ndef main(" in file.read_text()
)
REGISTRY = ("list", "show", "compare", "promote", "rollback", "alias", "verify", "track", "export")


@pytest.mark.parametrize(
    "words", [*((name,) for name in (*COMMANDS, "registry")), *(("registry", "w", name) for name in REGISTRY)]
)
def test_help_says_what_a_command_is_for_in_100_columns(words, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    name = "registry.__main__" if words[0] == "registry" else words[0]
    main = importlib.import_module(f"nonlocal_core.{name}").main
    with pytest.raises(SystemExit) as ended:
        main([*words[1:], "--help"])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"usage: python -m nonlocal_core.{words[0]} ")
    assert max(map(len, lines)) <= 100
    paragraphs = "\n".join(lines).split("\n\n")
    assert paragraphs[1].endswith("."), "what it is for"
    assert len(words) > 1 or any(f"python -m nonlocal_core.{words[0]}" in text for text in paragraphs[2:])


@pytest.mark.parametrize(
    ("main", "words"),
    [
        *((registry_command.main, words) for words in (["list"], ["show", "v0001"])),
        *((prune.main, words) for words in ([], ["--yes"])),
    ],
)
def test_the_workspace_is_named_in_one_way_and_the_old_one_works(registered, capsys, monkeypatch, main, words):
    root = registered.workspace.root
    said = set()
    for spelt in ([f"workspace_dir={root}", *words], [*words, f"workspace_dir={root}"], [str(root), *words]):
        assert main(spelt) == 0
        said.add(capsys.readouterr().out)
    monkeypatch.chdir(root.parent)
    assert root.name == "workspace"
    assert main(words) == 0
    said.add(capsys.readouterr().out)
    (lines,) = said
    assert len(lines.splitlines()) > 1


def test_a_word_that_is_no_command_is_not_taken_for_a_workspace(capsys):
    with pytest.raises(SystemExit):
        registry_command.main(["lst"])
    assert "invalid choice: 'lst'" in capsys.readouterr().err
    assert registry_command.main(["nowhere", "list"]) == 3
    assert "there is no registry in nowhere" in capsys.readouterr().err


def test_where_the_workspace_was_first_before_it_still_may_be(tmp_path):
    def folder_of(words, was_first):
        parser = command.parser("x", "X.\n\npython -m x")
        command.add_workspace(parser)
        parser.add_argument("rest", nargs="*")
        given = parser.parse_args(command.with_workspace(words, was_first))
        return str(given.workspace), given.rest

    def was_first(words):
        return words[0].startswith("w")

    assert folder_of(["w", "b"], was_first) == ("w", ["b"])
    assert folder_of(["b", "workspace_dir=~/w"], was_first) == (str(Path("~/w").expanduser()), ["b"])
    assert folder_of(["--workspace", "w", "b"], was_first) == ("w", ["b"])
    assert folder_of(["b"], was_first) == ("workspace", ["b"])
    with pytest.raises(SystemExit):
        folder_of(["workspace_dir="], was_first)
