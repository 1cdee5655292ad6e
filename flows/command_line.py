"""`python flows/NAME.py [PRESET] [key=value ...]`: arguments in, one clear line out when they do not fit."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import inspect
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows import help_pages
from flows.help_pages import Command, Parameter
from flows.server import login
from nonlocal_core.command import failed, show
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.process.lifeline import end_with_us
from nonlocal_core.process.messages import LOGGERS
from tasks import console


def _place(text: str) -> Path | str:
    """A path, or a URI as it is."""
    return text if "://" in text else Path(text)


PARAMETERS: dict[str, Parameter] = {
    "videos_dir": (
        _place,
        "folder of labelled videos, or a URI such as s3://bucket/videos",
    ),
    "workspace_dir": (_place, "folder that all results live in; default: workspace"),
    "labels_path": (_place, "JSON file of label ids, like cls2index.json; default: alphabetical"),
    "checkpoint": (str, "what is scored: a file, a registry entry such as v0003, or champion (default)"),
    "runner": (str, "where shards of index and cache run: threads (default), processes, dask, ray, or an address"),
}
END_S = 20.0
"""seconds that Prefect and its pools get to end, once all is said"""


class Watch(logging.Handler):
    """Shows the library's log on a terminal, with one live bar for everything that is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
        )
        self.bars = Progress(
            *columns,
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            transient=True,
        )
        self.tasks: dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Move a bar on a terminal; print a line elsewhere."""
        progress = getattr(record, "progress", None)
        if progress is None:
            if record.levelno >= logging.INFO and not (
                record.name.endswith(".progress") and self.console.is_terminal
            ):
                colour = {"WARNING": "yellow", "ERROR": "red"}.get(record.levelname, "default")
                self.console.print(record.getMessage(), style=colour, markup=False, soft_wrap=True)
            return
        if not self.console.is_terminal:
            return
        name = f"{progress['stage']}, {progress['what']}"
        if name not in self.tasks:
            self.bars.start()
            self.tasks[name] = self.bars.add_task(name, total=progress["total"], unit="", figures="")
        self.bars.update(
            self.tasks[name], completed=progress["done"], unit=progress["unit"], figures=progress["figures"]
        )
        if progress["done"] >= progress["total"]:
            self.bars.remove_task(self.tasks.pop(name))
            if not self.tasks:
                self.bars.stop()

    def close(self) -> None:
        """Take the bars away."""
        if self.tasks:
            self.bars.stop()
        super().close()


def run(name: str, purpose: str, start: Callable[..., Any], sections: Sequence[str] = help_pages.SECTIONS) -> None:
    """Parse the command line, start a flow with it, print what comes back, and end the process."""
    words = {"PRESET": "named settings of a network and its training; default: tiny"}
    command = Command(name, "[PRESET] [key=value ...]", purpose, words, _parameters(start), sections)
    parser = _parser(command)
    parser.add_argument("preset", nargs="?", default="tiny")
    parser.add_argument("settings", nargs="*")
    found = parser.parse_args()
    given = [found.preset, *found.settings]
    preset = "tiny" if "=" in given[0] else given.pop(0)
    _start(command, given, functools.partial(start, preset=preset), lambda overrides: resolve(preset, overrides))


def run_on_names(
    name: str, purpose: str, start: Callable[..., Any], check: Callable[[list[str], dict[str, Any]], object]
) -> None:
    """The same for a flow whose first argument is a list of names, which `check` refuses with the settings."""
    words = {"TABLE|PRESET": "what is compared", "key=a|b": "a setting with several values: a row for each"}
    usage = "TABLE|PRESET ... [key=value|value ...]"
    command = Command(name, usage, purpose, words, _parameters(start), help_pages.SECTIONS)
    parser = _parser(command)
    parser.add_argument("words", nargs="*")
    found = parser.parse_args().words
    names = [word for word in found if "=" not in word]
    given = [word for word in found if "=" in word]
    _start(command, given, functools.partial(start, names), functools.partial(check, names))


def run_on(
    name: str, purpose: str, start: Callable[..., Any], parameters: dict[str, Parameter], sections: Sequence[str]
) -> None:
    """The same for a flow whose first argument is what it works on; it has parameters of its own."""
    words = {"VIDEO_OR_DIR": "a video, or a folder of videos"}
    command = Command(name, "VIDEO_OR_DIR [key=value ...]", purpose, words, parameters, sections)
    parser = _parser(command)
    parser.add_argument("source", metavar="VIDEO_OR_DIR", type=Path)
    parser.add_argument("settings", nargs="*", default=[])
    found = parser.parse_args()
    _start(command, found.settings, functools.partial(start, found.source), stopped="stopped")


class _Help(argparse.Action):
    """Prints a page of help and ends the process."""

    def __init__(self, *args: Any, command: Command, **others: Any) -> None:
        super().__init__(*args, **others)
        self.command = command

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, topic: Any, option: Any = None) -> None:
        parser.exit(show(help_pages.page(self.command, topic or "")))


def _parser(command: Command) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(command.program, f"{command.program} {command.usage}", add_help=False)
    parser.add_argument("-h", "--help", nargs="?", action=_Help, command=command)
    return parser


def _parameters(start: Callable[..., Any]) -> dict[str, Parameter]:
    """Those that a flow has."""
    return {key: PARAMETERS[key] for key in inspect.signature(start).parameters if key in PARAMETERS}


def _start(
    command: Command,
    given: list[str],
    start: Callable[..., Any],
    check: Callable[[dict[str, Any]], object] = lambda overrides: None,
    stopped: str = "stopped; nothing is lost: the same command goes on from here",
) -> None:
    """Start a flow with parameters and settings, once `check` has taken the settings."""

    def begin(watch: Watch) -> object:
        arguments, overrides = _split(given, command)
        check(overrides)
        _ready(watch)
        return start(**arguments, overrides=overrides)

    _run_to_the_end(begin, stopped)


def _split(given: list[str], command: Command) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the settings among some words."""
    hint = "a preset comes first" if command.has_presets else f"{command.name}.py has no preset"
    arguments, overrides = {}, {}
    for key, text in key_value.pairs(given, f"; {hint}").items():
        if key in command.parameters:
            arguments[key] = _converted(key, text, command.parameters[key][0])
        elif key in PARAMETERS:
            raise ConfigError(f"{command.name}.py has no {key}=: --help lists what it has")
        elif "." not in key and (near := difflib.get_close_matches(key, command.parameters, n=1)):
            raise ConfigError(f"there is no parameter {key!r}: did you mean {near[0]}?")
        else:
            overrides[key] = text
    return arguments, overrides


def _converted(key: str, text: str, convert: Callable[[str], Any]) -> Any:
    """The value of a parameter."""
    if not text:
        raise ConfigError(f"{key}= names nothing")
    try:
        return convert(text)
    except ValueError:
        raise ConfigError(f"{key}={text} does not fit: name a number") from None


def _ready(watch: Watch) -> None:
    """Show the log and start a server."""
    _quiet_prefect(watch)
    _start_server()


def _run_to_the_end(begin: Callable[[Watch], object], stopped: str) -> None:
    """Print what comes back, or the one line of what went wrong; ends the process in that case."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server and the stages end with us
    watch = Watch()
    code = 1
    try:
        with contextlib.closing(watch), console.shown_by(watch):
            summary = begin(watch)
        print(summary, flush=True)
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        code = failed(error, stopped)
    except SystemExit:  # SIGTERM
        code = 143
        raise
    finally:
        threading.Thread(target=_end, args=(code,), daemon=True).start()
    sys.exit(code)


def _end(code: int) -> None:
    """End this process in a while, whatever still runs in it."""
    time.sleep(END_S)
    os._exit(code)


def _start_server() -> None:
    """Start Prefect's local server, where no other is named, out of the reach of Ctrl-C.

    A terminal sends Ctrl-C to every process of the command.  Without its server, Prefect would try for minutes to
    report that the run was stopped.  It ends
    with this command, also after `kill -9`.
    """
    if PREFECT_API_URL.value() is None:  # whoever else is on this machine, or in a browser, cannot use it
        os.environ |= login.environment("http://127.0.0.1", login.new())
        refresh_global_settings_context()
    with console.deaf():
        problem = get_client(sync_client=True).api_healthcheck()
    if module := sys.modules.get("prefect.server.api.server"):  # imported only where one is started
        for server in module.SubprocessASGIServer._instances.values():
            if server.server_process:
                end_with_us(server.server_process.pid)
    if problem:
        raise ConfigError(
            f"no Prefect server answers at {PREFECT_API_URL.value()}: start it, or unset PREFECT_API_URL"
        )


def _quiet_prefect(watch: Watch) -> None:
    """Show the library's log, and of Prefect's own only warnings; the UI still gets everything."""
    logging.getLogger("nonlocal_core").setLevel(logging.INFO)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(watch)
    console.quiet_console()
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")  # of its workers
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault(
        "PREFECT_SERVER_ANALYTICS_ENABLED", "false"
    )  # of the server that is started for this run
