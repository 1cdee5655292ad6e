"""What a list does not say clearly enough: it is refused with its first line of that kind, and what to do.

Each function that refuses raises InputError.
"""

from __future__ import annotations

from collections.abc import Iterator

from nonlocal_core.data.layouts import endings
from nonlocal_core.data.layouts.list_lines import FORMAT, Line, Reading, is_part
from nonlocal_core.data.layouts.list_places import Table
from nonlocal_core.data.layouts.listing import entries
from nonlocal_core.data.video import pictures
from nonlocal_core.errors import InputError

_LOOKED_INTO = 3
"""folders of pictures of a list that are counted"""


def refuse_unclear(table: Table, lines: list[Line]) -> None:
    """Refuse labels that may be parts, counts of frames that may be labels, and names of columns as a video."""
    _refuse_labels_as_parts(table, lines)
    _refuse_counts(table, lines)
    _refuse_unknown_header(table, lines)
    _refuse_label_first(table, lines)


def _refuse_labels_as_parts(table: Table, lines: list[Line]) -> None:
    """Refuse `path 2 0 1`, which may have three labels, in a list in which no part has a fraction."""
    parts = [reading for line in lines for reading in line.readings if reading.columns == "path,label,start,end"]
    if any("." in f"{reading.start}{reading.end}" for reading in parts):
        return
    for line in lines:
        for reading in line.readings:
            whole = (reading.label, reading.start, reading.end)
            if reading in parts and all(map(str.isdecimal, whole)) and table.exists(reading):
                if not is_part(reading.start, reading.end):
                    raise InputError(f"{line.place}: {line.text!r} has more than a path and one label: {FORMAT}")
                raise InputError(
                    f"{line.place}: {line.text!r} can be read as three labels or as {reading}: a video has one"
                    f" label; write a part as {reading.start}.0 {reading.end}.0"
                )


def _refuse_counts(table: Table, lines: list[Line]) -> None:
    """Refuse `folder 2 1` where no folder has 2 pictures, as two labels, and `folder 24` where each has 24."""
    counted = list(_counted(table, lines))
    stated = [(line, int(reading.num_frames), count) for line, reading, count in counted if reading.num_frames]
    wrong = [(line, frames, count) for line, frames, count in stated if not _may_be(frames, count)]
    if wrong and (wrong[0][1] == 0 or 1 < len(stated) == len(wrong)):
        line, frames, count = wrong[0]
        raise InputError(
            f"{line.place}: {line.text!r} can be read as two labels or as {frames} frames and a label, and the"
            f" folder has {count} pictures: a video has one label; if it is, say"
            " index.list_columns=path,num_frames,label"
        )
    alone = [(line, reading) for line, reading, count in counted if reading.label == str(count)]
    if alone and len(alone) == len(counted) > 1:
        line, reading = alone[0]
        raise InputError(
            f"{line.place}: {line.text!r} can be read as {reading}, or as {reading.label} frames without a label,"
            " which each folder has: add the labels, or, if they are, say index.list_columns=path,label"
        )


def _may_be(frames: int, count: int) -> bool:
    """Whether a list may say so many frames of so many pictures: there may be flow in x and y beside them."""
    return frames > 0 and any(abs(frames * series - count) <= series for series in (1, 2, 3))


def _counted(table: Table, lines: list[Line]) -> Iterator[tuple[Line, Reading, int]]:
    """The first lines whose video is a folder of pictures, with the number of its pictures."""
    number = 0
    for line in lines:
        for reading in line.readings if number < _LOOKED_INTO else ():
            where = "" if endings.is_video(reading.path) else table.where(reading.path)
            folder = table.videos_dir / where
            if where and not reading.is_certain and folder.is_dir():
                number += 1
                names = [child.name.lower() for child in entries(folder)]
                yield line, reading, sum(name.endswith(pictures.SUFFIXES) for name in names)


def _refuse_unknown_header(table: Table, lines: list[Line]) -> None:
    """Refuse a first line that looks like names of columns: nothing in it is in any other line."""
    first, others = lines[0], [reading for line in lines[1:] for reading in line.readings]
    if not others or any(map(table.exists, first.readings)):
        return
    labels = {reading.label for reading in others}
    looks_like_video = any(endings.is_video(r.path) or "/" in r.path for r in first.readings)
    is_label = any(reading.label in labels or reading.label.isdecimal() for reading in first.readings)
    has_videos = any(endings.is_video(reading.path) or table.exists(reading) for reading in others)
    if not looks_like_video and not is_label and has_videos:
        raise InputError(
            f"{first.place}: {first.text!r} looks like names of columns: call them path and label, or remove the"
            " line"
        )


def _refuse_label_first(table: Table, lines: list[Line]) -> None:
    """Refuse `label path`."""
    for line in lines[:1]:
        for reading in line.readings:
            turned = reading._replace(path=reading.label)
            if not endings.is_video(reading.path) and not table.exists(reading) and table.exists(turned):
                raise InputError(f"{line.place}: {line.text!r} has its label before its path: {FORMAT}")
