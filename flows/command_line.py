"""`python flows/NAME.py [PRESET] [key=value ...]`: arguments in, one clear line out when they do not fit."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import inspect
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nonlocal_core import command
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import resolve, settings
from nonlocal_core.errors import ConfigError
from nonlocal_core.process.lifeline import end_with_us
from nonlocal_core.process.messages import LOGGERS
from tasks import console

PARAMETERS = {
    "videos_dir": "folder of labelled videos, or a URI such as s3://bucket/videos; full.py tiny makes its own",
    "workspace_dir": "folder that all results live in; default: workspace",
    "labels_path": "JSON file of label ids, like cls2index.json; default: alphabetical",
    "checkpoint": "evaluate.py: what is scored, a file, a registry entry such as v0003, or champion (default)",
    "runner": "where shards of index and cache run: threads (default), processes, dask, ray, or an address of one",
}
END_S = 20.0
"""seconds that Prefect and its pools get to end, once all is said"""
Parameter = tuple[Callable[[str], Any], str]
"""of a flow that `run_on` starts: what makes it of a word, and what it is"""


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


def run(name: str, purpose: str, start: Callable[..., Any]) -> None:
    """Parse the command line, start a flow with it, print what comes back, and end the process."""
    parser = _parser(name, purpose)
    parser.add_argument(
        "preset", nargs="?", default="tiny", metavar="PRESET", help="named settings; default: tiny"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="what differs from the preset")
    words = parser.parse_args()
    given = [words.preset, *words.settings]
    preset = "tiny" if "=" in given[0] else given.pop(0)
    _start(name, given, lambda overrides: resolve(preset, overrides), functools.partial(start, preset=preset))


def run_on_names(
    name: str, purpose: str, start: Callable[..., Any], check: Callable[[list[str], dict[str, Any]], object]
) -> None:
    """The same for a flow whose first argument is a list of names, which `check` refuses with the settings."""
    parser = _parser(name, purpose)
    parser.add_argument("words", nargs="*", metavar="NAME|key=value", help="names, and what differs from them")
    words = parser.parse_args().words
    names = [word for word in words if "=" not in word]
    given = [word for word in words if "=" in word]
    _start(name, given, functools.partial(check, names), functools.partial(start, names))


def _parser(name: str, purpose: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"python flows/{name}.py",
        description=purpose,
        epilog=_all_settings(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _start(
    name: str, given: list[str], check: Callable[[dict[str, Any]], object], start: Callable[..., Any]
) -> None:
    """Start a flow with parameters and settings, once `check` has taken the settings."""

    def begin(watch: Watch) -> object:
        arguments = _split(given, "a preset comes first")
        if foreign := arguments.keys() - inspect.signature(start).parameters.keys():
            raise ConfigError(f"{name}.py has no {foreign.pop()}=: --help lists what it has")
        check(arguments["overrides"])
        _ready(watch)
        return start(**arguments)

    _run_to_the_end(begin, "stopped; nothing is lost: the same command goes on from here")


def run_on(name: str, purpose: str, start: Callable[..., Any], parameters: dict[str, Parameter]) -> None:
    """The same for a flow whose first argument is what it works on; it has parameters of its own."""
    lines = [f"  {key + '=…':<20} {text}" for key, (_, text) in parameters.items()]
    parser = argparse.ArgumentParser(
        prog=f"python flows/{name}.py",
        description=purpose,
        epilog="\n".join(["parameters:", *lines, "", "and settings of evaluate.… and runtime.…, as in full.py"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="VIDEO_OR_DIR", type=Path, help="a video, or a folder of videos")
    parser.add_argument("settings", nargs="*", default=[], metavar="key=value", help="parameters and settings")
    words = parser.parse_args()

    def begin(watch: Watch) -> object:
        own = [word for word in words.settings if word.partition("=")[0] in parameters]
        others = _split([word for word in words.settings if word not in own], f"{name}.py has no preset")
        if foreign := others.keys() - {"overrides"}:
            raise ConfigError(f"{name}.py has no {foreign.pop()}=: --help lists what it has")
        arguments = dict(_converted(word, parameters) for word in own)
        _ready(watch)
        return start(words.source, others["overrides"], **arguments)

    _run_to_the_end(begin, "stopped")


def _converted(word: str, parameters: dict[str, Parameter]) -> tuple[str, Any]:
    """The parameter and its value that a word stands for."""
    key, _, value = word.partition("=")
    if not value:
        raise ConfigError(f"{key}= names nothing")
    try:
        return key, parameters[key][0](value)
    except ValueError:
        raise ConfigError(f"{word} does not fit: name a number") from None


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
        code = command.failed(error, stopped)
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


def _split(words: list[str], hint: str) -> dict[str, Any]:
    arguments: dict[str, Any] = {"overrides": {}}
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is not of the form key=value; {hint}")
        if key in given:
            raise ConfigError(f"{key} is given twice, {given[key]!r} and {value!r}: leave one out")
        given[key] = value
        if key in PARAMETERS and not value:
            raise ConfigError(f"{key}= names nothing")
        if key in PARAMETERS:
            is_text = key in ("runner", "checkpoint") or "://" in value
            arguments[key] = value if is_text else Path(value)
        elif "." not in key and (near := difflib.get_close_matches(key, PARAMETERS, n=1)):
            raise ConfigError(f"there is no parameter {key!r}: did you mean {near[0]}?")
        else:
            arguments["overrides"][key] = value
    return arguments


def _all_settings() -> str:
    lines = ["presets:"]
    lines += [f"  {name:<38} {(preset.__doc__ or '').splitlines()[0]}" for name, preset in PRESETS.items()]
    lines += ["", "where things lie and run:", *(f"  {key + '=…':<44} {text}" for key, text in PARAMETERS.items())]
    lines += ["", "settings and their defaults (a preset may have others):"]
    for key, text, default in settings():
        value = default if isinstance(default, str) else json.dumps(default)
        lines.append(f"  {f'{key}={value}':<44} {text}")
    return "\n".join(lines)


def _start_server() -> None:
    """Start Prefect's local server, where no other is named, out of the reach of Ctrl-C.

    A terminal sends Ctrl-C to every process of the command.  Without its server, Prefect would try for minutes to
    report that the run was stopped.   It ends
    with this command, also after `kill -9`.
    """
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
