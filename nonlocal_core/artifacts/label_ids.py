"""labels.json: the id of each label, `{"label": id, …}`, the same in every artifact that has one."""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_core.artifacts.files import write_json
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

log = logging.getLogger(__name__)

_HEADER = {"id", "label", "name", "class", "class_id", "label_id", "class_name", "index", "category"}


class Names(NamedTuple):
    """The labels of a person's file."""

    names: list[str]
    """in the order of their ids"""
    first_id: int = 0
    """the lowest id in the file: 0, or 1 as in classInd.txt"""
    file: str = ""
    """its path; "" if the labels come from elsewhere"""


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
    """The labels of an artifact, in the order of their ids.

    Raises: InputError as `parse`, or if it cannot be read.
    """
    return parse(_text(path), str(path)).names


def read_names(path: Path) -> Names:
    """The labels of a person's file: JSON, label_map.txt, classInd.txt or CSV.

    Raises: InputError as `parse`, or if it cannot be read.
    """
    names, first_id, _ = parse(_text(path), str(path))
    return Names([composed(name) for name in names], first_id, str(path.absolute()))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"labels {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"labels {path} cannot be read as text: {error}") from None


def parse(text: str, place: str) -> Names:
    """The labels of a text: an object `{"label": id}`, or lines `label`, `id label`, `id,label` or `label,id`.

    Raises: InputError if it cannot be understood, a label or id occurs twice, or ids are left out.
    """
    is_json = place.lower().endswith(".json")
    ids = _of_json(text, place) if is_json else _of_lines(text, place)
    first = 1 if not is_json and min(ids.values()) == 1 else 0
    wanted = range(first, first + len(ids))
    if sorted(ids.values()) != list(wanted):
        gaps = sorted(set(wanted) - set(ids.values()))
        why = f"; {few(map(str, gaps))} are left out" if gaps else ""
        raise InputError(f"labels {place}: the {len(ids)} ids must be 0 to {len(ids) - 1}, each once{why}")
    if first:
        log.info("%s counts from 1: its id 1 is 0 here", place)
    if list(ids.values()) != list(wanted):
        log.info("%s is not in the order of its ids, which are what counts", place)
    return Names(in_order(ids), first)


def _of_json(text: str, place: str) -> dict[str, int]:
    try:
        ids = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"labels {place} cannot be read as JSON: {error}") from None
    if not isinstance(ids, dict) or not all(type(number) is int for number in ids.values()) or not ids:
        raise InputError(f'labels {place} must hold one object {{"label": id, …}} with whole numbers')
    if any(0xD800 <= ord(character) <= 0xDFFF for label in ids for character in label):
        raise InputError(f"labels {place}: a label has half of a character (a lone surrogate)")
    return ids


def _of_lines(text: str, place: str) -> dict[str, int]:
    rows = [_fields(line) for line in text.splitlines() if line.strip()]
    if rows and {field.lower() for field in rows[0]} & _HEADER and not any(map(str.isdecimal, rows[0])):
        rows = rows[1:]
    if not rows or {len(row) for row in rows} - {1, 2} or len({len(row) for row in rows}) != 1:
        raise InputError(f"labels {place} must hold lines `label`, `id label`, `id,label` or `label,id`")
    if len(rows[0]) == 1:
        pairs = [(row[0], number) for number, row in enumerate(rows)]
    else:
        is_id = [all(_is_number(row[column]) for row in rows) for column in (0, 1)]
        if sum(is_id) != 1:
            which = "both columns are" if all(is_id) else "neither column is"
            raise InputError(f"labels {place}: {which} numbers, so which one is the id cannot be told: write JSON")
        pairs = [(row[is_id[0]], int(row[is_id[1]])) for row in rows]
    labels = [composed(label) for label, _ in pairs]
    if twice := [label for label, count in Counter(labels).items() if count > 1]:
        raise InputError(f"labels {place}: {few(twice)} occur twice")
    return dict(zip(labels, (number for _, number in pairs), strict=True))


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _fields(line: str) -> list[str]:
    """The fields of a line; without a comma or tab, a number at its begin is an id."""
    if "," in line or "\t" in line:
        return [field.strip() for field in next(csv.reader([line], delimiter="," if "," in line else "\t"))]
    first, _, rest = line.strip().partition(" ")
    return [first, rest.strip()] if _is_number(first) and rest else [line.strip()]


def check_same(trained: Sequence[str], labels: Sequence[str], name: str) -> None:
    """Raise an InputError if the videos have other labels, or another order of them, than a checkpoint learned."""
    if list(trained) != list(labels):
        first, second = (f"{', '.join(each[:3])}, … ({len(each)})" for each in (trained, labels))
        raise InputError(
            f"{name} was trained on other labels than those of the videos ({first} against {second}): index"
            " the videos with labels_path=FILE, in the order of the checkpoint"
        )
