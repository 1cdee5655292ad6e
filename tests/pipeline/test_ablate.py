"""Two variants from videos to one table, found again, and what a person may get wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.ablate import ablate
from nonlocal_core.ablations import TABLES, presets_of, variants
from nonlocal_core.artifacts import Workspace
from nonlocal_core.data.toy import make_toy_videos
from nonlocal_core.errors import ConfigError
from nonlocal_core.registry import entries
from nonlocal_core.registry.entries import sha256_of

REPOSITORY = Path(__file__).parents[2]
PRESET = "nl1_c2d_r50_32x2_caffe2"
SMALL = {
    "cache.short_side": 36, "clip.clip_len": 8, "model.width": 2, "model.stage_blocks": (1, 1, 5, 1),
    "model.nl_sub_sample": "none", "model.head": "pooled", "train.crop_size": 32, "train.steps": 2,
    "train.batch_size": 4, "train.micro_batch": 0, "train.precise_bn_batches": 0, "train.val_epochs": 0,
    "evaluate.num_clips": 1, "evaluate.num_crops": 1, "evaluate.crop_size": 32, "runtime.device": "CPU",
}  # fmt: skip


def files(workspace: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.glob("[a-z]*/*/*") if path.is_file()}


def test_two_variants_come_out_in_one_table_and_are_found_again(prefect_server: None, tmp_path: Path) -> None:
    videos_dir = make_toy_videos(tmp_path / "videos", num_videos=12)
    overrides = {**SMALL, "model.pairwise": "embedded_gaussian|gaussian"}
    made = ablate([PRESET], overrides, videos_dir, tmp_path / "workspace")
    workspace = Workspace(tmp_path / "workspace")
    rows = pq.read_table(workspace.path(made.ablation) / "table.parquet").to_pylist()
    assert [row["name"] for row in rows] == [
        f"{PRESET} model.pairwise=embedded_gaussian",
        f"{PRESET} model.pairwise=gaussian",
    ]
    # theta and phi: 16 inputs x 2 kernels of 8 channels, with a bias each, in a block of 32 channels
    assert rows[0]["num_parameters"] - rows[1]["num_parameters"] == 2 * 32 * 16 + 2 * 16 * BIAS
    assert [row["published"] for row in rows] == ["", ""], "they are not the paper's networks"
    assert rows[0]["p_value"] is None
    assert 0 < rows[1]["p_value"] <= 1
    for row in rows:
        assert row["top1_low"] <= row["top1"] <= row["top1_high"] <= 1
        scores = pq.read_table(workspace.root / row["path"] / "scores.parquet").to_pylist()
        right = [max(range(4), key=one["scores"].__getitem__) == one["label_id"] for one in scores]
        assert row["top1"] == sum(right) / len(right)
    assert re.search(r"\| \S+ model\.pairwise=gaussian \| [\d,]+ \| \d+\.\d\d% \(.* to .*\) \|", str(made))
    assert "model.width=2" in str(made), "the settings of all rows are said"
    assert str(workspace.path(made.ablation)) in str(made)
    assert len(list((workspace.root / "index").glob("*/artifact.json"))) == 1
    assert len(list((workspace.root / "cache").glob("*/artifact.json"))) == 1
    assert entries.entries(workspace) == {}, "nothing is registered"

    before = files(workspace.root)
    again = ablate([PRESET], overrides, videos_dir, workspace.root)
    assert again.page == made.page
    assert files(workspace.root) == before, "nothing is trained, scored or written a second time"
