"""From probed rows to a manifest: labels get ids, videos get splits, and copies are found."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict

import numpy as np
import pandas as pd

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import list_labels
from nonlocal_core.data.manifest import frozen_split, groups
from nonlocal_core.data.manifest.manifest_table import SCHEMA
from nonlocal_core.errors import few

log = logging.getLogger(__name__)


def complete(
    rows: pd.DataFrame, index: IndexConfig, labels: list[str] | None, frozen: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The rows of a manifest, sorted by video_id: label ids, splits where the layout named none, final statuses.

    Ids follow `labels`, or the alphabet.  Splits are drawn label by label from contents: copies of a video stay
    together, and neither the order of the rows nor a broken video changes the split of another video.  With
    `frozen` rows, earlier videos keep their split and val stays as it is (frozen_split.py).

    Raises: InputError if a label is not in `labels`.
    """
    names = sorted(set(rows["label"])) if labels is None else labels
    ids = {name: number for number, name in enumerate(names)}
    list_labels.refuse_unknown(set(rows["label"]), names)
    frozen_rows = None if frozen is None or frozen.empty else frozen
    if frozen_rows is not None:
        rows = rows.assign(video_id=frozen_split.names(rows, frozen_rows))
    completed = rows.sort_values("video_id", ignore_index=True)
    completed["label_id"] = completed["label"].map(ids).astype("int32")
    is_short = (completed["status"] == "ok") & (completed["num_frames"] < index.min_frames)
    completed.loc[is_short, "reason"] = completed.loc[is_short, "num_frames"].map(
        lambda num_frames: f"{num_frames} of at least {index.min_frames} frames (index.min_frames)"
    )
    completed.loc[is_short, "status"] = "too_short"
    is_open = completed["split"] == ""
    group = groups.groups(completed, index.group_by)
    if frozen_rows is None:
        completed.loc[is_open, "split"] = _draw_splits(completed[is_open].assign(group=group), index)
        if is_open.any():
            _warn_of_lonely(completed[is_open].assign(group=group))
    else:
        completed.loc[is_open, "split"] = frozen_split.splits(completed[is_open], frozen_rows)
        _warn_of_val(completed, frozen_rows)
    groups.warn_of_divided(completed, group)
    _handle_copies(completed, index)
    return completed[SCHEMA.names]


def _draw_splits(rows: pd.DataFrame, index: IndexConfig) -> pd.Series[str]:
    """A split for each row: per label a share of its contents goes to val; copies and groups stay together."""
    readable = rows[rows["status"] == "ok"]
    # A content under two labels counts for the first of them, so that it cannot be drawn twice.
    label_of = readable.sort_values("label").drop_duplicates("sha256").set_index("sha256")["label"]
    # What is drawn together; the name of a group, not its contents, says when it is drawn.
    unit_of = groups.components(readable)
    together: dict[str, set[str]] = defaultdict(set)
    for sha256, unit in unit_of.items():
        together[unit].add(sha256)
    val: set[str] = set()
    for _, contents in label_of.groupby(label_of):
        names = set(contents.index)
        free = {unit_of[sha256] for sha256 in names - val}
        missing = max(1, round(index.val_fraction * len(names))) - len(names & val)
        for unit in sorted(free, key=lambda unit: rank(index.split_seed, unit))[: len(free) - 1]:
            if missing > 0:
                val |= together[unit]
                missing -= len(together[unit] & names)
    # A broken video gets a split too, so that "x of N" has the same N whatever breaks.
    broken = rows[rows["status"] != "ok"]
    in_val = readable["sha256"].isin(val)
    broken_in_val = [
        rank(index.split_seed, sha256 or video_id) < index.val_fraction * 2**64
        for sha256, video_id in zip(broken["sha256"], broken["video_id"], strict=True)
    ]
    is_val = pd.concat([in_val, pd.Series(broken_in_val, index=broken.index, dtype=bool)])
    splits: pd.Series[str] = pd.Series(np.where(is_val, "val", "train"), index=is_val.index).reindex(rows.index)
    return splits


def rank(seed: int, name: str) -> int:
    """A pseudo-random number from 0 to 2**64 - 1 that depends on seed and name alone."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest(), "big")


def _warn_of_val(rows: pd.DataFrame, frozen: pd.DataFrame) -> None:
    """Log which videos a frozen val has lost, and which labels it does not have."""
    if missing := frozen_split.gone(rows, frozen):
        log.warning(
            "%d videos of the frozen val are gone or have another content, so its scores are not comparable with"
            " those of before: %s",
            *(len(missing), few(missing)),
        )
    ok = rows[rows["status"] == "ok"]
    if unknown := sorted(set(ok["label"]) - set(ok.loc[ok["split"] == "val", "label"])):
        log.warning(
            "%d labels have no video in the frozen val, which says nothing of them: %s; another name in"
            " index.frozen_val draws a new val",
            *(len(unknown), few(unknown)),
        )


def _warn_of_lonely(rows: pd.DataFrame) -> None:
    """Log which labels have a single content or group: it is in train, so val does not have them."""
    ok = rows[rows["status"] == "ok"]
    num_units = ok["group"].where(ok["group"] != "", ok["sha256"]).groupby(ok["label"]).nunique()
    lonely = sorted(num_units.index[num_units == 1])
    if lonely:
        log.warning(
            "%d labels have one video or group each, which goes to train, so that val says nothing of them: %s",
            *(len(lonely), few(lonely)),
        )


def _handle_copies(rows: pd.DataFrame, index: IndexConfig) -> None:
    """Log which contents occur twice, and take those of val and test out of train unless the settings keep them.

    If they stayed, the scores of val and test would reward memory.  Nothing is taken out of val or test: they
    are the same for everybody who uses the same lists.  Other parts of one file are other contents.
    """
    part = rows["start_fraction"].map("#{:g}".format) + rows["end_fraction"].map("-{:g}".format)
    ok = rows.assign(content=rows["sha256"] + part)[rows["status"] == "ok"]
    copies = ok[ok.duplicated("content", keep=False)]
    held_out = copies[copies["split"] != "train"].drop_duplicates("content").set_index("content")
    shared = copies[(copies["split"] == "train") & copies["content"].isin(held_out.index)]
    consequence = "all are kept (index.duplicates=keep)"
    if index.duplicates == "drop_from_train":
        consequence = f"{len(shared)} files are left out of train"
        twins = "same content as " + held_out["path"] + " (" + held_out["split"] + ", " + held_out["label"] + ")"
        rows.loc[shared.index, "status"] = "duplicate"
        rows.loc[shared.index, "reason"] = shared["content"].map(twins)
    num = copies.groupby("content")[["split", "label"]].nunique()
    _log_copies(copies, num["split"] > 1, "split", f"in two splits: {consequence}")
    _log_copies(copies, num["label"] > 1, "label", "under two labels: correct one of them")
    _log_copies(
        copies, (num["split"] == 1) & (num["label"] == 1), "path", "twice in one split and label: all are kept"
    )


def _log_copies(copies: pd.DataFrame, is_selected: pd.Series[bool], column: str, text: str) -> None:
    """Log the number of the selected contents, and two files of the first that differ in a column."""
    selected = is_selected.index[is_selected]
    if len(selected):
        pair = copies[copies["content"] == selected[0]].drop_duplicates(column).head(2)
        example = " and ".join(f"{row.path} ({row.split}, {row.label})" for row in pair.itertuples())
        log.warning("%d contents are %s; e.g. %s", len(selected), text, example)
