"""How often each stage is tried again, after how long, and what is worth trying again."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.task_runners import ThreadPoolTaskRunner

from nonlocal_core.errors import is_worth_retrying


class Retry(NamedTuple):
    """Tries after the first one, and the wait before each."""

    tries: int
    delays_s: list[float]


RETRIES = {
    "index": Retry(3, [5, 30, 120]),
    "cache": Retry(3, [5, 30, 120]),
    "train": Retry(2, [10, 60]),
    "evaluate": Retry(2, [10, 60]),
    "register": Retry(3, [2, 10, 30]),
}


def may_end_better(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether to try a failed task again: not after a person's mistake, a diverged loss or a mistake of ours."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and is_worth_retrying(error)


def num_shard_workers() -> int:
    """Shards that are built at the same time: one on each core."""
    return os.cpu_count() or 1


def shard_runner() -> Any:
    """The task runner of a flow with shards."""
    return ThreadPoolTaskRunner(max_workers=num_shard_workers())


def options(stage: str) -> dict[str, Any]:
    """The arguments of a stage's `@task`.

    Prefect's own result cache is off: the workspace alone decides what is done.
    """
    retry = RETRIES[stage]
    return {
        "retries": retry.tries,
        "retry_delay_seconds": retry.delays_s,
        "retry_jitter_factor": 0.2,
        "retry_condition_fn": may_end_better,
        "cache_policy": NO_CACHE,
        "persist_result": False,
        "tags": [stage],
    }
