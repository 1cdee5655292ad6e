"""Attention drawn as in the paper's figure 3: arrows from one place of a clip to those that it attends to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from numpy.typing import NDArray

from nonlocal_core.report.fonts import letter

ACROSS = 8
"""greatest number of frames in a row of the strip"""
GAP = 0.04
"""gap between two frames (as a share of a frame's width)"""
WARM = LinearSegmentedColormap.from_list("warm", ["#ffe45c", "#ff9f1c", "#ff2d2d"])
COLD = LinearSegmentedColormap.from_list("cold", ["#9fefff", "#38b6ff", "#1f6bff"])
START = "#3dff6e"
INK, PALE = "#16181d", "#6b7280"

Frames = NDArray[np.uint8]


class Arrow(NamedTuple):
    """One end of a connection: a step in time, a place in that frame (pixels), and the weight."""

    step: int
    x: float
    y: float
    weight: float


class Scene(NamedTuple):
    """A clip and the connections to draw on it."""

    frames_THWC: Frames
    shown: list[int]
    """for each step in time of the map, the frame in its middle"""
    start: Arrow
    arrows: list[Arrow]
    """the strongest connections in descending order"""
    title: str
    share: float
    """their share of the total weight (0…1)"""


def strip(scene: Scene, caption: str = "", frame_in: float = 2.3) -> Frames:
    """The frames of all steps side by side, with arrows across them.

    Shape:  (H, W, 3), RGB.
    """
    height, width = scene.frames_THWC.shape[1:3]
    steps, gap = len(scene.shown), GAP * width
    across = min(steps, ACROSS)
    rows = -(-steps // across)
    label = 0.13 * width  # room for the number of a frame under it
    size = (across * (width + gap) - gap, rows * (height + label))
    tall_in = frame_in / width * size[1]
    wide_in = frame_in / width * size[0]
    figure, axes = _canvas(wide_in, tall_in, head_in=0.62)
    corners = [(step % across * (width + gap), step // across * (height + label)) for step in range(steps)]
    for (left, top), frame in zip(corners, scene.shown, strict=True):
        extent = (left, left + width, top + height, top)
        axes.imshow(scene.frames_THWC[frame], extent=extent, interpolation="lanczos")
        is_start = frame == scene.shown[scene.start.step]
        axes.text(
            left + width / 2, top + height + label * 0.55, f"frame {frame}",
            ha="center", va="center", fontsize=9,
            color=INK if is_start else PALE, fontweight="bold" if is_start else "normal",
        )  # fmt: skip
    start = _shifted(scene.start, corners)
    for arrow in reversed(scene.arrows):  # the strongest on top
        _draw_arrow(axes, start, _shifted(arrow, corners), _strength(arrow, scene), arrow.weight, width)
    _draw_start(axes, start, width)
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    _headline(figure, scene, caption, wide_in, tall_in + 0.62)
    return _pixels(figure)


def animation(scene: Scene, side_in: float = 3.6) -> Iterator[Frames]:
    """The frames of the clip one by one, each with the arrows that end in its step in time.

    Shape:  (H, W, 3), RGB, all of one size.
    """
    height, width = scene.frames_THWC.shape[1:3]
    for number, frame in enumerate(scene.frames_THWC):
        step = int(np.argmin([abs(number - at) for at in scene.shown]))
        figure, axes = _canvas(side_in, side_in * height / width, head_in=0.0)
        axes.imshow(frame, extent=(0, width, height, 0), interpolation="lanczos")
        start = (scene.start.x, scene.start.y)
        for arrow in reversed(scene.arrows):
            if arrow.step == step:
                strength = _strength(arrow, scene)
                _draw_arrow(axes, start, (arrow.x, arrow.y), strength, arrow.weight, width)
        _draw_start(axes, start, width, alpha=1.0 if step == scene.start.step else 0.45)
        axes.text(
            0.025, 0.035, f"frame {number}", transform=axes.transAxes, fontsize=9, color="white",
            path_effects=[patheffects.withStroke(linewidth=2.2, foreground="black")],
        )  # fmt: skip
        axes.set(xlim=(0, width), ylim=(height, 0))
        yield _pixels(figure)


def _canvas(wide_in: float, tall_in: float, head_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(wide_in, tall_in + head_in), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, tall_in / (tall_in + head_in)))
    axes.set_axis_off()
    return figure, axes


def _headline(figure: Figure, scene: Scene, caption: str, wide_in: float, tall_in: float) -> None:
    signs = ", blue where the weight is negative" if any(arrow.weight < 0 for arrow in scene.arrows) else ""
    first = f"{caption} · {scene.title}" if caption else scene.title
    second = (
        f"{len(scene.arrows)} strongest connections of the ringed place, {scene.share:.0%} of its weight{signs}"
    )
    at, lettered = (0.08 / wide_in, 1 - 0.2 / tall_in), letter(first)
    figure.text(*at, lettered.text, font=lettered.properties(11, bold=True), color=INK, va="center")
    figure.text(0.08 / wide_in, 1 - 0.43 / tall_in, second, fontsize=9, color=PALE, va="center")


def _shifted(arrow: Arrow, corners: list[tuple[float, float]]) -> tuple[float, float]:
    left, top = corners[arrow.step]
    return left + arrow.x, top + arrow.y


def _strength(arrow: Arrow, scene: Scene) -> float:
    """The strength of a connection: 0 for the weakest that is drawn, 1 for the strongest."""
    greatest, least = (abs(scene.arrows[place].weight) for place in (0, -1))
    return (abs(arrow.weight) - least) / (greatest - least) if greatest > least else 1.0


def _draw_arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], strength: float, weight: float, width: float
) -> None:
    colour = (WARM if weight > 0 else COLD)(strength)
    thick = 0.8 + 1.3 * strength
    outline = [patheffects.Stroke(linewidth=thick + 0.9, foreground=(0, 0, 0, 0.5)), patheffects.Normal()]
    axes.add_patch(Circle(end, (0.010 + 0.008 * strength) * width, color=colour, ec="black", lw=0.5, zorder=5))
    if np.hypot(end[0] - start[0], end[1] - start[1]) > 0.06 * width:
        patch: Any = FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=7 + 4 * strength, lw=thick, color=colour,
            alpha=0.65 + 0.35 * strength, shrinkA=5, shrinkB=1.5, zorder=4 + strength, path_effects=outline,
        )  # fmt: skip
        axes.add_patch(patch)


def _draw_start(axes: Axes, at: tuple[float, float], width: float, alpha: float = 1.0) -> None:
    for colour, line in (("black", 3.6), (START, 2.0)):
        axes.add_patch(Circle(at, 0.032 * width, fill=False, ec=colour, lw=line, zorder=9, alpha=alpha))


def _pixels(figure: Figure) -> Frames:
    canvas: Any = figure.canvas
    canvas.draw()
    pixels: Frames = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    return pixels
