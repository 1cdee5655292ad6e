"""What a later stage would refuse is refused before a frame is stored, for programs as for flows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nonlocal_core
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.errors import NonlocalError


@pytest.mark.parametrize(
    ("overrides", "message", "made"),
    [
        ({"train.init": "v0009"}, "there is no entry v0009", set()),
        (
            {"runtime.num_devices": 3, "train.batch_size": 8},
            "train.batch_size=8 cannot be shared by runtime.num_devices=3: take a multiple",
            set(),
        ),
        (
            {"runtime.num_devices": 2, "runtime.hosts": "a,b"},
            "runtime.hosts=a,b: the first one needs a free port, such as a:8118",
            set(),
        ),
        (
            {"runtime.num_devices": 2, "runtime.hosts": "a:1,b,c"},
            "runtime.num_devices=2 cannot be shared by the 3 of runtime.hosts",
            set(),
        ),
        (
            {
                "train.init": "champion_if_any",
                "train.freeze": "res5",
                "features.num_clips": 1,
                "features.crop_size": 64,
            },
            "train.init=champion_if_any names no weights yet, and features need some",
            set(),
        ),
        (
            {"evaluate.split": "test"},
            "there is no split test with readable videos: these have train, val",
            {"index"},
        ),
    ],
)
def test_a_program_is_told_at_once(
    tmp_path: Path, overrides: dict[str, Any], message: str, made: set[str]
) -> None:
    videos_dir, workspace = make_toy_videos(tmp_path / "videos", 8), tmp_path / "workspace"
    with pytest.raises(NonlocalError, match=message):
        nonlocal_core.train(videos_dir, "tiny", overrides, workspace)
    assert {path.name for path in workspace.iterdir() if not path.name.startswith(".")} == made
