"""What `make serve` starts, for tests that ask its server."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from nonlocal_core.process.lifeline import children

REPOSITORY = Path(__file__).parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
ANSWER_S, PATIENCE_S = 90, 300
"""seconds that an answer of the server may take, whose SQLite waits up to 60 for another writer, and until a run
is in the state that it must come to, also beside other programs"""


class Served:
    """What `make serve` has started."""

    def __init__(self, folder: Path, database: dict[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = {
            **kept,
            **database,
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        }
        self.out = folder / "serve.out"
        with self.out.open("w") as out:
            self.process = self.serve("start", stdout=out, stderr=out)

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path, database: dict[str, str]) -> Iterator[Served]:
        """`make serve`, for as long as it is used."""
        made = cls(folder, database)
        try:
            wait_for(lambda: "end  " in made.out.read_text(), made)
            yield made
        finally:
            made.process.terminate()
            made.process.wait(120)
            shutil.rmtree(REPOSITORY / ".serve" / str(made.port), ignore_errors=True)

    def command(self, word: str) -> list[str]:
        return [sys.executable, "-m", "flows.server.serve", word, str(self.port)]

    def serve(self, word: str, **how: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(word), cwd=REPOSITORY, env=self.environment, **how)

    def prefect(self, *words: str) -> str:
        done = subprocess.run(
            [PREFECT, *words],
            cwd=REPOSITORY,
            env=self.client_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def login(self) -> str:
        return (REPOSITORY / ".serve" / str(self.port) / "login").read_text()

    def client_environment(self) -> dict[str, str]:
        return {**self.environment, "PREFECT_API_URL": self.api, "PREFECT_API_AUTH_STRING": self.login()}

    @functools.cached_property
    def headers(self) -> dict[str, str]:
        """What a client sends with each request, and a token against forged ones, which the server writes down."""
        sent = {"authorization": "Basic " + base64.b64encode(self.login().encode()).decode()}
        client = str(uuid.uuid4())
        with urlopen(Request(f"{self.api}/csrf-token?client={client}", headers=sent), timeout=ANSWER_S) as answer:
            token = json.loads(answer.read())["token"]
        return {**sent, "Prefect-Csrf-Client": client, "Prefect-Csrf-Token": token}

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"content-type": "application/json", **self.headers}
        asked = Request(f"{self.api}/{path}", data, headers, method=method)
        for _ in range(10):
            try:
                with urlopen(asked, timeout=ANSWER_S) as answer:
                    return json.loads(answer.read() or "null")
            except HTTPError as error:
                if error.code != 503:  # SQLite was busy; Prefect's own clients ask again too
                    raise
            time.sleep(0.5)
        raise AssertionError(f"{path}: the server is busy all the time")

    def alert(self, *urls: str) -> None:
        """Have the server tell what `flows.server.alerts` makes of addresses."""
        command = [sys.executable, "-m", "flows.server.alerts", *urls]
        subprocess.run(command, cwd=REPOSITORY, env=self.client_environment(), check=True, timeout=120)

    def state(self, run: str) -> str:
        return str(self.ask(f"flow_runs/{run}")["state"]["name"])

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask("health"))
        return False

    def finished(self, run: str, task: str) -> int:
        """How many task runs of a name have completed in a flow run."""
        asked = {
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"name": {"like_": task}, "state": {"type": {"any_": ["COMPLETED"]}}},
        }
        names = [found["name"] for found in self.ask("task_runs/filter", asked)]
        return sum(re.fullmatch(rf"{task}(-\d+)?", name) is not None for name in names)

    def begin(self, name: str, **state: Any) -> str:
        """The id of a new run of a deployment."""
        deployment = self.ask(f"deployments/name/{name}")
        return str(self.ask(f"deployments/{deployment['id']}/create_flow_run", state)["id"])

    def started(self, words: bytes) -> list[int]:
        """The processes of `make serve` whose command has these words."""
        found = []
        for process in children(self.process.pid):
            with contextlib.suppress(OSError):  # it has ended since
                if words.replace(b" ", b"\0") in Path(f"/proc/{process}/cmdline").read_bytes():
                    found.append(process)
        return found


def wait_for(condition: Callable[[], Any], served: Served) -> None:
    started_s = time.monotonic()
    while not condition():
        assert served.process.poll() is None, served.out.read_text()
        logs = "\n".join(
            file.read_text()[-3000:] for file in (REPOSITORY / ".serve" / str(served.port)).glob("*.log")
        )
        assert time.monotonic() - started_s < PATIENCE_S, served.out.read_text() + logs
        time.sleep(0.2)


def steps(workspace_dir: Path) -> list[int]:
    lines = [line for file in workspace_dir.glob("train/*/log.jsonl") for line in file.read_text().splitlines()]
    return [int(json.loads(line)["step"]) for line in lines if line.endswith("}")]
