"""prune as a Prefect task."""

from __future__ import annotations

import logging
from pathlib import Path

from prefect import task

from nonlocal_core import prune as command
from nonlocal_core.retention.needed import Age
from tasks import policy, report

log = logging.getLogger("nonlocal_core.tasks")


@task(name="prune", task_run_name="prune", **policy.options("register"))
def prune(workspace_dir: Path, keep_nights: int, weights: bool) -> list[str]:
    """What went from a workspace and what stays, in lines; the log has first what would go."""
    report.show_in_prefect()
    for really in (False, True):
        lines = list(command.prune(workspace_dir, Age(keep_nights), weights=weights, really=really))
        for line in lines:
            log.info("%s", line)
    report.lines("pruned", lines, str(workspace_dir))
    return lines
