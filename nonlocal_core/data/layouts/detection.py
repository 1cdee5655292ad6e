"""The layout of a folder of videos, and its videos as one `Source` each, by names and sizes alone.

class folders   DIR/[train|val|test/]LABEL/**/VIDEO
Kinetics        see `kinetics.py`
folds           see `folds.py`: the official lists of UCF101 and HMDB51
lists           see `lists.py`

In place of a video file there may be a folder of JPEGs or PNGs: it is one video, whose frames are the pictures.
Where a folder names train and test and no val, val is drawn from train, and test stays apart.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import folds, kinetics, list_labels, lists
from nonlocal_core.data.layouts.inventory import FollowLinks, Seen
from nonlocal_core.data.layouts.listing import SUFFIXES, File, Folder, Source, entries, walk
from nonlocal_core.data.layouts.split_names import split_of
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

Layout = Literal["class_folders", "kinetics", "folds", "lists"]

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """The videos of a folder, and what was seen on the way to them."""

    layout: Layout
    sources: list[Source]
    """sorted by path"""
    labels: tuple[str, ...] | None
    """in the order of their ids; None for alphabetical order"""
    inventory: tuple[str, ...]
    """what was seen, in lines for a person"""

    def with_splits(self, sources: list[Source], notes: Sequence[str]) -> Found:
        """The same with the splits of `sources`, and with words on them."""
        return self._replace(
            sources=sources, inventory=(*self.inventory, *notes, *_labels_of(sources, self.labels))
        )


def find(
    videos_dir: Folder, index: IndexConfig, names: Names | None = None, follow_links: FollowLinks = "inside"
) -> Found:
    """The videos of a folder; `names` of labels in the order of their ids replace numbers in lists.

    Raises: InputError if there is no folder, no video, a table or list that cannot be read or can be read in two
            ways, folders that are splits as well as labels, or one video in two splits.
    """
    found = listed(videos_dir, index, names, follow_links)
    sources, drawn = found.sources, list[str]()
    if found.layout == "lists" or not _has_val_folder(videos_dir):  # an empty val is a mistake
        sources, drawn = _with_open_train(sources, index)
    return found.with_splits(sources, drawn)


def listed(
    videos_dir: Folder, index: IndexConfig, names: Names | None = None, follow_links: FollowLinks = "inside"
) -> Found:
    """The same with the splits that the layout names, none of them opened, and no word on them yet.

    Raises: as `find`.
    """
    layout, because = _layout(videos_dir, index)
    seen, notes, used = Seen(follow_links, index.frame_name), list[str](), list[str]()
    labels: Sequence[str] | None = names.names if names else None
    if layout == "kinetics":
        sources, used, notes = kinetics.find_videos(videos_dir, seen)
    elif layout == "folds":
        sources, used, notes, labels = folds.find_videos(videos_dir, index.fold, labels, seen)
    elif layout == "lists":
        sources, used, notes = lists.find_videos(videos_dir, names, index.list_columns, seen)
        labels = labels or list_labels.numbers(sources)
    else:
        sources, notes = _find_class_folders(videos_dir, seen, is_asked=index.layout != "auto")
    if not sources:
        kinds = "; ".join([*seen.lines(), *_remedies(videos_dir)])
        raise InputError(
            f"no videos in {videos_dir} ({kinds}): looked for [train|val|test/]LABEL/VIDEO with"
            f" {', '.join(SUFFIXES[:6])}, …, for folders of pictures, for train/, val/, test/ beside"
            " kinetics-400_train.csv, …, and for lists such as train.txt"
        )
    inventory = (f"layout {layout}{because}", *seen.lines(used), *notes)
    return Found(layout, sorted(sources, key=lambda one: one.path), tuple(labels) if labels else None, inventory)


def _layout(videos_dir: Folder, index: IndexConfig) -> tuple[Layout, str]:
    """The layout, and why: Kinetics, folds or lists if the folder has their files, else class folders."""
    require_folder(videos_dir)
    if index.layout != "auto":
        return index.layout, f", as index.layout={index.layout} says"
    tables = [path.name for path in kinetics.find_tables(videos_dir).values()]
    official = folds.find_lists(videos_dir)
    listed = [path.name for path in lists.find_lists(videos_dir)]
    if tables and listed:
        raise InputError(
            f"{videos_dir} has Kinetics tables ({', '.join(tables)}) and lists ({', '.join(listed)}): say which"
            " to use with index.layout=kinetics or index.layout=lists"
        )
    if tables:
        return "kinetics", f", because of {', '.join(tables)}"
    if official:
        return "folds", f", because of {few(sorted(path.name for path in official), 3)}"
    if listed:
        return "lists", f", because of {', '.join(listed)}"
    return "class_folders", ", because there are neither tables nor lists"


def _find_class_folders(videos_dir: Folder, seen: Seen, is_asked: bool) -> tuple[list[Source], list[str]]:
    files = [(file, file.path.split("/")) for file in walk(videos_dir, seen=seen)]
    # train/clip.mp4 makes "train" a label; train/LABEL/clip.mp4 makes it a split.
    splits = {parts[0] for _, parts in files if len(parts) >= 3 and split_of(parts[0])}
    others = sorted({parts[0] for _, parts in files if len(parts) >= 2} - splits)
    if splits and others:
        raise InputError(
            f"{videos_dir} has split folders ({', '.join(sorted(splits))}) and others with videos"
            f" ({few(others, 3)}): keep one kind, either train/LABEL, val/LABEL, test/LABEL or LABEL alone"
        )
    if not splits and not is_asked:
        _refuse_what_is_no_label(videos_dir, files)
    depth = 1 if splits else 0
    sources, unlabelled = [], []
    for file, parts in files:
        if len(parts) < depth + 2:
            unlabelled.append(file.path)
        else:
            split = split_of(parts[0]) if splits else ""
            label = composed(parts[depth])
            sources.append(Source(composed(file.path), file.path, label, split, file.size_bytes, file.stamp))
    _refuse_two_spellings(sources)
    notes = [f"{len(unlabelled)} videos lie outside a label folder and are left out: {few(sorted(unlabelled), 3)}"]
    return sources, [*(notes if unlabelled else ()), *_remedies(videos_dir)]


def _refuse_what_is_no_label(videos_dir: Folder, files: list[tuple[File, list[str]]]) -> None:
    """Raise InputError where the first folders are not labels: one holds all, or all hold the same folders."""
    below: dict[str, set[str]] = defaultdict(set)
    for _, parts in files:
        if len(parts) >= 2:
            below[parts[0]].add(parts[1] if len(parts) >= 3 else "")
    says_so = "if they are labels all the same, say index.layout=class_folders"
    if len(below) == 1 and "" in below[min(below)]:
        others = _remedies(videos_dir) or ["sort them into one folder a label, or add a list such as train.txt"]
        one = f"all videos of {videos_dir} lie in its folder {min(below)}, so they have one label"
        raise InputError(f"{one}: {'; '.join(others)}")
    kinds = list(below.values())
    if not kinds or "" in set().union(*kinds) or len(kinds[0]) < 2:
        return
    if len(below) == 1:
        (name,) = below
        raise InputError(
            f"all videos of {videos_dir} lie in its folder {name}, which holds {few(sorted(kinds[0]), 3)}: give"
            f" videos_dir={videos_dir}/{name}; {says_so}"
        )
    if all(kind == kinds[0] for kind in kinds):
        raise InputError(
            f"the folders {few(sorted(below), 3)} of {videos_dir} all hold {few(sorted(kinds[0]), 3)}, as splits"
            f" do: name them train, val and test; {says_so}"
        )


def _remedies(videos_dir: Folder) -> list[str]:
    """What the tables of a folder are good for whose videos lie in no label folders."""
    tables = [path.name for path in lists.find_tables(videos_dir)]
    of_kinetics = [path.name for path in entries(videos_dir) if path.is_file() and kinetics.is_table(path)]
    remedies = []
    if tables:
        remedies.append(f"index.layout=lists reads {few(tables, 3)}")
    if of_kinetics:
        remedies.append(f"{few(of_kinetics, 3)} are of Kinetics, whose videos lie in train/, val/ and test/")
    return remedies


def _refuse_two_spellings(sources: list[Source]) -> None:
    """Raise InputError if two names differ only in the way in which Unicode writes them."""
    paths: dict[str, str] = {}
    for source in sources:
        other = paths.setdefault(source.video_id, source.path)
        if other != source.path:
            raise InputError(f"{other!a} and {source.path!a} are one name in two spellings of Unicode: rename one")


def _has_val_folder(videos_dir: Folder) -> bool:
    return any(split_of(path.name) == "val" and path.is_dir() for path in entries(videos_dir))


def _with_open_train(sources: list[Source], index: IndexConfig) -> tuple[list[Source], list[str]]:
    """The sources, with train open for the draw of val if train is named and val is not; and what that means."""
    splits = Counter(source.split for source in sources)
    if not splits["train"] or splits["val"] or splits[""]:
        return sources, []
    also = f"; test ({splits['test']} videos) stays apart" if splits["test"] else ""
    note = f"there is no val: {index.val_fraction:g} of train is drawn for it (index.val_fraction){also}"
    opened = [source._replace(split="" if source.split == "train" else source.split) for source in sources]
    return opened, [note]


def _labels_of(sources: list[Source], labels: Sequence[str] | None) -> list[str]:
    """How many videos each label and split has, and which labels have none."""
    splits = Counter(source.split or "to be drawn" for source in sources)
    counts = Counter(source.label for source in sources)
    named = [f"{label} {count}" for label, count in counts.most_common()]
    lines = [
        f"{len(sources)} videos: " + ", ".join(f"{split} {count}" for split, count in splits.most_common()),
        f"{len(counts)} labels: {few(named, 8)}",
    ]
    if empty := [label for label in labels or () if label not in counts]:
        lines.append(f"{len(empty)} of {len(labels or ())} labels have no video: {few(empty)}")
    return lines


def require_folder(videos_dir: Folder) -> None:
    """Raise InputError if there is no such folder."""
    if isinstance(videos_dir, Path) and videos_dir.is_file():
        raise InputError(f"{videos_dir} is a file: give the folder that the videos lie in")
    if not videos_dir.is_dir():
        raise InputError(f"there is no folder {videos_dir}: give the folder that the videos lie in")
