"""The lock: every package that is installed, in one version, with the hashes of its files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
LOCK = (REPOSITORY / "requirements-lock.txt").read_text()
RUN_LOCK = (REPOSITORY / "requirements-run.txt").read_text()
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
LOCKED_EXTRAS = ("dev", "docs", "lock", "dask", "run", "tensorboard")
RUN_EXTRAS = ("run",)
ONLY_ON_X86 = {"decord", "openvino"}


def locked(text: str) -> list[tuple[Requirement, list[str]]]:
    """Each entry with the rest of its lines."""
    entries = text.replace(" \\\n", "\n").split("\n")
    found: list[tuple[Requirement, list[str]]] = []
    for line in entries:
        if line.startswith("    "):
            found[-1][1].append(line.strip())
        elif line and not line.startswith("#"):
            found.append((Requirement(line), []))
    return found


def asked_for(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """What pyproject.toml asks for: the build, the program, the extras that `make` installs."""
    asked = PYPROJECT["build-system"]["requires"] + PYPROJECT["project"]["dependencies"]
    for name in extras:
        asked += PYPROJECT["project"]["optional-dependencies"][name]
    return (requirement for text in asked if (requirement := Requirement(text)).name != "nonlocal-i3d")


@pytest.mark.parametrize("text", [LOCK, RUN_LOCK], ids=["all", "runs"])
def test_every_entry_is_one_version_with_hashes(text):
    entries = locked(text)
    assert len(entries) > 100
    for requirement, hashes in entries:
        (specifier,) = requirement.specifier
        assert (specifier.operator, "*" in specifier.version) == ("==", False), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line) for line in hashes), requirement


@pytest.mark.parametrize("text", [LOCK, RUN_LOCK], ids=["all", "runs"])
def test_the_lock_names_no_place(text):
    assert not re.search(r"://|^-|@|file:", text, re.MULTILINE)


def versions_in(text: str, version: str, machine: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package that is installed on Linux."""
    here = {"python_version": version, "python_full_version": f"{version}.9"}
    here |= {"sys_platform": "linux", "platform_machine": machine}
    return {
        canonicalize_name(entry.name): (next(iter(entry.specifier)).version, hashes)
        for entry, hashes in locked(text)
        if entry.marker is None or entry.marker.evaluate(here)
    }


@pytest.mark.parametrize("version", ["3.11", "3.12"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("text", "extras"), [(LOCK, LOCKED_EXTRAS), (RUN_LOCK, RUN_EXTRAS)], ids=["all", "runs"])
def test_all_that_pyproject_asks_for_is_locked(version, machine, text, extras):
    asked = list(asked_for(extras))
    assert {"mindspore", "setuptools", "pip"} <= {one.name for one in asked}
    found = versions_in(text, version, machine)
    assert {name in found for name in ONLY_ON_X86} == {machine == "x86_64"}
    for requirement in asked:
        if requirement.marker is None or requirement.marker.evaluate(
            {"sys_platform": "linux", "platform_machine": machine}
        ):
            assert requirement.specifier.contains(found[canonicalize_name(requirement.name)][0]), requirement


def test_what_runs_need_is_a_part_of_the_whole_lock():
    whole, part = (versions_in(text, "3.11", "x86_64") for text in (LOCK, RUN_LOCK))
    assert part.items() <= {name: whole[name] for name in part}.items()
    assert len(part) < 0.7 * len(whole)
    assert not part.keys() & {"pytest", "ruff", "mypy", "mkdocs-material", "moto", "dask", "uv"}


class Osv(BaseHTTPRequestHandler):
    """OSV's interface, with one hole in numpy or none."""

    has_hole = False

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        events = [{"introduced": "0"}, {"fixed": "2.0.0"}]
        package = {"name": "numpy", "ecosystem": "PyPI"}
        affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
        hole = {
            "id": "PYSEC-2099-1",
            "modified": "2099-01-01T00:00:00Z",
            "affected": affected,
            "summary": "a hole",
        }
        found = {"vulns": [hole]} if self.has_hole and asked["package"]["name"] == "numpy" else {}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def osv() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Osv)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def audited(port: int) -> tuple[int, list[str]]:
    command = [sys.executable, ".ci/audit.py", f"--osv-url=http://127.0.0.1:{port}/v1/query"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.stderr == ""
    return ran.returncode, ran.stdout.splitlines()


@pytest.mark.parametrize("has_hole", [True, False])
def test_a_known_hole_is_named(osv, has_hole, monkeypatch):
    monkeypatch.setattr(Osv, "has_hole", has_hole)
    code, lines = audited(osv.server_port)
    assert code == has_hole
    assert lines[:-1] == ["numpy 1.26.4: PYSEC-2099-1, mended in 2.0.0"] * has_hole
    assert re.fullmatch(rf"\d{{3}} packages looked up, {has_hole:d} known holes", lines[-1])


def test_a_database_that_cannot_be_asked_does_not_look_green(osv):
    port = osv.server_port
    osv.server_close()
    code, (line,) = audited(port)
    assert code == 3
    assert line.startswith("NOT AUDITED: OSV's database cannot be asked (")
