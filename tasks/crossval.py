"""The folds of a cross-validation, and their figures together, as Prefect tasks."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import listing
from nonlocal_core.data.manifest import crossval_folds
from nonlocal_core.evaluation.crossval import Crossval, CrossvalRequest, Fold, ScoredFold
from nonlocal_core.report import crossval_table
from tasks import policy, report


@task(name="folds", task_run_name="folds", **policy.options("index"))
def folds_of(videos_dir: Path | str, folds: str, config: Config, labels_path: Path | None) -> list[Fold]:
    """The folds that a person asked for, by their number or by the folder of their lists."""
    report.show_in_prefect()
    names = label_ids.read_names(labels_path.expanduser()) if labels_path else None
    folder = listing.open_folder(videos_dir)
    planned = crossval_folds.plan(folder, folds, config.index, names, config.runtime.follow_links)
    report.lines("folds", [fold.name for fold in planned], folds)
    return planned


@task(name="crossval", task_run_name="crossval", **policy.options("evaluate"))
def pool(scored: list[ScoredFold], request: CrossvalRequest, workspace: Workspace) -> Crossval:
    """The figures of all folds together."""
    report.show_in_prefect()
    crossval = crossval_table.make(scored, request, workspace)
    report.page("crossval", workspace.path(crossval) / Crossval.PAGE)
    return crossval


@task(name="crossval-out", task_run_name="crossval-out", **policy.options("evaluate"))
def write(crossval: Crossval, seconds: dict[str, float], workspace: Workspace, out: Path) -> None:
    """Write the figures, and what this run took, to a person's file."""
    report.show_in_prefect()
    crossval_table.write(crossval, seconds, workspace, out)
