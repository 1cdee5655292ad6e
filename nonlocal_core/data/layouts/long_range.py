"""Generated videos whose label is a relation of two things that are far apart in space and in time.

A bar at the left edge changes its colour in the first two frames, and one at the right edge in the last two: from
red to blue, or from blue to red.  The label says whether both change in the same order.  So one bar alone says
nothing, and one frame alone or frames in any order say nothing of either bar.  The other kinds are controls:

far           as above
near          both bars beside each other, in the same two frames
left, right   only one of the bars, at the edge
single        one frame of `far` that shows a bar, repeated
shuffled      the frames of `far` in an order that is drawn

Frames are Motion JPEG: a codec that predicts one frame from another may leave traces of an early one later.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np

from nonlocal_core.config.long_range import Kind
from nonlocal_core.data.layouts import generated
from nonlocal_core.data.layouts.generated import Image
from nonlocal_core.data.sampling import generator

KINDS: tuple[Kind, ...] = get_args(Kind)
LABELS = ("different", "same")
NUM_FRAMES = 6
SIDE_PX = 96
BAR_PX = (40, 10)
"""height and width of a bar: between two at the edges are 76 pixels"""
RED_BLUE = ((240, 30, 30), (30, 60, 240))
LATE = NUM_FRAMES - 2
"""first of the two frames of the late bar: two frames without a bar come before it"""

_MARK = "long_range.json"


def make_long_range_videos(folder: Path, kind: Kind, num_train: int, num_val: int, seed: int = 0) -> Path:
    """`folder`, filled with train/LABEL and val/LABEL of generated videos; a finished folder is left as it is.

    Multiples of 4 have all four pairs of changes equally often, in train as in val.
    """
    settings = {"kind": kind, "num_train": num_train, "num_val": num_val, "seed": seed}
    return generated.fill(folder, _MARK, settings, _videos(kind, num_train, num_val, seed))


def _videos(kind: Kind, num_train: int, num_val: int, seed: int) -> Iterator[tuple[str, Image]]:
    for number in range(num_train + num_val):
        left, right = bool(number & 1), bool(number & 2)
        split, name = "train" if number < num_train else "val", f"{kind}-{number:04d}.avi"
        frames = long_range_frames(kind, left, right, generator(seed, 0, name, "long range"))
        yield f"{split}/{LABELS[left == right]}/{name}", frames


def long_range_frames(kind: Kind, left: bool, right: bool, rng: np.random.Generator) -> Image:
    """The frames of one video; `left` and `right` say which bar begins blue, and `rng` all the rest.

    What is drawn depends neither on the kind nor on the bars.

    Shape:  (6, 96, 96, 3), RGB.
    """
    grey = np.full(3, rng.uniform(60, 140))
    background = generated.texture(SIDE_PX, SIDE_PX, grey, 16.0, rng)
    frames = np.repeat(np.clip(background, 0, 255).astype(np.uint8)[None], NUM_FRAMES, 0)
    height, width = BAR_PX
    tops = rng.integers(0, SIDE_PX - height + 1, 2)
    middle, early = int(rng.integers(width, SIDE_PX - width + 1)), bool(rng.integers(2))
    shown, order = int(rng.choice([0, 1, LATE, LATE + 1])), rng.permutation(NUM_FRAMES)
    if kind == "near":
        first = 0 if early else LATE
        _draw(frames, first, int(tops[0]), middle - width, left)
        _draw(frames, first, int(tops[0]), middle, right)
        return frames
    if kind != "right":
        _draw(frames, 0, int(tops[0]), 0, left)
    if kind != "left":
        _draw(frames, LATE, int(tops[1]), SIDE_PX - width, right)
    if kind == "single":
        return np.repeat(frames[shown : shown + 1], NUM_FRAMES, 0)
    return frames[order] if kind == "shuffled" else frames


def _draw(frames_THWC: Image, first: int, top: int, x: int, begins_blue: bool) -> None:
    """Draw a bar on two frames, of another colour on each."""
    height, width = BAR_PX
    for frame in range(2):
        frames_THWC[first + frame, top : top + height, x : x + width] = RED_BLUE[begins_blue ^ bool(frame)]
