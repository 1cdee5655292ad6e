"""How datasets lie on disk: from a folder to one `Source` a video, by names and sizes alone.

class folders   DIR/[train|val|test/]LABEL/…/*.mp4|avi|mkv|webm|mov
Kinetics        DIR/train/, val/, test/ beside DIR/kinetics-400_train.csv (or …_train_cleaned.csv), …
                with columns label, youtube_id, time_start, time_end
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from nonlocal_core.errors import InputError

SPLITS = ("train", "val", "test")
SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov")

_KINETICS_CSV = re.compile(r"kinetics-?(\d+)_(train|val|test)(_cleaned)?\.csv")
_KINETICS_COLUMNS = ("label", "youtube_id", "time_start", "time_end")

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """One video as the layout knows it, before anything opens it."""

    video_id: str
    path: str
    """relative to the folder of the videos, with forward slashes"""
    label: str
    split: str
    """train, val, test, or "" where the layout names none"""
    size_bytes: int
    """-1: listed but not on disk"""
    mtime_ns: int


class _File(NamedTuple):
    path: str
    size_bytes: int
    mtime_ns: int


def detect(videos_dir: Path) -> Literal["class_folders", "kinetics"]:
    """The layout of a folder: Kinetics where a Kinetics CSV lies beside its split folder, else class folders.

    Raises: InputError if there is no such folder.
    """
    _require_folder(videos_dir)
    return "kinetics" if _kinetics_tables(videos_dir) else "class_folders"


def find_videos(videos_dir: Path, layout: Literal["auto", "class_folders", "kinetics", "lists"]) -> list[Source]:
    """Every video of a dataset, sorted by path.

    Raises: InputError if there is no folder, no video, a table that cannot be read, split folders beside label
            folders, or one video in two splits.
    """
    found = detect(videos_dir) if layout == "auto" else layout
    _require_folder(videos_dir)
    sources = _find_kinetics(videos_dir) if found == "kinetics" else _find_class_folders(videos_dir)
    if not sources:
        raise InputError(
            f"no videos in {videos_dir}: looked for [train|val|test/]LABEL/*.mp4 ({', '.join(SUFFIXES)}) and for"
            " train/, val/, test/ beside kinetics-400_train.csv, …"
        )
    return sorted(sources, key=lambda source: source.path)


def read_labels(path: Path) -> list[str]:
    """The labels of a `{"label": id}` file, in the order of their ids.

    Raises: InputError if it is no such file, or its ids are not 0, 1, 2, … once each.
    """
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"labels {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"labels {path} cannot be read as JSON: {error}") from None
    if not isinstance(ids, dict) or not all(type(number) is int for number in ids.values()) or not ids:
        raise InputError(f'labels {path} must hold one object {{"label": id, …}} with whole numbers')
    if sorted(ids.values()) != list(range(len(ids))):
        raise InputError(f"labels {path}: the {len(ids)} ids must be 0 to {len(ids) - 1}, each once")
    return sorted(ids, key=lambda label: ids[label])


def listing_digest(sources: list[Source]) -> str:
    """Hash of what lies where: paths, labels, splits, sizes and times of change; no content."""
    digest = hashlib.sha256()
    for source in sorted(sources, key=lambda source: source.path):
        row = (source.path, source.label, source.split, source.size_bytes, source.mtime_ns)
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _find_class_folders(videos_dir: Path) -> list[Source]:
    files = list(_walk(videos_dir))
    inside = [file for file in files if file.path.count("/") >= 1]
    # train/clip.mp4 makes "train" a label; train/LABEL/clip.mp4 makes it a split.
    splits = {file.path.split("/")[0] for file in inside if file.path.count("/") >= 2}.intersection(SPLITS)
    others = sorted({file.path.split("/")[0] for file in inside} - splits)
    if splits and others:
        raise InputError(
            f"{videos_dir} has split folders ({', '.join(sorted(splits))}) and others with videos"
            f" ({', '.join(others[:3])}{', …' if len(others) > 3 else ''}): keep one kind, either"
            " train/LABEL, val/LABEL, test/LABEL or LABEL alone"
        )
    depth = 1 if splits else 0
    sources, unlabelled = [], []
    for file in files:
        parts = file.path.split("/")
        if len(parts) < depth + 2:
            unlabelled.append(file.path)
        else:
            split = parts[0] if splits else ""
            sources.append(Source(file.path, file.path, parts[depth], split, file.size_bytes, file.mtime_ns))
    if sources and unlabelled:
        logger.warning(
            "%d videos lie outside a label folder and are left out, e.g. %s", len(unlabelled), unlabelled[0]
        )
    return sources


def _kinetics_tables(videos_dir: Path) -> dict[str, Path]:
    """The CSV of each split that has a folder; the cleaned one where there are both."""
    tables: dict[str, Path] = {}
    for path in sorted(videos_dir.iterdir()):
        match = _KINETICS_CSV.fullmatch(path.name)
        if not match or not (videos_dir / match[2]).is_dir():
            continue
        before = tables.get(match[2])
        if before is not None and not (match[3] and before.name == path.name.replace("_cleaned", "")):
            raise InputError(
                f"{before.name} and {path.name} both list {match[2]}/: keep one of them in {videos_dir}"
            )
        tables[match[2]] = path
    return tables


def _find_kinetics(videos_dir: Path) -> list[Source]:
    tables = _kinetics_tables(videos_dir)
    if not tables:
        raise InputError(f"{videos_dir} has no kinetics-400_train.csv beside train/ (nor for val, test): add one")
    sources: dict[str, Source] = {}
    for split, table in tables.items():
        files = {Path(file.path).stem: file for file in sorted(_walk(videos_dir, split))}
        for video_id, label in _kinetics_rows(table):
            file = files.get(video_id) or _File(f"{split}/{video_id}.mp4", -1, 0)
            source = Source(video_id, file.path, label, split, file.size_bytes, file.mtime_ns)
            before = sources.setdefault(video_id, source)
            if before != source:
                raise InputError(
                    f"video {video_id} is listed as {before.split} {before.label!r} and as {split} {label!r}:"
                    f" remove one of the lines from {tables[before.split].name} or {table.name}"
                )
        if unlisted := sorted(file.path for stem, file in files.items() if stem not in sources):
            logger.warning("%d videos are not in %s and left out: %s, …", len(unlisted), table.name, unlisted[0])
    return list(sources.values())


def _kinetics_rows(table: Path) -> Iterator[tuple[str, str]]:
    """(video_id, label) of each line."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in _KINETICS_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    f"{table} has no column {', '.join(missing)}: it needs {', '.join(_KINETICS_COLUMNS)}"
                )
            for row in reader:
                start_s, end_s = (int(float(row[name])) for name in ("time_start", "time_end"))
                yield f"{row['youtube_id']}_{start_s:06d}_{end_s:06d}", row["label"]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read as CSV: {error}") from None


def _walk(videos_dir: Path, below: str = "") -> Iterator[_File]:
    """Every video file under a folder; links are followed, hidden names are not."""

    def visit(folder: str, prefix: str, ancestors: frozenset[str]) -> Iterator[_File]:
        real = os.path.realpath(folder)
        if real in ancestors:  # a link to a folder that holds it
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir():
                    yield from visit(entry.path, f"{prefix}{name}/", ancestors | {real})
                elif name.lower().endswith(SUFFIXES) and (entry.is_file() or entry.is_symlink()):
                    yield _file(entry, f"{prefix}{name}")

    try:
        yield from visit(str(videos_dir / below), f"{below}/" if below else "", frozenset())
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None


def _file(entry: os.DirEntry[str], path: str) -> _File:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name {os.fsencode(path)!r} is not UTF-8: rename it") from None
    try:
        status = entry.stat()
    except FileNotFoundError:  # a link to nothing
        return _File(path, -1, 0)
    return _File(path, status.st_size, status.st_mtime_ns)


def _require_folder(videos_dir: Path) -> None:
    if not videos_dir.is_dir():
        raise InputError(f"there is no folder {videos_dir}: give the folder that the videos lie in")
