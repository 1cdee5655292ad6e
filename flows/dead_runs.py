"""Runs that Prefect takes for running although their process is gone."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed


def mark(process_ids: Set[int]) -> list[str]:
    """The names of the runs that these processes of this machine had, as far as they are gone.

    The runs are crashed from now on, so that they can be retried and block nothing.
    """
    gone = {str(process) for process in process_ids if not Path(f"/proc/{process}/exe").exists()}
    types = [StateType.RUNNING, StateType.CANCELLING]
    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    with get_client(sync_client=True) as client:
        found = [run for run in client.read_flow_runs(flow_run_filter=running) if run.infrastructure_pid in gone]
        for run in found:
            client.set_flow_run_state(run.id, Crashed(message="its process is gone"), force=True)
    return [run.name for run in found]
