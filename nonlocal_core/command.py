"""What every `python -m nonlocal_core.…` does with its lines and with a mistake."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable

from nonlocal_core.errors import FULL_DISK, NonlocalError, WorkspaceError, is_full_disk

WIDTH = 100
"""characters of the longest line of help"""


def parser(name: str, documentation: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m nonlocal_core.NAME`, whose module says what it is for, and how it is called."""
    purpose, *rest = (_filled(part) for part in (documentation or "").split("\n\n"))
    return argparse.ArgumentParser(
        f"python -m nonlocal_core.{name}",
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
    """The exit status of a command whose lines are printed as they come; a mistake is one line."""
    try:
        for line in lines:
            print(line, flush=True)
    except NonlocalError as error:
        return _failed(str(error), error.exit_code)
    except BrokenPipeError:  # of `| head`: what Python still holds goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if not is_full_disk(error):
            raise
        return _failed(FULL_DISK, WorkspaceError.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _failed(text: str, exit_code: int) -> int:
    print(f"error: {text}", file=sys.stderr)
    return exit_code
