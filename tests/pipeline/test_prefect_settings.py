"""Prefect's settings are ours from any folder."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from flows.server.prefect_settings import SETTINGS

REPOSITORY = Path(__file__).parents[2]
SEEN = """
from prefect.settings import get_current_settings
from flows.server import prefect_settings
prefect_settings.apply()
now = get_current_settings()
print(now.server.ephemeral.startup_timeout_seconds, now.flows.heartbeat_frequency)
print(now.server.analytics_enabled, now.logging.extra_loggers, now.server.concurrency.lease_storage)
"""


CHECKED = "from flows import session; session.check_database()"
STARTED = "from flows import session; session.run_to_the_end(lambda watch: session.start_server(), 'stopped')"


def flat(tree: dict[str, object], prefix: str = "PREFECT") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}_{key.upper()}"
        found |= flat(value, name) if isinstance(value, dict) else {name: str(value).lower()}
    return found


def test_they_are_those_of_pyproject() -> None:
    there = flat(tomli.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["prefect"])
    plugins = {name for name in there if name.startswith("PREFECT_PLUGINS")}  # of the command `prefect` alone
    assert {name: value for name, value in there.items() if name not in plugins} == SETTINGS


def test_they_hold_in_another_folder_and_the_environment_counts_more(tmp_path: Path) -> None:
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**others, "PREFECT_HOME": str(tmp_path), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "45"}
    done = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        "120 45",
        f"False ['nonlocal_core'] {SETTINGS['PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE']}",
    ], done.stderr


@pytest.mark.parametrize(
    ("home", "says"),
    [("garbage", "file is not a database"), ("a file/below", "Not a directory"), ("locked", None)],
)
def test_a_database_that_cannot_be_used_is_one_line_at_once(tmp_path: Path, home: str, says: str | None) -> None:
    """Prefect would try for two minutes and print a traceback each time; one that another server uses is fine."""
    (tmp_path / "a file").touch()
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "prefect.db").write_bytes(bytes(range(256)) * 32)
    (tmp_path / "locked").mkdir()
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with contextlib.closing(sqlite3.connect(tmp_path / "locked" / "prefect.db")) as database:
        database.execute("BEGIN IMMEDIATE")
        done = subprocess.run(
            [sys.executable, "-c", STARTED if says else CHECKED],
            cwd=tmp_path,
            env={**others, "PREFECT_HOME": str(tmp_path / home), "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    if says is None:
        assert (done.returncode, done.stderr) == (0, "")
        return
    *others_say, line = done.stderr.splitlines()
    assert len(others_say) == (4 if says == "Not a directory" else 0), "Prefect's own warnings of its home"
    assert done.returncode == 2
    assert line.startswith(f"error: Prefect's database {tmp_path / home}/prefect.db cannot be used (")
    assert says in line


@pytest.mark.parametrize(("version", "code"), [("0123456789ab", 2), (None, 0), ("a1b2c3d4e5f7", 0)])
def test_a_database_of_a_newer_prefect_is_one_line(tmp_path: Path, version: str | None, code: int) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        if version:
            database.execute("INSERT INTO alembic_version VALUES (?)", [version])
        database.commit()
    started = (
        "from flows import session; session.run_to_the_end(lambda watch: session.check_database(), 'stopped')"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", started],
        cwd=tmp_path,
        env={**others, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert ("was made by a newer Prefect" in done.stderr) == bool(code)
    assert done.stderr.count("\n") == bool(code)


@pytest.mark.parametrize(
    ("server", "shown"),
    [({}, "python -m flows.server.serve start 4200"), ({"PREFECT_API_URL": "http://h:43/api"}, "http://h:43\n")],
)
def test_the_pages_are_those_of_the_server_that_was_named(server: dict[str, str], shown: str) -> None:
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    asked = [sys.executable, "-c", "from flows import session; print(session.ui())"]
    done = subprocess.run(
        asked, cwd=REPOSITORY, env={**others, **server}, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith(shown), done.stderr
