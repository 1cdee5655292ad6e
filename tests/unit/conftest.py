from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from registered_run import Registered, make_registered
from s3_server import S3, serve
from small import Toy, small_config

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index

T = TypeVar("T")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], T]) -> T:
    """What is made in a folder by the first process of the tests that asks for it."""
    processes = os.environ.get("PYTEST_XDIST_WORKER")
    top = factory.getbasetemp().parent if processes else factory.getbasetemp()
    with (top / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = top / f"{name}.pickle"
        if not result.exists():
            result.write_bytes(pickle.dumps(make(top / name)))
        made: T = pickle.loads(result.read_bytes())
    return made


def make_toy(folder: Path) -> Toy:
    videos_dir = make_toy_videos(folder / "videos", 12)
    workspace, config = Workspace(folder / "workspace"), small_config()
    manifest = index(videos_dir, config, workspace)
    return Toy(videos_dir, workspace.root, manifest, cache(manifest, config, workspace))


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """12 toy videos, indexed and cached; whoever writes takes `toy.workspace(tmp_path)`."""
    return once(tmp_path_factory, "toy", make_toy)


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    made = once(tmp_path_factory, "registered", make_registered)
    own = tmp_path_factory.mktemp("own") / "workspace"
    shutil.copytree(made.workspace.root, own)
    return made._replace(workspace=Workspace(own))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One with nothing in it; some files have their own."""
    return Workspace(tmp_path)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server with an empty bucket; each test takes a folder of its own."""
    with pytest.MonkeyPatch.context() as patch, serve(tmp_path_factory.mktemp("s3"), "bucket") as server:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("no_proxy", "127.0.0.1")
        yield server


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that files are fetched to."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return tmp_path / "temporary"
