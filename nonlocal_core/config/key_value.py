"""`key=value` words, as every command line takes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from nonlocal_core.errors import ConfigError


def pairs(words: Iterable[str], hint: str = "") -> dict[str, str]:
    """The keys of `key=value` words, each with the text of its value.

    Raises: ConfigError if a key is given twice, or a word has no `=`; then `hint` ends the line.
    """
    texts: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is not of the form key=value{hint}")
        if key in texts:
            raise ConfigError(f"{key} is given twice, {texts[key]!r} and {text!r}: leave one out")
        texts[key] = text
    return texts


def value_of(text: str) -> Any:
    """The value that a text stands for: JSON, a list without its brackets, or the text itself."""
    try:
        return json.loads(f"[{text}]" if "," in text and text[0] != "[" else text)
    except ValueError:
        return text


def text_of(value: object) -> str:
    """The text that stands for a value."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and len(value) > 1:
        return ",".join(map(text_of, value))
    return json.dumps(value)
