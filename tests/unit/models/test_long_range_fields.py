"""Which positions of res5 each bar can change: only with blocks in space and time they are the same ones."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.config import long_range
from nonlocal_core.data.layouts.long_range import long_range_frames
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise

PLAN = long_range.read()
ROWS = {row.name: row for row in PLAN.rows if row.videos == "far"}


def feature_maps(row: long_range.Row) -> list[np.ndarray]:
    """The maps of three videos, random weights: the second has another left bar, the third another right one."""
    ms.set_seed(0)
    model = PLAN.config(row, 0).model
    net = I3D(model, 2)
    net.set_train(False)
    pairs = [(False, False), (True, False), (False, True)]
    clips = np.stack([long_range_frames("far", *pair, np.random.default_rng(0)) for pair in pairs])
    maps = net.feature_map(normalise(ms.Tensor(clips.transpose(0, 4, 1, 2, 3)), model))
    return [*maps.asnumpy()]


@pytest.mark.parametrize("name", [PLAN.baseline, PLAN.space, "time only", PLAN.blocks, "Gaussian"])
def test_only_blocks_in_space_and_time_see_both_bars(name: str) -> None:
    plain, other_left, other_right = feature_maps(ROWS[name])
    left, right = ((plain != changed).any(0) for changed in (other_left, other_right))
    assert left.any()
    assert right.any()
    assert (left & right).any() == (name in (PLAN.blocks, "Gaussian"))
