"""The layout of list files: one line a video, as mmaction2, PySlowFast and pandas write them.

    DIR/*train*.txt|csv|tsv, *val*, *test*    lines as `list_lines.py` reads them
    DIR/*.csv|tsv|txt                         the same with names of columns, where index.layout=lists asks for it

A path is relative to DIR or to its folder SPLIT, videos_SPLIT, rawframes_SPLIT, videos or rawframes; or it is
absolute and inside DIR.  A label is a number or a name.  A folder of pictures is a video too.  Parts of one video
that are listed with begin and end are videos of their own.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.data.layouts import kinetics, list_labels, list_lines
from nonlocal_core.data.layouts.inventory import Seen, unlisted
from nonlocal_core.data.layouts.list_lines import FORMAT, Columns, Line, Reading
from nonlocal_core.data.layouts.listing import (
    SUFFIXES,
    File,
    Folder,
    Source,
    entries,
    is_file,
    stat_file,
    walk,
)
from nonlocal_core.data.layouts.locations import is_uri
from nonlocal_core.data.layouts.remote import RemotePath
from nonlocal_core.data.layouts.split_names import split_of, splits_in
from nonlocal_core.errors import InputError
from nonlocal_core.escaping import composed

_SUFFIXES = (".txt", ".csv", ".tsv")

log = logging.getLogger(__name__)


class _Table(NamedTuple):
    """The lists' folder with the files in it."""

    videos_dir: Folder
    files: dict[str, File]
    """by their names in NFC"""
    seen: Seen
    base: str = ""
    """folder that paths are relative to"""


def find_lists(videos_dir: Folder) -> dict[Folder, str]:
    """The list files of a folder with their splits; a file's name has the split as one of its words."""
    lists = {}
    for path in _texts(videos_dir):
        splits = splits_in(path.stem)
        if len(splits) == 1:
            lists[path] = splits.pop()
        elif splits:
            log.warning("%s is not taken for a list: it names the splits %s", path, ", ".join(sorted(splits)))
    return lists


def find_tables(videos_dir: Folder) -> list[Folder]:
    """The files of a folder that are named like no split, and begin with names of the columns of a list."""
    return [path for path in _texts(videos_dir) if not splits_in(path.stem) and list_lines.has_header(path)]


def _texts(videos_dir: Folder) -> Iterator[Folder]:
    for path in entries(videos_dir):
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not kinetics.is_table(path):
            yield path


def find_videos(
    videos_dir: Folder,
    names: Names | None = None,
    columns: Columns = "auto",
    seen: Seen | None = None,
    lists: Mapping[Folder, str] | None = None,
) -> tuple[list[Source], list[str], list[str]]:
    """Every video of the lists, on disk or not; the names of the lists; what is worth saying of them.

    `names` of labels, in the order of their ids, replace numbers.  `lists` are those to read, each with its split;
    without them, those of the folder are.

    Raises: InputError with file and line, if a line cannot be understood or can be in two ways, a path leads
            outside of the folder, a video is listed twice, or labels are numbers here and names there.
    """
    if lists is None:
        lists = find_lists(videos_dir) or dict.fromkeys(find_tables(videos_dir), "")
    if not lists:
        raise InputError(f"{videos_dir} has no list such as train.txt: add one with lines `path label`")
    seen = seen or Seen()
    found = {file.path.removesuffix(f"/{seen.frame_name}"): file for file in walk(videos_dir, seen=seen)}
    table = _Table(videos_dir, {composed(path): file for path, file in found.items()}, seen)
    lines, notes = _without_copies({path: list_lines.read(path, columns) for path in lists}, lists)
    sources: list[Source] = []
    places: list[str] = []
    for path, listed in lines.items():
        based = table._replace(base=_base(table, listed, lists[path]))
        if based.base:
            log.info("%s: its paths are relative to %s", path, videos_dir / based.base)
        _refuse_labels_as_parts(based, listed)
        _refuse_unknown_header(based, listed)
        for line in listed:
            source = _source(based, line)
            sources.append(source._replace(split=lists[path] or source.split))
            places.append(line.place)
    sources = _with_parts(sources, places)
    paths = (file.path for file in table.files.values())
    notes += unlisted(paths, (source.path for source in sources))
    sources = list_labels.with_names(sources, places, names)
    return sources, [path.name for path in lists], notes


def _without_copies(
    lines: dict[Folder, list[Line]], lists: Mapping[Folder, str]
) -> tuple[dict[Folder, list[Line]], list[str]]:
    """The lists without those of test that list the same as one of val: PySlowFast wants the same twice."""
    texts = {path: sorted(line.text.strip() for line in listed) for path, listed in lines.items()}
    kept, notes = {}, []
    for path, listed in lines.items():
        val = [other for other in lines if lists[other] == "val" and texts[other] == texts[path]]
        if lists[path] == "test" and val:
            notes.append(f"{path.name} is not used: it lists the same as {val[0].name}")
        else:
            kept[path] = listed
    return kept, notes


def _base(table: _Table, lines: list[Line], split: str) -> str:
    """The folder that paths are relative to: the first in which there is a video of the list."""
    for base in ("", split, f"videos_{split}", f"rawframes_{split}", "videos", "rawframes"):
        if base and not (table.videos_dir / base).is_dir():
            continue
        based = table._replace(base=base)
        if any(_where(based, reading.path) for line in lines for reading in line.readings):
            return base
    return ""


def _where(table: _Table, path: str) -> str:
    """The path, from the videos' folder, of a listed file that is there; "" if it is not. Windows' \\ is a /."""
    for written in dict.fromkeys((path, path.replace("\\", "/"))):
        inside = _inside(table, written)
        if inside is not None and (inside in table.files or _is_behind_no_link(table, inside)):
            return inside
    return ""


def _is_behind_no_link(table: _Table, path: str) -> bool:
    """Whether a file of any ending is there, and not behind a link that is not followed."""
    return is_file(table.videos_dir, path) and stat_file(table.videos_dir, path, table.seen).size_bytes >= 0


def _refuse_labels_as_parts(table: _Table, lines: list[Line]) -> None:
    """Raise InputError if parts may be labels: `path 2 0 1` in a list in which no part has a fraction."""
    parts = [reading for line in lines for reading in line.readings if reading.columns == "path,label,start,end"]
    if any("." in f"{reading.start}{reading.end}" for reading in parts):
        return
    for line in lines:
        for reading in line.readings:
            whole = (reading.label, reading.start, reading.end)
            if reading in parts and all(map(str.isdecimal, whole)) and _where(table, reading.path):
                raise InputError(
                    f"{line.place}: {line.text!r} can be read as three labels or as {reading}: a video has one"
                    f" label; write a part as {reading.start}.0 {reading.end}.0"
                )


def _refuse_unknown_header(table: _Table, lines: list[Line]) -> None:
    """Raise InputError if the first line looks like names of columns: nothing in it is in any other line."""
    first, others = lines[0], lines[1:]
    if not others or any(_where(table, reading.path) for reading in first.readings):
        return
    labels = {reading.label for line in others for reading in line.readings}
    looks_like_video = any(r.path.lower().endswith(SUFFIXES) or "/" in r.path for r in first.readings)
    is_label = any(reading.label in labels or reading.label.isdecimal() for reading in first.readings)
    if (
        not looks_like_video
        and not is_label
        and any(_where(table, r.path) for line in others for r in line.readings)
    ):
        raise InputError(
            f"{first.place}: {first.text!r} looks like names of columns: call them path and label, or remove the"
            " line"
        )


def _source(table: _Table, line: Line) -> Source:
    chosen = _chosen(table, line)
    path = _where(table, chosen.path) or _inside(table, chosen.path.replace("\\", "/"))
    if path is None:
        raise InputError(
            f"{line.place}: {chosen.path} is not inside of {table.videos_dir}: list paths relative to it"
        )
    try:
        start, end = float(chosen.start or 0), float(chosen.end or 1)
    except ValueError:
        start, end = 0.0, 0.0
    if not 0 <= start < end <= 1:
        part = f"from {chosen.start or 0} to {chosen.end or 1}"
        raise InputError(f"{line.place}: {part} is no part of a video: 0 <= start < end <= 1")
    file = table.files.get(path) or stat_file(table.videos_dir, path, table.seen)
    label = re.sub(r"^(\d+)\.0*$", r"\1", chosen.label)  # pandas writes ids as 1.0 where one is missing
    split = split_of(chosen.split)
    if chosen.split and not split:
        raise InputError(f"{line.place}: there is no split {chosen.split!r}: write train, val or test")
    return Source(path, file.path, label, split, file.size_bytes, file.stamp, start, end, chosen.group)


def _chosen(table: _Table, line: Line) -> Reading:
    """The reading of a line whose video is there; else the likeliest.

    Raises: InputError if there is none, or the videos of two are there.
    """
    existing = {where: reading for reading in line.readings if (where := _where(table, reading.path))}
    if len(existing) > 1:
        first, second, *_ = existing.values()
        raise InputError(
            f"{line.place}: {line.text!r} can be read as {first}, or as {second}, and both are there: say which"
            f" with index.list_columns={first.columns} or {second.columns}"
        )
    likely = [reading for reading in line.readings if reading.path.lower().endswith(SUFFIXES)]
    without_spaces = [reading for reading in line.readings if not re.search(r"[\s,]", reading.path)]
    chosen = next(iter([*existing.values(), *likely, *without_spaces]), None)
    if chosen is None:
        raise InputError(
            f"{line.place}: {line.text!r} cannot be understood: {FORMAT}, with a space, a tab or a comma between"
            " them; if this is no list, say how the videos lie with index.layout=class_folders"
        )
    return chosen


def _inside(table: _Table, path: str) -> str | None:
    """A listed path, relative to the folder of the videos; None if it leads outside."""
    if not path.startswith("/") and not is_uri(path):
        path = posixpath.normpath(posixpath.join(table.base, path))
        return None if path.startswith("../") or path in ("..", ".") else path
    path = posixpath.normpath(path)
    for folder in _names(table.videos_dir):
        if path.startswith(f"{folder}/"):
            return path[len(folder) + 1 :]
    return None


def _names(videos_dir: Folder) -> tuple[str, ...]:
    """The ways in which an absolute path into the folder may begin."""
    if isinstance(videos_dir, RemotePath):
        return (posixpath.normpath(str(videos_dir).partition("?")[0]),)
    return composed(str(videos_dir)), composed(os.path.realpath(videos_dir))


def _with_parts(sources: list[Source], places: list[str]) -> list[Source]:
    """The sources; the parts of a video that is listed more than once have their part in the name.

    Raises: InputError if one part is listed twice.
    """
    counts = Counter(source.path for source in sources)
    named, earlier = [], dict[str, str]()
    for source, place in zip(sources, places, strict=True):
        if counts[source.path] > 1 and (source.start_fraction, source.end_fraction) != (0.0, 1.0):
            part = f"#{source.start_fraction:g}-{source.end_fraction:g}"
            source = source._replace(video_id=f"{source.video_id}{part}")
        if source.video_id in earlier:
            raise InputError(
                f"{place}: {source.path} is listed in {earlier[source.video_id]} already: remove one of them"
            )
        earlier[source.video_id] = place
        named.append(source)
    return named
