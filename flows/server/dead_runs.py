"""Dead runs: those that Prefect believes to be running although their process is gone.

python -m flows.server.dead_runs    beside a server of your own; `make serve` does this itself

An automation of the server is not enough: it may end runs that continued while the server was down, it misses
runs that died while the server was down or before their first sign of life, and it tries only once.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Crashed

from flows.server import login
from nonlocal_core import command
from nonlocal_core.errors import ConfigError
from nonlocal_core.escaping import one_line

POOLS = ("cpu", "gpu")
"""work pools whose runs give a sign of life every flows.heartbeat_frequency"""
SILENT_S = 100.0
"""seconds without a sign of life after which a run is dead"""
EVERY_S = 10.0
"""seconds between two looks at the runs"""
BEAT = "prefect.flow-run.heartbeat"


class Watch:
    """A watch for silent runs.  It uses its own clock, and counts only the time in which the server answers."""

    def __init__(self, silent_s: float = SILENT_S) -> None:
        self.silent_s = silent_s
        self.heard: dict[UUID, tuple[object, float]] = {}

    def look(self) -> list[str]:
        """The names of the runs that were silent too long; they are marked as crashed."""
        now_s = time.monotonic()
        try:
            with get_client(sync_client=True) as client:
                signs = {run.id: (run, _sign_of_life(client, run)) for run in _not_ended(client)}
                before, self.heard = self.heard, {}
                for key, (_, sign) in signs.items():
                    old, since_s = before.get(key, (None, now_s))
                    self.heard[key] = (sign, since_s if sign == old else now_s)
                silent = [run for run, _ in signs.values() if now_s - self.heard[run.id][1] > self.silent_s]
                return _crash(client, silent, f"no sign of life for {self.silent_s:.0f} s")
        except httpx.HTTPError:  # no run is heard while the server is down: the silence of each begins anew
            self.heard = {}
            return []


def mark(process_ids: Set[int]) -> list[str]:
    """The names of the runs of those of these processes that are gone.

    The runs are marked as crashed, so that they can be retried and block nothing.
    """
    gone = {str(process) for process in process_ids if not Path(f"/proc/{process}/exe").exists()}
    try:
        with get_client(sync_client=True) as client:
            dead = [run for run in _not_ended(client) if run.infrastructure_pid in gone]
            return _crash(client, dead, "its process is gone")
    except httpx.HTTPError:  # a `Watch` finds them later
        return []


def _not_ended(client: SyncPrefectClient) -> list[FlowRun]:
    types = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    by_type = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    return client.read_flow_runs(flow_run_filter=by_type)


def _sign_of_life(client: SyncPrefectClient, run: FlowRun) -> object:
    """A value that changes while a run lives; for a run that sends no heartbeats, a new one each time."""
    resource = EventResourceFilter(id=[f"prefect.flow-run.{run.id}"])
    beats = client.read_events(EventFilter(event=EventNameFilter(name=[BEAT]), resource=resource), limit=1).events
    if not beats and run.work_pool_name not in POOLS:
        return object()
    return run.state_id, beats[0].id if beats else None


def _crash(client: SyncPrefectClient, runs: Iterable[FlowRun], message: str) -> list[str]:
    """The names of the runs that are now marked as crashed; others have just ended by themselves."""
    state: State[None] = Crashed(message=message)
    answers = [(run.name, client.set_flow_run_state(run.id, state)) for run in runs]
    return [name for name, answer in answers if answer.status is SetStateStatus.ACCEPT]


def say(names: Iterable[str]) -> None:
    """Print which runs are dead."""
    for name in names:
        print(f"{one_line(name)}: its process is gone; `prefect flow-run retry` goes on with it", flush=True)


def main(words: list[str]) -> int:
    """The exit code after Ctrl-C."""
    command.parser("flows.server.dead_runs", __doc__).parse_args(words)
    return command.show(_lines())


def _lines() -> Iterator[str]:
    if not PREFECT_API_URL.value():
        raise ConfigError("no server is named: export PREFECT_API_URL=http://HOST:4200/api")
    with contextlib.suppress(httpx.HTTPError):  # it may come up later
        login.check()
    watch = Watch()
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 2}), contextlib.suppress(KeyboardInterrupt):
        yield f"runs that give no sign of life for {SILENT_S:.0f} s are marked as crashed; Ctrl-C ends this"
        while True:
            say(watch.look())
            time.sleep(EVERY_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
