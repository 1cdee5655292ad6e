"""The lines of a list file, and the ways in which each can be read.

A line is `path label`, `path label start end` (a part of the video, 0…1) or `folder num_frames label`, with a
space, a tab, a comma or a semicolon between; a path may have spaces and, in a CSV, quotes.  A first line of names
of columns, as pandas writes it, says which is which; a number may stand before the path, as pandas' index does.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
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
    names = _header(texts[0]) if texts else None
    if names:
        _refuse_times(f"{table}:1", texts[0], names[0])
    lines = []
    for number, text in enumerate(texts[1:] if names else texts, 2 if names else 1):
        if text.strip() and not text.startswith("# "):
            try:
                readings = _of_columns(text, *names) if names else [*_readings(composed(text.strip()))]
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
    """Whether the first line of a file names the columns of a path and of a label."""
    try:
        with table.open(encoding="utf-8-sig", errors="replace") as lines:
            return _header(lines.readline()) is not None
    except OSError:
        return False


def unread(table: Folder) -> list[str]:
    """The names of a file's columns that are not read; pandas' index has none."""
    with table.open(encoding="utf-8-sig") as lines:
        text = lines.readline()
    if not (names := _header(text)):
        return []
    separator, places = names
    fields = [field.strip().strip('"') for field in text.strip().lstrip("# ").split(separator)]
    return [
        field
        for number, field in enumerate(fields)
        if number not in places.values() and field and not field.lower().startswith("unnamed")
    ]


def _header(text: str) -> tuple[str, dict[str, int]] | None:
    """The separator of a line of names, and the column of each that is known; None if it is none."""
    for separator in _SEPARATORS:
        fields = [field.strip().strip('"').lower() for field in text.strip().lstrip("# ").split(separator)]
        places = {
            kind: next((number for number, field in enumerate(fields) if field in accepted), -1)
            for kind, accepted in _COLUMNS.items()
        }
        if places["path"] >= 0 and places["label"] >= 0:
            return separator, places
    return None


def _refuse_times(place: str, text: str, separator: str) -> None:
    """Raise InputError if a column says when an action begins or ends, and not as a share of the video."""
    names = [name.strip().strip('"') for name in text.split(separator)]
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


def _of_columns(text: str, separator: str, places: dict[str, int]) -> list[Reading]:
    """The one reading of a line under a line of names; none if it has too few fields."""
    fields = [field.strip() for field in next(csv.reader([text], delimiter=separator, skipinitialspace=True))]
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
