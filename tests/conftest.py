"""Prefect without telemetry or network, and MindSpore as it starts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator

import hypothesis
import pytest
from xdist.scheduler.loadfile import LoadFileScheduling

from nonlocal_core.process import importing
from tests import campaign, leftovers, processes

# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# A shell lets what it starts in the background ignore Ctrl-C, and all that this starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is compiled once need not be compiled by each of some thousand processes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What a stage sets on a CPU: without it, MindSpore's threads spin while they wait for each other.
os.environ["MS_DEV_HOST_BLOCKING_RUN"] = "1"

# Before anything imports Prefect.
os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_PLUGINS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    }
)


def pytest_addoption(parser: pytest.Parser) -> None:
    campaign.add_options(parser)
    parser.addoption("--postgres", action="store_true", help="give the server of test_nightly.py a Postgres")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(leftovers.Watch())
    campaign.configure(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the folders with the longest files first, so that at the end no process waits for another."""
    items.sort(key=lambda item: item.path.parent.name not in ("pipeline", "training", "tests"))


SERVED = ("test_dead_runs.py", "test_nightly.py")
"""what `make serve` is started for, once"""


class BySharedServer(LoadFileScheduling):
    """Each file stays in one process; so do those of pipeline/ that share a server, which takes 10 s to start."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        folder, _, name = file.rpartition("/")
        if not folder.endswith("pipeline"):
            return file
        return "served" if name in SERVED else "pipeline a-d" if name < "test_e" else "pipeline e-z"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    with importing.at_once():
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return processes.here()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    return BySharedServer(config, log)


@pytest.fixture(scope="session", autouse=True)
def home_of_caches(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the product keeps for a user stays with these tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("caches"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Leave the graph mode of an earlier test's training, in which every network would be compiled."""
    if mindspore := sys.modules.get("mindspore"):
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
