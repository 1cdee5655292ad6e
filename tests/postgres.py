"""A Postgres for one test run, made by the programs of this machine and removed at its end: make test-postgres."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"


def programs() -> Path | None:
    """The newest folder with initdb and pg_ctl, if there is one."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The address of an empty database for Prefect, for as long as it runs."""
    folder = programs()
    assert folder, "there is no Postgres: apt install postgresql"
    # Postgres refuses to be run by root.
    as_whom = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    home = Path("/var/lib/postgresql") if as_whom else None
    made = subprocess.run(
        [*as_whom, "mktemp", "-d", "-p", str(home or tempfile.gettempdir())],
        cwd="/",
        check=True,
        capture_output=True,
        text=True,
    )
    data = Path(made.stdout.strip())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pg_ctl = [*as_whom, str(folder / "pg_ctl"), "-D", str(data / "data"), "-w", "-l", str(data / "log")]
    initdb = [*as_whom, str(folder / "initdb"), "-D", str(data / "data"), "-U", "prefect", "--auth=trust"]
    try:
        subprocess.run(initdb, cwd="/", check=True, capture_output=True, text=True)
        subprocess.run(
            [*pg_ctl, "-o", f"-p {port} -c listen_addresses=127.0.0.1 -k {data}", "start"],
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = ["-h", "127.0.0.1", "-p", str(port), "-U", "prefect"]
            subprocess.run(
                [str(folder / "createdb"), *address, "prefect"],
                cwd="/",
                check=True,
                capture_output=True,
                text=True,
            )
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
        finally:
            subprocess.run(
                [*pg_ctl, "-m", "fast", "stop"],
                cwd="/",
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    finally:
        shutil.rmtree(data)
