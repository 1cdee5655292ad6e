"""The labels of lists: numbers, which are the ids, or names."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence, Set

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.data.layouts.listing import Source
from nonlocal_core.errors import InputError
from nonlocal_core.escaping import folded

_MOST_LABELS = 100_000
_SEVERAL = re.compile(r"[\[(]?\s*\d+(\s*[,;|/&+\s]\s*\d+)+\s*[\])]?")
"""numbers with something between them, as in 0,2 and [0, 2]"""
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")

log = logging.getLogger(__name__)


def written(label: str, place: str) -> str:
    """A label as it is meant: pandas writes ids as 1.0 where one is missing, and NumPy as 1e+00.

    Raises: InputError if it is another number, or what pandas writes for no label; `place` is its file:line.
    """
    if label in ("nan", "NaN", "<NA>"):
        raise InputError(f"{place}: its label is missing ({label}): add it, or remove the line")
    if _SEVERAL.fullmatch(label):
        raise InputError(f"{place}: {label!r} looks like several labels: a video has one label")
    if label.isdecimal() or not _NUMBER.fullmatch(label):
        return label
    value = float(label)
    if not value.is_integer() or value < 0:
        raise InputError(f"{place}: the label {label} is no id: ids are whole numbers from 0")
    return str(int(value))


def numbers(sources: Sequence[Source]) -> list[str] | None:
    """All labels from 0 to the highest if they are numbers, which then are the ids; else None."""
    if not all(source.label.isdecimal() for source in sources):
        return None
    return [str(number) for number in range(1 + max(int(source.label) for source in sources))]


def refuse_unknown(labels: Set[str], names: Sequence[str] | None) -> None:
    """Raise InputError if a label is not among the names, where there are any."""
    if names is not None and (unknown := sorted(labels - {*names})):
        near = difflib.get_close_matches(unknown[0], names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names[:5])}, …"
        raise InputError(f"{len(unknown)} labels are not in the list of labels, e.g. {unknown[0]!r}: {hint}")


def _first_id(sources: Sequence[Source], ids: Sequence[int], names: Names) -> int:
    """The id of the first name in the lists: that of the file of labels, or 0 if they say so.

    Lists may count from 0 beside a classInd.txt that counts from 1, and lack class 0: then only the folders of the
    videos tell, which often have the names of the labels.
    """
    if not names.first_id or min(ids) == 0:
        return 0
    folders = [{*map(_letters, source.path.split("/")[:-1])} for source in sources]
    by_id = dict(enumerate(map(_letters, names.names)))
    num_agreeing = {
        first: sum(by_id.get(number - first) in parts for number, parts in zip(ids, folders, strict=True))
        for first in (0, names.first_id)
    }
    first = 0 if num_agreeing[0] > num_agreeing[names.first_id] else names.first_id
    if first == 0 or not any(num_agreeing.values()):
        why = "labels_path does" if first else "the folders of the videos say"
        log.info(
            "labels are taken to count from %d, as %s: %d is %s",
            *(first, why, ids[0], by_id.get(ids[0] - first, "no label")),
        )
    return first


def _letters(name: str) -> str:
    """What is left of a name without capitals, blanks and underscores."""
    return folded(name.replace("_", " "))


def with_names(sources: list[Source], places: list[str], names: Names | None) -> list[Source]:
    """The sources, with names of labels in place of numbers if there are names; `places` are file:line of each.

    Raises: InputError if labels are numbers here and names there, or there is no such number.
    """
    located = list(zip(sources, places, strict=True))
    examples = {source.label.isdecimal(): (source.label, place) for source, place in reversed(located)}
    if len(examples) == 2:
        (name, place), (number, other) = examples[False], examples[True]
        raise InputError(
            f"{place}: the label {name!r} is a name, but {number!r} in {other} is a number: use one kind"
        )
    if False in examples:
        return sources
    ids = [int(source.label) for source in sources]
    first = _first_id(sources, ids, names) if names else 0
    num_labels = len(names.names) if names else _MOST_LABELS
    for label_id, place in zip(ids, places, strict=True):
        if label_id - first >= num_labels:
            source = "labels_path has ids" if names else "numbers go from"
            last = first + num_labels - 1
            raise InputError(f"{place}: there is no label {label_id}: {source} {first} to {last}")
    if not names:
        return [source._replace(label=str(number)) for source, number in zip(sources, ids, strict=True)]
    return [
        source._replace(label=names.names[number - first]) for source, number in zip(sources, ids, strict=True)
    ]
