"""The split that a workspace keeps: where each video went when it was first seen, and what it was called.

    WORKSPACE/index/frozen/NAME.parquet   one row a video, readable or not; rows are only added

It is drawn once.  From then on a content stays where it is, and what is new goes to train.  A renamed video keeps
its name, so that nothing that depends on names changes.
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


def read(path: Path) -> pd.DataFrame:
    """The rows that are kept; none at first.

    Raises: DamagedError if they do not match their checksums.
    """
    if not path.exists():
        return pd.DataFrame(columns=pd.Index(SCHEMA.names), dtype=str)
    return tables.read_rows(path, SCHEMA, "restore it; without it, val is drawn anew")


def digest(kept: pd.DataFrame) -> str:
    """Hash of the rows that are kept."""
    return digest_of(*kept[SCHEMA.names].sort_values(SCHEMA.names).to_numpy().ravel())


def add(path: Path, kept: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Keep rows beside those that are kept already."""
    whole = pd.concat([kept, rows[SCHEMA.names]])
    whole = whole.drop_duplicates(["video_id", "sha256", "label"], ignore_index=True)
    if len(whole) > len(kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        tables.write(tables.from_frame(whole, SCHEMA), path)


def names(rows: pd.DataFrame, kept: pd.DataFrame) -> pd.Series[str]:
    """What each video is called: as before, if it was renamed and nothing else has its old name now."""
    free = kept[~kept["video_id"].isin(rows["video_id"])].drop_duplicates(["sha256", "label"])
    renamed = rows[~rows["video_id"].isin(kept["video_id"]) & (rows["sha256"] != "")]
    renamed = renamed.drop_duplicates(["sha256", "label"]).reset_index(names="row")
    found = renamed.merge(free, on=["sha256", "label"], suffixes=("_now", "")).set_index("row")["video_id"]
    called: pd.Series[str] = rows["video_id"].copy()
    called.update(found)
    return called


def splits(rows: pd.DataFrame, kept: pd.DataFrame) -> pd.Series[str]:
    """A split for each row.

    A content goes where it was.  A file that replaces one that is gone, such as a new copy of a damaged one,
    follows its name.  Everything else goes to train.
    """
    known = kept[kept["sha256"] != ""].drop_duplicates("sha256").set_index("sha256")["split"]
    replaced = kept[~kept["sha256"].isin(rows.loc[rows["sha256"] != "", "sha256"])]
    names = replaced.drop_duplicates("video_id", keep="last").set_index("video_id")["split"]
    found: pd.Series[str] = rows["sha256"].map(known).fillna(rows["video_id"].map(names)).fillna("train")
    return found


def gone(rows: pd.DataFrame, kept: pd.DataFrame) -> list[str]:
    """The videos of val whose content is not there any more."""
    val = kept[(kept["split"] == "val") & (kept["sha256"] != "")]
    return sorted(val.loc[~val["sha256"].isin(rows["sha256"]), "video_id"])
