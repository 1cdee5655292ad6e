"""How long runs take when several workers share a Prefect server, on SQLite and on Postgres.

    python benchmarks/databases.py [--rounds 3] [--workers 2 3 5]

Seconds, medians over the rounds.  Each round has a new server and so many worker processes of one pool, each with
three runs of a flow that writes somewhat more than a night with nothing to do: some tasks one after the other,
shards that are mapped, log lines and artifacts.  A run's time is that from its start to its end on the server.
`locked` counts the lines of the server's log that say that the database was locked, `lost` those of the workers
that say that an event was lost.  Postgres is that of this machine (apt install postgresql).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from flows.server import prefect_settings

sys.path.append(str(Path(__file__).parents[1]))
from tests import postgres

PREFECT = Path(sys.executable).with_name("prefect")
RUNS = 3
"""runs of each worker"""
LONGEST_S, END_S = 600.0, 10.0

FLOW = """
import logging, time
from pathlib import Path
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

@task(cache_policy=NO_CACHE, persist_result=False)
def stage(number):
    for line in range(10):
        get_run_logger().info("stage %d, line %d", number, line)
    bar = create_progress_artifact(0.0, key=f"stage-{number}")
    for percent in (50.0, 100.0):
        update_progress_artifact(bar, percent)
    create_markdown_artifact("as long as a table " * 50, key="page")

@task(cache_policy=NO_CACHE, persist_result=False)
def shard(number):
    get_run_logger().info("shard %d", number)

@flow
def night():
    for number in range(10):
        stage(number)
    shard.map(list(range(40))).result()

if __name__ == "__main__":
    source = night.from_source(str(Path(__file__).parent), "night.py:night")
    source.deploy("night", work_pool_name="pool", ignore_warnings=True, print_next_steps=False)
"""


class Round(NamedTuple):
    """What one round took."""

    median_s: float
    longest_s: float
    all_s: float
    locked: int
    lost: int


class Server:
    """A Prefect server in a folder of its own, and the programs that use it."""

    def __init__(self, folder: Path, database: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.programs = folder, list[subprocess.Popen[bytes]]()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            **prefect_settings.SETTINGS,
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(folder),
            "PREFECT_API_URL": self.api,
            **({postgres.VARIABLE: database} if database else {}),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }
        (folder / "night.py").write_text(FLOW)

    def start(self, name: str, *words: str) -> None:
        """Start a command of Prefect's; its output goes to a file."""
        with (self.folder / f"{name}.log").open("wb") as log:
            how: dict[str, Any] = {"cwd": self.folder, "env": self.environment, "stdout": log, "stderr": log}
            self.programs.append(subprocess.Popen([PREFECT, *words], start_new_session=True, **how))

    def run(self, *words: str | Path) -> None:
        """Run a command to its end."""
        subprocess.run(words, cwd=self.folder, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def ask(self, path: str, body: Any = None) -> Any:
        """The server's answer; None while it is busy or not there."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.api}/{path}", data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(asked, timeout=120) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def lines(self, pattern: str, *words: str) -> int:
        """How many lines of some logs have one of the words."""
        texts = [file.read_text(errors="replace") for file in self.folder.glob(pattern)]
        return sum(any(word in line for word in words) for text in texts for line in text.splitlines())

    def end(self) -> None:
        """End all programs, the server last."""
        for program in reversed(self.programs):
            program.terminate()
            try:
                program.wait(END_S)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


def one_round(on: str, workers: int) -> Round:
    """Runs of some workers on a new server with a new database."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres.running()) if on == "Postgres" else ""
        server = Server(Path(stack.enter_context(tempfile.TemporaryDirectory())), database)
        stack.callback(server.end)
        server.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(server.port))
        while server.ask("health") is None:
            time.sleep(0.5)
        server.run(PREFECT, "work-pool", "create", "pool", "--type", "process")
        server.run(sys.executable, "night.py")
        deployment = server.ask("deployments/name/night/night")["id"]
        for number in range(workers * RUNS):
            while server.ask(f"deployments/{deployment}/create_flow_run", {"name": f"{number}"}) is None:
                time.sleep(0.5)
        started_s = time.monotonic()
        for number in range(workers):
            server.start(f"worker-{number}", "worker", "start", "--pool", "pool", "--limit", "1")
        taken = times(server, workers * RUNS)
        locked = server.lines("server.log", "database is locked")
        lost = server.lines("worker-*.log", "dropped", "dropping", "failed to process item")
        return Round(statistics.median(taken), max(taken), time.monotonic() - started_s, locked, lost)


def times(server: Server, count: int) -> list[float]:
    """The seconds of all runs, once they have ended."""
    deadline_s = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline_s:
        asked = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
        runs = server.ask("flow_runs/filter", asked) or []
        if len(runs) == count:
            return [run["total_run_time"] for run in runs]
        time.sleep(1)
    raise SystemExit(f"the runs have not ended in {LONGEST_S:.0f} s")


def main() -> None:
    """Print a line for each number of workers and each database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 3, 5])
    given = parser.parse_args()
    print("| workers | database | a run, s | the longest, s | all, s | locked | lost |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for workers in given.workers:
        made: dict[str, list[Round]] = {"SQLite": [], "Postgres": []}
        for _ in range(given.rounds):
            for on, rounds in made.items():  # in turns
                rounds.append(one_round(on, workers))
                print(workers, on, rounds[-1], file=sys.stderr, flush=True)
        for on, rounds in made.items():
            middle = Round(*(statistics.median(values) for values in zip(*rounds, strict=True)))
            figures = f"{middle.median_s:.1f} | {middle.longest_s:.1f} | {middle.all_s:.1f}"
            print(f"| {workers} | {on} | {figures} | {middle.locked:.0f} | {middle.lost:.0f} |", flush=True)


if __name__ == "__main__":
    main()
