"""The retry table, on real tasks: what is tried again, how often, and what a time limit does."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import Task, flow, runtime, task

import tasks
from flows.full import full
from nonlocal_core.errors import ChildError, ConfigError, DivergenceError, InputError
from tasks import policy
from tasks.signature import sign


@pytest.fixture
def quick(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table with its waits a thousandth as long."""
    table = {
        stage: retry._replace(first_delay_s=retry.first_delay_s / 1000, timeout_s=1.0)
        for stage, retry in policy.RETRIES.items()
    }
    monkeypatch.setattr(policy, "RETRIES", table)


def tries(stage: str, work: Callable[[], Any]) -> int:
    """How often a task of a stage is tried until it ends."""
    tried = []

    @task(**policy.options(stage))
    def attempt() -> None:
        tried.append(time.monotonic())
        work()

    @flow
    def run() -> None:
        attempt(return_state=True)

    run(return_state=True)
    return len(tried)


@pytest.mark.parametrize("name", ["", "daria", "{odd} {0}"])
def test_runs_of_a_named_task_have_the_name_in_theirs(prefect_server: None, name: str) -> None:
    @task(name="train", **policy.options("train"))
    def train() -> str:
        return str(runtime.task_run.name)

    @task(name="shard", task_run_name="shard-{shard}", **policy.shard_options("index"))
    def build(shard: int) -> str:
        return str(runtime.task_run.name)

    @flow
    def run() -> list[str]:
        return [policy.named(train, name)(), policy.named(build, name)(3)]

    first, second = run()
    assert re.fullmatch(rf"train {re.escape(name)}" if name else r"train-\w+", first)
    assert second == f"shard-3 {name}".strip()


def fails_with(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("stage", "error", "expected"),
    [
        ("index", OSError("the disk does not answer"), 4),
        ("cache", MemoryError(), 4),
        ("train", ChildError("was killed by SIGKILL"), 3),
        ("train", ChildError("runs out of memory with half, too", worth_retrying=False), 1),
        ("train", DivergenceError("the loss is not finite"), 1),
        ("evaluate", RuntimeError("out of memory"), 3),
        ("evaluate", InputError("other labels"), 1),
        ("register", ZeroDivisionError(), 1),
    ],
)
def test_trouble_with_files_and_memory_is_tried_again(
    quick: None, stage: str, error: Exception, expected: int
) -> None:
    assert tries(stage, fails_with(error)) == expected


@pytest.mark.timeout(480, method="thread")  # the other method takes the alarm that Prefect needs
def test_a_try_that_takes_too_long_is_ended_and_tried_again(quick: None) -> None:
    started_s = time.monotonic()
    assert tries("index", lambda: time.sleep(300)) == 4
    assert time.monotonic() - started_s < 100


def test_only_tasks_that_a_flow_calls_itself_have_a_time_limit() -> None:
    """Prefect ends a wait of the main thread; in threads, where shards run, it only warns that it cannot."""
    limited = {name for name, one in tasks_by_name().items() if one.timeout_seconds is not None}
    assert {"index-plan", "index", "cache-plan", "cache", "register"} <= limited
    assert not any(name.endswith("-shard") for name in limited)
    assert {"index-shard", "cache-shard"} <= set(tasks_by_name())


def test_waits_grow() -> None:
    assert policy.RETRIES["index"].delays_s == [5, 25, 125]
    assert all(retry.num_retries == len(retry.delays_s) for retry in policy.RETRIES.values())


def test_no_task_waits_for_a_slot_of_a_tag() -> None:
    """Prefect asks its database for a slot of each tag, before and after every task."""
    found = {name: one.tags for name, one in tasks_by_name().items()}
    assert {"index", "cache", "train", "evaluate", "register"} <= set(found)
    assert not any(found.values()), found


def tasks_by_name() -> dict[str, Task[..., Any]]:
    modules = [importlib.import_module(f"tasks.{name}") for _, name, _ in pkgutil.iter_modules(tasks.__path__)]
    return {item.name: item for module in modules for item in vars(module).values() if isinstance(item, Task)}


@pytest.mark.parametrize(
    ("words", "mistake"), [({"preset": "tinny"}, "tinny"), ({"videos_dir": "nowhere"}, "nowhere")]
)
def test_a_mistake_of_a_person_is_logged_without_a_traceback(
    prefect_server: None, tmp_path: Path, caplog: pytest.LogCaptureFixture, words: dict[str, Any], mistake: str
) -> None:
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addHandler(caplog.handler)
    try:
        with pytest.raises((ConfigError, InputError)):
            full(**words, workspace_dir=tmp_path)
    finally:
        for name in ("prefect.flow_runs", "prefect.task_runs"):
            logging.getLogger(name).removeHandler(caplog.handler)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert any(mistake in record.getMessage() for record in errors)
    assert [record for record in errors if record.exc_info or "\n" in record.getMessage()] == []


def test_a_fault_of_ours_keeps_its_traceback(prefect_server: None, caplog: pytest.LogCaptureFixture) -> None:
    @flow(on_running=[sign])
    def broken() -> None:
        raise KeyError("ours")

    logging.getLogger("prefect.flow_runs").addHandler(caplog.handler)
    try:
        with pytest.raises(KeyError):
            broken()
    finally:
        logging.getLogger("prefect.flow_runs").removeHandler(caplog.handler)
    assert any(record.exc_info for record in caplog.records)


def test_every_run_of_a_task_is_called_like_it_and_not_by_a_number() -> None:
    modules = [importlib.import_module(f"tasks.{module.name}") for module in pkgutil.iter_modules(tasks.__path__)]
    ours = {thing for module in modules for thing in vars(module).values() if isinstance(thing, Task)}
    assert len(ours) > 15
    assert [one.name for one in ours if not one.task_run_name] == []
