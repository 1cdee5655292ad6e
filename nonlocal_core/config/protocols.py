"""Test protocols by name: which views of a video are scored, and how the head takes them.

`evaluate.protocol=NAME` sets what is listed here, in place of the preset's own views, and crops of the whole short
side of a cached frame (256 pixels in the paper and by default) unless `evaluate.crop_size` is set beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from nonlocal_core.config.section import Settings
from nonlocal_core.errors import ConfigError

OWN = "own"
CROP = "evaluate.crop_size"
PROTOCOLS: dict[str, Settings] = {
    "1x1": {"num_clips": 1, "num_crops": 1, "offsets": "spread"},
    "10x1": {"num_clips": 10, "num_crops": 1, "offsets": "spread"},
    "10x3": {"num_clips": 10, "num_crops": 3, "offsets": "spread"},
    "mmaction2": {"num_clips": 10, "num_crops": 3, "offsets": "spread", "head": "pooled"},
    "paper": {"num_clips": 10, "num_crops": 3, "offsets": "paper", "head": "fully_conv"},
    "seed": {"num_clips": 1, "num_crops": 1, "offsets": "random", "head": "pooled"},
}
"""1 clip from the middle; 10 from the first to the last possible frame; these 30 views with global pooling; the 30
of video-nonlocal-net, whose head is fully convolutional; 1 random clip, as MindSpore's notebook scores"""


def fill(preset: Mapping[str, object], overrides: Mapping[str, object]) -> Settings:
    """The settings of a preset with some of them replaced, by a protocol's where one is named.

    Keys are dotted.

    Raises: ConfigError if another setting contradicts the protocol.
    """
    name = overrides.get("evaluate.protocol", preset.get("evaluate.protocol", OWN))
    views = {f"evaluate.{leaf}": value for leaf, value in PROTOCOLS.get(str(name), {}).items()}
    for key, value in views.items():
        own = overrides.get(key, value)
        if str(own) != str(value):
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
