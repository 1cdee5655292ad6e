"""The figures of the long-range set: means over seeds, differences paired by seed, and which bars are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from nonlocal_core.artifacts.references import Frozen, RecordCache, Reference
from nonlocal_core.config.long_range import CHANCE, Plan
from nonlocal_core.config.tree import Config
from nonlocal_core.evaluation.intervals import CONFIDENCE

Top1 = Mapping[tuple[str, str], Sequence[float]]
"""top-1 of the seeds (fractions), by the videos and the name of a row"""


class Cell(Frozen):
    """One training: a row of the plan with a seed."""

    videos: str
    name: str
    seed: int
    cache: RecordCache
    config: Config


class LongRange(Reference):
    """A finished long-range set: figures for programs, and a page for people."""

    stage: ClassVar[str] = "long_range"
    FIGURES: ClassVar[str] = "figures.json"
    PAGE: ClassVar[str] = "page.md"


class Gain(NamedTuple):
    """A difference of two rows, paired by seed: its mean and its interval (fractions; None with one seed)."""

    mean: float
    low: float | None
    high: float | None
    p_value: float | None


class Bar(NamedTuple):
    """What was asked, what came out, and whether that is enough; None if no row of this run says so."""

    asked: str
    came_out: str
    met: bool | None


def gain(ours: Sequence[float], others: Sequence[float]) -> Gain:
    """How much better some seeds are than the same seeds of another row.

    Source: Student's paired t-test, SciPy's ttest_rel.
    """
    difference = np.round(np.subtract(ours, others), 12)
    mean = float(difference.mean())
    if len(difference) < 2:
        return Gain(mean, None, None, None)
    if np.ptp(difference) == 0:
        return Gain(mean, mean, mean, None)
    from scipy import stats  # takes a second to import

    tested = stats.ttest_rel(ours, others)
    low, high = tested.confidence_interval(CONFIDENCE)
    return Gain(mean, float(low), float(high), float(tested.pvalue))


def spread(values: Sequence[float]) -> float:
    """The standard deviation of some seeds, of a sample; 0 for one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def bars(plan: Plan, top1: Top1) -> list[Bar]:
    """The bars of a plan, each with what came out."""
    limits = plan.bars
    space_time, space = (_against(plan, top1, "far", name) for name in (plan.blocks, plan.space))
    motion = _against(plan, top1, "motion", plan.blocks)
    near = [float(np.mean(values)) for (videos, _), values in top1.items() if videos == "near"]
    chance = [float(np.mean(values)) for (videos, _), values in top1.items() if videos in CHANCE]
    return [
        Bar(
            f"blocks in space and time are at least {100 * limits.least_gain:.0f} points better than none,"
            " interval above 0",
            _text(space_time),
            space_time and space_time.mean >= limits.least_gain and (space_time.low is None or space_time.low > 0),
        ),
        Bar(
            f"blocks in space alone are not {100 * limits.least_gain:.0f} points better than none",
            _text(space),
            space and space.mean < limits.least_gain,
        ),
        Bar(
            f"on the plain motions blocks lose at most {100 * limits.most_loss:.0f} points",
            _text(motion),
            motion and motion.mean >= -limits.most_loss,
        ),
        Bar(
            f"near bars: every network has at least {limits.least_near:.0%}",
            f"least mean {min(near):.1%}" if near else "not in this run",
            min(near) >= limits.least_near if near else None,
        ),
        Bar(
            f"one bar, one frame, shuffled frames: at most {limits.most_chance:.0%}",
            f"greatest mean {max(chance):.1%}" if chance else "not in this run",
            max(chance) <= limits.most_chance if chance else None,
        ),
    ]


def _against(plan: Plan, top1: Top1, videos: str, name: str) -> Gain | None:
    ours, others = top1.get((videos, name)), top1.get((videos, plan.baseline))
    return gain(ours, others) if ours is not None and others is not None else None


def _text(gain: Gain | None) -> str:
    """A gain in points."""
    if gain is None:
        return "not in this run"
    points = f"{100 * gain.mean:+.1f} points"
    return points if gain.low is None else f"{points} ({100 * gain.low:+.1f} to {100 * (gain.high or 0):+.1f})"
