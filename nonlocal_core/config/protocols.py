"""Test protocols by name: which views of a video are scored, how they are made, and how the head takes them.

`evaluate.protocol=NAME` sets what is listed here, in place of the preset's own views, and crops of the whole short
side of a cached frame (256 pixels in the paper and by default) unless `evaluate.crop_size` is set beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from nonlocal_core.config import key_value
from nonlocal_core.config.section import Settings
from nonlocal_core.errors import ConfigError

OWN = "own"
CROP = "evaluate.crop_size"
SPREAD_10: Settings = {"evaluate.num_clips": 10, "evaluate.offsets": "spread"}
MMACTION2: Settings = {
    **SPREAD_10,
    "evaluate.num_crops": 3,
    "evaluate.crops": "even",
    "evaluate.head": "pooled",
    "clip.short_videos": "loop",
}
PROTOCOLS: dict[str, Settings] = {
    "1x1": {"evaluate.num_clips": 1, "evaluate.num_crops": 1, "evaluate.offsets": "spread"},
    "10x1": {**SPREAD_10, "evaluate.num_crops": 1},
    "10x3": {**SPREAD_10, "evaluate.num_crops": 3, "evaluate.crops": "ends"},
    "mmaction2": MMACTION2,
    "mmaction2_exact": {**MMACTION2, "cache.interpolation": "bilinear", "cache.codec": "none"},
    "paper": {
        "evaluate.num_clips": 10,
        "evaluate.num_crops": 3,
        "evaluate.offsets": "paper",
        "evaluate.crops": "even",
        "evaluate.head": "fully_conv",
    },
    "slowfast": {
        "evaluate.num_clips": 10,
        "evaluate.num_crops": 3,
        "evaluate.offsets": "slowfast",
        "evaluate.crops": "slowfast",
        "evaluate.head": "fully_conv",
        "clip.fps": 30.0,
        "clip.short_videos": "repeat_last",
    },
    "seed": {
        "evaluate.num_clips": 1,
        "evaluate.num_crops": 1,
        "evaluate.offsets": "random",
        "evaluate.head": "pooled",
    },
}
"""1 clip from the middle; 10 from the first to the last possible frame; mmaction2's 30 views with global pooling,
and with frames that are its own to the pixel; the 30 of video-nonlocal-net and of PySlowFast, whose head is fully
convolutional; 1 random clip, as MindSpore's notebook scores"""


def fill(preset: Mapping[str, object], overrides: Mapping[str, object]) -> Settings:
    """The settings of a preset with some of them replaced, by a protocol's where one is named.

    Keys are dotted.

    Raises: ConfigError if another setting contradicts the protocol.
    """
    name = overrides.get("evaluate.protocol", preset.get("evaluate.protocol", OWN))
    views = PROTOCOLS.get(str(name), {})
    for key, value in views.items():
        own = overrides.get(key, value)
        if (key_value.value_of(own) if isinstance(own, str) else own) != value:
            raise ConfigError(
                f"{key}={own} contradicts evaluate.protocol={name}, which means {key}={value}:"
                " leave one of them out"
            )
    filled = {**preset, **overrides, **views}
    if views and CROP not in overrides:
        filled.pop(CROP, None)
        if "cache.short_side" in filled:
            filled[CROP] = filled["cache.short_side"]
    return filled
