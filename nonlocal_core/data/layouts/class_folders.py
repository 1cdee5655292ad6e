"""The layout of class folders: DIR/[train|val|test/]LABEL/**/VIDEO."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from nonlocal_core.data.layouts import folds, kinetics, lists
from nonlocal_core.data.layouts.inventory import Inventory
from nonlocal_core.data.layouts.listing import File, Folder, Source, entries, walk
from nonlocal_core.data.layouts.split_names import split_of, splits_in
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

_COMPUTED = re.compile(r"(optical_?)?flow.*|masks?|depths?|seg(mentations?|s)?|annotations?|labels?|gt|[uv]")
_ALL_THE_SAME = "if they are labels all the same, say index.layout=class_folders"


class _Place(NamedTuple):
    """A video, and the names on the way to it."""

    file: File
    parts: list[str]


def find_videos(videos_dir: Folder, seen: Inventory, is_asked: bool) -> tuple[list[Source], list[str]]:
    """The videos below label folders, and what is worth saying of them.

    Raises: InputError if folders are splits as well as labels, two of them are one split, or, unless class folders
            are asked for, the first folders look like no labels.
    """
    places = [_Place(file, file.path.split("/")) for file in walk(videos_dir, seen=seen)]
    splits = _splits(videos_dir, places)
    if not splits and not is_asked:
        _refuse_what_is_no_label(videos_dir, [seen.video(file.path).split("/") for file, _ in places], seen)
    depth = 1 if splits else 0
    sources, unlabelled = [], []
    for file, parts in places:
        if len(parts) < depth + 2:
            unlabelled.append(file.path)
        else:
            split, label = splits.get(parts[0], ""), composed(parts[depth])
            sources.append(Source(composed(file.path), file.path, label, split, file.size_bytes, file.stamp))
    _refuse_two_spellings(sources)
    if splits and not is_asked:
        _refuse_one_label(videos_dir, places, sources)
    notes = [f"{len(unlabelled)} videos lie outside a label folder and are left out: {few(sorted(unlabelled), 3)}"]
    return sources, [*(notes if unlabelled else ()), *_twice(sources), *_computed(sources), *remedies(videos_dir)]


def _splits(videos_dir: Folder, places: list[_Place]) -> dict[str, str]:
    """The split of each first folder: train/LABEL/clip.mp4 makes train a split, train/clip.mp4 a label.

    Words beside it, as in train_256, are looked at only if every folder has such a word.
    """
    names = sorted({parts[0] for _, parts in places if len(parts) >= 2})
    deep = {parts[0] for _, parts in places if len(parts) >= 3}
    splits = {name: split_of(name) for name in names if name in deep and split_of(name)}
    by_words = {name: words.pop() for name in names if len(words := splits_in(name)) == 1 and name in deep}
    if len(by_words) == len(names) and (splits or len({*by_words.values()}) > 1):
        splits = by_words
    if splits and (others := [name for name in names if name not in splits]):
        raise InputError(
            f"{videos_dir} has split folders ({', '.join(sorted(splits))}) and others with videos"
            f" ({few(others, 3)}): keep one kind, either train/LABEL, val/LABEL, test/LABEL or LABEL alone;"
            " rename a label that is called like a split"
        )
    folders: dict[str, list[str]] = defaultdict(list)
    for name, split in splits.items():
        folders[split].append(name)
        if len(folders[split]) > 1:
            both = " and ".join(folders[split])
            raise InputError(f"{both} of {videos_dir} both mean {split}: name them train, val and test")
    return splits


def _refuse_what_is_no_label(videos_dir: Folder, paths: list[list[str]], seen: Inventory) -> None:
    """Raise InputError where the first folders are not labels: one holds all, or they hold the same folders."""
    below: dict[str, set[str]] = defaultdict(set)
    for parts in paths:
        if len(parts) >= 2:
            below[parts[0]].add(parts[1] if len(parts) >= 3 else "")
    if len(below) == 1:
        _refuse_one_folder(videos_dir, [parts for parts in paths if len(parts) >= 2], seen)
    kinds, names = list(below.values()), few(sorted(below), 3)
    if kinds and all(kind == {""} for kind in kinds):
        if all(splits_in(name) for name in below) and len(set().union(*map(splits_in, below))) > 1:
            other = "; ".join(seen.unused()) or "add a list such as train.txt"
            raise InputError(
                f"the folders {names} of {videos_dir} are named like splits and hold no label folders: write"
                f" train/LABEL/VIDEO, or: {other}; {_ALL_THE_SAME}"
            )
        return
    common, union = (set.intersection(*kinds), set.union(*kinds)) if kinds else (set[str](), set[str]())
    if "" in union or len(common) < 2 or 2 * len(common) < len(union):
        return
    inside = few(sorted(common), 3)
    if all(splits_in(name) for name in union):
        way = f"put the split first, {min(common)}/{min(below)}, or add a list such as train.txt"
        raise InputError(f"the folders {names} of {videos_dir} all hold {inside}: {way}; {_ALL_THE_SAME}")
    raise InputError(
        f"the folders {names} of {videos_dir} all hold {inside}, as splits do: name them train, val and test;"
        f" {_ALL_THE_SAME}"
    )


def _refuse_one_folder(videos_dir: Folder, paths: list[list[str]], seen: Inventory) -> None:
    """Raise InputError if all videos lie in one folder, with the folder to give instead."""
    columns = zip(*(parts[:-1] for parts in paths), strict=False)
    shared = [names[0] for names in itertools.takewhile(lambda names: len({*names}) == 1, columns)]
    inner = {parts[len(shared)] for parts in paths if len(parts) > len(shared) + 1}
    is_flat = any(len(parts) == len(shared) + 1 for parts in paths)
    folders = ["/".join(shared[: number + 1]) for number in range(len(shared))]
    where = f"all videos of {videos_dir} lie in its folder {folders[-1]}"
    if listed := [folder for folder in folders if _has_lists(videos_dir / folder)]:
        raise InputError(f"{where}: give videos_dir={videos_dir}/{listed[0]}, where the lists are")
    if not is_flat:
        raise InputError(
            f"{where}, which holds {few(sorted(inner), 3)}: give videos_dir={videos_dir}/{folders[-1]};"
            f" {_ALL_THE_SAME}"
        )
    others = [*remedies(videos_dir), *seen.unused()]
    others = others or ["sort them into one folder a label, or add a list such as train.txt"]
    raise InputError(f"{where}, so they have one label: {'; '.join(others)}")


def _has_lists(folder: Folder) -> bool:
    return bool(folds.find_lists(folder) or lists.find_lists(folder) or kinetics.find_tables(folder))


def _refuse_one_label(videos_dir: Folder, places: list[_Place], sources: list[Source]) -> None:
    """Raise InputError if the folders below all splits hold one folder each, which holds others."""
    inner = {parts[2] for _, parts in places if len(parts) >= 4}
    labels = {(source.split, source.label) for source in sources}
    if len(labels) == len({split for split, _ in labels}) and len(inner) > 1:
        label_names = few(sorted({label for _, label in labels}), 3)
        raise InputError(
            f"the split folders of {videos_dir} hold one folder, {label_names}, which holds"
            f" {few(sorted(inner), 3)}: move these up; {_ALL_THE_SAME}"
        )


def _refuse_two_spellings(sources: list[Source]) -> None:
    """Raise InputError if two names differ only in the way in which Unicode writes them."""
    paths: dict[str, str] = {}
    for source in sources:
        other = paths.setdefault(source.video_id, source.path)
        if other != source.path:
            raise InputError(f"{other!a} and {source.path!a} are one name in two spellings of Unicode: rename one")


def _twice(sources: list[Source]) -> Iterator[str]:
    """A line on videos that are there as a file and, under the same name, as a folder of pictures."""
    paths = {source.path for source in sources}
    if both := sorted(path for path in paths if path.rpartition(".")[0] in paths):
        yield f"{len(both)} videos count twice, as a file and as a folder of pictures: {few(both, 3)}"


def _computed(sources: list[Source]) -> Iterator[str]:
    """A line on folders of flow, masks and the like, which are videos where they lie beside those of frames."""
    computed = sorted(
        source.path for source in sources if _COMPUTED.fullmatch(source.path.rpartition("/")[2].lower())
    )
    if computed:
        yield f"{len(computed)} folders are taken as videos, though named like flow or masks: {few(computed, 3)}"


def remedies(videos_dir: Folder) -> list[str]:
    """What the tables of a folder are good for whose videos lie in no label folders."""
    tables = [path.name for path in lists.find_tables(videos_dir)]
    of_kinetics = [path.name for path in entries(videos_dir) if path.is_file() and kinetics.is_table(path)]
    lines = []
    if tables:
        lines.append(f"index.layout=lists reads {few(tables, 3)}")
    if of_kinetics:
        lines.append(f"{few(of_kinetics, 3)} are of Kinetics, whose videos lie in train/, val/ and test/")
    return lines
