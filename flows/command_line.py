"""The command line of a flow, `python flows/NAME.py [PRESET] [key=value ...]`; a mistake gets one clear line."""

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
from flows.server import login, prefect_settings
from nonlocal_core.command import failed, show
from nonlocal_core.config import key_value, settings_file
from nonlocal_core.config.tree import resolve
from nonlocal_core.config.tree import settings as all_settings
from nonlocal_core.errors import ConfigError
from nonlocal_core.escaping import several_lines
from nonlocal_core.process.lifeline import end_with_us
from nonlocal_core.process.messages import LOGGERS
from tasks import console


def _place(text: str) -> Path | str:
    """A path, or a URI as it is."""
    return text if "://" in text else Path(text)


PARAMETERS: dict[str, Parameter] = {
    "videos_dir": (_place, "folder of labelled videos, or a URI such as s3://bucket/videos"),
    "workspace_dir": (_place, "folder that all results live in; default: workspace"),
    "labels_path": (_place, "label ids: JSON, label_map.txt, classInd.txt or CSV; default: alphabetical"),
    "checkpoint": (str, "weights to score: a file, a registry entry such as v0003, or champion (default)"),
    "folds": (str, "number of folds to draw (default: 5), or folder with lists: FOLD/train.txt and val.txt"),
    "out": (_place, "FILE.json for the figures"),
    "runner": (str, "where shards of index and cache run: threads (default), processes, dask, ray, or an address"),
}
END_S = 20.0
"""seconds that Prefect and its pools get to end after the last line"""
BEFORE = {"entry": "checkpoint"}
"""parameters by the names that they had before, which are still taken"""


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
        self.tasks: dict[str, Any] = {}

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
        """Remove the bars."""
        if self.tasks:
            self.bars.stop()
        super().close()


def run(name: str, purpose: str, start: Callable[..., Any], sections: Sequence[str] = help_pages.SECTIONS) -> None:
    """Start a flow as the command line says, print its result, and end the process."""
    words = {
        "PRESET": "named settings of a network and its training; default: tiny",
        "--config FILE": "preset, parameters and settings as YAML or JSON, or an entry: workspace/registry/v0003",
    }
    command = Command(name, "[PRESET] [key=value ...]", purpose, words, _parameters(start), sections)
    parsed = _parse(command, takes_file=True)
    named, settings = parsed.words[:1], parsed.words
    preset = settings.pop(0) if named and "=" not in named[0] else ""
    try:
        preset, settings = _with_file(parsed.config, preset, settings)
    except ConfigError as error:
        sys.exit(failed(error))
    flow = functools.partial(start, preset=preset)
    _start(command, settings, flow, lambda overrides: resolve(preset, overrides))


def run_on_names(
    name: str, purpose: str, start: Callable[..., Any], check: Callable[[list[str], dict[str, Any]], object]
) -> None:
    """Start a flow whose first argument is a list of names; `check` raises if they do not fit the settings."""
    words = {"TABLE|PRESET": "networks to compare", "key=a|b": "a setting with several values: a row for each"}
    usage = "TABLE|PRESET ... [key=value|value ...]"
    command = Command(name, usage, purpose, words, _parameters(start), help_pages.SECTIONS)
    parsed = _parse(command).words
    names = [word for word in parsed if "=" not in word]
    settings = [word for word in parsed if "=" in word]
    _start(command, settings, functools.partial(start, names), functools.partial(check, names))


def run_on(
    name: str, purpose: str, start: Callable[..., Any], parameters: dict[str, Parameter], sections: Sequence[str]
) -> None:
    """Start a flow whose first argument is a video or a folder; it has its own parameters."""
    words = {"VIDEO_OR_DIR": "a video, or a folder of videos"}
    command = Command(name, "VIDEO_OR_DIR [key=value ...]", purpose, words, parameters, sections)
    parsed = _parse(command, source="VIDEO_OR_DIR")
    _start(command, parsed.words, functools.partial(start, parsed.source), stopped="stopped")


class _Help(argparse.Action):
    """Prints a page of help and ends the process."""

    def __init__(self, *args: Any, command: Command, **others: Any) -> None:
        super().__init__(*args, **others)
        self.command = command

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, topic: Any, option: Any = None) -> None:
        parser.exit(show(help_pages.page(self.command, topic or "")))


def _parse(command: Command, source: str = "", *, takes_file: bool = False) -> argparse.Namespace:
    """The words of the command line, after a path if the command has a `source`; perhaps a file of settings."""
    parser = argparse.ArgumentParser(command.program, f"{command.program} {command.usage}", add_help=False)
    parser.add_argument("-h", "--help", nargs="?", action=_Help, command=command)
    if source:
        parser.add_argument("source", metavar=source, type=Path)
    if takes_file:
        parser.add_argument("--config", type=Path)
    parser.add_argument("words", nargs="*")
    names = (word.partition("=")[0] for word in sys.argv[1:] if word.startswith("--"))
    if unknown := [name for name in names if name not in ("--help", "--config")]:
        sys.exit(failed(ConfigError(_meant(unknown[0], command))))
    return parser.parse_args()


def _with_file(file: Path | None, preset: str, words: list[str]) -> tuple[str, list[str]]:
    """Preset and words, completed by a file of settings; what the command line says counts more."""
    texts = settings_file.read(file) if file else {}
    named = texts.pop("preset", "tiny")
    said = key_value.pairs(word for word in words if "=" in word)
    return preset or named, [*words, *(f"{key}={text}" for key, text in texts.items() if key not in said)]


def _meant(option: str, command: Command) -> str:
    """What a person who wrote `--epochs 3` meant."""
    word = next(word for word in sys.argv if word.partition("=")[0] == option)
    after = sys.argv[sys.argv.index(word) + 1 :]
    value = word.partition("=")[2] or next((other for other in after[:1] if not other.startswith("-")), "VALUE")
    name = option.lstrip("-")
    leaf = name.replace("-", "_")
    keys = [setting.key for setting in all_settings() if leaf in (setting.key, setting.key.split(".")[1])]
    keys += [key for key in command.parameters if key == leaf]
    if not keys:
        return f"there is no option {option}: settings are words such as train.epochs=3, see --help"
    return f"settings are words without dashes: {' or '.join(f'{key}={value}' for key in keys)}"


def _parameters(start: Callable[..., Any]) -> dict[str, Parameter]:
    """The parameters of `PARAMETERS` that a flow has."""
    return {key: PARAMETERS[key] for key in inspect.signature(start).parameters if key in PARAMETERS}


def _start(
    command: Command,
    words: list[str],
    start: Callable[..., Any],
    check: Callable[[dict[str, Any]], object] = lambda overrides: None,
    stopped: str = "stopped; nothing is lost: the same command goes on from here",
) -> None:
    """Start a flow with the parameters and settings in some words, after `check` has accepted the settings."""

    def begin(watch: Watch) -> object:
        arguments, overrides = _split(words, command)
        check(overrides)
        _quiet_prefect(watch)
        _start_server()
        return start(**arguments, overrides=overrides)

    _run_to_the_end(begin, stopped)


def _split(words: list[str], command: Command) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the settings in some words."""
    hint = "a preset comes first" if command.has_presets else f"{command.name}.py has no preset"
    arguments, overrides = {}, {}
    for key, text in key_value.pairs(words, f"; {hint}").items():
        if BEFORE.get(key) in command.parameters:
            key = BEFORE[key]
        if key in command.parameters:
            arguments[key] = _converted(key, text, command.parameters[key][0])
        elif key in PARAMETERS:
            raise ConfigError(f"{command.name}.py has no parameter {key}: see --help")
        elif "." not in key and (near := difflib.get_close_matches(key, command.parameters, n=1)):
            raise ConfigError(f"there is no parameter {key!r}: did you mean {near[0]}?")
        else:
            overrides[key] = text
    return arguments, overrides


def _converted(key: str, text: str, convert: Callable[[str], Any]) -> Any:
    """The value of a parameter."""
    if not text:
        raise ConfigError(f"{key}= has no value")
    try:
        return convert(text)
    except ValueError:
        raise ConfigError(f"{key}={text} does not fit: name a number") from None


def _run_to_the_end(begin: Callable[[Watch], object], stopped: str) -> None:
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


def _start_server() -> None:
    """Start Prefect's local server if PREFECT_API_URL names none.

    Ctrl-C does not reach it, although a terminal sends Ctrl-C to every process of a command: without its server,
    Prefect would try for minutes to report that the run was stopped.  The server ends with this command, even
    after `kill -9`.
    """
    prefect_settings.apply()
    if PREFECT_API_URL.value() is None:  # other users of this machine, and pages in a browser, cannot use it
        os.environ |= login.environment("http://127.0.0.1", login.new())
        refresh_global_settings_context()
    with console.deaf():
        try:
            problem = get_client(sync_client=True).api_healthcheck()
        except RuntimeError as error:
            raise ConfigError(f"Prefect's own server does not start ({error}): run again") from None
    if module := sys.modules.get("prefect.server.api.server"):  # imported only if a server was started
        for server in module.SubprocessASGIServer._instances.values():
            if server.server_process:
                end_with_us(server.server_process.pid)
    if problem:
        raise ConfigError(
            f"no Prefect server answers at {PREFECT_API_URL.value()}: start it, or unset PREFECT_API_URL"
        )
    login.check()


def _quiet_prefect(watch: Watch) -> None:
    """Show the library's log and only the warnings of Prefect's; the UI still gets everything."""
    logging.getLogger("nonlocal_core").setLevel(logging.INFO)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(watch)
    console.quiet_console()
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")  # for Dask's workers
