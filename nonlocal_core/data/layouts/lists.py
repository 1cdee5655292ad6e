"""The layout of list files: one line a video, as mmaction2 and PySlowFast write them.

    DIR/*train*.txt|csv, *val*, *test*    lines `path label`, with a space, a tab or a comma between them

A path is relative to DIR or to its folder SPLIT, videos_SPLIT, rawframes_SPLIT, videos or rawframes; or it is
absolute and inside DIR.  It may have spaces and, in a CSV, quotes.  A label is a number or a name.  Begin and end
of the action may follow, as fractions of the video: `path label 0.25 0.5`.  A folder of pictures is a video too;
the number of its frames may come before the label: `folder 250 label`.
"""

from __future__ import annotations

import csv
import logging
import os
import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nonlocal_core.data.layouts import kinetics
from nonlocal_core.data.layouts.listing import (
    SPLITS,
    SUFFIXES,
    File,
    Folder,
    FollowLinks,
    Source,
    entries,
    is_file,
    stat_file,
    walk,
)
from nonlocal_core.data.layouts.locations import is_uri
from nonlocal_core.data.layouts.remote import RemotePath
from nonlocal_core.errors import InputError

_SUFFIXES = (".txt", ".csv")
_SEPARATORS = ("\t", ",", " ")
_HEADER = re.compile(r"path\W+label\b.*")
_MOST_LABELS = 100_000
_FORMAT = "expected `path label`, `path label start end` or `folder num_frames label`"

log = logging.getLogger(__name__)


class _Reading(NamedTuple):
    """One way to understand a line: a path with spaces may look like more fields."""

    path: str
    label: str
    start_fraction: float = 0.0
    end_fraction: float = 1.0


class _Disk(NamedTuple):
    """What is on disk."""

    top: Folder
    videos: dict[str, File]
    """all that have the ending of a video, or are folders of pictures"""
    follow_links: FollowLinks

    def find(self, path: str) -> File:
        """What a list names; size -1 if it is not there."""
        return self.videos.get(path) or stat_file(self.top, path, self.follow_links)


class _Line(NamedTuple):
    place: str
    """file:line"""
    text: str
    readings: list[_Reading]


def find_lists(videos_dir: Folder) -> dict[Folder, str]:
    """The list files of a folder with their splits; a file's name has the split as one of its words."""
    lists = {}
    for path in entries(videos_dir):
        if path.suffix.lower() not in _SUFFIXES or not path.is_file() or kinetics.is_table(path):
            continue
        splits = set(re.split(r"[^a-z]+", path.stem.lower())).intersection(SPLITS)
        if len(splits) == 1:
            lists[path] = splits.pop()
        elif splits:
            log.warning("%s is not taken for a list: it names the splits %s", path, ", ".join(sorted(splits)))
    return lists


def find_videos(
    videos_dir: Folder, names: Sequence[str] | None = None, follow_links: FollowLinks = "inside"
) -> list[Source]:
    """Every video of the lists, on disk or not; `names` of labels, in the order of their ids, replace numbers.

    Raises: InputError with file and line, if a line cannot be understood, a path leads outside of the folder, a
            video is listed twice, or labels are numbers in one place and names in another.
    """
    lists = find_lists(videos_dir)
    if not lists:
        raise InputError(f"{videos_dir} has no list such as train.txt: add one with lines `path label`")
    files = {file.path: file for file in walk(videos_dir, follow_links=follow_links)}
    disk = _Disk(videos_dir, files, follow_links)
    sources: list[Source] = []
    locations: dict[str, str] = {}
    for table, split in lists.items():
        lines = _read(table)
        base = _base(disk, lines, split)
        if base:
            log.info("%s: its paths are relative to %s", table, videos_dir / base)
        for line in lines:
            source = _source(disk, base, line)._replace(split=split)
            if earlier := locations.get(source.path):
                raise InputError(f"{line.place}: {source.path} is listed in {earlier} already: remove one of them")
            locations[source.path] = line.place
            sources.append(source)
    if unlisted := sorted(files.keys() - locations.keys()):
        log.warning("%d videos are in no list and left out: %s, …", len(unlisted), unlisted[0])
    return _with_label_names(sources, locations, names)


def numbers(sources: Sequence[Source]) -> list[str] | None:
    """All labels from 0 to the highest if they are numbers, which then are the ids; else None."""
    if not all(source.label.isdecimal() for source in sources):
        return None
    return [str(number) for number in range(1 + max(int(source.label) for source in sources))]


def _read(table: Folder) -> list[_Line]:
    try:
        texts = table.read_text(encoding="utf-8-sig").splitlines()
        if any("\0" in text for text in texts):
            raise ValueError("it holds zero bytes, so it is no UTF-8 text")
    except (OSError, ValueError) as error:
        raise InputError(f"{table} cannot be read: {error}") from None
    first = 1 if texts and _HEADER.fullmatch(texts[0].strip().lower()) else 0
    lines = [
        _Line(f"{table}:{number}", text, list(_readings(text.strip())))
        for number, text in enumerate(texts[first:], first + 1)
        if text.strip()
    ]
    if not lines:
        raise InputError(f"{table} lists no video: add lines `path label`, or remove the file")
    return lines


def _readings(text: str) -> Iterator[_Reading]:
    for separator in _SEPARATORS:
        for after in (1, 2, 3):  # fields that follow the path
            fields = _split(text, separator, after)
            if len(fields) != after + 1 or not all(fields):
                continue
            path, last = fields[0], fields[1:]
            if after == 1:
                yield _Reading(path, last[0])
            elif after == 2:
                if last[0].isdecimal() and not path.lower().endswith(SUFFIXES):
                    yield _Reading(path, last[1])
            else:
                try:
                    yield _Reading(path, last[0], float(last[1]), float(last[2]))
                except ValueError:
                    continue


def _split(text: str, separator: str, after: int) -> list[str]:
    """The path and the fields after it, split from the right: only a path may contain the separator."""
    if '"' in text:
        return [field.strip() for field in next(csv.reader([text], delimiter=separator, skipinitialspace=True))]
    return [field.strip() for field in text.rsplit(None if separator == " " else separator, after)]


def _base(disk: _Disk, lines: list[_Line], split: str) -> str:
    """The folder that paths are relative to: the first in which there is a video of the list."""
    for base in ("", split, f"videos_{split}", f"rawframes_{split}", "videos", "rawframes"):
        if base and not (disk.top / base).is_dir():
            continue
        if any(_is_there(disk, base, reading.path) for line in lines for reading in line.readings):
            return base
    return ""


def _is_there(disk: _Disk, base: str, path: str) -> bool:
    inside = _inside(disk.top, base, path)
    if inside is None:
        return False
    return inside in disk.videos or (is_file(disk.top, inside) and disk.find(inside).size_bytes >= 0)


def _source(disk: _Disk, base: str, line: _Line) -> Source:
    existing = [reading for reading in line.readings if _is_there(disk, base, reading.path)]
    likely = [reading for reading in line.readings if reading.path.lower().endswith(SUFFIXES)]
    without_spaces = [reading for reading in line.readings if not re.search(r"[\s,]", reading.path)]
    chosen = next(iter([*existing, *likely, *without_spaces]), None)
    if chosen is None:
        raise InputError(
            f"{line.place}: {line.text!r} cannot be understood: {_FORMAT}, with a space, a tab or a comma between"
            " them; if this is no list, say how the videos lie with index.layout=class_folders"
        )
    path = _inside(disk.top, base, chosen.path)
    if path is None:
        raise InputError(f"{line.place}: {chosen.path} is not inside of {disk.top}: list paths relative to it")
    start, end = chosen.start_fraction, chosen.end_fraction
    if not 0 <= start < end <= 1:
        raise InputError(f"{line.place}: from {start:g} to {end:g} is no part of a video: 0 <= start < end <= 1")
    file = disk.find(path)
    return Source(path, path, chosen.label, "", file.size_bytes, file.stamp, start, end)


def _inside(videos_dir: Folder, base: str, path: str) -> str | None:
    """A listed path, relative to the folder of the videos; None if it leads outside."""
    if not path.startswith("/") and not is_uri(path):
        path = posixpath.normpath(posixpath.join(base, path))
        return None if path.startswith("../") or path in ("..", ".") else path
    path = posixpath.normpath(path)
    for folder in _names(videos_dir):
        if path.startswith(f"{folder}/"):
            return path[len(folder) + 1 :]
    return None


def _names(videos_dir: Folder) -> tuple[str, ...]:
    """The ways in which an absolute path into the folder may begin."""
    if isinstance(videos_dir, RemotePath):
        return (posixpath.normpath(str(videos_dir).partition("?")[0]),)
    return str(videos_dir), os.path.realpath(videos_dir)


def _with_label_names(
    sources: list[Source], locations: dict[str, str], names: Sequence[str] | None
) -> list[Source]:
    """The sources, with names of labels in place of numbers if there are names."""
    examples = {source.label.isdecimal(): source for source in reversed(sources)}
    if len(examples) == 2:
        name, number = examples[False], examples[True]
        raise InputError(
            f"{locations[name.path]}: the label {name.label!r} is a name, but {number.label!r} in"
            f" {locations[number.path]} is a number: use one kind"
        )
    if False in examples:
        return sources
    num_labels = len(names) if names else _MOST_LABELS
    for source in sources:
        if int(source.label) >= num_labels:
            raise InputError(
                f"{locations[source.path]}: there is no label {source.label}: "
                + (
                    f"labels_path has ids 0 to {num_labels - 1}"
                    if names
                    else f"numbers go from 0 to {num_labels - 1}"
                )
            )
    return [
        source._replace(label=names[int(source.label)] if names else str(int(source.label))) for source in sources
    ]
