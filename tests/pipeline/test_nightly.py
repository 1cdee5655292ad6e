"""`make serve`, a night that is started by hand, and a worker and a server that are killed in training."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from flows.server import alerts
from nonlocal_core import registry
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.process.lifeline import children
from tests.pipeline.receivers import Hook, Mailbox
from tests.pipeline.served import REPOSITORY, Served, steps, wait_for

SMALL = {
    "model.width": 2, "model.nl_res3": [], "model.nl_res4": [], "clip.clip_len": 4, "cache.short_side": 36,
    "train.epochs": 120, "train.crop_size": 32, "train.val_epochs": 0,
    "evaluate.crop_size": 32, "evaluate.num_clips": 1, "runtime.checkpoint_steps": 5, "runtime.device": "CPU",
    "index.frozen_val": "nightly", "train.init": "champion_if_any", "train.init_head": "match",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(served: Served) -> Iterator[list[str]]:
    """What the automations of `flows.server.alerts` post."""
    with Hook.receiving() as (url, told):
        served.alert(url)
        yield told


def small_night(folder: Path) -> tuple[Path, list[str]]:
    """The workspace of a night, and the words of its parameters."""
    videos_dir, workspace_dir = make_toy_videos(folder / "videos", 16), folder / "workspace"
    asked = [f"videos_dir={json.dumps(str(videos_dir))}", f"workspace_dir={json.dumps(str(workspace_dir))}"]
    asked.append(f"overrides={json.dumps(SMALL)}")
    return workspace_dir, [word for parameter in asked for word in ("-p", parameter)]


@pytest.mark.campaign("kill")
def test_a_night_that_is_cancelled_keeps_its_last_step(served: Served, tmp_path: Path) -> None:
    workspace_dir, words = small_night(tmp_path)
    (run,) = re.findall(r"UUID: (\S+)", served.prefect("deployment", "run", "nightly-train", *words))
    wait_for(lambda: len(steps(workspace_dir)) > 10, served)
    process = str(served.ask(f"flow_runs/{run}")["infrastructure_pid"]).rpartition(":")[2]
    assert Path(f"/proc/{process}").exists()
    served.prefect("flow-run", "cancel", run)
    wait_for(lambda: served.state(run) == "Cancelled", served)
    wait_for(lambda: not Path(f"/proc/{process}").exists(), served)
    taken = steps(workspace_dir)
    assert taken == list(range(1, len(taken) + 1))
    kept = [file.name for file in workspace_dir.glob("train/*/step-*")]
    assert f"step-{len(taken):08}.safetensors" in kept, "a kill would leave each fifth step alone"

    (run,) = re.findall(r"UUID: (\S+)", served.prefect("deployment", "run", "nightly-train", *words))
    wait_for(lambda: served.state(run) == "Completed", served)
    assert steps(workspace_dir) == list(range(1, max(steps(workspace_dir)) + 1)), "each step was taken once"
    assert registry.read(Workspace(workspace_dir)).champion == "v0001"


@pytest.mark.campaign("kill")
def test_a_night_whose_worker_and_server_are_killed(served: Served, told: list[str], tmp_path: Path) -> None:
    workspace_dir, words = small_night(tmp_path)
    said = served.prefect("deployment", "run", "nightly-train", *words)
    (run,) = re.findall(r"UUID: (\S+)", said)
    wait_for(lambda: len(steps(workspace_dir)) > 10, served)
    name = served.ask(f"flow_runs/{run}")["name"]
    assert re.fullmatch(r"full tiny \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", name)
    next_night = served.begin("full/nightly-train")
    wait_for(lambda: served.state(next_night) == "Cancelled", served)
    written = {file: file.stat().st_mtime_ns for file in workspace_dir.glob("cache/*/*")}

    (killed,) = served.started(b"--pool gpu")
    for process in (killed, *children(killed)):
        os.kill(process, signal.SIGKILL)
    wait_for(lambda: served.started(b"--pool gpu") not in ([], [killed]), served)
    assert served.state(run) == "Crashed", "whoever starts the worker again sees that the process is gone"
    cause = "its process is gone, and so is worker-gpu, which was killed by SIGKILL"
    assert served.ask(f"flow_runs/{run}")["state"]["message"] == cause
    cut = steps(workspace_dir)
    served.prefect("flow-run", "retry", run)
    wait_for(lambda: len(steps(workspace_dir)) > len(cut) + 3, served)

    (server,) = served.started(b"server start")
    os.kill(server, signal.SIGKILL)
    wait_for(lambda: served.started(b"server start") not in ([], [server]) and served.answers(), served)
    wait_for(lambda: served.state(run) == "Completed", served)
    assert served.ask(f"flow_runs/{run}")["run_count"] == 2, "the run went on without its server"
    assert steps(workspace_dir) == list(range(1, max(steps(workspace_dir)) + 1)), "each step was taken once"
    assert {file: file.stat().st_mtime_ns for file in workspace_dir.glob("cache/*/*")} == written
    for task in ("train", "evaluate", "register"):
        wait_for(functools.partial(served.finished, run, task), served)
        assert served.finished(run, task) == 1, task
    assert served.finished(run, "cache-shard") == 2, "its retry found nothing to decode"
    assert registry.read(Workspace(workspace_dir)).champion == "v0001"
    wait_for(lambda: len(told) > 1, served)
    link = f"http://127.0.0.1:{served.port}/runs/flow-run"
    assert sorted(told)[0] == f"{name}: Crashed, {cause}\n{link}/{run}"
    assert sorted(told)[1].startswith("new champion: v0001 is the champion: ")

    said = served.prefect("deployment", "run", "full/nightly-train", *words)
    (run,) = re.findall(r"UUID: (\S+)", said)
    wait_for(lambda: served.state(run) == "Nothing new", served)


def fail(served: Served, folder: Path) -> None:
    """A night that fails."""
    nowhere = {"videos_dir": str(folder / "nowhere"), "workspace_dir": str(folder / "w")}
    run = served.begin("full/nightly-train", parameters=nowhere)
    wait_for(lambda: served.state(run) == "Failed", served)


def test_a_webhook_and_a_mailbox_are_told_of_a_failed_night(served: Served, tmp_path: Path) -> None:
    with Hook.receiving() as (hook, posted), Mailbox.receiving() as (mailbox, mailed):
        served.alert(hook, mailbox)
        fail(served, tmp_path)
        wait_for(lambda: posted and mailed, served)
    assert "Failed" in posted[0]
    assert "nowhere" in posted[0]
    assert "Failed" in mailed[0]
    assert "there is no folder" in mailed[0]
    assert f"http://127.0.0.1:{served.port}/runs/flow-run/" in mailed[0]


def test_the_password_of_a_mailbox_is_neither_an_argument_nor_shown(served: Served) -> None:
    url = "mailtos://night:opensesame@mail.invalid?from=night@example.org&to=me@example.org"
    command = [sys.executable, "-m", "flows.server.alerts"]
    how: dict[str, Any] = {"cwd": REPOSITORY, "env": served.client_environment()}
    refused = subprocess.run([*command, url], capture_output=True, text=True, **how)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: other users see a password among the arguments of a command")
    in_terminal = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])", *command, "-"]
    with subprocess.Popen(in_terminal, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **how) as process:
        assert process.stdin
        assert process.stdout
        for answer in (f"{url}\n", "\n"):
            assert process.stdout.read(len(alerts.PROMPT)) == alerts.PROMPT.encode()
            process.stdin.write(answer.encode())
            process.stdin.flush()
            assert process.stdout.read(2) == b"\r\n"
        said = process.stdout.read()
        process.stdin.close()
    assert said.startswith(b"told from now on, to 1 address:")


def status(served: Served, path: str, headers: dict[str, str], method: str = "GET", body: str = "") -> int:
    """The answer of the server to somebody."""
    asked = Request(f"{served.api}/{path}", body.encode() or None, headers, method=method)
    try:
        with urlopen(asked, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return int(error.code)


def test_other_pages_and_users_cannot_use_the_server(served: Served) -> None:
    json_type = {"content-type": "application/json"}
    assert status(served, "block_types/slug/secret", {}) == 401
    assert status(served, "flow_runs/filter", json_type, "POST", "{}") in (401, 403)
    authorized = {"authorization": served.headers["authorization"]}
    assert status(served, "block_types/slug/secret", authorized) == 200
    assert status(served, "flow_runs/filter", {**json_type, **authorized}, "POST", "{}") == 403, "no token"
    assert status(served, "flow_runs/filter", {**json_type, **served.headers}, "POST", "{}") == 200
    page = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    assert status(served, "flow_runs/", page, "OPTIONS") == 400
    for origin in (f"http://127.0.0.1:{served.port}", f"http://localhost:{served.port}"):
        asked = Request(f"{served.api}/flow_runs/", None, {**page, "origin": origin}, method="OPTIONS")
        with urlopen(asked, timeout=30) as answer:
            assert answer.headers["access-control-allow-origin"] == origin
    for program in ("flows.server.dead_runs", "flows.server.alerts", "flows.full"):
        words = ["https://example.org"] if program == "flows.server.alerts" else []
        environment = {**served.environment, "PREFECT_API_URL": served.api, "PREFECT_API_AUTH_STRING": "not:this"}
        done = subprocess.run(
            [sys.executable, "-m", program, *words],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            timeout=90,
        )
        assert done.returncode == 2
        lines = [line for line in done.stderr.splitlines() if not line.endswith(b": Prefect starts")]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith(b"error: the Prefect server at http://127.0.0.1:")
    folder = REPOSITORY / ".serve" / str(served.port)
    assert (folder.stat().st_mode & 0o777, (folder / "login").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_run_names_neither_a_command_nor_variables_of_its_process(served: Served, tmp_path: Path) -> None:
    touched, startup = tmp_path / "touched", tmp_path / "sitecustomize.py"
    startup.write_text(f"open({str(touched)!r}, 'w')")
    nowhere = {"videos_dir": str(tmp_path / "nowhere"), "workspace_dir": str(tmp_path / "w")}
    variables = {"command": f"touch {touched}", "env": {"PYTHONPATH": str(tmp_path)}}
    run = served.begin("full/nightly-train", parameters=nowhere, job_variables=variables)
    wait_for(lambda: served.state(run) == "Failed", served)  # the flow has run, which finds no videos
    assert not touched.exists()


def test_serve_is_idempotent_and_stop_leaves_no_process(served: Served) -> None:
    again = subprocess.run(
        served.command("start"), cwd=REPOSITORY, env=served.environment, capture_output=True, text=True, timeout=60
    )
    assert again.returncode == 0
    assert again.stdout.startswith("it runs already:")
    login = f".serve/{served.port}/login"
    assert f"export PREFECT_API_URL={served.api} PREFECT_API_AUTH_STRING=$(cat {login})" in again.stdout
    started = [served.process.pid, *children(served.process.pid)]
    assert len(started) > 3
    assert served.started(b"uvicorn") == [], "it asks the server that it has started, and no other one"
    stopped = subprocess.run(
        served.command("stop"), cwd=REPOSITORY, env=served.environment, capture_output=True, text=True, timeout=120
    )
    assert stopped.stdout == "ended\n"
    assert served.process.wait(60) == 0
    started_s = time.monotonic()
    while any(Path(f"/proc/{process}").exists() for process in started):
        assert time.monotonic() - started_s < 60
        time.sleep(0.1)
