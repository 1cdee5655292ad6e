"""The scores of every video of an evaluation: one row a video, in the order of the cache's table.

video_id, label, label_id    as in the cache's table
scores                       mean of its views' scores, one a class (0…1)
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from nonlocal_core.artifacts import tables

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("label", pa.string()),
    ("label_id", pa.int32()),
    ("scores", pa.list_(pa.float64())),
]
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.scores": "1"})


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write the scores, whole or not at all."""
    tables.write(tables.to_arrow(rows, SCHEMA), path)


def read(path: Path) -> pd.DataFrame:
    """The scores of an evaluation.

    Raises: DamagedError if they are not there or do not match their checksums.
    """
    return tables.read_rows(path, SCHEMA, f"delete {path.parent} and run again, which scores the videos anew")
