"""labels.json: the id of each label, `{"label": id, …}`, the same in every artifact that has one."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nonlocal_core.artifacts.files import write_json
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

log = logging.getLogger(__name__)

_IDS = ("id", "class_id", "label_id", "index", "class_index")
_LABELS = ("label", "name", "class", "class_name", "label_name", "category", "action")
_ID_FIRST = re.compile(r"(\d{1,9})\s*[:=\s]\s*(.+)")
_ID_LAST = re.compile(r"(.+?)\s*[:=\s]\s*(\d{1,9})")


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
    return Names([composed(_unquoted(name)) for name in names], first_id, str(path.absolute()))


def _unquoted(name: str) -> str:
    """A label without quotes around it, which PySlowFast's own file of Kinetics' classes has."""
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"labels {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"labels {path} cannot be read as text, so save it as UTF-8: {error}") from None


def parse(text: str, place: str) -> Names:
    """The labels of a text: an object `{"label": id}` or `{"id": "label"}`, or lines `label`,
    `id label`, `label id`, `id,label` or `label,id`.

    Raises: InputError if it cannot be understood, a label or id occurs twice, or ids are left out.
    """
    is_json = place.lower().endswith(".json")
    ids = _of_json(text, place) if is_json else _of_lines(text, place)
    first = 1 if not is_json and min(ids.values()) == 1 else 0
    wanted = range(first, first + len(ids))
    if sorted(ids.values()) != list(wanted):
        gaps = sorted(set(wanted) - set(ids.values()))
        why = f"; {few(map(str, gaps))} are left out" if gaps else ""
        raise InputError(f"labels {place}: the {len(ids)} ids must be {wanted[0]} to {wanted[-1]}, each once{why}")
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
    ids = _by_label(ids, place)
    if not isinstance(ids, dict) or not all(type(number) is int for number in ids.values()) or not ids:
        raise InputError(f'labels {place} must hold one object {{"label": id, …}} with whole numbers')
    if any(0xD800 <= ord(character) <= 0xDFFF for label in ids for character in label):
        raise InputError(f"labels {place}: a label has half of a character (a lone surrogate)")
    return ids


def _by_label(content: object, place: str) -> object:
    """The ids of labels where JSON has the labels of ids; else the content as it is."""
    if not isinstance(content, dict) or not all(isinstance(label, str) for label in content.values()):
        return content
    if any(map(_is_number, content.values())) or not all(map(_is_number, content)):
        return content
    return _distinct([(label, int(number)) for number, label in content.items()], place)


def _of_lines(text: str, place: str) -> dict[str, int]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("# ")]
    try:
        rows = _rows(lines)
    except csv.Error as error:
        raise InputError(f"labels {place} cannot be read as CSV: {error}") from None
    names = [field.lower() for field in rows[0]] if rows else []
    if {*names} & {*_IDS, *_LABELS} and not any(map(str.isdecimal, names)):
        columns = (_IDS, _LABELS)
        places = [next((names.index(name) for name in column if name in names), -1) for column in columns]
        is_wide = len(names) > 2 and min(places) >= 0 and {len(row) for row in rows} == {len(names)}
        rows = [[row[place] for place in places] for row in rows[1:]] if is_wide else rows[1:]
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
    return _distinct([(composed(label), number) for label, number in pairs], place)


def _distinct(pairs: list[tuple[str, int]], place: str) -> dict[str, int]:
    """The ids of labels, each of which is there once."""
    if twice := [label for label, count in Counter(label for label, _ in pairs).items() if count > 1]:
        raise InputError(f"labels {place}: {few(twice)} occur twice")
    return dict(pairs)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _rows(lines: list[str]) -> list[list[str]]:
    """The fields of each line.

    Without a comma, tab or semicolon, a number at its begin is an id.  So is one at its end, if all lines have
    one, these are the ids of so many labels, and what stands before them differs.
    """
    if separator := next((mark for mark in (",", "\t", ";") if any(mark in line for line in lines)), ""):
        return [[field.strip() for field in next(csv.reader([line], delimiter=separator))] for line in lines]
    first, last = ([pattern.fullmatch(line.strip()) for line in lines] for pattern in (_ID_FIRST, _ID_LAST))
    if lines and all(last) and not any(first):
        rows = [list(match.groups()) for match in last if match]
        ids = sorted(int(number) for _, number in rows)
        if len({label for label, _ in rows}) == len(rows) and ids == list(range(ids[0], ids[0] + len(ids))):
            return rows
    return [list(match.groups()) if match else [line.strip()] for match, line in zip(first, lines, strict=True)]


def check_same(trained: Sequence[str], labels: Sequence[str], name: str) -> None:
    """Raise an InputError if the videos have other labels, or another order of them, than a checkpoint learned."""
    if list(trained) != list(labels):
        first, second = (f"{', '.join(each[:3])}, … ({len(each)})" for each in (trained, labels))
        raise InputError(
            f"{name} was trained on other labels than those of the videos ({first} against {second}): index"
            " the videos with labels_path=FILE, in the order of the checkpoint"
        )
