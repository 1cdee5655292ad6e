"""labels.json: the id of each label, `{"label": id, …}`, the same in every artifact that has one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from nonlocal_core.artifacts.files import write_json
from nonlocal_core.errors import InputError


def ids_of(labels: Iterable[str]) -> dict[str, int]:
    """The id of each label: its place."""
    return {label: label_id for label_id, label in enumerate(labels)}


def in_order(ids: Mapping[str, int]) -> list[str]:
    """The labels in the order of their ids."""
    return sorted(ids, key=ids.__getitem__)


def write(path: Path, labels: Iterable[str]) -> None:
    """Write labels that are in the order of their ids."""
    write_json(path, ids_of(labels))


def read(path: Path) -> list[str]:
    """The labels of a file, in the order of their ids.

    Raises: InputError if it cannot be read as such, or its ids are not 0, 1, 2, … once each.
    """
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"labels {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"labels {path} cannot be read as JSON: {error}") from None
    if not isinstance(ids, dict) or not all(type(number) is int for number in ids.values()) or not ids:
        raise InputError(f'labels {path} must hold one object {{"label": id, …}} with whole numbers')
    if any(0xD800 <= ord(character) <= 0xDFFF for label in ids for character in label):
        raise InputError(f"labels {path}: a label has half of a character (a lone surrogate)")
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"labels {path}: the {len(ids)} ids must be 0 to {len(ids) - 1}, each once")
    return in_order(ids)
