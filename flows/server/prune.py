"""The weekly prune.  By hand, `python -m nonlocal_core.prune` does the same."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from tasks import prune as tasks
from tasks.signature import sign


@flow(name="prune", flow_run_name="prune {workspace_dir}", on_running=[sign])
def prune(workspace_dir: Path = Path("workspace"), keep_nights: int = 30, weights: bool = False) -> list[str]:
    """What went from a workspace, and what stays, in lines.

    Args:
        workspace_dir: folder that all results live in
        keep_nights: nights, days on which something was used, whose results stay
        weights: drop the weights of old entries of the registry, too, that no alias or line names
    """
    return tasks.prune(workspace_dir, keep_nights, weights)
