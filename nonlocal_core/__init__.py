"""Train, evaluate and keep running a Non-local I3D action recogniser; works with and without Prefect."""

import importlib
import logging
import os
from numbers import Number
from typing import Any

from nonlocal_core.errors import NonlocalError
from nonlocal_core.escaping import one_line

__version__ = "0.1.0"

LATE = {"load": "prediction.recogniser", "Recogniser": "prediction.recogniser", "train": "chain", "Run": "chain"}
"""names that are imported, with NumPy and OpenCV, once somebody asks for them, and where they are

Type checkers find them in `__init__.pyi`: an import here, even an unused one, would be one of every room.
"""

# Before anything imports mindspore: it logs every missing GPU library as a warning.
os.environ.setdefault("GLOG_v", "3")

OURS = ("nonlocal_core", "tasks", "flows")
"""packages that log what others have named: wherever it is shown, a message is one line"""

_make_record = logging.getLogRecordFactory()


def _make_escaped_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = _make_record(*args, **kwargs)
    package = str(record.name).partition(".")[0]  # logging.makeLogRecord asks for one without a name
    if package in OURS and isinstance(record.args, tuple):
        # Errors of ours are escaped already, and may have more than one line on purpose.
        record.args = tuple(
            value if isinstance(value, Number | NonlocalError) else one_line(value) for value in record.args
        )
    return record


logging.setLogRecordFactory(_make_escaped_record)


def __getattr__(name: str) -> Any:
    """A name of `LATE`."""
    if name in LATE:
        return getattr(importlib.import_module(f"nonlocal_core.{LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
