"""What stands around a flow that a command starts: Prefect's server, the log for a person, one line at the end.

It imports Prefect, which takes seconds; `command_line.py` has said its first line before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, get_current_settings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.server import login, prefect_settings
from nonlocal_core.command import failed
from nonlocal_core.errors import ConfigError
from nonlocal_core.escaping import several_lines
from nonlocal_core.process import importing
from nonlocal_core.process.lifeline import end_with_us
from nonlocal_core.process.messages import LOGGERS
from tasks import console

END_S = 20.0
"""seconds that Prefect and its pools get to end after the last line"""


class Watch(logging.Handler):
    """Shows the library's log on a terminal, with a live progress bar for each running piece of work."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(stderr=True, highlight=False)
        columns = (
            *(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()),
            *(TextColumn("{task.fields[unit]}"), TimeRemainingColumn(), TextColumn("{task.fields[figures]}")),
        )
        self.bars = Progress(*columns, console=self.console, transient=True)
        self.tasks: dict[tuple[str, int], Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Move a progress bar on a terminal; else print a line."""
        progress = getattr(record, "progress", None)
        if progress is None:
            has_bar = record.name.endswith(".progress") and self.console.is_terminal
            if record.levelno >= logging.INFO and not has_bar:
                colour = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname, "default")
                self.console.print(record.getMessage(), style=colour, markup=False, soft_wrap=True)
            return
        if not self.console.is_terminal:
            return
        name = f"{progress['stage']}, {progress['what']}"
        work = (name, progress["process"])  # two processes may do work of one name
        if work not in self.tasks:
            self.bars.start()
            self.tasks[work] = self.bars.add_task(name, total=progress["total"], unit="", figures="")
        self.bars.update(
            self.tasks[work], completed=progress["done"], unit=progress["unit"], figures=progress["figures"]
        )
        if progress["done"] >= progress["total"]:
            self.bars.remove_task(self.tasks.pop(work))
            if not self.tasks:
                self.bars.stop()

    def close(self) -> None:
        """Remove the bars."""
        if self.tasks:
            self.bars.stop()
        super().close()


def run(find: Callable[[], Callable[..., Any]], arguments: dict[str, Any], stopped: str) -> None:
    """Start a flow, print its result or one line that says what failed, and end the process."""

    def begin(watch: Watch) -> object:
        with importing.at_once():
            flow = find()
        _quiet_prefect(watch)
        start_server()
        return flow(**arguments)

    run_to_the_end(begin, stopped)


def run_to_the_end(begin: Callable[[Watch], object], stopped: str) -> None:
    """Print the result, or one line that says what failed, and end the process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server and the stages end with us
    watch = Watch()
    code = 1
    try:
        with contextlib.closing(watch), console.shown_by(watch):
            summary = begin(watch)
        print(several_lines(summary), flush=True)
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        code = failed(error, stopped)
    except SystemExit:  # SIGTERM
        code = 143
        raise
    finally:
        timer = threading.Timer(END_S, os._exit, (code,))  # whatever still runs then
        timer.daemon = True
        timer.start()
    sys.exit(code)


def start_server() -> None:
    """Start Prefect's local server if PREFECT_API_URL names none.

    Ctrl-C does not reach it, although a terminal sends Ctrl-C to every process of a command: without its server,
    Prefect would try for minutes to report that the run was stopped.  The server ends with this command, even
    after `kill -9`.
    """
    prefect_settings.apply()
    if PREFECT_API_URL.value() is None:
        check_database()
        # Other users of this machine, and pages in a browser, cannot use it.
        os.environ |= login.environment("http://127.0.0.1", login.new())
        refresh_global_settings_context()
    with console.deaf():
        try:
            problem = get_client(sync_client=True).api_healthcheck()
        except RuntimeError as error:
            raise ConfigError(f"Prefect's own server does not start ({error}): run again") from None
    for server in _own_servers():
        end_with_us(server.server_process.pid)
        os.environ["PREFECT_API_URL"] = server.api_url  # else each process of Dask starts one too
        refresh_global_settings_context()
    if problem:
        raise ConfigError(
            f"no Prefect server answers at {PREFECT_API_URL.value()}: start it, or unset PREFECT_API_URL"
        )
    login.check()


def _own_servers() -> list[Any]:
    """The server that Prefect has started for this process alone, if there is one."""
    module = sys.modules.get("prefect.server.api.server")  # imported only if a server was started
    servers = module.SubprocessASGIServer._instances.values() if module else ()
    return [server for server in servers if server.server_process]


def ui() -> str:
    """Where the pages of the runs are, or how to get them if their server ends with this command."""
    url = PREFECT_UI_URL.value()
    own = url is None or _own_servers()
    return "python -m flows.server.serve start 4200, then http://127.0.0.1:4200" if own else str(url)


def check_database() -> None:
    """Say in one line why the file of Prefect's database cannot be used; its server would try for two minutes.

    Raises: ConfigError.
    """
    url = get_current_settings().server.database.connection_url
    kind, _, name = (url.get_secret_value() if url else "").partition(":///")
    path = Path(name.partition("?")[0])
    if not kind.startswith("sqlite") or ":memory:" in name:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as database:
            database.execute("BEGIN IMMEDIATE")
            written = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            version = database.execute("SELECT version_num FROM alembic_version").fetchone() if written else None
    except (OSError, sqlite3.Error) as error:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):  # another server writes
            return
        reason = getattr(error, "strerror", error)
        raise ConfigError(
            f"Prefect's database {path} cannot be used ({reason}): set PREFECT_HOME to a folder of yours, or move"
            " the file away; it has runs and their logs, nothing of a workspace"
        ) from None
    steps = list(Path(prefect.__file__).parent.glob("server/database/_migrations/versions/sqlite/*.py"))
    if version and steps and not any(version[0] in step.read_text(encoding="utf-8") for step in steps):
        raise ConfigError(
            f"Prefect's database {path} was made by a newer Prefect than this one, {prefect.__version__}: install"
            " that one, or set PREFECT_HOME to another folder"
        )


def _quiet_prefect(watch: Watch) -> None:
    """Show the library's log and only the warnings of Prefect's; the UI still gets everything."""
    logging.getLogger("nonlocal_core").setLevel(logging.INFO)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(watch)
    console.quiet_console()
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")  # for Dask's workers
