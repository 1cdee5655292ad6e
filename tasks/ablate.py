"""The table of an ablation as a Prefect task."""

from __future__ import annotations

from prefect import task

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.evaluation.ablations import Ablation, Scored
from nonlocal_core.report import ablation_table
from tasks import policy, report


@task(name="ablate", task_run_name="ablate", **policy.options("evaluate"))
def compare(scored: list[Scored], workspace: Workspace) -> Ablation:
    """The table of some variants."""
    report.show_in_prefect()
    ablation = ablation_table.compare(scored, workspace)
    report.page("ablation", workspace.path(ablation) / Ablation.PAGE)
    return ablation
