"""How every command prints its lines, and ends: with one line of what went wrong, and an exit code."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from nonlocal_core.errors import ChildError, WorkspaceError, as_ours, disk_fault
from nonlocal_core.escaping import escaped, one_line

WIDTH = 100
"""characters of the longest line of help"""
WORKSPACE = "workspace_dir="


class Parser(argparse.ArgumentParser):
    """A parser whose complaints move no cursor: words may be names of files, which a shell put there."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with the words, and end."""
        super().error(one_line(message))


def parser(module: str, documentation: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE`; the module says what it is for, and how it is called."""
    purpose, *rest = (_filled(part) for part in (documentation or "").split("\n\n"))
    return Parser(
        f"python -m {module}",
        description=purpose,
        epilog="\n\n".join(rest),
        formatter_class=formatter,
    )


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """Let a command take `workspace_dir=DIR`, once `with_workspace` has looked at its words."""
    text = "written workspace_dir=DIR, as in every command; default: workspace"
    parser.add_argument("--workspace", type=_folder, default=Path("workspace"), metavar="DIR", help=text)


def with_workspace(words: list[str], was_first: Callable[[list[str]], bool] = lambda words: False) -> list[str]:
    """The words as the parser of `add_workspace` takes them: the workspace first, before a subcommand.

    `was_first` says whether the first word is the workspace, which it was before `workspace_dir` was there.
    """
    if words and not is_option(words[0]) and was_first(words):
        words = [f"{WORKSPACE}{words[0]}", *words[1:]]
    named = [word.removeprefix(WORKSPACE) for word in words if word.startswith(WORKSPACE)]
    return [*(f"--workspace={folder}" for folder in named), *(w for w in words if not w.startswith(WORKSPACE))]


def is_option(word: str) -> bool:
    """Whether a word of the command line stands at no certain place."""
    return word.startswith(("-", WORKSPACE))


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("name a folder")
    return Path(text).expanduser()


def formatter(prog: str) -> argparse.HelpFormatter:
    """The layout of a command's help: no line is wider than `WIDTH`, and paragraphs stay as they are."""
    return argparse.RawDescriptionHelpFormatter(prog, width=min(WIDTH, shutil.get_terminal_size().columns))


def _filled(paragraph: str) -> str:
    """A paragraph of sentences in lines of help; commands stay as they are."""
    is_code = paragraph.lstrip().startswith("python")
    return paragraph if is_code else textwrap.fill(paragraph, WIDTH, break_on_hyphens=False)


def show(lines: Iterable[str]) -> int:
    """The exit status of a command whose lines are printed as they come, each as one; a mistake is one too."""
    try:
        for line in lines:
            print(escaped(line), flush=True)
    except BrokenPipeError:  # of `| head`: what Python still holds goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt) as error:
        return failed(error)
    return 0


def failed(error: BaseException, stopped: str = "stopped") -> int:
    """Print the one line of what ended a command; gives the exit status.  Our own faults are raised again."""
    if isinstance(error, KeyboardInterrupt):
        print(stopped, file=sys.stderr)
        return 130
    if fault := disk_fault(error):
        error = WorkspaceError(fault)
    if isinstance(error, MemoryError):
        error = ChildError("there is too little memory: end other programs, or take a machine with more")
    ours = as_ours(error)
    if ours is None:
        raise error
    print(f"error: {ours}", file=sys.stderr)
    return ours.exit_code
