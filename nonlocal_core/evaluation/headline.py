"""What stands first in a summary: a score with its interval, beside what guessing gives."""

from __future__ import annotations

from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.evaluation import intervals


def top1(value: float, num_scored: int, guessing: float | None) -> str:
    """Top-1 in words, such as 61.4 % of 44, 46.6–74.3 %, guessing 50 %: not better than guessing.

    `guessing` is None where an earlier version has scored.
    """
    low, high = intervals.wilson(round(value * num_scored), num_scored)
    text = f"{100 * value:.1f} % of {num_scored}, {100 * low:.1f}–{100 * high:.1f} %"
    if guessing is None:
        return text
    return f"{text}, guessing {100 * guessing:.3g} %" + (": not better than guessing" if guessing >= low else "")


def is_shown(k: int, num_labels: int) -> bool:
    """Whether top-k says something: the right label is always among k if there are no more than k."""
    return k == 1 or k < num_labels


def of(evaluation: Evaluation) -> dict[str, str]:
    """The main figures of an evaluation in words, by name."""
    lines = {"top-1": top1(evaluation.top1, evaluation.num_scored, evaluation.guessing)}
    if evaluation.num_labels is None or is_shown(5, evaluation.num_labels):
        lines["top-5"] = f"{100 * evaluation.top5:.1f} %"
    return lines
