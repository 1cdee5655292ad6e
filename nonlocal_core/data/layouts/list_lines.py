"""The lines of a list file, and the ways in which each can be read.

A line is `path label`, `path label start end` (a part of the video, 0…1) or `folder num_frames label`, with a
space, a tab, a comma or a semicolon between; a path may have spaces and, in a CSV, quotes.  A first line of names
of columns, as pandas writes it, says which is which; a number may stand before the path, as pandas' index does.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from nonlocal_core.data.layouts import endings
from nonlocal_core.data.layouts.listing import Folder
from nonlocal_core.errors import InputError
from nonlocal_core.escaping import composed

Columns = Literal["auto", "path,label", "path,num_frames,label", "path,label,start,end", "number,path,label"]

_SEPARATORS = ("\t", ",", ";", " ")
_PATHS = {
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("video", "video_path", "video_name", "name", "clip", "frame_dir"),
}
_LABELS = {
    *("label", "label_id", "labels", "class", "class_id", "class_name", "class_label"),
    *("category", "action", "target", "y"),
}
_STARTS, _ENDS = {"start", "start_fraction"}, {"end", "end_fraction"}
_GROUPS = {
    *("group", "group_id", "video_group", "recording", "recording_id", "session", "session_id"),
    *("subject", "subject_id", "person", "person_id", "performer", "actor", "actor_id"),
}
_SPLITS = {"split", "subset", "set", "usage"}
_COLUMNS = {
    **{"path": _PATHS, "label": _LABELS, "start": _STARTS, "end": _ENDS, "group": _GROUPS, "split": _SPLITS},
}
_TIMES = re.compile(
    r"(t|time|clip|action)?_?(start|begin|from|end|stop|to)_?(s|ms|sec|secs|second|seconds|time|frames?|index|idx|at)?"
)
FORMAT = "expected `path label`, `path label start end` or `folder num_frames label`"


class Reading(NamedTuple):
    """One way to understand a line: a path with spaces may look like more fields."""

    path: str
    label: str
    start: str = ""
    """where the action begins, as it is written; "" for the begin of the video"""
    end: str = ""
    group: str = ""
    split: str = ""
    """as it is written; "" where no column names it"""
    columns: Columns = "path,label"
    num_frames: str = ""
    """as it is written; "" where the line has none"""
    is_certain: bool = False
    """whether a line of names or a setting says which column is which"""

    def __str__(self) -> str:
        """The reading, for a person who has to choose."""
        part = f", part {self.start} to {self.end}" if self.start else ""
        return f"path {self.path!r}, label {self.label!r}{part}"


class _Header(NamedTuple):
    """A line of names of columns."""

    number: int
    """of the line, from 1"""
    separator: str
    names: list[str]
    """of all columns, as they are written"""
    places: dict[str, int]
    """the column of each kind that is read; -1 where there is none"""


class Line(NamedTuple):
    """One line of a list."""

    place: str
    """file:line"""
    text: str
    readings: list[Reading]


def read(table: Folder, columns: Columns = "auto") -> list[Line]:
    """The lines of a list that are not empty, without a line of names.

    Raises: InputError if it is no text, or it lists nothing.
    """
    try:
        texts = table.read_text(encoding="utf-8-sig").splitlines()
        if any("\0" in text for text in texts):
            raise ValueError("it holds zero bytes, so it is no UTF-8 text")
    except UnicodeDecodeError:
        raise InputError(f"{table} cannot be read: it is no UTF-8 text, so save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{table} cannot be read: {error}") from None
    header = _header(texts)
    if header:
        _refuse_times(f"{table}:{header.number}", header.names)
    lines = []
    start = header.number if header else 0
    for number, text in enumerate(texts[start:], start + 1):
        if text.strip() and not text.startswith("# "):
            try:
                readings = _of_columns(text, header) if header else [*_readings(composed(text.strip()))]
            except csv.Error as error:
                raise InputError(f"{table}:{number}: it cannot be read as CSV: {error}") from None
            allowed = [reading for reading in readings if columns in ("auto", reading.columns)]
            if columns != "auto":
                allowed = [reading._replace(is_certain=True) for reading in allowed]
            lines.append(Line(f"{table}:{number}", text, allowed))
    if not lines:
        raise InputError(f"{table} lists no video: add lines `path label`, or remove the file")
    return lines


def has_header(table: Folder) -> bool:
    """Whether a file begins with names of the columns of a path and of a label."""
    try:
        with table.open(encoding="utf-8-sig", errors="replace") as lines:
            return _header(lines) is not None
    except OSError:
        return False


def unread(table: Folder) -> list[str]:
    """The names of a file's columns that are not read; pandas' index has none."""
    with table.open(encoding="utf-8-sig") as lines:
        header = _header(lines)
    if header is None:
        return []
    return [
        name
        for number, name in enumerate(header.names)
        if number not in header.places.values() and name and not name.lower().startswith("unnamed")
    ]


def _header(lines: Iterable[str]) -> _Header | None:
    """The line of names of a list: its first one that is neither empty nor a comment; None if it has none.

    The names may also be a comment, in the first line that is not empty.
    """
    is_first = True
    for number, text in enumerate(lines, 1):
        if text.strip():
            is_comment = text.startswith("# ")
            header = _names(text, number) if is_first or not is_comment else None
            if header or not is_comment:
                return header
            is_first = False
    return None


def _names(text: str, number: int) -> _Header | None:
    """A line as names of columns; None if it does not name a path and a label."""
    for separator in _SEPARATORS:
        # a tab at its begin stands behind pandas' index, which has no name
        line = text.strip(" \r\n" if separator == "\t" else None).lstrip("# ")
        names = [field.strip().strip('"') for field in line.split(separator)]
        lowered = [name.lower() for name in names]
        places = {
            kind: next((place for place, name in enumerate(lowered) if name in accepted), -1)
            for kind, accepted in _COLUMNS.items()
        }
        if places["path"] >= 0 and places["label"] >= 0:
            return _Header(number, separator, names, places)
    return None


def _refuse_times(place: str, names: Sequence[str]) -> None:
    """Raise InputError if a column says when an action begins or ends, and not as a share of the video."""
    if times := [name for name in names if _TIMES.fullmatch(name.lower()) and name.lower() not in _STARTS | _ENDS]:
        raise InputError(
            f"{place}: the columns {', '.join(times)} are not read: write parts as shares of the video, 0 to 1, in"
            " columns start and end, or remove them to take whole videos"
        )


def is_part(start: str, end: str) -> bool:
    """Whether two texts are a part of a video: 0 <= start < end <= 1."""
    try:
        return 0 <= float(start) < float(end) <= 1
    except ValueError:
        return False


def _of_columns(text: str, header: _Header) -> list[Reading]:
    """The one reading of a line under a line of names; none if it has too few fields."""
    reader = csv.reader([text], delimiter=header.separator, skipinitialspace=True)
    fields = [field.strip() for field in next(reader)]
    places = header.places
    if not header.names[0] and len(fields) < len(header.names):
        fields.insert(0, "")  # what stands before the names is no column, but a blank
    if max(places.values()) >= len(fields):
        return []
    path, label, start, end, group, split = (fields[place] if place >= 0 else "" for place in places.values())
    if not path or not label or bool(start) != bool(end):
        return []
    columns: Columns = "path,label,start,end"
    return [Reading(composed(path), composed(label), start, end, group, split, columns, is_certain=True)]


def _readings(text: str) -> Iterator[Reading]:
    for separator in _SEPARATORS:
        for after in (1, 2, 3):  # fields that follow the path
            fields = _split(text, separator, after)
            if len(fields) != after + 1 or not all(fields):
                continue
            path, last = fields[0], fields[1:]
            if after == 1:
                yield Reading(path, last[0])
            elif after == 2:
                if last[0].isdecimal() and not endings.is_video(path):
                    yield Reading(path, last[1], columns="path,num_frames,label", num_frames=last[0])
                if path.isdecimal() and separator != " ":
                    yield Reading(last[0], last[1], columns="number,path,label")
            elif all(re.fullmatch(r"[-+.\dnaifNAIF]+", field) for field in last[1:]):
                yield Reading(path, last[0], last[1], last[2], columns="path,label,start,end")


def _split(text: str, separator: str, after: int) -> list[str]:
    """The path and the fields after it, split from the right: only a path may contain the separator."""
    for quote in ('"', "'"):
        if text.startswith(quote) or quote == '"' in text:
            reader = csv.reader([text], delimiter=separator, quotechar=quote, skipinitialspace=True)
            return [field.strip() for field in next(reader)]
    return [field.strip() for field in text.rsplit(None if separator == " " else separator, after)]
