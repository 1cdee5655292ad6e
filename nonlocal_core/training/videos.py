"""The videos of a training: what each step and each validation sees of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data import loader
from nonlocal_core.data.loader import Batch
from nonlocal_core.data.records.kept_features import FeatureReader
from nonlocal_core.data.records.reader import RecordReader


class Videos(NamedTuple):
    """The cached videos, and which of their rows are trained on and validated on."""

    reader: RecordReader
    train_rows: list[int]
    val_rows: list[int]
    features: FeatureReader | None = None
    """what the trunk gave for them, where it is kept"""

    @property
    def last(self) -> str:
        """The last part of the trunk whose features are kept; empty if none are."""
        return self.features.features.last if self.features else ""

    def train_batches(
        self, config: Config, epoch: int, skip: int = 0, rank: int = 0, num_ranks: int = 1
    ) -> Iterator[Batch]:
        """A rank's part of the batches of one epoch after the first `skip`, a pure function of (seed, epoch)."""
        rows, part = self.train_rows, (config, epoch, skip, rank, num_ranks)
        if self.features:
            return loader.feature_batches(self.reader, self.features, rows, *part)
        return loader.train_batches(self.reader, rows, *part)

    def middle_views(self, rows: list[int], config: Config) -> Iterator[NDArray[np.generic]]:
        """One view of each video, from its middle: a crop as large as in training, or what is kept of it."""
        if self.features:
            feature_reader = self.features
            return (feature_reader.views(row, [feature_reader.middle])[0] for row in rows)
        protocol = EvaluateConfig(num_clips=1, num_crops=1, crop_size=config.train.crop_size)
        views = loader.video_views(self.reader, rows, config.clip, protocol, config.runtime.num_workers)
        return itertools.chain.from_iterable(views)
