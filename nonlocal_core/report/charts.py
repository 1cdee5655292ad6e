"""Charts of a report as SVG and pictures, without scripts; the page's style sheet sets the colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.report import video_files
from nonlocal_core.training.curves import STYLES, Curve

WIDTH, HEIGHT = 400, 190  # of a chart's own coordinates; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 42, 8, 8, 24
MOST_DOTS = 120
"""greatest number of points of a curve that are drawn as dots"""
DEEP_RGB = (37, 99, 235)
"""colour of a confusion matrix, on light and dark pages"""

Counts = NDArray[np.int64]


def lines(title: str, curves: Sequence[Curve], percent: bool = False) -> str:
    """A chart of some curves over the steps, as SVG; the style sheet has a class of each curve's name."""
    if not curves:
        return ""
    last = max(max(curve.steps) for curve in curves)
    highest = 1.0 if percent else max(max(curve.values) for curve in curves)
    ticks = _ticks(highest)
    scale_x = (WIDTH - LEFT - RIGHT) / max(last, 1)
    scale_y = (HEIGHT - TOP - BOTTOM) / (ticks[-1] or 1)
    floor = HEIGHT - BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        y = floor - tick * scale_y
        text = f"{tick:.0%}" if percent else f"{tick:.3g}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for tick in _ticks(last):
        if tick <= last:
            x = LEFT + tick * scale_x
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{tick:g}</text>')
    parts += [_polyline(curve, scale_x, scale_y, floor) for curve in curves]
    return "".join([*parts, "</svg>"])


def _polyline(curve: Curve, scale_x: float, scale_y: float, floor: float) -> str:
    places = [
        (LEFT + step * scale_x, floor - value * scale_y)
        for step, value in zip(curve.steps, curve.values, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    svg = f'<polyline class="{curve.name}" points="{path}"/>'
    if "marker" in STYLES[curve.name] and len(places) <= MOST_DOTS:
        svg += "".join(f'<circle class="{curve.name}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in places)
    return svg


def _ticks(highest: float) -> list[float]:
    """Four to eight round numbers from 0 to at least `highest`."""
    if not highest > 0:
        return [0.0]
    step = 10.0 ** math.floor(math.log10(highest / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if highest / (step * factor) <= 6)
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def heat_map(counts_KK: Counts, least_px: int = 640) -> bytes:
    """A confusion matrix as a PNG: in a label's row, each class is coloured by its share of the row's videos.

    Cells without a video are transparent.
    """
    total_K1 = counts_KK.sum(axis=1, keepdims=True)
    share_KK = counts_KK / np.maximum(total_K1, 1)
    alpha_KK = np.where(share_KK > 0, 30 + 225 * np.sqrt(share_KK), 0)  # even a single mistake can be seen
    picture = np.empty((*counts_KK.shape, 4), np.uint8)
    picture[..., :3] = DEEP_RGB
    picture[..., 3] = np.rint(alpha_KK)
    times = max(1, least_px // len(counts_KK))
    return video_files.png(picture.repeat(times, axis=0).repeat(times, axis=1))


def calibration(bins: Sequence[tuple[float, float, int]]) -> str:
    """A calibration chart as SVG; each bin is (mean confidence, share of right videos, number of videos)."""
    side, edge = 240, 34
    inner = side - 2 * edge
    most = max((count for _, _, count in bins), default=1)
    parts = [f'<svg class="square" viewBox="0 0 {side} {side}" role="img" aria-label="calibration">']
    for tick in (0.0, 0.5, 1.0):
        at = edge + tick * inner
        parts.append(
            f'<line class="grid" x1="{edge}" x2="{side - edge}" y1="{side - at:.1f}" y2="{side - at:.1f}"/>'
        )
        parts.append(f'<text x="{edge - 6}" y="{side - at + 4:.1f}" text-anchor="end">{tick:.0%}</text>')
        parts.append(f'<text x="{at:.1f}" y="{side - edge + 18}" text-anchor="middle">{tick:.0%}</text>')
    parts.append(f'<line class="ideal" x1="{edge}" y1="{side - edge}" x2="{side - edge}" y2="{edge}"/>')
    for sure, right, count in bins:
        if count:
            x, y = edge + sure * inner, side - edge - right * inner
            parts.append(
                f'<circle class="val" cx="{x:.1f}" cy="{y:.1f}" r="{2.5 + 6 * math.sqrt(count / most):.1f}"/>'
            )
    return "".join([*parts, "</svg>"])
