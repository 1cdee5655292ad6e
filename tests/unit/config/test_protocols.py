from __future__ import annotations

import pytest

from nonlocal_core.config.protocols import PROTOCOLS
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.stages import evaluate as stage


def views(config):
    test = config.evaluate
    return (test.num_clips, test.num_crops, test.offsets, test.head, test.crop_size)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("1x1", (1, 1, "spread", "trained", 256)),
        ("10x1", (10, 1, "spread", "trained", 256)),
        ("10x3", (10, 3, "spread", "trained", 256)),
        ("mmaction2", (10, 3, "spread", "pooled", 256)),
        ("paper", (10, 3, "paper", "fully_conv", 256)),
        ("mmaction2_exact", (10, 3, "spread", "pooled", 256)),
        ("slowfast", (10, 3, "slowfast", "fully_conv", 256)),
        ("seed", (1, 1, "random", "pooled", 256)),
    ],
)
def test_a_name_stands_for_views_in_place_of_those_of_the_preset(name, expected):
    assert views(resolve("nl_i3d_r50_32x2", {"evaluate.protocol": name})) == expected
    assert views(resolve("nl_i3d_r50_32x6", {"evaluate.protocol": name})) == expected  # has 1 view of 224
    assert views(resolve("tiny", {"evaluate.protocol": name})) == (*expected[:4], 64)  # frames have 64
    assert views(resolve("tiny", {"evaluate.protocol": name, "evaluate.crop_size": "60"})) == (*expected[:4], 60)


def test_every_name_is_a_choice_and_the_other_way_round():
    choices = EvaluateConfig.model_fields["protocol"].annotation.__args__
    assert set(choices) == {"own", *PROTOCOLS}
    for name in PROTOCOLS:
        config = resolve("tiny", {"evaluate.protocol": name})
        assert resolve("tiny", config.model_dump()) == config


@pytest.mark.parametrize(
    ("setting", "value"),
    [("num_clips", 5), ("num_crops", "1"), ("offsets", "paper")],
)
def test_what_contradicts_a_name_is_refused(setting, value):
    words = rf"^evaluate.{setting}={value} contradicts evaluate.protocol=10x3, which means evaluate.{setting}="
    with pytest.raises(ConfigError, match=words):
        resolve("tiny", {"evaluate.protocol": "10x3", f"evaluate.{setting}": value})
    same = {"evaluate.protocol": "10x3", "evaluate.num_clips": "10", "evaluate": {"num_crops": 3}}
    assert resolve("tiny", same) == resolve("tiny", {"evaluate.protocol": "10x3"})


@pytest.mark.parametrize("fps", ["30", 30, "30.0", 30.0])
def test_a_number_is_the_same_however_it_is_written(fps):
    assert resolve("tiny", {"evaluate.protocol": "slowfast", "clip.fps": fps}).clip.fps == 30.0


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"evaluate.protocol=30 does not fit: .*'10x3'.*'paper'"):
        resolve("tiny", {"evaluate.protocol": "30"})


def test_what_a_name_means_counts_and_not_the_name(toy):
    checkpoint = toy.cache.model_copy(update={"digest": "weights"})
    named = resolve("tiny", {"evaluate.protocol": "10x3"})
    by_hand = resolve("tiny", {"evaluate.num_clips": 10, "evaluate.num_crops": 3})
    assert stage.key(checkpoint, toy.cache, named) == stage.key(checkpoint, toy.cache, by_hand)
    assert stage.protocol(named) == stage.protocol(by_hand)


@pytest.mark.parametrize(
    ("name", "crops", "clip", "frames"),
    [
        ("10x3", "ends", ("repeat_last", 0.0), "resized by auto, JPEG 90"),
        ("mmaction2", "even", ("loop", 0.0), "resized by auto, JPEG 90"),
        ("mmaction2_exact", "even", ("loop", 0.0), "resized by bilinear, no JPEG"),
        ("paper", "even", ("repeat_last", 0.0), "resized by auto, JPEG 90"),  # its clips start again in any case
        ("slowfast", "slowfast", ("repeat_last", 30.0), "resized by auto, JPEG 90"),
    ],
)
def test_a_name_says_how_crops_short_videos_and_frames_are(name, crops, clip, frames):
    config = resolve("tiny", {"evaluate.protocol": name})
    assert config.evaluate.crops == crops
    assert (config.clip.short_videos, config.clip.fps) == clip
    assert config.cache.frames == frames


def test_a_name_comes_before_what_a_checkpoint_says_and_a_person_may_not_contradict_it():
    of_checkpoint = {"clip.short_videos": "repeat_last", "clip.clip_len": 16, "cache.codec": "jpeg"}
    exact = {"evaluate.protocol": "mmaction2_exact"}
    config = resolve("tiny", exact, of_checkpoint)
    assert (config.clip.short_videos, config.clip.clip_len, config.cache.codec) == ("loop", 16, "none")
    assert resolve("tiny", {"clip.clip_len": 8}, of_checkpoint).clip.clip_len == 8
    with pytest.raises(
        ConfigError, match=r"^clip.short_videos=repeat_last contradicts evaluate.protocol=mmaction2"
    ):
        resolve("tiny", {**exact, "clip.short_videos": "repeat_last"}, of_checkpoint)
