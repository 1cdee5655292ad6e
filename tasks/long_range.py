"""The long-range set as Prefect tasks: its videos, each training with its score, and the figures of all."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task

from nonlocal_core import chain
from nonlocal_core.artifacts.references import Checkpoint, Evaluation
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.long_range import Plan, Row
from nonlocal_core.data.layouts import long_range, toy
from nonlocal_core.errors import DivergenceError, NotFiniteError
from nonlocal_core.evaluation.long_range import Cell, LongRange
from nonlocal_core.process import child
from nonlocal_core.report import long_range_page
from nonlocal_core.stages import evaluate, train
from tasks import policy, report

log = logging.getLogger("nonlocal_core.flows")


@task(name="long-range-videos", task_run_name="long-range-videos {row.videos}", **policy.options("index"))
def videos(row: Row, plan: Plan, workspace: Workspace) -> Path:
    """The folder of the generated videos of a row, which are made now if they do not exist."""
    folder = workspace.root / "long-range-videos" / row.videos
    with workspace.locked("long-range-videos"):
        if row.videos == "motion":
            return toy.make_toy_videos(folder, plan.num_motion, plan.videos_seed)
        return long_range.make_long_range_videos(
            folder, row.videos, plan.num_train, plan.num_val, plan.videos_seed
        )


@task(
    name="train-and-score",
    task_run_name="{shard.videos}, {shard.name}, seed {shard.seed}",
    **policy.shard_options("train"),
)
def train_and_score(shard: Cell, workspace: Workspace) -> None:
    """Train and score one row with one seed, in a process of its own, unless that is done.

    One that diverges, in training or when it is scored, is a result, too.
    """
    report.show_in_prefect()
    if _find_finished(shard, workspace):
        return
    name = f"{shard.videos}, {shard.name}, seed {shard.seed}"
    try:
        scored = child.call(chain.train_and_score, shard.cache, shard.config, workspace)
        log.info("%s: top-1 %.1f%%", name, 100 * scored.top1)
    except (DivergenceError, NotFiniteError) as error:
        log.warning("%s counts as guessing: %s", name, error)


@task(name="long-range", task_run_name="long-range", **policy.options("evaluate"))
def compare(cells: list[Cell], plan: Plan, quick: bool, workspace: Workspace, out: Path | None) -> LongRange:
    """The figures of all trainings, also in a person's file."""
    report.show_in_prefect()
    trained = [(cell, _find_finished(cell, workspace)) for cell in cells]
    result = long_range_page.make(trained, plan, quick, workspace)
    if out:
        long_range_page.write(result, workspace, out)
    report.page("long-range", workspace.path(result) / LongRange.PAGE)
    return result


def _find_finished(cell: Cell, workspace: Workspace) -> tuple[Checkpoint, Evaluation] | None:
    """What an earlier call has finished of a training and its score."""
    checkpoint = train.find(cell.cache, cell.config, workspace)
    scored = checkpoint and evaluate.find(checkpoint, cell.cache, cell.config, workspace)
    return (checkpoint, scored) if checkpoint and scored else None
