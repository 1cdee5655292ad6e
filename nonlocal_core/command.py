"""How every command prints its lines, and ends: with one line of what went wrong, and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from nonlocal_core.errors import as_ours


def parser(module: str, documentation: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m MODULE`; the module says what it is for, and how it is called."""
    purpose, _, rest = (documentation or "").partition("\n\n")
    return argparse.ArgumentParser(
        f"python -m {module}",
        description=purpose,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def show(lines: Iterable[str]) -> int:
    """The exit status of a command whose lines are printed as they come; a mistake is one line."""
    try:
        for line in lines:
            print(line, flush=True)
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
    ours = as_ours(error)
    if ours is None:
        raise error
    print(f"error: {ours}", file=sys.stderr)
    return ours.exit_code
