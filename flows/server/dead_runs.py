"""Our dead runs: those that Prefect believes to be running although nothing computes them any more.

python -m flows.server.dead_runs    beside a server of your own; `make serve` does this itself

It also looks for nights that are late or do not come (flows/server/nights.py).

A run of ours has said where its process is and how often it gives a sign of life (tasks/signature.py).  Runs of
others are left alone.

An automation of the server is not enough: it may end runs that continued while the server was down, it misses
runs that died while the server was down or before their first sign of life, and it tries only once.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Crashed

from flows.server import login, nights
from nonlocal_core import command
from nonlocal_core.errors import ConfigError
from nonlocal_core.escaping import one_line
from nonlocal_core.process import identity
from tasks import signature

DEPLOYMENTS = Path(__file__).parents[2] / "prefect.yaml"
MISSED = 10 / 3
"""signs of life that are missed by a dead run: 100 s where it gives one every 30 s"""
GONE_S = 20.0
"""seconds after which a process that cannot be seen any more has not just begun the run anew elsewhere"""
BEGIN_S = 600.0
"""seconds that a process gets to begin a run, from when a worker has taken it"""
EVERY_S = 10.0
"""seconds between two looks at the runs"""
BEAT = "prefect.flow-run.heartbeat"
PAGE = 200
"""greatest number of runs that a server gives at once"""


class Dead(NamedTuple):
    """A dead run, and what is known of its death."""

    name: str
    cause: str


class Watch:
    """A watch for dead runs.  It uses its own clock, and counts only the time in which the server answers."""

    def __init__(self, begin_s: float = BEGIN_S, gone_s: float = GONE_S) -> None:
        self.begin_s, self.gone_s = begin_s, gone_s
        self.heard: dict[UUID, tuple[object, float]] = {}

    def look(self) -> list[Dead]:
        """The dead runs; they are marked as crashed."""
        now_s = time.monotonic()
        try:
            with get_client(sync_client=True) as client:
                before, self.heard = self.heard, {}
                dead = []
                for run in _ours(client):
                    beat = _last_beat(client, run)
                    sign = run.state_id, beat
                    old, since_s = before.get(run.id, (None, now_s))
                    self.heard[run.id] = (sign, since_s if sign == old else now_s)
                    if cause := self._cause(run, beat, now_s - self.heard[run.id][1]):
                        dead += _crash(client, run, cause)
                return dead
        except httpx.HTTPError:  # no run is heard while the server is down: the silence of each begins anew
            self.heard = {}
            return []

    def _cause(self, run: FlowRun, beat: UUID | None, silent_s: float) -> str:
        """What is known of the death of a run that has been silent so long; empty if it may live."""
        signed = signature.read(run)
        if signed is None or run.state_type is StateType.PENDING:
            return f"no process has begun it for {silent_s:.0f} s" if silent_s > self.begin_s else ""
        is_gone = signed.process.is_gone()
        if is_gone:
            return f"its process is gone ({signed.process})" if silent_s > self.gone_s else ""
        promised = signed.beat_s > 0 and beat is not None
        if is_gone is None and promised and silent_s > MISSED * signed.beat_s:
            return f"no sign of life for {silent_s:.0f} s from {signed.process}"
        return ""


def mark(process_ids: Set[int], of_whom: str) -> list[Dead]:
    """The runs of those processes of this machine that are gone; they are marked as crashed.

    So they can be retried and block nothing.
    """
    gone = {str(process) for process in process_ids if not Path(f"/proc/{process}/exe").exists()}
    dead = []
    try:
        with get_client(sync_client=True) as client:
            for run in _ours(client):
                signed = signature.read(run)
                is_here = signed is None or signed.process.machine == identity.this().machine
                if is_here and run.infrastructure_pid in gone:
                    dead += _crash(client, run, f"its process is gone, and so is {of_whom}")
    except httpx.HTTPError:  # a `Watch` finds them later
        pass
    return dead


def _ours(client: SyncPrefectClient) -> list[FlowRun]:
    """Our runs that have not ended: those that are signed, and those of our deployments that nobody has begun."""
    types = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    by_type = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=by_type, limit=PAGE, offset=len(runs)):
        runs += page
    waiting = {run.deployment_id for run in runs if run.deployment_id and run.state_type is not StateType.RUNNING}
    ours = _our_deployments(client, waiting) if waiting else set()
    return [
        run
        for run in runs
        if signature.read(run) or (run.state_type is not StateType.RUNNING and run.deployment_id in ours)
    ]


def _our_deployments(client: SyncPrefectClient, among: Set[UUID]) -> set[UUID]:
    entrypoints = {
        declared["entrypoint"]
        for declared in yaml.safe_load(DEPLOYMENTS.read_text(encoding="utf-8"))["deployments"]
    }
    by_id = DeploymentFilter(id=DeploymentFilterId(any_=sorted(among)))
    deployments = client.read_deployments(deployment_filter=by_id)
    return {deployment.id for deployment in deployments if deployment.entrypoint in entrypoints}


def _last_beat(client: SyncPrefectClient, run: FlowRun) -> UUID | None:
    """The last sign of life of a run, which changes while it lives."""
    resource = EventResourceFilter(id=[f"prefect.flow-run.{run.id}"])
    beats = client.read_events(EventFilter(event=EventNameFilter(name=[BEAT]), resource=resource), limit=1).events
    return beats[0].id if beats else None


def _crash(client: SyncPrefectClient, run: FlowRun, cause: str) -> list[Dead]:
    """The run that is now marked as crashed; none if it has just ended by itself."""
    state: State[None] = Crashed(message=cause)
    answer = client.set_flow_run_state(run.id, state)
    return [Dead(run.name, cause)] if answer.status is SetStateStatus.ACCEPT else []


def say(dead: Iterable[Dead]) -> None:
    """Print which runs are dead, and why."""
    for name, cause in dead:
        print(f"{one_line(name)}: {cause}; `prefect flow-run retry` goes on with it", flush=True)


def main(words: list[str]) -> int:
    """The exit code after Ctrl-C."""
    command.parser("flows.server.dead_runs", __doc__).parse_args(words)
    return command.show(_lines())


def _lines() -> Iterator[str]:
    if not PREFECT_API_URL.value():
        raise ConfigError("no server is named: export PREFECT_API_URL=http://HOST:4200/api")
    with contextlib.suppress(httpx.HTTPError):  # it may come up later
        login.check()
    watch, night_watch = Watch(), nights.Watch()
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 2}), contextlib.suppress(KeyboardInterrupt):
        yield "runs of ours whose process is gone or gives no sign of life are marked as crashed; Ctrl-C ends this"
        while True:
            say(watch.look())
            yield from night_watch.look()
            time.sleep(EVERY_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
