"""Whether a night has anything to do, as a Prefect task."""

from __future__ import annotations

from prefect import task

from nonlocal_core import nightly
from nonlocal_core.artifacts import RecordCache, Workspace
from nonlocal_core.config import Config
from tasks import policy, report


@task(name="made-before", **policy.options("register"))
def made_before(cache: RecordCache, config: Config, workspace: Workspace) -> str | None:
    """The newest entry that was made of the same videos by the same settings, if there is one."""
    report.show_in_prefect()
    return nightly.made_before(cache, config, workspace)
