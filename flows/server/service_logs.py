"""The logs of what `make serve` starts: each line with its date, in files that do not grow for ever."""

from __future__ import annotations

import functools
import logging
import threading
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

MOST_BYTES = 10_000_000
KEPT = 5
"""full files of a service that are kept, the newest as NAME.log.1"""


def keep(lines: IO[bytes], file: Path) -> None:
    """Write what a process says into a file, until it says no more; this returns at once."""
    threading.Thread(target=_copy, args=(lines, _handler(file)), daemon=True).start()


@functools.cache
def _handler(file: Path) -> logging.Handler:
    """The one writer of a file: what a dead service has left behind may still speak when the next one does."""
    handler = RotatingFileHandler(
        file, maxBytes=MOST_BYTES, backupCount=KEPT, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    return handler


def _copy(lines: IO[bytes], handler: logging.Handler) -> None:
    with lines:
        for line in lines:
            handler.handle(logging.makeLogRecord({"msg": line.decode(errors="backslashreplace").rstrip("\n")}))
