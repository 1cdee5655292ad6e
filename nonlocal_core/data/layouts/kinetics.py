"""The layout of Kinetics: a table beside each split folder.

    DIR/train/**/ID_STARTS_ENDS.mp4   DIR/kinetics-400_train.csv, kinetics-400_train_cleaned.csv, train.csv, …

Tables have the columns label, youtube_id, time_start, time_end.  The files may lie flat or in class folders.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from nonlocal_core.data.layouts.inventory import Inventory, unlisted
from nonlocal_core.data.layouts.listing import File, Folder, Source, entries, stem, walk
from nonlocal_core.data.layouts.split_names import split_of, splits_in
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

COLUMNS = ("label", "youtube_id", "time_start", "time_end")

_NAME = re.compile(r"kinetics-?\d+_([a-z]+)(_cleaned)?\.csv", re.IGNORECASE)


def is_table(path: Folder) -> bool:
    """Whether a file is a table of Kinetics, with labels or without, by its name or by its name and first line."""
    if not _split(path):
        return False
    match = _NAME.fullmatch(path.name)
    return bool(match and split_of(match[1])) or set(COLUMNS[1:]) <= _columns(path)


def _split(path: Folder) -> str:
    """The split that the name of a CSV file has as one of its words."""
    splits = splits_in(path.stem) if path.suffix.lower() == ".csv" else set[str]()
    return splits.pop() if len(splits) == 1 else ""


def _columns(path: Folder) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            first = lines.readline()
            return set(_names(next(csv.reader([first], delimiter=_delimiter(first)), [])))
    except (OSError, csv.Error):
        return set()


def _delimiter(names: str) -> str:
    """What stands between the columns of a line: spreadsheets of many countries write semicolons."""
    return max(",;\t", key=names.count)


def _names(columns: Iterable[str]) -> list[str]:
    """Names of columns without capitals, and without blanks around them."""
    return [name.strip().lower() for name in columns]


def find_tables(videos_dir: Folder) -> dict[str, Folder]:
    """The table of each folder that is named like a split; if there are two, the cleaned one.

    One without labels, as that of test, is not among them.

    Raises: InputError if two tables list one split, or two folders are named like it.
    """
    tables: dict[str, Folder] = {}
    children = entries(videos_dir)
    folders: dict[str, list[str]] = defaultdict(list)
    for path in children:
        if path.is_dir() and (split := split_of(path.name)):
            folders[split].append(path.name)
    for path in children:
        of_split = folders.get(_split(path), []) if path.is_file() else []
        if not of_split or not is_table(path) or _has_no_labels(path):
            continue
        if len(of_split) > 1:
            raise InputError(f"{' and '.join(of_split)} of {videos_dir} are both {_split(path)}: keep one of them")
        folder = of_split[0]
        other, is_cleaned = tables.get(folder), path.stem.lower().endswith("_cleaned")
        if other is not None and not (is_cleaned and other.name == path.name.replace("_cleaned", "")):
            raise InputError(f"{other.name} and {path.name} both list {folder}/: keep one of them in {videos_dir}")
        tables[folder] = path
    return tables


def _has_no_labels(path: Folder) -> bool:
    columns = _columns(path)
    return set(COLUMNS[1:]) <= columns and COLUMNS[0] not in columns


def find_videos(videos_dir: Folder, seen: Inventory | None = None) -> tuple[list[Source], list[str], list[str]]:
    """Every video that a table lists, on disk or not; the names of the tables; what is worth saying of them.

    Raises: InputError if there is no table, one cannot be read, or a video is listed under two labels or splits.
    """
    tables = find_tables(videos_dir)
    if not tables:
        raise InputError(f"{videos_dir} has no kinetics-400_train.csv beside train/ (nor for val, test): add one")
    seen = seen or Inventory()
    sources, paths = dict[str, Source](), list[str]()
    for folder, table in tables.items():
        split = split_of(folder)
        on_disk = sorted(walk(videos_dir, folder, seen), reverse=True)
        files = {stem(seen.video(file.path)): file for file in on_disk}
        for video_id, label in _rows(table):
            file = files.get(video_id) or File(f"{folder}/{video_id}.mp4", -1, 0)
            source = Source(video_id, file.path, composed(label), split, file.size_bytes, file.stamp)
            listed = sources.setdefault(video_id, source)
            if listed != source:
                raise InputError(
                    f"video {video_id} is listed as {listed.split} {listed.label!r} and as {split} {label!r}:"
                    f" remove one of the lines from {' or '.join(sorted(table.name for table in tables.values()))}"
                )
        paths += (file.path for file in files.values())
    notes = unlisted(paths, (source.path for source in sources.values()))
    if without := [path.name for path in entries(videos_dir) if is_table(path) and _has_no_labels(path)]:
        notes.append(f"{few(without)} are not used: they have no column label")
    return list(sources.values()), [table.name for table in tables.values()], notes


def _rows(table: Folder) -> Iterator[tuple[str, str]]:
    """(video_id, label) of each line."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            first = lines.readline()
            reader = csv.DictReader(itertools.chain([first], lines), delimiter=_delimiter(first))
            reader.fieldnames = _names(reader.fieldnames or ())
            missing = [name for name in COLUMNS if name not in reader.fieldnames]
            if missing:
                raise InputError(f"{table} has no column {', '.join(missing)}: it needs {', '.join(COLUMNS)}")
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                if not (row["label"] or "").strip():
                    raise InputError(f"{where}: its label is missing: add it, or remove the line")
                yield _video_id(row, where), row["label"].strip()
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
    return f"{row['youtube_id'].strip()}_{start_s:06d}_{end_s:06d}"
