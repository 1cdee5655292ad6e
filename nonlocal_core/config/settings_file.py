"""A file of settings: YAML or JSON that a person wrote, or the settings of an entry of the registry.

preset: probe            # tiny if it is left out
videos_dir: videos       # parameters of the command
train:                   # settings, nested or dotted
  weight_decay: 0.1
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from nonlocal_core.config import key_value
from nonlocal_core.config.tree import flatten
from nonlocal_core.errors import ConfigError

MOST_BYTES = 1 << 20
MOST_DEPTH = 20
ENTRY_FILE = "entry.json"
_STANDARD = "tag:yaml.org,2002:"
_KINDS = ("null", "str", "int", "float", "bool", "timestamp", "value", "merge", "seq", "map")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def read(path: Path) -> dict[str, str]:
    """The texts of all keys of a file, dotted; `preset` is one of them.

    Raises: ConfigError if it cannot be read, or is no mapping of keys to values.
    """
    is_entry = path.is_dir()
    file = path / ENTRY_FILE if is_entry else path
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ConfigError(f"--config {path} has more than {MOST_BYTES >> 20} MB: it is no file of settings")
        text = file.read_text(encoding="utf-8")
        content = json.loads(text)["config"] if is_entry else _yaml(text)
    except OSError as error:
        raise ConfigError(f"--config {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())[:120]
        raise ConfigError(f"--config {path} is neither YAML nor JSON, nor an entry: {problem}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"--config {path} has no keys: write `train.epochs: 3`, or `train:` with keys below it")
    # `labels_path:` alone says that there is none.
    return {key: _text(value) for key, value in flatten(content).items() if value is not None}


def _text(value: object) -> str:
    """The text of a value."""
    return key_value.text_of([*map(_number, value)] if isinstance(value, list) else value)


def _number(part: object) -> object:
    """A number of a list, which is read as JSON: that has neither .5 nor 5. as YAML has; others as they are."""
    if not isinstance(part, str) or not _NUMBER.fullmatch(part):
        return part
    value = key_value.value_of(part)
    return float(part) if isinstance(value, str) else value


def _yaml(text: str) -> Any:
    """The content of a text of YAML, which must be as simple as settings are; all values are texts or None.

    Raises: ValueError if it has aliases or is nested deeply: a short text of these can keep a reader busy.
    """
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"settings have no aliases, and there is *{event.anchor}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise ValueError(f"it is nested deeper than {MOST_DEPTH}")
    return _content(yaml.compose(text, yaml.SafeLoader))


def _content(node: Any) -> Any:
    """What a node of YAML holds, as a person wrote it: YAML itself has dates, and reads 0123 as 83 and 1:30 as 90.

    Raises: ValueError if it is something else than texts, lists and keys.
    """
    kind = node.tag.removeprefix(_STANDARD) if node else "null"
    if kind not in _KINDS:
        raise ValueError(f"settings are plain values, and there is {node.tag}")
    if kind == "null":
        return None
    if isinstance(node, yaml.MappingNode):
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise ValueError("a key is a list, or has keys itself")
        return {key.value: _content(value) for key, value in node.value}
    return [*map(_content, node.value)] if isinstance(node, yaml.SequenceNode) else node.value
