"""Generated videos in four classes that differ only in motion, to try the whole pipeline without a dataset.

`rises` is `falls` played backwards, and `shrinks` is `grows` played backwards, so no single frame shows which of
the two it is.  Mirroring changes no class.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data.layouts import generated
from nonlocal_core.data.layouts.generated import Image
from nonlocal_core.data.sampling import generator

LABELS = ("falls", "grows", "rises", "shrinks")

_BACKWARDS = {"rises": "falls", "shrinks": "grows"}
_MARK = "toy.json"
_SHORT_SIDES_PX = (64, 72, 80, 88)
_EXCESS_PX = (0, 8, 16, 24)  # of the longer side; so small that a square crop always has part of the shape
_CANVAS_PX = 96  # side of the picture of the shape, which is scaled into the frames

Rng = np.random.Generator


def make_toy_videos(folder: Path, num_videos: int = 240, seed: int = 0) -> Path:
    """`folder`, filled with class folders of generated videos; a finished folder is left as it is.

    The labels take turns, so any number divisible by 4 is balanced.
    """
    settings = {"num_videos": num_videos, "seed": seed}
    return generated.fill(folder, _MARK, settings, _videos(num_videos, seed))


def _videos(num_videos: int, seed: int) -> Iterator[tuple[str, Image]]:
    for number in range(num_videos):
        label, name = LABELS[number % len(LABELS)], f"toy-{number:04d}.mp4"
        yield f"{label}/{name}", toy_frames(label, generator(seed, 0, name, "toy"))


def toy_frames(label: str, rng: Rng) -> Image:
    """The frames of one video; the same `rng` gives a label and its opposite the same frames in opposite order.

    Shape:  (24…48, 64…112, 64…112, 3), RGB.
    """
    forward = _BACKWARDS.get(label)
    if forward is not None:
        return np.ascontiguousarray(toy_frames(forward, rng)[::-1])
    short_side = int(rng.choice(_SHORT_SIDES_PX))
    height, width = (int(side) for side in rng.permutation([short_side, short_side + rng.choice(_EXCESS_PX)]))
    num_frames = int(rng.integers(24, 49))
    background = _background(height, width, rng)
    shape, alpha = _shape(rng)
    path = (
        _falling(num_frames, height, width, rng) if label == "falls" else _growing(num_frames, height, width, rng)
    )
    angle = float(rng.uniform(0, 2 * np.pi))
    frames = []
    for x, y, diameter in path:
        matrix = _placement(x, y, diameter, angle)
        cover = cv2.warpAffine(alpha, matrix, (width, height), flags=cv2.INTER_LINEAR)[..., None]
        moved = cv2.warpAffine(shape, matrix, (width, height), flags=cv2.INTER_LINEAR)
        noise = rng.normal(0, 6, (height, width, 1)).astype(np.float32)
        frames.append(np.clip(background * (1 - cover) + moved * cover + noise, 0, 255).astype(np.uint8))
    return np.stack(frames)


def _falling(num_frames: int, height: int, width: int, rng: Rng) -> NDArray[np.float64]:
    """Centre x, y and diameter of each frame: down by 1.2…2.4 per cent of the height a frame.

    At most 85 per cent in all, so that part of the shape is always in the picture.
    """
    side = min(height, width)
    distance = height * min(0.85, float(rng.uniform(0.012, 0.024)) * num_frames)
    middle = height * float(rng.uniform(0.4, 0.6))
    drift = width * float(rng.uniform(-0.1, 0.1))
    across = width * float(rng.uniform(0.35, 0.65))
    diameter = side * float(rng.uniform(0.3, 0.55))
    swell = float(np.exp(rng.uniform(-0.1, 0.1)))
    t = np.linspace(-0.5, 0.5, num_frames)
    return np.stack([across + drift * t, middle + distance * t, diameter * swell ** (2 * t)], axis=1)


def _growing(num_frames: int, height: int, width: int, rng: Rng) -> NDArray[np.float64]:
    """Centre x, y and diameter of each frame: larger by 2…3.5 per cent a frame."""
    side = min(height, width)
    growth = float(rng.uniform(0.020, 0.035)) * num_frames
    drift_x, drift_y = width * float(rng.uniform(-0.1, 0.1)), height * float(rng.uniform(-0.1, 0.1))
    across, down = width * float(rng.uniform(0.35, 0.65)), height * float(rng.uniform(0.35, 0.65))
    diameter = side * float(rng.uniform(0.35, 0.5))
    t = np.linspace(-0.5, 0.5, num_frames)
    return np.stack([across + drift_x * t, down + drift_y * t, diameter * np.exp(growth * t)], axis=1)


def _placement(x: float, y: float, diameter: float, angle: float) -> NDArray[np.float64]:
    """The affine map that puts the middle of the canvas at (x, y), turned and scaled to `diameter`."""
    scale = diameter / (_CANVAS_PX * 0.8)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    middle = _CANVAS_PX / 2
    return np.array([[cos, -sin, x - middle * (cos - sin)], [sin, cos, y - middle * (sin + cos)]])


def _shape(rng: Rng) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A bright textured disc, rectangle or triangle on its canvas, and how much it covers (0…1)."""
    size, middle, radius = _CANVAS_PX, _CANVAS_PX / 2, _CANVAS_PX * 0.4
    alpha = np.zeros((size, size), np.float32)
    corners = int(rng.choice([3, 4, 5, 40]))
    around = np.arange(corners) * 2 * np.pi / corners
    points = middle + radius * np.stack([np.cos(around), np.sin(around)], axis=1)
    cv2.fillPoly(alpha, [np.round(points).astype(np.int32)], 1.0, lineType=cv2.LINE_8)
    colour = rng.uniform(120, 240, 3)
    return generated.texture(size, size, colour, 45.0, rng), cv2.GaussianBlur(alpha, (3, 3), 0)


def _background(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    """A darker texture with one still patch on it, as large as the moving shape may be."""
    picture = generated.texture(height, width, rng.uniform(30, 130, 3), 40.0, rng)
    patch_h, patch_w = (int(side * rng.uniform(0.15, 0.45)) for side in (height, width))
    top, left = int(rng.integers(height - patch_h)), int(rng.integers(width - patch_w))
    patch = generated.texture(patch_h, patch_w, rng.uniform(80, 200, 3), 35.0, rng)
    picture[top : top + patch_h, left : left + patch_w] = patch
    return picture
