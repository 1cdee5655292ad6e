"""What a night with many shards leaves in Prefect's database, for benchmarks/scale.py.

The tasks are those of the cache stage (tasks/cache.py), mapped by the pool of a night, with their retries, names,
log and progress bar.  `build_shard` decodes nothing: it reports its videos as done, in two steps.  A real shard
says a line more each 10 s, and moves its bar each 5 s.  The server is a process of its own with this project's
settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databases

from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.process.progress import Progress
from nonlocal_core.stages import cache as stage
from tests import postgres

TABLES = ("task_run", "task_run_state", "log", "artifact", "events", "event_resources")
SETTLED_S, LONGEST_S = 12.0, 1200.0
"""seconds without a new row after which the server is done; longest wait for that"""
VIDEOS = 128


def build_shard(shard: stage.CacheShard, *_: object) -> None:
    """In the place of `stages.cache.build_shard`."""
    progress = Progress("cache", f"shard {shard.number}", VIDEOS, "videos")
    progress.advance(VIDEOS // 2)
    progress.advance(VIDEOS // 2)


def night(num_shards: int, workspace_dir: Path) -> dict[str, float]:
    """Seconds and peak memory of a flow's process that maps so many shards."""
    from prefect import flow
    from scale_stages import peak_mb

    from tasks import cache, policy

    stage.build_shard = build_shard  # type: ignore[assignment]
    shards = [stage.CacheShard(key="0" * 16, number=n, name=f"{n:016x}") for n in range(num_shards)]
    manifest = Manifest(
        key="0" * 16, digest="0" * 16, path="index/" + "0" * 16, videos_dir="/data/videos",
        num_videos=VIDEOS * num_shards, num_ok=VIDEOS * num_shards, num_labels=400,
    )  # fmt: skip

    @flow(name="full")
    def run(config: Config, workspace: Workspace) -> float:
        with policy.shard_pool("threads") as pool:
            began_s = time.perf_counter()
            pool.map(cache._shard, shards, manifest=manifest, config=config, workspace=workspace)
            return time.perf_counter() - began_s

    began_s = time.perf_counter()
    mapped_s = run(resolve("nl_i3d_r50_32x2", {}), Workspace(workspace_dir))
    return {"mapped_s": mapped_s, "flow_s": time.perf_counter() - began_s, "flow_mb": peak_mb()}


@contextlib.contextmanager
def _server(on: str) -> Iterator[tuple[databases.Server, str]]:
    """A new server that answers, and the address of its Postgres."""
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(postgres.running()) if on == "Postgres" else ""
        server = databases.Server(Path(stack.enter_context(tempfile.TemporaryDirectory())), address)
        stack.callback(server.end)
        server.start("server", "server", "start", "--host", "127.0.0.1", "--port", str(server.port))
        while server.ask("health") is None:
            time.sleep(0.5)
        yield server, address


def counts(folder: Path, address: str) -> dict[str, int]:
    """Rows of the tables that grow, and bytes of the database."""
    if address:
        return asyncio.run(_counts_of_postgres(address.replace("+asyncpg", "")))
    file = folder / "prefect.db"
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as database:
        found = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}
    return {**found, "bytes": sum(part.stat().st_size for part in folder.glob("prefect.db*"))}


async def _counts_of_postgres(address: str) -> dict[str, int]:
    import asyncpg  # type: ignore[import-untyped]

    database = await asyncpg.connect(address)
    try:
        found = {name: await database.fetchval(f"SELECT count(*) FROM {name}") for name in TABLES}
        return {**found, "bytes": await database.fetchval("SELECT pg_database_size('prefect')")}
    finally:
        await database.close()


def settled(folder: Path, address: str) -> tuple[dict[str, int], float]:
    """The counts once no row has come for a while, and after how long the last one came."""
    began_s = changed_s = time.monotonic()
    found = counts(folder, address)
    while time.monotonic() - changed_s < SETTLED_S and time.monotonic() - began_s < LONGEST_S:
        time.sleep(1)
        now = counts(folder, address)
        if {**now, "bytes": 0} != {**found, "bytes": 0}:
            changed_s = time.monotonic()
        found = now
    return found, changed_s - began_s


def measure(on: str, num_shards: int) -> dict[str, Any]:
    """What a night of so many shards takes and leaves, on a new server."""
    with _server(on) as (server, address):
        before, _ = settled(server.folder, address)
        command = [sys.executable, __file__, str(num_shards), str(server.folder / "workspace")]
        done = subprocess.run(
            command, env=server.environment | _search(), check=True, capture_output=True, text=True
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        after, lag_s = settled(server.folder, address)
        (run,) = server.ask("flow_runs/filter", {}) or [{"id": "", "state_type": "unknown"}]
        began_s = time.perf_counter()
        shown = server.ask(f"flow_runs/{run['id']}/graph-v2")
        graph_s = time.perf_counter() - began_s
        status = Path(f"/proc/{server.programs[0].pid}/status").read_text()
        return {
            **found,
            **{name: after[name] - before[name] for name in after},
            "empty_bytes": before["bytes"],
            "lag_s": lag_s,
            "graph_s": graph_s if shown else None,
            "server_mb": int(status.split("VmHWM:")[1].split()[0]) / 1024,
            "state": run["state_type"],
            "locked": server.lines("server.log", "database is locked"),
        }


def _search() -> dict[str, str]:
    here = Path(__file__).parent
    return {"PYTHONPATH": f"{here.parent}:{here}"}


if __name__ == "__main__":
    print(json.dumps(night(int(sys.argv[1]), Path(sys.argv[2]))))
