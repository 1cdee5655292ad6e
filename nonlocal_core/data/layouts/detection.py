"""The layout of a folder of videos, and its videos as one `Source` each, by names and sizes alone.

class folders   DIR/[train|val|test/]LABEL/**/*.mp4|avi|mkv|webm|mov
Kinetics        see `kinetics.py`
lists           see `lists.py`

In place of a video file there may be a folder of JPEGs or PNGs: it is one video, whose frames are the pictures.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nonlocal_core.data.layouts import kinetics, lists
from nonlocal_core.data.layouts.listing import SPLITS, SUFFIXES, Folder, FollowLinks, Source, walk
from nonlocal_core.errors import InputError

Layout = Literal["class_folders", "kinetics", "lists"]

log = logging.getLogger(__name__)


def detect(videos_dir: Folder) -> Layout:
    """The layout of a folder: Kinetics or lists if it has their files, else class folders; logs which.

    Raises: InputError if there is no such folder, or it has both tables of Kinetics and lists.
    """
    _require_folder(videos_dir)
    tables = [path.name for path in kinetics.find_tables(videos_dir).values()]
    listed = [path.name for path in lists.find_lists(videos_dir)]
    if tables and listed:
        raise InputError(
            f"{videos_dir} has Kinetics tables ({', '.join(tables)}) and lists ({', '.join(listed)}): say which"
            " to use with index.layout=kinetics or index.layout=lists"
        )
    layout: Layout = "kinetics" if tables else "lists" if listed else "class_folders"
    because = f" ({', '.join(tables or listed)})" if tables or listed else ""
    log.info("%s has the layout %s%s", videos_dir, layout, because)
    return layout


def find_videos(
    videos_dir: Folder, layout: Layout, labels: Sequence[str] | None = None, follow_links: FollowLinks = "inside"
) -> list[Source]:
    """Every video of a dataset, sorted by path; in lists, `labels` in the order of their ids replace numbers.

    Raises: InputError if there is no folder, no video, a table or list that cannot be read, split folders beside
            label folders, or one video in two splits.
    """
    _require_folder(videos_dir)
    if layout == "kinetics":
        sources = kinetics.find_videos(videos_dir, follow_links)
    elif layout == "lists":
        sources = lists.find_videos(videos_dir, labels, follow_links)
    else:
        sources = _find_class_folders(videos_dir, follow_links)
    if not sources:
        raise InputError(
            f"no videos in {videos_dir}: looked for [train|val|test/]LABEL/*.mp4 ({', '.join(SUFFIXES)}), for"
            " folders of pictures, for train/, val/, test/ beside kinetics-400_train.csv, …, and for lists such as"
            " train.txt"
        )
    return sorted(sources, key=lambda source: source.path)


def _find_class_folders(videos_dir: Folder, follow_links: FollowLinks) -> list[Source]:
    files = [(file, file.path.split("/")) for file in walk(videos_dir, follow_links=follow_links)]
    # train/clip.mp4 makes "train" a label; train/LABEL/clip.mp4 makes it a split.
    splits = {parts[0] for _, parts in files if len(parts) >= 3}.intersection(SPLITS)
    others = sorted({parts[0] for _, parts in files if len(parts) >= 2} - splits)
    if splits and others:
        raise InputError(
            f"{videos_dir} has split folders ({', '.join(sorted(splits))}) and others with videos"
            f" ({', '.join(others[:3])}{', …' if len(others) > 3 else ''}): keep one kind, either"
            " train/LABEL, val/LABEL, test/LABEL or LABEL alone"
        )
    depth = 1 if splits else 0
    sources, unlabelled = [], []
    for file, parts in files:
        if len(parts) < depth + 2:
            unlabelled.append(file.path)
        else:
            split = parts[0] if splits else ""
            sources.append(Source(file.path, file.path, parts[depth], split, file.size_bytes, file.stamp))
    if sources and unlabelled:
        log.warning(
            "%d videos lie outside a label folder and are left out, e.g. %s", len(unlabelled), unlabelled[0]
        )
    return sources


def _require_folder(videos_dir: Folder) -> None:
    if isinstance(videos_dir, Path) and videos_dir.is_file():
        raise InputError(f"{videos_dir} is a file: give the folder that the videos lie in")
    if not videos_dir.is_dir():
        raise InputError(f"there is no folder {videos_dir}: give the folder that the videos lie in")
