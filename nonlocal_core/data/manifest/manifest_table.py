"""The manifest: a parquet file with one row a video, readable or not.

docs/reference/manifest.md describes each column in full.

video_id          name of the video everywhere (its relative path; Kinetics: id and times)
path              file or folder of pictures, relative to the folder of the videos
label             class; label_id: the class as a number from 0
split             train, val or test
num_frames        frames that should be shown; 0, as the next columns to seek_safe, if it cannot be read
fps               average frames per second; 0 if the file does not say
height, width     pixels, after rotation
duration_s        seconds
codec             its name in FFmpeg; `pictures` for a folder of pictures
rotation          degrees clockwise by which a frame is turned to be shown
variable_fps      whether the time between two frames varies
num_keyframes     frames that can be decoded by themselves
longest_gap       greatest number of frames from one key frame to the next
first_pts_s       seconds; time stamp of the first frame that is shown
container_frames  number of frames in the header; 0 if it has none
seek_safe         whether decord may jump in it
times_s           seconds from the first frame to each, where variable_fps; else null
pixel_aspect      width of a pixel over its height, as it is shown; null if it is a square
start_fraction    begin of the action (0…1 of the video); end_fraction: its end
size_bytes        -1 if it is listed but not on disk
sha256            of the content; "" where there is none
status            ok, unreadable, empty, too_short, audio_only, missing or duplicate
reason            one short phrase; "" if ok
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from nonlocal_core.artifacts import tables
from nonlocal_core.errors import InputError, few

PROBED: list[tuple[str, pa.DataType]] = [
    ("num_frames", pa.int32()),
    ("fps", pa.float64()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("duration_s", pa.float64()),
    ("codec", pa.string()),
    ("rotation", pa.int32()),
    ("variable_fps", pa.bool_()),
    ("num_keyframes", pa.int32()),
    ("longest_gap", pa.int32()),
    ("first_pts_s", pa.float64()),
    ("container_frames", pa.int64()),
    ("seek_safe", pa.bool_()),
    ("times_s", pa.list_(pa.float64())),
    ("pixel_aspect", pa.float64()),
]
"""the columns that `decoding.probe` fills"""
OPTIONAL = ("times_s", "pixel_aspect")
"""columns that a manifest has only if some video needs them; manifests of before have neither"""
_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("path", pa.string()),
    ("label", pa.string()),
    ("label_id", pa.int32()),
    ("split", pa.string()),
    *PROBED,
    ("start_fraction", pa.float64()),
    ("end_fraction", pa.float64()),
    ("size_bytes", pa.int64()),
    ("sha256", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
]
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.manifest": "1"})

_WHAT_TO_DO = "delete its folder and run index again"
NOT_COUNTED = ("missing", "duplicate")
"""statuses of files without a fault: they do not count towards runtime.max_unreadable"""

# What a later stage depends on.  A path may change while the video_id does not; reason and size say nothing that
# status and sha256 do not.
_DIGEST_COLUMNS = [name for name in SCHEMA.names if name not in ("path", "reason", "size_bytes", *OPTIONAL)]
_SPLIT_COLUMNS = ["video_id", "sha256", "label", "start_fraction", "end_fraction"]


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write the manifest, whole or not at all."""
    tables.write(tables.to_arrow(rows, SCHEMA, OPTIONAL), path)


def read(path: Path) -> pd.DataFrame:
    """The rows of a manifest, in the order in which they were written.

    Raises: InputError if there is none; DamagedError if it does not match its checksums or its columns.
    """
    if not path.exists():
        raise InputError(f"there is no manifest {path}: run the index stage")
    return tables.read_rows(path, SCHEMA, _WHAT_TO_DO, optional=OPTIONAL)


def check(rows: pd.DataFrame, max_unreadable: float, is_split_drawn: bool) -> None:
    """Check that a network can be trained and validated on these rows.

    Raises: InputError if too few videos can be used, there is one class only, or train or val has no video.
    """
    usable = rows[rows["status"] == "ok"]
    present = rows[~rows["status"].isin(NOT_COUNTED)]
    broken = present[present["status"] != "ok"]
    first = "; ".join(f"{row.path}: {row.reason}" for row in broken.head(3).itertuples())
    if present.empty:
        raise InputError(
            f"none of the {len(rows)} videos that are listed is on disk, e.g. {rows['path'].iloc[0]}: is this the"
            " right folder?"
        )
    if len(broken) == len(present):
        raise InputError(f"none of the {len(present)} videos can be used ({first}): is this the right folder?")
    if len(broken) > max_unreadable * len(present):
        raise InputError(
            f"{len(broken)} of {len(present)} videos cannot be used ({first}): repair or remove them, or allow it"
            f" with runtime.max_unreadable={np.ceil(100 * len(broken) / len(present)) / 100:g}"
        )
    if usable["label"].nunique() == 1:
        raise InputError(
            f"all {len(usable)} videos that can be used have the label {usable['label'].iloc[0]!r}: add a second"
            " class"
        )
    for split in ("train", "val"):
        if not (usable["split"] == split).any():
            raise InputError(_why_empty(rows, split, is_split_drawn))


def digest(rows: pd.DataFrame) -> str:
    """Hash of what later stages depend on, whatever the order of the rows."""
    return _digest(rows, [*_DIGEST_COLUMNS, *OPTIONAL])


def split_digest(rows: pd.DataFrame, split: str) -> str:
    """Hash of the contents and labels of one split, whatever the order of the rows."""
    return _digest(rows[rows["split"] == split], _SPLIT_COLUMNS)


def _why_empty(rows: pd.DataFrame, split: str, is_split_drawn: bool) -> str:
    if is_split_drawn:
        return (
            "no label has two different videos that can be used, so none is left for val: add more videos of a"
            " label, or name the splits yourself with train and val folders"
        )
    dropped = int(((rows["split"] == split) & (rows["status"] == "duplicate")).sum())
    also = f" ({dropped} are copies of videos of val or test)" if dropped else ""
    return (
        f"the {split} split has no video that can be used{also}: add some to it, or name no splits at all and let"
        " index.val_fraction divide the videos"
    )


def _digest(rows: pd.DataFrame, columns: list[str]) -> str:
    content = hashlib.sha256()
    ordered = rows.sort_values("video_id")
    for name in columns:
        values = ordered[name].tolist()
        if name in OPTIONAL:  # what no video needs changes no digest
            values = [
                [row, np.asarray(values[row]).tolist()] for row in np.flatnonzero(ordered[name].notna()).tolist()
            ]
            if not values:
                continue
        content.update(json.dumps([name, values]).encode())
    return content.hexdigest()


def lacks_times(path: Path) -> bool:
    """Whether a manifest of before has videos whose rate varies, without their time stamps."""
    rows = tables.read_rows(path, SCHEMA, _WHAT_TO_DO, ["variable_fps", "times_s"], OPTIONAL)
    return bool((rows["variable_fps"] & rows["times_s"].isna()).any())


def counts_in_words(rows: pd.DataFrame) -> str:
    """How many videos can be used, by split and by label, as a line for a person."""
    usable = rows[rows["status"] == "ok"]
    splits = ", ".join(f"{split} {count}" for split, count in sorted(Counter(usable["split"]).items()))
    by_label = []
    for label, of_label in sorted(usable.groupby("label"), key=lambda item: (-len(item[1]), item[0])):
        parts = ", ".join(f"{split} {count}" for split, count in sorted(Counter(of_label["split"]).items()))
        by_label.append(f"{label} ({parts})")
    return f"{len(usable)} of {len(rows)} videos can be used, {splits}; by label: {few(by_label, 8)}"


def timing_in_words(rows: pd.DataFrame) -> list[str]:
    """What the probes saw of frame rates and pixels, in lines for a person."""
    usable = rows[rows["status"] == "ok"]
    rates = usable.loc[usable["fps"] > 0, "fps"].round(2)
    varying, odd = usable["variable_fps"].sum(), usable["pixel_aspect"].notna().sum()
    lines = [f"frame rates: {rates.min():g} to {rates.max():g} a second, {varying} of {len(rates)} videos vary"]
    if odd:
        lines.append(f"{odd} videos have pixels that are not square: they are stretched (cache.pixels)")
    return lines if len(rates) else lines[1:]
