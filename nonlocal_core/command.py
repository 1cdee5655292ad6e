"""How every command prints its lines, and ends: with one line of what went wrong, and an exit code."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable

from nonlocal_core.errors import ChildError, WorkspaceError, as_ours, disk_fault
from nonlocal_core.escaping import escaped

WIDTH = 100
"""characters of the longest line of help"""


def parser(module: str, documentation: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE`; the module says what it is for, and how it is called."""
    purpose, *rest = (_filled(part) for part in (documentation or "").split("\n\n"))
    return argparse.ArgumentParser(
        f"python -m {module}",
        description=purpose,
        epilog="\n\n".join(rest),
        formatter_class=formatter,
    )


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
