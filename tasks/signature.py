"""What our runs say of themselves to a Prefect server: where their process is, how often they give a sign of life.

A run without this is of somebody else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.settings import get_current_settings

from nonlocal_core.process import identity
from nonlocal_core.process.identity import Process
from tasks import console, worker

LABEL = "nonlocal.run"
"""first part of the names of the labels"""


class Signature(NamedTuple):
    """What a run says of itself."""

    process: Process
    beat_s: int
    """seconds between two signs of life; 0: it gives none"""


def sign(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Sign a run; Prefect calls this in the run's process whenever it begins or goes on."""
    console.say_mistakes_in_one_line()
    worker.mind()
    signature = {**identity.this()._asdict(), "beat_s": get_current_settings().flows.heartbeat_frequency or 0}
    with get_client(sync_client=True) as client:
        client.update_flow_run_labels(flow_run.id, {f"{LABEL}.{name}": value for name, value in signature.items()})


def read(run: FlowRun) -> Signature | None:
    """What a run has said of itself; None if it is of somebody else, or has not begun."""
    labels: dict[str, Any] = {name: run.labels.get(f"{LABEL}.{name}") for name in (*Process._fields, "beat_s")}
    if None in labels.values():
        return None
    beat_s = labels.pop("beat_s")
    return Signature(Process(**labels), beat_s)
