"""What every `python -m nonlocal_core.…` does with its lines and with a mistake."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from nonlocal_core.errors import FULL_DISK, NonlocalError, WorkspaceError, is_full_disk


def parser(name: str, documentation: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m nonlocal_core.NAME`, whose module says what it is for, and how it is called."""
    purpose, _, rest = (documentation or "").partition("\n\n")
    return argparse.ArgumentParser(
        f"python -m nonlocal_core.{name}",
        description=purpose,
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


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
