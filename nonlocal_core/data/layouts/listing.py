"""Listing a folder of videos by names, sizes and times of change: no file is opened."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nonlocal_core.data.layouts import endings, locations, remote
from nonlocal_core.data.layouts.inventory import MOST_LINKS, Inventory, is_junk
from nonlocal_core.data.layouts.remote import RemotePath
from nonlocal_core.data.video import pictures
from nonlocal_core.errors import InputError, few

Folder = Path | RemotePath
"""a folder on a file system, or in object storage"""

log = logging.getLogger(__name__)

_GONE = (errno.ENOENT, errno.ELOOP)


class Source(NamedTuple):
    """One video as its layout describes it, before its file is opened."""

    video_id: str
    path: str
    """relative to the folder of the videos, with forward slashes; a file, or a folder of pictures"""
    label: str
    split: str
    """train, val, test, or "" where the layout names none"""
    size_bytes: int
    """size of the file or of all pictures; -1 if it is listed but not on disk"""
    stamp: int
    """time of change (ns); for a folder of pictures a hash of their names, sizes and times"""
    start_fraction: float = 0.0
    """where the action begins (0…1 of the video)"""
    end_fraction: float = 1.0
    """where the action ends (0…1 of the video)"""
    group: str = ""
    """the recording that it was cut from, or whatever else belongs on one side of a split; "" if none is named"""


class File(NamedTuple):
    """A video file or a folder of pictures on disk."""

    path: str
    size_bytes: int
    stamp: int


def open_folder(videos_dir: Path | str) -> Folder:
    """A folder to look for videos in, by its path or URI.

    Raises: InputError if a URI names no folder; RemoteError if it cannot be listed now.
    """
    if isinstance(videos_dir, str) and locations.is_uri(videos_dir):
        return remote.list_folder(videos_dir)
    return Path(videos_dir).expanduser().absolute()


def entries(folder: Folder) -> list[Folder]:
    """The files and folders directly in a folder, by name."""
    children: list[Folder] = [*folder.iterdir()]
    return sorted(children, key=str)


def relative(videos_dir: Folder, path: Folder) -> str:
    """The path of a file from the folder of the videos on, in which it lies."""
    return path.path if isinstance(path, RemotePath) else path.relative_to(str(videos_dir)).as_posix()


def walk(videos_dir: Folder, below: str = "", seen: Inventory | None = None) -> Iterator[File]:
    """Every video below a folder; junk such as hidden names is left out.

    A link to a file is a video, wherever the file lies.  A link to a folder is followed if the folder lies inside
    of `videos_dir`, or if all links are.  A folder with pictures is a video if there is neither a video file nor
    another folder in it, apart from pictures that belong to its own, such as masks.  `seen` counts all files and
    links that are met.

    Raises: InputError if a folder cannot be read or a name is not UTF-8.
    """
    seen = seen if seen is not None else Inventory()
    if isinstance(videos_dir, RemotePath):
        yield from _visit_remote(videos_dir / below, seen)
        return
    bounds, before = _Bounds(os.path.realpath(videos_dir), seen), len(seen.left_out)
    start = os.path.realpath(videos_dir / below)
    try:
        if bounds.hold(str(videos_dir / below), start):
            yield from _visit(str(videos_dir / below), f"{below}/" if below else "", (start,), bounds)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
    if left_out := seen.left_out[before:]:
        log.warning(
            "%d links lead out of %s and are not followed: %s; runtime.follow_links=all follows them",
            *(len(left_out), videos_dir, few(left_out)),
        )


def stat_file(videos_dir: Folder, path: str, seen: Inventory) -> File:
    """What a list names, whatever its ending; size -1 if it is not there, or behind a link that is not followed.

    As in `walk`, a link to a file is the file.
    """
    if isinstance(videos_dir, RemotePath):
        return File(path, *(videos_dir / path).info)
    try:
        status = os.stat(videos_dir / path)
    except OSError:
        return File(path, -1, 0)
    if not _Bounds(os.path.realpath(videos_dir), seen).hold(path, os.path.realpath((videos_dir / path).parent)):
        return File(path, -1, 0)
    return File(path, status.st_size, status.st_mtime_ns)


def is_file(videos_dir: Folder, path: str) -> bool:
    """Whether there is a file of this name."""
    if isinstance(videos_dir, RemotePath):
        return (videos_dir / path).is_file()
    return os.path.isfile(videos_dir / path)


def stem(path: str) -> str:
    """The name of a video without its folders and its ending."""
    return endings.without(path.rpartition("/")[2])


def listing_digest(sources: list[Source]) -> str:
    """Hash of a listing: paths, labels, splits, sizes and times of change, without the contents."""
    ordered = sorted(sources, key=lambda source: (source.path, source.video_id))
    rows = [source if source.group else source[:-1] for source in ordered]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


class _Bounds(NamedTuple):
    """How far links lead."""

    top: str
    """without links"""
    seen: Inventory

    def hold(self, name: str, real: str, num_links: int = 0) -> bool:
        """Whether a folder, whose path without links is `real`, is to be looked into; else it is noted."""
        if num_links > MOST_LINKS:
            self.seen.too_deep[name.partition("/")[0]] += 1
            return False
        if self.seen.follow_links == "all" or f"{real}/".startswith(f"{self.top.rstrip('/')}/"):
            return True
        if (link := f"{name} -> {real}") not in self.seen.left_out:
            self.seen.left_out.append(link)
        return False


def _visit(
    folder: str, prefix: str, ancestors: tuple[str, ...], bounds: _Bounds, num_links: int = 0
) -> Iterator[File]:
    """The videos of a folder and of those in it; `num_links` lead to it, one inside of another."""
    seen, folders, videos, images = bounds.seen, [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name.lower()
            if is_junk(name):
                seen.add_junk(entry.name)
            elif _is_folder(entry):
                folders.append(entry)
            elif endings.is_video(name):
                videos.append(entry)
            elif name.endswith(pictures.SUFFIXES):
                images.append(entry)
            else:
                seen.pass_over(f"{prefix}{entry.name}")
    for entry in videos:
        yield _file(entry, f"{prefix}{entry.name}")
    frames, beside = [entry.name for entry in images] if prefix and not videos else [], 0
    for entry in folders:
        if frames and _belong_to(frames, os.listdir(entry.path), f"{prefix}{entry.name}", seen):
            beside += 1
            continue
        real = os.path.realpath(entry.path) if entry.is_symlink() else f"{ancestors[-1]}/{entry.name}"
        if real in ancestors:  # a link to a folder that contains the link
            continue
        links = num_links + entry.is_symlink()
        if links == num_links or bounds.hold(f"{prefix}{entry.name}", real, links):
            yield from _visit(entry.path, f"{prefix}{entry.name}/", (*ancestors, real), bounds, links)
    is_video = bool(images and prefix and not videos and len(folders) == beside)
    _count(seen, len(videos), [f"{prefix}{entry.name}" for entry in images], is_video)
    if is_video:
        yield _folder_of_pictures([_file(entry, f"{prefix}{entry.name}") for entry in images], prefix[:-1], seen)


def _belong_to(frames: list[str], names: list[str], path: str, seen: Inventory) -> bool:
    """Whether a folder's pictures belong to the frames beside it, as masks do; then they are passed over."""
    names = [name for name in names if name.lower().endswith(pictures.SUFFIXES)]
    if not pictures.belong_to(frames, names):
        return False
    for name in names:
        seen.pass_over(f"{path}/{name}")
    return True


def _visit_remote(folder: RemotePath, seen: Inventory) -> Iterator[File]:
    """As `_visit`, in object storage, which has no links and only UTF-8 names."""
    children = []
    for child in folder.iterdir():
        if is_junk(child.name):
            seen.add_junk(child.name)
        else:
            children.append(child)
    folders = [child for child in children if child.is_dir()]
    files = [(child.name.lower(), File(child.path, *child.info)) for child in children if child.is_file()]
    videos = [file for name, file in files if endings.is_video(name)]
    images = [file for name, file in files if name.endswith(pictures.SUFFIXES)]
    for name, file in files:
        if not name.endswith((*endings.SUFFIXES, *pictures.SUFFIXES)):
            seen.pass_over(file.path)
    yield from videos
    frames = [file.path.rpartition("/")[2] for file in images] if folder.path and not videos else []
    beside = 0
    for child in folders:
        if frames and _belong_to(frames, [inner.name for inner in child.iterdir()], child.path, seen):
            beside += 1
            continue
        yield from _visit_remote(child, seen)
    is_video = bool(images and folder.path and not videos and len(folders) == beside)
    _count(seen, len(videos), [file.path for file in images], is_video)
    if is_video:
        yield _folder_of_pictures(images, folder.path, seen)


def _count(seen: Inventory, num_videos: int, images: list[str], is_video: bool) -> None:
    """Count the videos of one folder, and its pictures, which may be a video together."""
    seen.num_videos += num_videos + is_video
    seen.num_files += num_videos
    if is_video:
        seen.num_files += len(images)
    else:
        for path in images:
            seen.pass_over(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _file(entry: os.DirEntry[str], path: str) -> File:
    _check_name(path)
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return File(path, -1, 0)  # a link to nothing
    return File(path, status.st_size, status.st_mtime_ns)


def _folder_of_pictures(files: list[File], path: str, seen: Inventory) -> File:
    if seen.frame_name:
        name = pictures.numbered(seen.frame_name)
        series = [file for file in files if name.fullmatch(file.path.rpartition("/")[2])]
        files, path = (series, f"{path}/{seen.frame_name}") if series else (files, path)
    stamp = hashlib.blake2b(json.dumps(sorted(files)).encode(), digest_size=8).digest()
    return File(path, sum(max(0, file.size_bytes) for file in files), int.from_bytes(stamp, "big") >> 1)


def _check_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(f"the name {os.fsencode(path)!r} is not UTF-8: rename it") from None
