from __future__ import annotations

import re

import pytest

from nonlocal_core.config import resolve
from nonlocal_core.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_resolves_and_says_command_time_and_accuracy(name):
    config = resolve(name, {})
    lines = [line.strip() for line in (PRESETS[name].__doc__ or "").splitlines()]
    assert lines[0].endswith(".")
    assert [line.split(":")[0] for line in lines[2:5]] == ["Command", "Time", "Expected"]
    command = lines[2].partition(":")[2].strip()
    words = command.split()
    assert words[:2] == ["python", "flows/full.py"]
    assert name == "tiny" or words[2] == name
    overrides = dict(word.split("=") for word in words[2:] if "=" in word and not word.startswith("videos_dir"))
    assert resolve(name, overrides).train.epochs == config.train.epochs
    assert re.search(r"\d", lines[4])


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_a_name_says_network_and_clip(name):
    config = resolve(name, {})
    network, clip = name.rsplit("_", 1)
    assert f"{config.clip.clip_len}x{config.clip.frame_interval}" == clip
    assert bool(config.model.nl_res3 or config.model.nl_res4) == network.startswith("nl_")
    assert (config.model.inflate == "none") == network.startswith("c2d")
    assert config.model.stage_blocks == (3, 4, 6, 3)


@pytest.mark.parametrize("name", PRESETS)
def test_the_networks_of_the_paper_train_with_its_scales(name):
    train = resolve(name, {}).train
    own = name in ("tiny", "nl_i3d_r50_32x6")
    assert (train.scale_min, train.scale_max) == ((1.0, 1.0) if own else (1.0, 320 / 256))
