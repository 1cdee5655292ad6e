"""The retries of each stage: how many, after how long, and after which errors; and where shards run."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlsplit

from prefect import Task, runtime, unmapped
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from nonlocal_core.errors import ConfigError, is_worth_retrying
from nonlocal_core.process import workers
from tasks import console

P = ParamSpec("P")
R = TypeVar("R")

RUNNERS = ("threads", "processes", "dask", "ray")
PORTS = {"dask": 8786, "ray": 10001}
START = {"dask": "start one with `dask scheduler`", "ray": "start one with `ray start --head`"}


class Retry(NamedTuple):
    """The retries of a task."""

    num_retries: int
    first_delay_s: float
    """delay before the first retry; each later one is `DELAY_FACTOR` times as long, plus or minus `JITTER`"""
    timeout_s: float | None
    """seconds after which a try is ended, whatever it does; a shard has no such limit"""

    @property
    def delays_s(self) -> list[float]:
        """The delay before each retry."""
        return [self.first_delay_s * DELAY_FACTOR**number for number in range(self.num_retries)]


DELAY_FACTOR = 5
JITTER = 0.2
HOUR_S = 3600.0
RETRIES = {
    "index": Retry(3, 5, 6 * HOUR_S),
    "cache": Retry(3, 5, 24 * HOUR_S),
    "train": Retry(2, 10, None),  # it may take weeks; out_of_memory.py halves a batch that is too large
    "features": Retry(2, 10, None),
    "evaluate": Retry(2, 10, None),
    "register": Retry(3, 2, HOUR_S),
    "predict": Retry(2, 10, None),
}


def may_end_better(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether to try a failed task again: not after a user's mistake, a diverged loss or a bug."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_worth_retrying(error)


def run_name() -> str:
    """The name of the running flow's run: flow, preset and date."""
    run = runtime.flow_run
    return f"{run.flow_name} {run.parameters['preset']} {run.scheduled_start_time:%Y-%m-%d %H:%M:%S}"


def named(task: Task[P, R], name: str) -> Task[P, R]:
    """The task whose runs have a name in theirs, of a variant or a fold; unchanged if it is empty."""
    if not name:
        return task
    stage = task.task_run_name if isinstance(task.task_run_name, str) else task.name
    escaped = name.replace("{", "{{").replace("}", "}}")  # Prefect fills in what stands in braces
    return task.with_options(task_run_name=f"{stage} {escaped}")


def num_shard_workers() -> int:
    """The number of shards that are built at the same time: one on each core."""
    return os.cpu_count() or 1


class ShardPool:
    """Where shards run.  It starts with the first of them: a run that finds everything finished starts none."""

    def __init__(self, runner: str, stack: contextlib.ExitStack) -> None:
        self.runner, self.stack = runner, stack
        self.entered: Any = None

    def map(self, task: Task[..., Any], shards: Sequence[Any], **same: Any) -> None:
        """Run a task once for each shard, each with the arguments `same`.

        Raises: the error of a shard that failed after all retries.
        """
        if not shards:
            return
        with console.deaf(
            starts_processes=self.runner != "threads"
        ):  # Ctrl-C in a terminal must not end the processes that start here
            if self.entered is None:
                self.entered = self.stack.enter_context(workers.interruptible(shard_runner(self.runner)))
            arguments = {"shard": shards, **{name: unmapped(value) for name, value in same.items()}}
            futures = self.entered.map(task, arguments)
        futures.result()


@contextlib.contextmanager
def shard_pool(runner: str) -> Iterator[ShardPool]:
    """One pool for all shards of a run, on a runner named as in `check_runner`; it ends with the block."""
    with contextlib.ExitStack() as stack:
        pool = ShardPool(runner, stack)
        try:
            yield pool
        except BaseException as error:
            if pool.entered and (isinstance(error, BrokenProcessPool) or not isinstance(error, Exception)):
                _expect_its_end(pool.entered)
            raise


def _expect_its_end(pool: Any) -> None:
    """Keep a pool from reacting when its processes die.

    Dask would warn of each process and start it again.  Prefect would wait for the rest of a message, or for the
    lock of the pipe that a killed process held.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if cluster := getattr(pool, "_cluster", None):
        for nanny in cluster.workers.values():
            nanny.close_gracefully()
    if isinstance(pool, ProcessPoolTaskRunner):
        pool._subprocess_message_queue = pool._message_forwarding_thread = None


def check_runner(name: str) -> None:
    """Check that shards can run on a runner: threads, processes, a new cluster on this machine, or a running one.

    Raises: ConfigError if there is no such runner, its package is not installed, or no cluster answers.
    """
    if name in ("threads", "processes"):
        return
    kind = _cluster(name)
    if kind is None:
        raise ConfigError(
            f"there is no runner {name!r}: name threads, processes, dask, ray, tcp://HOST:{PORTS['dask']} or"
            f" ray://HOST:{PORTS['ray']}"
        )
    if importlib.util.find_spec(f"prefect_{kind}") is None:
        raise ConfigError(f"runner={name} needs {kind.title()}: pip install -e '.[{kind}]'")
    if name != kind:
        try:
            place = urlsplit(name)
            socket.create_connection((place.hostname, place.port or PORTS[kind]), timeout=10).close()
        except (OSError, ValueError):
            raise ConfigError(f"no {kind.title()} cluster answers at {name}: {START[kind]}") from None


def _cluster(name: str) -> str | None:
    """The kind of cluster that a runner names: dask, ray or none."""
    if name == "dask" or name.startswith(("tcp://", "tls://")):
        return "dask"
    return "ray" if name == "ray" or name.startswith("ray://") else None


def shard_runner(name: str) -> Any:
    """The task runner of a name that `check_runner` accepts; one shard at a time on each core."""
    cores = num_shard_workers()
    if name == "threads":
        return ThreadPoolTaskRunner(max_workers=cores)
    if name == "processes":
        return ProcessPoolTaskRunner(max_workers=cores)
    if _cluster(name) == "ray":
        from prefect_ray import RayTaskRunner

        if name == "ray":
            return RayTaskRunner(init_kwargs={"num_cpus": cores, "include_dashboard": False})
        return RayTaskRunner(address=name)
    from prefect_dask import DaskTaskRunner

    if name == "dask":
        # On a slow machine the workers of a finished stage take longer to end than Dask waits before it warns.
        logging.getLogger("distributed.nanny").addFilter(_ends_in_time)
        # Port 0 means any free port: another cluster may run here.
        cluster = {"n_workers": cores, "threads_per_worker": 1, "dashboard_address": ":0"}
        return DaskTaskRunner(cluster_kwargs=cluster)
    return DaskTaskRunner(address=name)


def _ends_in_time(record: logging.LogRecord) -> bool:
    return "still alive after" not in record.getMessage()


def shard_options(stage: str) -> dict[str, Any]:
    """The arguments of the `@task` of a stage's shards.

    Shards have no time limit: Prefect cannot end a waiting thread, and would only warn.  A shard waits for one
    video at a time, and runtime.video_timeout_s limits that wait.
    """
    return {**options(stage), "timeout_seconds": None}


def options(stage: str) -> dict[str, Any]:
    """The arguments of a stage's `@task`.

    Prefect's own result cache is off: the workspace alone decides what is finished.  Tasks have no tags: for each
    tag Prefect writes to its database, and in SQLite such a write often waits 2 s for others.
    """
    retry = RETRIES[stage]
    return {
        "retries": retry.num_retries,
        "retry_delay_seconds": retry.delays_s,
        "retry_jitter_factor": JITTER,
        "timeout_seconds": retry.timeout_s,
        "retry_condition_fn": may_end_better,
        "cache_policy": NO_CACHE,
        "persist_result": False,
    }
