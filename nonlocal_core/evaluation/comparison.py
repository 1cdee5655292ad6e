"""Two networks on the same videos: which of them is right where the other one is not."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nonlocal_core.artifacts import tables
from nonlocal_core.evaluation import metrics, score_table

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("label_id", pa.int32()),
    ("rank", pa.int32()),
]
RANKS = pa.schema(_COLUMNS, metadata={"nonlocal_core.ranks": "1"})
"""one row a video; rank: how many other classes have at least the score of the right one"""


class Paired(NamedTuple):
    """How often each of two networks was right on videos that both scored."""

    both: int
    first_only: int
    second_only: int
    neither: int
    p_value: float
    """of McNemar's exact test, two-sided"""

    @property
    def num_videos(self) -> int:
        """Videos that both scored."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def first_top1(self) -> float:
        """Share of the videos on which the first network is right."""
        return (self.both + self.first_only) / self.num_videos

    @property
    def second_top1(self) -> float:
        """Share of the videos on which the second network is right."""
        return (self.both + self.second_only) / self.num_videos


def ranks_of(scores: Path) -> pa.Table:
    """The ranks of the right classes, from the file of an evaluation's scores.

    Raises: DamagedError if it is not there or does not match its checksums.
    """
    rows = score_table.read(scores)
    scores_NK, label_N = np.stack(rows["scores"].to_list()), rows["label_id"].to_numpy(np.int64)
    return tables.to_arrow(rows.assign(rank=metrics.rank(scores_NK, label_N)), RANKS)


def paired(first: pd.DataFrame, second: pd.DataFrame) -> Paired:
    """Two networks compared on the videos that both scored; each table has rows of `video_id` and `rank`."""
    ranks = first.merge(second, on="video_id", suffixes=("_first", "_second"), validate="one_to_one")
    return mcnemar(ranks["rank_first"].to_numpy() == 0, ranks["rank_second"].to_numpy() == 0)


def mcnemar(first_N: NDArray[np.bool_], second_N: NDArray[np.bool_]) -> Paired:
    """How often each network is right, and how likely a difference at least as large is if neither is better.

    Only the videos count on which one of the two is right: under the null hypothesis, a fair coin
    decides which one it is.

    Source: McNemar 1947, with the binomial distribution itself in place of its chi-square approximation.
    """
    from scipy import stats  # takes more than a second to load, and few commands compare

    first_only, second_only = int((first_N & ~second_N).sum()), int((second_N & ~first_N).sum())
    total = first_only + second_only
    return Paired(
        both=int((first_N & second_N).sum()),
        first_only=first_only,
        second_only=second_only,
        neither=int((~first_N & ~second_N).sum()),
        p_value=float(stats.binomtest(first_only, total).pvalue) if total else 1.0,
    )
