"""Nights that say nothing themselves: one that nobody has begun, and one that has not come.

Who watches (`make serve`, or `python -m flows.server.dead_runs`) says them as events of the server: a late night
once, a missing one again after as long.
`flows.server.alerts` tells them to a person.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import Event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound

TAG = "nightly"
"""tag of the deployments whose runs are nights"""
LATE = "nonlocal.night.late"
MISSING = "nonlocal.night.missing"
"""events; their payload has `text`; they are related to a run if there is one"""
LATE_S = 600.0
"""seconds after its time at which a night that nobody has begun is late"""
SILENT_S = 26 * 3600.0
"""seconds without a completed night that are worth a word; the next one comes after as long again"""
EVERY_S = 60.0
"""seconds between two looks"""


class Watch:
    """A watch for nights that are late or do not come."""

    def __init__(self, late_s: float = LATE_S, silent_s: float = SILENT_S, every_s: float = EVERY_S) -> None:
        self.late, self.silent = timedelta(seconds=late_s), timedelta(seconds=silent_s)
        self.every_s, self.looked_s = every_s, float("-inf")
        self.said: dict[tuple[str, str], datetime] = {}

    def look(self) -> list[str]:
        """What was said now, in lines; nothing while the server is down, or just after another look."""
        if time.monotonic() - self.looked_s < self.every_s:
            return []
        self.looked_s = time.monotonic()
        try:
            with get_client(sync_client=True) as client:
                return [*self._late(client), *self._missing(client)]
        except httpx.HTTPError:
            return []

    def _late(self, client: SyncPrefectClient) -> Iterator[str]:
        due = FlowRunFilterNextScheduledStartTime.model_validate({"before_": _now() - self.late})
        waiting = _of_types(StateType.SCHEDULED)
        tagged = FlowRunFilterTags(all_=[TAG])
        wanted = FlowRunFilter(state=waiting, next_scheduled_start_time=due, tags=tagged)
        for run in client.read_flow_runs(flow_run_filter=wanted):
            since = run.next_scheduled_start_time
            text = f"the night that was due at {since:%Y-%m-%d %H:%M} UTC has not begun: {_pool(client, run)}"
            yield from self._say_once(
                client, LATE, f"prefect.flow-run.{run.id}", run.id, text, timedelta(days=365)
            )

    def _missing(self, client: SyncPrefectClient) -> Iterator[str]:
        nights = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        for deployment in client.read_deployments(deployment_filter=nights):
            completed = _last_run(client, deployment, StateType.COMPLETED)
            since = completed.end_time if completed and completed.end_time else deployment.created
            if since is None or _now() - since < self.silent:
                continue
            last = _last_run(client, deployment)
            text = f"{deployment.name}: no night has completed since {since:%Y-%m-%d %H:%M} UTC; {_in_words(last)}"
            if deployment.paused or not any(schedule.active for schedule in deployment.schedules):
                text += "; its schedule is paused"
            resource = f"prefect.deployment.{deployment.id}"
            yield from self._say_once(client, MISSING, resource, last.id if last else None, text, self.silent)

    def _say_once(
        self, client: SyncPrefectClient, event: str, resource: str, run: UUID | None, text: str, again: timedelta
    ) -> Iterator[str]:
        """Send an event of a resource unless that was done lately; gives the text if it was sent.

        The server keeps what this or another watch has said, but some seconds later; so this one remembers too.
        `emit_event` would send it from a thread, to the server of its first event.
        """
        since = _now() - again
        earlier = EventFilter(
            event=EventNameFilter(name=[event]),
            resource=EventResourceFilter(id=[resource]),
            occurred=EventOccurredFilter.model_validate({"since": since}),
        )
        if self.said.get((event, resource), since) > since or client.read_events(earlier, limit=1).events:
            return
        related = (
            [{"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.role": "flow-run"}]
            if run
            else []
        )
        about = {"resource": {"prefect.resource.id": resource}, "related": related, "payload": {"text": text}}
        event_sent = Event.model_validate({"event": event, **about})
        client.request("POST", "/events", json=[event_sent.model_dump(mode="json")])
        self.said[event, resource] = _now()
        yield text


def _last_run(client: SyncPrefectClient, deployment: DeploymentResponse, *types: StateType) -> FlowRun | None:
    """The newest run of a deployment in such a state; of those that wait no longer, if none is named."""
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
        state=_of_types(*(types or set(StateType) - {StateType.SCHEDULED})),
    )
    runs = client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.START_TIME_DESC, limit=1)
    return runs[0] if runs else None


def _of_types(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))


def _in_words(run: FlowRun | None) -> str:
    if run is None or run.state is None:
        return "there was none"
    return f"the last one, {run.name}, is {run.state.name}" + (
        f": {run.state.message}" if run.state.message else ""
    )


def _pool(client: SyncPrefectClient, run: FlowRun) -> str:
    """What is known of the pool whose workers should have begun a run."""
    try:
        pool = client.read_work_pool(run.work_pool_name or "")
    except ObjectNotFound:
        return f"there is no pool {run.work_pool_name}"
    if pool.is_paused:
        return f"the pool {pool.name} is paused"
    if pool.status and pool.status.value == "NOT_READY":
        return f"no worker of the pool {pool.name} gives a sign of life"
    return f"the workers of the pool {pool.name} are busy, or do not take it"


def _now() -> datetime:
    return datetime.now(UTC)
