"""Which runs are declared dead, on a server with workers, runs of ours and runs of others."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from flows.ablate import ablate
from flows.crossval import crossval
from flows.evaluate import evaluate_checkpoint
from flows.full import full
from flows.predict import predict
from flows.prepare import prepare
from flows.server import dead_runs, nights
from flows.server.prune import prune
from nonlocal_core.process.identity import Process
from tasks import signature
from tasks.report import DECISION
from tests.pipeline.receivers import Hook
from tests.pipeline.served import REPOSITORY, Served, wait_for

RUNNING: dict[str, Any] = {"state": {"type": "RUNNING"}}
OTHER_TEAM = """
import time
from prefect import flow

@flow
def etl():
    time.sleep(3600)

etl()
"""
OURS = """
import time
from prefect import flow
from tasks.signature import sign

@flow(on_running=[sign])
def prepare():
    time.sleep(3600)

prepare()
"""


@contextlib.contextmanager
def flow_process(served: Served, code: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that computes a flow, and the id of its run once that has given a sign of life."""
    before = set(running(served))
    environment = {**served.client_environment(), "PYTHONPATH": str(REPOSITORY)}
    with (folder / "flow.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, env=environment, stdout=log, stderr=log
        )

    def begun() -> list[str]:
        assert process.poll() is None, (folder / "flow.log").read_text()
        return [run for run in running(served) if run not in before and beats(served, run)]

    try:
        wait_for(begun, served)
        yield process, begun()[0]
    finally:
        process.kill()
        process.wait()


def running(served: Served) -> list[str]:
    asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    return [run["id"] for run in served.ask("flow_runs/filter", asked)]


def beat(served: Served, run: str) -> None:
    """Give a sign of life for a run."""
    given = {
        "id": str(uuid.uuid4()),
        "event": dead_runs.BEAT,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
    }
    served.ask("events", [given])


def beats(served: Served, run: str) -> int:
    """How many signs of life of a run the server has."""
    asked = {"event": {"name": [dead_runs.BEAT]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return int(served.ask("events/filter", {"filter": asked})["total"])


def elsewhere(served: Served, beat_s: int) -> str:
    """A run of ours on another machine, which promises a sign of life every so many seconds."""
    run = served.begin("prepare/prepare", **RUNNING)
    said = {**Process("elsewhere", "another boot", 1, "1")._asdict(), "beat_s": beat_s}
    served.ask(f"flow_runs/{run}/labels", {f"{signature.LABEL}.{name}": said[name] for name in said}, "PATCH")
    return run


@contextlib.contextmanager
def looking_at(served: Served, api: str = "") -> Iterator[None]:
    asked = {PREFECT_API_URL: api or served.api, PREFECT_API_AUTH_STRING: served.login()}
    with temporary_settings({**asked, PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


def found_dead(watch: dead_runs.Watch, seconds: float, meanwhile: Callable[[], object] = bool) -> dict[str, str]:
    """The names of the runs that a watch finds dead in some seconds, and the cause of each."""
    found: list[dead_runs.Dead] = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        meanwhile()
        found += watch.look()
        time.sleep(0.5)
    assert len(dict(found)) == len(found), "each is found once"
    return dict(found)


def named(served: Served, run: str) -> str:
    return str(served.ask(f"flow_runs/{run}")["name"])


def test_ours_is_found_by_its_process_and_others_are_left_alone(served: Served, tmp_path: Path) -> None:
    """Theirs give a sign of life every 3 minutes, or none; one is in our pool."""
    with (
        looking_at(served),
        flow_process(served, OTHER_TEAM, tmp_path) as (_, foreign),
        flow_process(served, OURS, tmp_path) as (_, alive),
        flow_process(served, OURS, tmp_path) as (killed, gone),
    ):
        flow = served.ask(f"flow_runs/{foreign}")["flow_id"]
        in_our_pool = served.ask("flow_runs/", {"flow_id": flow, "work_pool_name": "cpu", **RUNNING})["id"]
        beat(served, in_our_pool)
        killed.kill()
        killed.wait()
        found = found_dead(dead_runs.Watch(begin_s=3, gone_s=3), 12)
        assert found.keys() == {named(served, gone)}
        (cause,) = found.values()
        assert cause == f"its process is gone (process {killed.pid} on {socket.gethostname()})"
        assert served.ask(f"flow_runs/{gone}")["state"]["message"] == cause
        states = [served.state(run) for run in (gone, alive, foreign, in_our_pool)]
        assert states == ["Crashed", "Running", "Running", "Running"]


def test_what_cannot_be_seen_is_known_by_its_sign_of_life(served: Served) -> None:
    """Its clock begins anew when the server was away; a run that was never heard is left alone."""
    silent, alive, rarely, never = (elsewhere(served, beat_s) for beat_s in (1, 1, 180, 1))
    with looking_at(served):
        for run in (silent, rarely):
            beat(served, run)
        wait_for(lambda: beats(served, silent) and beats(served, rarely), served)
        found = found_dead(dead_runs.Watch(), 9, lambda: beat(served, alive))
        assert found.keys() == {named(served, silent)}
        (cause,) = found.values()
        assert re.fullmatch(r"no sign of life for [3-9] s from process 1 on elsewhere", cause)
        assert [served.state(run) for run in (alive, rarely, never)] == ["Running"] * 3

        watch = dead_runs.Watch()
        assert watch.look() == []
        time.sleep(4)
        with looking_at(served, "http://127.0.0.1:9/api"):
            assert watch.look() == []
        assert watch.look() == [], "it could not be heard while the server was away"
        wait_for(lambda: [dead.name for dead in watch.look()] == [named(served, alive)], served)


def test_a_run_that_no_process_begins_is_ended_if_its_deployment_is_ours(served: Served) -> None:
    pending: dict[str, Any] = {"state": {"type": "PENDING"}}
    ours = served.begin("prepare/prepare", **pending)
    flow = served.ask("flows/", {"name": "etl"})["id"]
    theirs = {"name": "etl", "flow_id": flow, "work_pool_name": "cpu", "entrypoint": "etl.py:etl"}
    deployment = served.ask("deployments/", theirs)["id"]
    foreign = served.ask(f"deployments/{deployment}/create_flow_run", pending)["id"]
    with looking_at(served):
        found = found_dead(dead_runs.Watch(begin_s=3), 6)
    assert found == {named(served, ours): found[named(served, ours)]}
    (cause,) = found.values()
    assert re.fullmatch(r"no process has begun it for [3-6] s", cause)
    assert served.state(foreign) == "Pending"


@pytest.mark.parametrize(
    "ours", [ablate, crossval, evaluate_checkpoint, full, predict, prepare, prune], ids=lambda flow: flow.name
)
def test_every_flow_signs_its_runs(ours: Any) -> None:
    assert ours.on_running_hooks == [signature.sign]


def change(served: Served, run: str, state_type: str, **more: Any) -> None:
    """Put a run into a state, as its process or a person does."""
    state = {"type": state_type, **more}
    answer = served.ask(f"flow_runs/{run}/set_state", {"state": state, "force": "name" in more})
    assert answer["status"] == "ACCEPT", answer


@pytest.fixture
def no_worker(served: Served) -> Iterator[None]:
    """While it is used, no worker begins a night."""
    served.ask("work_pools/gpu", {"is_paused": True}, "PATCH")
    yield
    served.ask("work_pools/gpu", {"is_paused": False}, "PATCH")


@pytest.fixture
def no_other_watch(served: Served) -> Iterator[None]:
    """While it is used, `make serve` does not look for nights: in the second of ours, it would say the same."""
    served.process.send_signal(signal.SIGSTOP)  # what it has started goes on
    yield
    served.process.send_signal(signal.SIGCONT)


@pytest.mark.usefixtures("no_worker", "no_other_watch")
def test_a_person_hears_of_nights_that_do_not_fail(served: Served) -> None:
    """Of each once, with a link to its run."""
    with Hook.receiving() as (url, told), looking_at(served):
        served.alert(url)

        def hear(text: str, run: str) -> None:
            wait_for(lambda: told, served)
            assert told == [f"{text}\nhttp://127.0.0.1:{served.port}/runs/flow-run/{run}"]
            told.clear()

        first = served.begin("full/nightly-train")
        change(served, first, "PENDING")
        skipped = served.begin("full/nightly-train")
        wait_for(lambda: served.state(skipped) == "Cancelled", served)
        hear(f"no night: {named(served, skipped)}: Cancelled, Deployment concurrency limit reached.", skipped)

        change(served, first, "RUNNING")
        change(served, first, "COMPLETED", name=DECISION, message="v0002 has other labels")
        undecided = f"{named(served, first)}: {DECISION}, v0002 has other labels"
        hear(undecided, first)

        late = served.begin("full/nightly-train")
        due = {"scheduled_time": "2026-11-01T02:00:00Z"}
        change(served, late, "SCHEDULED", name="Late", state_details=due)
        assert nights.Watch(late_s=1e9, every_s=0).look() == []
        watch = nights.Watch(every_s=0)
        (text,) = watch.look()
        assert text == "the night that was due at 2026-11-01 02:00 UTC has not begun: the pool gpu is paused"
        hear(text, late)
        assert watch.look() == [], "it was said"
        kept = {"filter": {"event": {"name": [nights.LATE]}}}
        wait_for(lambda: served.ask("events/filter", kept)["events"], served)
        assert nights.Watch(every_s=0).look() == [], "by another watch"
        change(served, late, "CANCELLED", name="Cancelled", message="by hand")
        hear(f"no night: {named(served, late)}: Cancelled, by hand", late)

        (text,) = nights.Watch(silent_s=1, every_s=0).look()
        when = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
        last = re.escape(f"the last one, {named(served, late)}, is Cancelled: by hand")
        assert re.fullmatch(f"nightly-train: no night has completed since {when}; {last}", text)
        hear(text, late)
        assert nights.Watch(silent_s=3600, every_s=0).look() == [], "a night has completed"
