"""The command line of a flow, `python flows/NAME.py [PRESET] [key=value ...]`; a mistake gets one clear line.

Prefect is imported once the words are understood and a first line is printed: that takes seconds.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows import help_pages
from flows.catalogue import BEFORE, COMMANDS, LONG_RANGE, PARAMETERS, Command
from nonlocal_core.command import Parser, failed, show
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import Config, check_names, resolve
from nonlocal_core.config.tree import settings as all_settings
from nonlocal_core.errors import ConfigError
from nonlocal_core.escaping import one_line
from nonlocal_core.evaluation.ablations import variants
from nonlocal_core.process import importing

Flow = Callable[..., Any]


def main(name: str) -> None:
    """Start the flow of flows/NAME.py as the command line says, print its result, and end the process."""
    command = COMMANDS[name]
    if name == "ablate" and LONG_RANGE.name in sys.argv[1:]:
        command = LONG_RANGE
        sys.argv.remove(command.name)
    run(command, lambda: getattr(importlib.import_module(f"flows.{command.name}"), command.flow))


def run(command: Command, find: Callable[[], Flow]) -> None:
    """Start the flow that `find` imports as the command line says, print its result, and end the process."""
    try:
        arguments = _arguments(command)
        if arguments.pop("dry_run", False):
            sys.exit(show(_inventory(arguments)))
        named = arguments.get("preset") or arguments.get("source") or " ".join(arguments.get("names", ()))
        print(f"{command.name} {one_line(named)}: Prefect starts".replace(" :", ":"), file=sys.stderr, flush=True)
        with importing.at_once():
            from flows import session
    except (ConfigError, KeyboardInterrupt) as error:
        sys.exit(failed(error, command.stopped))
    session.run(find, arguments, command.stopped)


def _inventory(arguments: dict[str, Any]) -> Iterator[str]:
    """What the videos of a run are, by names alone."""
    if "videos_dir" not in arguments:
        raise ConfigError("--dry-run says what a folder of videos holds: name it with videos_dir=DIR")
    config = resolve(arguments["preset"], arguments["overrides"])
    from nonlocal_core import inventory

    yield from inventory.lines(arguments["videos_dir"], config, arguments.get("labels_path"))


def _arguments(command: Command) -> dict[str, Any]:
    """The arguments of a flow, from the words of the command line; what can be checked now is checked.

    Raises: ConfigError that names a word that does not fit.
    """
    parsed = _parse(command)
    words: list[str] = parsed.words
    if command.name == "predict":
        arguments = _split(words, command)
        check_names({key: value for key, value in arguments["overrides"].items() if _section(key)})
        return {"source": parsed.source, **arguments}
    if command is LONG_RANGE:
        return _long_range(words, parsed.quick)
    if command.name == "ablate":
        names = [word for word in words if "=" not in word]
        arguments = {"names": names, **_split([word for word in words if "=" in word], command)}
        variants(names, arguments["overrides"])
        return arguments
    preset = words.pop(0) if words[:1] and "=" not in words[0] else ""
    preset, words = _with_file(parsed.config, preset or "", words, command)
    arguments = {"preset": preset, **_split(words, command)}
    if parsed.dry_run:
        arguments["dry_run"] = True
    if command.preset:
        resolve(preset, arguments["overrides"])
    else:  # the other settings are those of a checkpoint, which is not read yet
        check_names(arguments["overrides"])
        resolve(preset or "tiny", {})
    return arguments


def _long_range(words: list[str], quick: bool) -> dict[str, Any]:
    """The arguments of the long-range set, whose settings are fixed."""
    arguments = _split(words, LONG_RANGE)
    if overrides := arguments.pop("overrides"):
        raise ConfigError(
            f"long_range takes no {next(iter(overrides))}: its plan is fixed, and only --quick shortens it"
        )
    return {"quick": quick, **arguments}


def _section(key: str) -> bool:
    return key.partition(".")[0] in Config.model_fields


class _Help(argparse.Action):
    """Prints a page of help and ends the process."""

    def __init__(self, *args: Any, command: Command, **others: Any) -> None:
        super().__init__(*args, **others)
        self.command = command

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, topic: Any, option: Any = None) -> None:
        parser.exit(show(help_pages.page(self.command, topic or "")))


def _parse(command: Command) -> argparse.Namespace:
    """The words of the command line, after a path if the command has a source; perhaps a file of settings."""
    parser = Parser(command.program, f"{command.program} {command.usage}", add_help=False)
    parser.add_argument("-h", "--help", nargs="?", action=_Help, command=command)
    options = ["--help"]
    if command.name == "predict":
        parser.add_argument("source", metavar="VIDEO_OR_DIR", type=Path)
    if "--config FILE" in command.words:
        parser.add_argument("--config", type=Path)
        options.append("--config")
    if "--dry-run" in command.words:
        options.append("--dry-run")
    if "--quick" in command.words:
        options.append("--quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("words", nargs="*")
    names = (word.partition("=")[0] for word in sys.argv[1:] if word.startswith("--"))
    if unknown := [name for name in names if name not in options]:
        raise ConfigError(_suggestion(unknown[0], command))
    return parser.parse_args() if command.name == "predict" else parser.parse_intermixed_args()


def _with_file(file: Path | None, preset: str, words: list[str], command: Command) -> tuple[str, list[str]]:
    """Preset and words, completed by a file of settings; what the command line says counts more."""
    if file is None:
        return preset or command.preset, words
    from nonlocal_core.config import settings_file

    texts = settings_file.read(file)
    chosen = texts.pop("preset", command.preset)
    overrides = key_value.pairs(word for word in words if "=" in word)
    return preset or chosen, [*words, *(f"{key}={text}" for key, text in texts.items() if key not in overrides)]


def _suggestion(option: str, command: Command) -> str:
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


def _split(words: list[str], command: Command) -> dict[str, Any]:
    """The parameters in some words, and the settings as `overrides`."""
    file = command.program.rpartition("/")[2]
    hint = "a preset comes first" if command.has_presets else f"{file} has no preset"
    arguments: dict[str, Any] = {}
    overrides = {}
    for key, text in key_value.pairs(words, f"; {hint}").items():
        if BEFORE.get(key) in command.parameters:
            key = BEFORE[key]
        if key in command.parameters:
            arguments[key] = _converted(key, text, command.parameters[key][0])
        elif key in PARAMETERS:
            raise ConfigError(f"{file} has no parameter {key}: see --help")
        elif "." not in key and (near := difflib.get_close_matches(key, command.parameters, n=1)):
            raise ConfigError(f"there is no parameter {key!r}: did you mean {near[0]}?")
        else:
            overrides[key] = text
    return {**arguments, "overrides": overrides}


def _converted(key: str, text: str, convert: Callable[[str], Any]) -> Any:
    """The value of a parameter."""
    if not text:
        raise ConfigError(f"{key}= has no value")
    try:
        return convert(text)
    except ValueError:
        raise ConfigError(f"{key}={text} does not fit: name a number") from None
