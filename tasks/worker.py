"""What a run says when its worker has died.

A worker reads the log of its run from a pipe.  Once the worker is gone, Rich, which prints the log, would end the
run with a bare SystemExit, and nobody could see why.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

STARTED_BY_A_WORKER = "PREFECT__FLOW_RUN_ID"
"""variable that a worker gives to the process of a run"""


class WorkerGone(BaseException):
    """Ends a run whose worker is gone.  As with Ctrl-C, what is computed now is kept first."""


def mind() -> None:
    """Let this process say why it ends once its worker is gone; one that no worker has started is left alone."""
    if STARTED_BY_A_WORKER in os.environ:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, PrefectConsoleHandler):
                _mind(handler.console, os.getppid())


def _mind(console: Console, worker: int) -> None:
    def end() -> None:
        with contextlib.suppress(SystemExit):  # it is quiet from now on, and so is standard output
            Console.on_broken_pipe(console)
        raise WorkerGone(
            f"its worker, process {worker} on {socket.gethostname()}, was killed or has ended; a retry goes on"
        )

    console.on_broken_pipe = end  # type: ignore[method-assign]
