"""The layout of a folder of videos, and its videos as one `Source` each, by names and sizes alone.

class folders   DIR/[train|val|test/]LABEL/**/VIDEO
Kinetics        see `kinetics.py`
folds           see `folds.py`: the official lists of UCF101 and HMDB51
lists           see `lists.py`

In place of a video file there may be a folder of JPEGs or PNGs: it is one video, whose frames are the pictures.
Where a folder names train and test and no val, val is drawn from train, and test stays apart.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import class_folders, endings, folds, kinetics, list_labels, lists
from nonlocal_core.data.layouts.inventory import FollowLinks, Inventory
from nonlocal_core.data.layouts.listing import Folder, Source, entries
from nonlocal_core.data.layouts.split_names import split_of
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import folded

Layout = Literal["class_folders", "kinetics", "folds", "lists"]

log = logging.getLogger(__name__)


class Listing(NamedTuple):
    """The videos of a folder, and what was seen on the way to them."""

    layout: Layout
    sources: list[Source]
    """sorted by path"""
    labels: tuple[str, ...] | None
    """in the order of their ids; None for alphabetical order"""
    inventory: tuple[str, ...]
    """what was seen, in lines for a person"""

    def with_splits(self, sources: list[Source], notes: Sequence[str]) -> Listing:
        """The same with the splits of `sources`, and with words on them."""
        return self._replace(
            sources=sources, inventory=(*self.inventory, *notes, *_labels_of(sources, self.labels))
        )


def find(
    videos_dir: Folder, index: IndexConfig, names: Names | None = None, follow_links: FollowLinks = "inside"
) -> Listing:
    """The videos of a folder; `names` of labels in the order of their ids replace numbers in lists.

    Raises: InputError if there is no folder, no video, a table or list that cannot be read or can be read in two
            ways, folders that are splits as well as labels, or one video in two splits.
    """
    listing = listed(videos_dir, index, names, follow_links)
    sources, drawn = listing.sources, list[str]()
    if listing.layout == "lists" or not _has_val_folder(videos_dir):  # an empty val is a mistake
        sources, drawn = _with_open_train(sources, index)
    return listing.with_splits(sources, drawn)


def listed(
    videos_dir: Folder, index: IndexConfig, names: Names | None = None, follow_links: FollowLinks = "inside"
) -> Listing:
    """The same with the splits that the layout names, none of them opened, and no word on them yet.

    Raises: as `find`.
    """
    layout, because = _layout(videos_dir, index)
    seen, notes, used = Inventory(follow_links, index.frame_name), list[str](), list[str]()
    labels: Sequence[str] | None = names.names if names else None
    if layout == "kinetics":
        sources, used, notes = kinetics.find_videos(videos_dir, seen)
    elif layout == "folds":
        sources, used, notes, labels = folds.find_videos(videos_dir, index.fold, labels, seen)
    elif layout == "lists":
        of_fold = lists.of_fold(lists.find_lists(videos_dir), index.fold)
        sources, used, notes = lists.find_videos(videos_dir, names, index.list_columns, seen, of_fold or None)
        labels = labels or list_labels.numbers(sources)
    else:
        sources, notes = class_folders.find_videos(videos_dir, seen, is_asked=index.layout != "auto")
    if not sources:
        kinds = "; ".join([*seen.lines(), *notes, *class_folders.remedies(videos_dir)])
        raise InputError(
            f"no videos in {videos_dir} ({kinds}): looked for [train|val|test/]LABEL/VIDEO with"
            f" {', '.join(endings.SUFFIXES[:6])}, …, for folders of pictures, for train/, val/, test/ beside"
            " kinetics-400_train.csv, …, and for lists such as train.txt"
        )
    list_labels.refuse_unknown({source.label for source in sources}, labels)
    if names and names.file.startswith(f"{videos_dir}/"):
        used = [*used, names.file.removeprefix(f"{videos_dir}/")]
    inventory = (f"layout {layout}{because}", *seen.lines(used), *notes)
    sources.sort(key=lambda source: source.path)
    return Listing(layout, sources, tuple(labels) if labels else None, inventory)


def _layout(videos_dir: Folder, index: IndexConfig) -> tuple[Layout, str]:
    """The layout, and why: Kinetics, folds or lists if the folder has their files, else class folders."""
    require_folder(videos_dir)
    if index.layout != "auto":
        return index.layout, f", as index.layout={index.layout} says"
    tables = [path.name for path in kinetics.find_tables(videos_dir).values()]
    official = folds.find_lists(videos_dir)
    listed = [path.name for path in lists.of_fold(lists.find_lists(videos_dir), index.fold)]
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


def _labels_of(sources: list[Source], labels: Sequence[str] | None) -> Iterator[str]:
    """How many videos each split and label has, which labels have none, and which may be one."""
    splits = Counter(source.split or "to be drawn" for source in sources)
    yield f"{len(sources)} videos: " + ", ".join(f"{split} {count}" for split, count in splits.most_common())
    if missing := [source.path for source in sources if source.size_bytes < 0]:
        yield f"{len(missing)} of {len(sources)} videos are not on disk: {few(missing, 3)}"
    counts = Counter(source.label for source in sources)
    by_split = Counter((source.label, source.split or "to be drawn") for source in sources)
    named = []
    for label, count in counts.most_common():
        parts = ", ".join(f"{split} {by_split[label, split]}" for split in sorted(splits))
        named.append(f"{label} {count} ({parts})" if len(splits) > 1 else f"{label} {count}")
    yield f"{len(counts)} labels: {few(named, 8)}"
    if labels is None and all(map(str.isdecimal, counts)):
        turned = [pair for pair in itertools.pairwise(sorted(counts)) if int(pair[0]) > int(pair[1])]
        for first, second in turned[:1]:
            yield f"ids of labels follow the alphabet, {first} before {second}: labels_path=FILE has another order"
    if empty := [label for label in labels or () if label not in counts]:
        yield f"{len(empty)} of {len(labels or ())} labels have no video: {few(empty)}"
    has_train = any(splits[split] for split in ("train", "to be drawn"))
    taught = {source.label for source in sources if source.split in ("train", "")}
    if has_train and (untaught := sorted({source.label for source in sources} - taught)):
        yield f"{len(untaught)} labels have no video in train: {few(untaught)}"
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(counts):
        alike[folded(label)].append(label)
    if pairs := [" and ".join(map(repr, group)) for group in alike.values() if len(group) > 1]:
        yield f"labels that differ in capitals, blanks or invisible characters alone: {few(pairs, 3)}"


def require_folder(videos_dir: Folder) -> None:
    """Raise InputError if there is no such folder."""
    if isinstance(videos_dir, Path) and videos_dir.is_file():
        raise InputError(f"{videos_dir} is a file: give the folder that the videos lie in")
    if not videos_dir.is_dir():
        raise InputError(f"there is no folder {videos_dir}: give the folder that the videos lie in")
