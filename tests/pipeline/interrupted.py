"""A command that makes what is rare after Ctrl-C certain.

Prefect listens slowly, so a process of a pool is killed in the middle of a message.
Dask is left slowly, so it sees that its processes are gone.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.logging import get_run_logger
from prefect.task_runners import ProcessPoolTaskRunner
from prefect_dask import DaskTaskRunner

from flows import catalogue, command_line
from tasks import policy, report


@task(name="shard", **policy.shard_options("cache"))
def shard(shard: int, folder: Path) -> None:
    report.show_in_prefect()
    if shard > 1:
        log = get_run_logger()
        log.warning("the first message")
        log.warning("x" * 1_000_000)  # more than a pipe holds
        (folder / str(shard)).touch()
        time.sleep(3600)


@flow(name="interrupted")
def interrupted(preset: str, overrides: dict[str, Any], workspace_dir: Path, runner: str) -> None:
    with policy.shard_pool(runner) as pool:
        pool.map(shard, range(4), folder=workspace_dir)


def leave_slowly(self: DaskTaskRunner, *error: Any) -> None:
    time.sleep(3)
    left(self, *error)


left = DaskTaskRunner.__exit__
if __name__ == "__main__":
    ProcessPoolTaskRunner._process_subprocess_message = lambda *_: time.sleep(3600)  # type: ignore[method-assign]
    DaskTaskRunner.__exit__ = leave_slowly
    command = catalogue.COMMANDS["prepare"]._replace(name="interrupted", purpose="Shards that take an hour.")
    command_line.run(command, lambda: interrupted)
