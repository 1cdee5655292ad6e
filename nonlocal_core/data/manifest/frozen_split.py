"""The frozen split of a workspace: the split and the name that each video got when it was first indexed.

    WORKSPACE/index/frozen/NAME.parquet   one row a video, readable or not; rows are only added

It is drawn once.  From then on a content keeps its split, and new ones go to train.  A renamed video keeps its old
name, so that nothing that depends on names changes.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.keys import digest_of

FOLDER = "index/frozen"
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("video_id", "sha256", "label", "split")],
    metadata={"nonlocal_core.frozen": "1"},
)
_PART = r"(#[\d.e-]+-[\d.e-]+)$"


def read(path: Path) -> pd.DataFrame:
    """The kept rows; none at first.

    Raises: DamagedError if they do not match their checksums.
    """
    if not path.exists():
        return pd.DataFrame(columns=pd.Index(SCHEMA.names), dtype=str)
    return tables.read_rows(path, SCHEMA, "restore it; without it, val is drawn anew")


def digest(frozen: pd.DataFrame) -> str:
    """Hash of the kept rows."""
    return digest_of(*frozen[SCHEMA.names].sort_values(SCHEMA.names).to_numpy().ravel())


def add(path: Path, frozen: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Add rows to the kept ones."""
    whole = pd.concat([frozen, rows[SCHEMA.names]])
    whole = whole.drop_duplicates(["video_id", "sha256", "label"], ignore_index=True)
    if len(whole) > len(frozen):
        path.parent.mkdir(parents=True, exist_ok=True)
        tables.write(tables.to_arrow(whole, SCHEMA), path)


def names(rows: pd.DataFrame, frozen: pd.DataFrame) -> pd.Series[str]:
    """The name of each video: its old one, if it was renamed and no other video has that name now.

    Of two videos that had one name, the one that had it last gets it.  A part gets the name of the same part.
    """
    same = ["sha256", "label", "part"]
    free = frozen[~frozen["video_id"].isin(rows["video_id"])]
    free = free.assign(part=_parts(free)).drop_duplicates(same).reset_index(names="added")
    renamed = rows[~rows["video_id"].isin(frozen["video_id"]) & (rows["sha256"] != "")]
    renamed = renamed.assign(part=_parts(renamed)).drop_duplicates(same).reset_index(names="row")
    pairs = renamed.merge(free, on=same, suffixes=("_now", "")).sort_values("added")
    old_names = pairs.drop_duplicates("video_id", keep="last").set_index("row")["video_id"]
    video_ids: pd.Series[str] = rows["video_id"].copy()
    video_ids.update(old_names)
    return video_ids


def _parts(rows: pd.DataFrame) -> pd.Series[str]:
    """What follows the names of parts of a video, such as #0.25-0.5; empty for whole ones."""
    parts: pd.Series[str] = rows["video_id"].str.extract(_PART, expand=False).fillna("")
    return parts


def splits(rows: pd.DataFrame, frozen: pd.DataFrame) -> pd.Series[str]:
    """The split of each row.

    A content keeps its split.  A file whose name is kept but whose content is new, such as a new copy of a damaged
    file, gets the split of the name.  Everything else goes to train, a further copy of what is held out too: as
    every copy there, it is not trained on.
    """
    with_content = frozen[frozen["sha256"] != ""]
    by_content = with_content.drop_duplicates("sha256").set_index("sha256")["split"]
    replaced = frozen[~frozen["sha256"].isin(rows.loc[rows["sha256"] != "", "sha256"])]
    by_name = replaced.drop_duplicates("video_id", keep="last").set_index("video_id")["split"]
    splits: pd.Series[str] = rows["sha256"].map(by_content).fillna(rows["video_id"].map(by_name)).fillna("train")
    held_out = with_content[with_content["split"] != "train"]
    is_as_kept = _pairs(rows).isin(_pairs(held_out))
    is_there = rows["sha256"].isin(rows.loc[is_as_kept, "sha256"])
    return splits.mask(is_there & ~is_as_kept, "train")


def _pairs(rows: pd.DataFrame) -> pd.Series[str]:
    """Name and content of each row."""
    return rows["video_id"] + "\0" + rows["sha256"]


def gone(rows: pd.DataFrame, frozen: pd.DataFrame) -> list[str]:
    """The videos of val whose content is no longer there."""
    val = frozen[(frozen["split"] == "val") & (frozen["sha256"] != "")]
    return sorted(val.loc[~val["sha256"].isin(rows["sha256"]), "video_id"])
