"""The plan of the long-range set: what it promises of rows, seeds, steps and receptive fields."""

from __future__ import annotations

from collections import Counter

import pytest

from nonlocal_core.config import long_range
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts.long_range import BAR_PX, LATE, NUM_FRAMES, SIDE_PX

PLAN = long_range.read()


def field(model: ModelConfig) -> tuple[int, int]:
    """Frames and pixels that one position of res5 sees, by kernels and strides, without non-local blocks."""
    frames: int = model.stem_kernel_t
    pixels = 7
    step_t, step = model.stem_stride_t, 2
    frames, step_t = frames + (model.pool1_kernel_t - 1) * step_t, step_t * model.pool1_stride_t
    pixels, step = pixels + 2 * step, step * 2
    for stage, blocks in enumerate(model.stage_blocks, 2):
        for block in range(blocks):
            pixels += 2 * step  # one 3x3 convolution a bottleneck
            step *= 2 if block == 0 and stage > 2 else 1
        if stage == 2:
            frames, step_t = frames + (model.pool2_kernel_t - 1) * step_t, step_t * model.pool2_stride_t
    assert (model.block, model.inflate) == ("bottleneck", "none"), "else more kernels look over time"
    return frames, pixels


FAR = [row for row in PLAN.rows if row.videos == "far"]


@pytest.mark.parametrize("row", FAR, ids=lambda row: row.name)
def test_no_convolution_sees_both_bars(row: long_range.Row) -> None:
    frames, pixels = field(PLAN.config(row, 0).model)
    from_bar_to_bar = LATE - 1 + 1  # from the last early frame to the first late one, both counted
    assert frames < from_bar_to_bar
    if "deeper" not in row.name:  # those are kept apart by time alone
        assert pixels < SIDE_PX - 2 * (BAR_PX[1] - 1)


def test_rows_differ_and_share_their_recipe() -> None:
    assert len({row.key for row in PLAN.rows}) == len(PLAN.rows)
    for videos in {row.videos for row in PLAN.rows}:
        configs = [PLAN.config(row, 0) for row in PLAN.rows if row.videos == videos]
        assert len({config.model_dump_json() for config in configs}) == len(configs), "no row is trained twice"
        shared = [config.model_copy(update={"model": Config().model}) for config in configs]
        assert all(config == shared[0] for config in shared), "rows differ in their network alone"


def test_rows_of_the_tables_and_controls_are_there() -> None:
    tables = Counter(table for row in PLAN.rows for table in row.tables)
    assert tables == {"2a": 5, "2b": 5, "2c": 5, "2d": 4, "2e": 3, "control": 7, "motion": 3}
    assert {row.videos for row in PLAN.rows} == {"far", "near", "left", "right", "single", "shuffled", "motion"}
    names = {row.key for row in PLAN.rows}
    assert {(videos, PLAN.baseline) for videos in ("far", "near", "motion")} <= names
    assert {(videos, PLAN.blocks) for videos in ("far", "near", "motion", *long_range.CHANCE)} <= names
    assert {("far", PLAN.space), ("motion", PLAN.space)} <= names


def test_five_seeds_and_a_trial_of_some() -> None:
    assert len(set(PLAN.seeds)) == 5
    assert not {*PLAN.quick_seeds} & {*PLAN.seeds}, "a trial looks at no seed of the run"
    quick = [row.key for row in PLAN.chosen(quick=True)]
    assert ("far", PLAN.blocks) in quick
    assert ("far", PLAN.baseline) in quick
    assert len(quick) < len(PLAN.chosen(quick=False)) == len(PLAN.rows)


def test_a_video_is_a_clip() -> None:
    config = PLAN.config(FAR[0], 0)
    assert (config.clip.clip_len, config.clip.frame_interval) == (NUM_FRAMES, 1)
    assert config.cache.short_side == config.train.crop_size == config.evaluate.crop_size == SIDE_PX
    assert PLAN.num_train % 4 == PLAN.num_val % 4 == 0, "else the pairs of changes are not balanced"
