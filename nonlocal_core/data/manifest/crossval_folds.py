"""The folds of a cross-validation, drawn or read from lists: by names alone, before any video is opened.

    drawn    a number of folds: each holds out its share of every label, and no group is cut
    lists    DIR/FOLD/train.txt and val.txt, or DIR/FOLD_train.txt and FOLD_val.txt; a test list serves as val

A fold is drawn from paths, labels, groups and index.split_seed.  Videos that the layout of the folder has in test
stay there, in no fold.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection, list_labels, lists
from nonlocal_core.data.layouts.detection import Listing
from nonlocal_core.data.layouts.inventory import FollowLinks, Inventory, is_junk
from nonlocal_core.data.layouts.listing import Folder, Source, entries
from nonlocal_core.data.layouts.split_names import split_of
from nonlocal_core.data.manifest import groups
from nonlocal_core.data.manifest.splits import rank
from nonlocal_core.errors import ConfigError, InputError, few
from nonlocal_core.evaluation.crossval import Fold

log = logging.getLogger(__name__)


def plan(
    videos_dir: Folder, source: str, index: IndexConfig, names: Names | None, follow_links: FollowLinks
) -> list[Fold]:
    """The folds that `source` names: their number, or the folder of their lists.

    Raises: ConfigError if the number is no number of folds; InputError if there is no such folder, a fold has
            nothing to learn from or nothing to hold out, or names a video that is not there or is on both sides.
    """
    if re.fullmatch(r"-?\d+", source):
        folds = [Fold(name=f"{k} of {source}", number=k, num_folds=int(source)) for k in range(1, int(source) + 1)]
        if len(folds) < 2:
            raise ConfigError(f"folds={source}: name at least 2 folds, or the folder of their lists")
        _check_drawn(detection.listed(videos_dir, index, names, follow_links).sources, len(folds), index)
        return folds
    detection.require_folder(videos_dir)
    folds = _listed(Path(source).expanduser().absolute())
    by_fold = [_of_lists(videos_dir, fold, index, names, follow_links) for fold in folds]
    for fold, listed in zip(folds, by_fold, strict=True):
        _check_listed(videos_dir, fold, listed.sources)
    labels, first_id = _labels([source for listed in by_fold for source in listed.sources], names)
    return [fold.model_copy(update={"labels": labels, "first_id": first_id}) for fold in folds]


def find(
    videos_dir: Folder, fold: Fold, index: IndexConfig, names: Names | None, follow_links: FollowLinks
) -> Listing:
    """The videos of a folder with the splits of a fold: train, and val for those that it holds out.

    Raises: InputError as `detection.find`.
    """
    if fold.lists:
        names = Names(list(fold.labels), fold.first_id) if fold.labels else names
        videos = _of_lists(videos_dir, fold, index, names, follow_links)
        return videos._replace(labels=fold.labels).with_splits(videos.sources, [])
    videos = detection.listed(videos_dir, index, names, follow_links)
    number_of = draw_folds(videos.sources, fold.num_folds, index)
    sources = [
        source._replace(split="val" if number_of[source.video_id] == fold.number else "train")
        if source.video_id in number_of
        else source
        for source in videos.sources
    ]
    return videos.with_splits(sources, [f"fold {fold.name} is val, the other folds are train"])


def draw_folds(sources: list[Source], num_folds: int, index: IndexConfig) -> dict[str, int]:
    """The fold (from 1) that holds out each video, by video_id; videos of test are in none.

    Groups go one by one, the largest first and equal ones in an order that the seed draws, to the fold that has
    least of their labels so far.  Without groups, two folds differ by at most one video of a label.
    """
    rows = pd.DataFrame([source for source in sources if source.split != "test"], columns=list(Source._fields))
    group = groups.groups(rows, index.group_by)
    rows["unit"] = group.where(group != "", rows["path"])
    held_out = {label: np.zeros(num_folds) for label in rows["label"].unique()}
    num_of = Counter(rows["label"])
    labels_of = {str(unit): Counter(of_unit) for unit, of_unit in rows.groupby("unit")["label"]}
    order = sorted(labels_of, key=lambda unit: (-labels_of[unit].total(), rank(index.split_seed, unit)))
    fold_of: dict[str, int] = {}
    for unit in order:
        shares = [count * held_out[label] / num_of[label] for label, count in labels_of[unit].items()]
        totals = np.sum(list(held_out.values()), axis=0)
        fold = int(np.lexsort((totals, np.sum(shares, axis=0)))[0])
        fold_of[unit] = fold + 1
        for label, count in labels_of[unit].items():
            held_out[label][fold] += count
    return {str(row.video_id): fold_of[str(row.unit)] for row in rows.itertuples()}


def _check_drawn(sources: list[Source], num_folds: int, index: IndexConfig) -> None:
    """Check that every drawn fold has something to hold out, and labels to learn; warn of labels with too few."""
    number_of = draw_folds(sources, num_folds, index)
    used = [source for source in sources if source.video_id in number_of and source.size_bytes >= 0]
    folds_of: dict[str, set[int]] = defaultdict(set)
    for source in used:
        folds_of[source.label].add(number_of[source.video_id])
    if empty := set(range(1, num_folds + 1)) - set().union(*folds_of.values()):
        raise InputError(
            f"folds={num_folds} is too many: there are only {num_folds - len(empty)} different videos or groups of"
            " videos to hold out"
        )
    for number in range(1, num_folds + 1):
        if len(learned := [label for label, numbers in folds_of.items() if numbers != {number}]) < 2:
            raise InputError(
                f"folds={num_folds} cannot be drawn: without fold {number} there is only the label"
                f" {few(learned)} to learn: add videos or groups of another label"
            )
    lonely = sorted(label for label, numbers in folds_of.items() if len(numbers) == 1)
    if len(lonely) == len(folds_of):
        raise InputError(
            f"folds={num_folds} cannot be drawn: every label has one video or group, so that nobody learns what a"
            " fold holds out"
        )
    if lonely:
        log.warning(
            "%d labels lie in one fold each, whose network never learns them: %s; add videos or groups of them, or"
            " take fewer folds",
            *(len(lonely), few(lonely)),
        )


def _listed(folder: Path) -> list[Fold]:
    """The folds of a folder of lists, by name.

    Raises: InputError if there is no such folder, it holds fewer than two folds, or a fold lacks a list.
    """
    if not folder.is_dir():
        raise InputError(f"folds={folder}: there is no such folder; name one with lists, or a number of folds")
    if below := [path for path in entries(folder) if path.is_dir() and not is_junk(path.name)]:
        lists_by_fold = {path.name: lists.find_lists(path) for path in below}
    else:
        lists_by_fold = _flat(lists.find_lists(folder))
    if len(lists_by_fold) < 2:
        raise InputError(f"{folder} has no folds: it needs folders FOLD with train.txt and val.txt, at least two")
    folds = []
    for number, (name, of_split) in enumerate(lists_by_fold.items(), 1):
        by_split = _held_out(folder, name, of_split)
        folds.append(Fold(name=name, number=number, num_folds=len(lists_by_fold), lists=by_split))
    return folds


def _flat(split_by_list: dict[Folder, str]) -> dict[str, dict[Folder, str]]:
    """Lists such as fold1_train.txt by the rest of their names."""
    by_name: dict[str, dict[Folder, str]] = defaultdict(dict)
    for path, split in split_by_list.items():
        words = re.split(r"[\s._-]+", path.stem)
        by_name["_".join(word for word in words if not split_of(word))][path] = split
    return dict(by_name)


def _held_out(folder: Path, name: str, of_split: dict[Folder, str]) -> tuple[tuple[Path, str], ...]:
    """The lists of a fold with their splits; test is what is held out where there is no val."""
    if "val" not in of_split.values():
        of_split = {path: "val" if split == "test" else split for path, split in of_split.items()}
    for split in ("train", "val"):
        if split not in of_split.values():
            raise InputError(f"fold {name} of {folder} has no list {split}.txt")
    return tuple((Path(str(path)), split) for path, split in of_split.items())


def _of_lists(
    videos_dir: Folder, fold: Fold, index: IndexConfig, names: Names | None, follow_links: FollowLinks
) -> Listing:
    seen = Inventory(follow_links, index.frame_name)
    sources, used, notes = lists.find_videos(videos_dir, names, index.list_columns, seen, dict(fold.lists))
    inventory = (
        f"fold {fold.name}, of {', '.join(str(path) for path, _ in fold.lists)}",
        *seen.lines(used),
        *notes,
    )
    return Listing("lists", sorted(sources, key=lambda source: source.path), None, inventory)


def _check_listed(videos_dir: Folder, fold: Fold, sources: list[Source]) -> None:
    """Raise InputError if a fold names a video that is not there, or two parts of one on both sides."""
    if missing := [source.path for source in sources if source.size_bytes < 0]:
        raise InputError(
            f"fold {fold.name} lists {len(missing)} videos that are not in {videos_dir}: {few(missing, 3)}"
        )
    splits: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        splits[source.path].add(source.split)
    if both := [path for path, its in splits.items() if {"train", "val"} <= its]:
        raise InputError(f"fold {fold.name} has parts of one video in train and in val: {few(both, 3)}")


def _labels(sources: list[Source], names: Names | None) -> tuple[tuple[str, ...], int]:
    """The labels of all folds in the order of their ids, and the lowest id in the lists.

    Ids without names get those of the class folders, where each id has a folder of its own.
    """
    if names:
        return tuple(names.names), names.first_id
    labels = sorted({source.label for source in sources})
    if (numbers := list_labels.numbers(sources)) is None:
        return tuple(labels), 0
    folders: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        folders[source.label].add(source.path.rpartition("/")[0].partition("/")[0])
    by_id = [folders[number] for number in numbers]
    first = 1 if not by_id[0] else 0
    folder_names = [next(iter(its)) for its in by_id[first:] if len(its) == 1]
    if len(folder_names) == len(by_id) - first and len({*folder_names, ""}) == len(folder_names) + 1:
        return tuple(folder_names), first
    return tuple(numbers), 0
