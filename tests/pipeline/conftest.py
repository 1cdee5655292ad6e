"""One Prefect server for all tests here, one of `make serve`, and a process that runs commands."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests import commands, postgres
from tests.pipeline.served import Served


@pytest.fixture(scope="package")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A server and database of its own; an idle one costs two seconds a minute, so it ends with this folder."""
    from prefect.settings import (
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_HOME,
        PREFECT_LOCAL_STORAGE_PATH,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect")
    settings = {
        PREFECT_HOME: home,
        PREFECT_LOCAL_STORAGE_PATH: home / "storage",
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
    }
    with temporary_settings(settings), prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="package")
def environment(prefect_server: None) -> dict[str, str]:
    """The environment of a command that uses the tests' server."""
    from prefect.settings import PREFECT_API_URL

    return {**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())}


@pytest.fixture(scope="package")
def warm(environment: dict[str, str]) -> Iterator[commands.Warm]:
    """Runs commands of flows/ that use the tests' server."""
    started = commands.Warm(environment)
    yield started
    started.end()


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Served]:
    with contextlib.ExitStack() as stack:
        on_postgres = request.config.getoption("--postgres")
        database = {postgres.VARIABLE: stack.enter_context(postgres.running())} if on_postgres else {}
        yield stack.enter_context(Served.running(tmp_path_factory.mktemp("served"), database))
