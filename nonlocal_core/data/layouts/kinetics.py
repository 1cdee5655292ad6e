"""The layout of Kinetics: a table beside each split folder.

    DIR/train/**/ID_STARTS_ENDS.mp4   DIR/kinetics-400_train.csv or kinetics-400_train_cleaned.csv or train.csv

Tables have the columns label, youtube_id, time_start, time_end.  The files may lie flat or in class folders.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator

from nonlocal_core.data.layouts.listing import File, Folder, FollowLinks, Source, entries, stem, walk
from nonlocal_core.errors import InputError

COLUMNS = ("label", "youtube_id", "time_start", "time_end")

_NAME = re.compile(r"(kinetics-?\d+_)?(train|val|test)(_cleaned)?\.csv")

log = logging.getLogger(__name__)


def is_table(path: Folder) -> bool:
    """Whether a file is a table of Kinetics by its name or, for a mere train.csv, by its name and first line."""
    match = _NAME.fullmatch(path.name)
    if match is None or match[1]:
        return match is not None
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            return set(COLUMNS) <= set(next(csv.reader(lines), []))
    except (OSError, csv.Error):
        return False


def find_tables(videos_dir: Folder) -> dict[str, Folder]:
    """The table of each split that has a folder; if there are two, the cleaned one.

    Raises: InputError if two tables list one split.
    """
    tables: dict[str, Folder] = {}
    for path in entries(videos_dir):
        match = _NAME.fullmatch(path.name)
        if not match or not (videos_dir / match[2]).is_dir() or not is_table(path):
            continue
        other = tables.get(match[2])
        if other is not None and not (match[3] and other.name == path.name.replace("_cleaned", "")):
            raise InputError(
                f"{other.name} and {path.name} both list {match[2]}/: keep one of them in {videos_dir}"
            )
        tables[match[2]] = path
    return tables


def find_videos(videos_dir: Folder, follow_links: FollowLinks = "inside") -> list[Source]:
    """Every video that a table lists, on disk or not.

    Raises: InputError if there is no table, one cannot be read, or a video is listed under two labels or splits.
    """
    tables = find_tables(videos_dir)
    if not tables:
        raise InputError(f"{videos_dir} has no kinetics-400_train.csv beside train/ (nor for val, test): add one")
    sources: dict[str, Source] = {}
    for split, table in tables.items():
        files = {stem(file.path): file for file in sorted(walk(videos_dir, split, follow_links), reverse=True)}
        for video_id, label in _rows(table):
            file = files.get(video_id) or File(f"{split}/{video_id}.mp4", -1, 0)
            source = Source(video_id, file.path, label, split, file.size_bytes, file.stamp)
            listed = sources.setdefault(video_id, source)
            if listed != source:
                raise InputError(
                    f"video {video_id} is listed as {listed.split} {listed.label!r} and as {split} {label!r}:"
                    f" remove one of the lines from {tables[listed.split].name} or {table.name}"
                )
        if unlisted := sorted(file.path for name, file in files.items() if name not in sources):
            log.warning("%d videos are not in %s and left out: %s, …", len(unlisted), table.name, unlisted[0])
    return list(sources.values())


def _rows(table: Folder) -> Iterator[tuple[str, str]]:
    """(video_id, label) of each line."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{table} has no column {', '.join(missing)}: it needs {', '.join(COLUMNS)}")
            for row in reader:
                yield _video_id(row, f"{table}, line {reader.line_num}"), row["label"]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as CSV: {error}") from None


def _video_id(row: dict[str, str], where: str) -> str:
    try:
        start_s, end_s = (int(float(row[name])) for name in ("time_start", "time_end"))
    except (ValueError, TypeError, OverflowError):
        raise InputError(
            f"{where}: time_start={row['time_start']} and time_end={row['time_end']} are not both seconds:"
            " repair the line"
        ) from None
    return f"{row['youtube_id']}_{start_s:06d}_{end_s:06d}"
