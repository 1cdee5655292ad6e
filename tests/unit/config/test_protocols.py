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


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"evaluate.protocol=30 does not fit: .*'10x3'.*'paper'"):
        resolve("tiny", {"evaluate.protocol": "30"})


def test_what_a_name_means_counts_and_not_the_name(toy):
    checkpoint = toy.cache.model_copy(update={"digest": "weights"})
    named = resolve("tiny", {"evaluate.protocol": "10x3"})
    by_hand = resolve("tiny", {"evaluate.num_clips": 10, "evaluate.num_crops": 3})
    assert stage.key(checkpoint, toy.cache, named) == stage.key(checkpoint, toy.cache, by_hand)
    assert stage.protocol(named) == stage.protocol(by_hand)
