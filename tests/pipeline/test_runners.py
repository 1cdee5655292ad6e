"""The same shards on threads, on processes, on a Dask cluster and on Ray: the same bytes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.prepare import Prepared, prepare
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.errors import ConfigError
from tasks import console, policy

REPOSITORY = Path(__file__).parents[2]

SETTINGS = {
    "cache.short_side": 64,
    "runtime.index_shard_videos": 4,
    "runtime.cache_shard_videos": 3,
    "runtime.max_unreadable": 0.3,
}


OURS = re.compile(
    r"(index|cache), shard|\d+ (more )?videos|\d+ of \d+ videos|\d+ labels|prepare tiny: Prefect starts"
    r"|layout class_folders|files seen|not taken|frame rates"
)
"""lines of our log"""


@pytest.fixture(scope="module")
def videos_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_toy_videos(tmp_path_factory.mktemp("videos"), num_videos=12)
    (folder / "falls" / "text.mp4").write_text("this is not a video")
    return folder


@pytest.fixture(scope="module")
def many_videos_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy_videos(tmp_path_factory.mktemp("many"), num_videos=96)


@pytest.fixture
def other_file_system() -> Iterator[Path]:
    """A folder that no hard link or rename reaches from the videos."""
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if os.access(shared_memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def on_threads(
    prefect_server: None, videos_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Prepared, Path]:
    folder = tmp_path_factory.mktemp("threads")
    made = prepare("tiny", SETTINGS, videos_dir, folder, runner="threads")
    assert made.cache.num_ok == 12
    assert len(_contents(folder)) > 6
    return made, folder


def test_processes_make_the_same_bytes(
    on_threads: tuple[Prepared, Path], videos_dir: Path, other_file_system: Path
) -> None:
    made = prepare("tiny", SETTINGS, videos_dir, other_file_system, runner="processes")
    assert made.cache == on_threads[0].cache
    assert _contents(other_file_system) == _contents(on_threads[1])


def test_a_scheduler_that_runs_already_makes_the_same_bytes(
    on_threads: tuple[Prepared, Path], videos_dir: Path, tmp_path: Path
) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        made = prepare("tiny", SETTINGS, videos_dir, tmp_path, runner=cluster.scheduler_address)
    assert isinstance(made, Prepared)
    assert made.cache == on_threads[0].cache
    assert _contents(tmp_path) == _contents(on_threads[1])


def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runners that are started from now on."""
    names: list[str] = []
    start = policy.shard_runner

    def counted(name: str) -> Any:
        names.append(name)
        return start(name)

    monkeypatch.setattr(policy, "shard_runner", counted)
    return names


def test_a_run_starts_one_runner_and_one_that_finds_all_finished_none(
    on_threads: tuple[Prepared, Path], videos_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = started(monkeypatch)
    prepare("tiny", SETTINGS, videos_dir, tmp_path, runner="threads")
    assert names == ["threads"]
    prepare("tiny", SETTINGS, videos_dir, tmp_path, runner="dask")
    assert names == ["threads"]


@pytest.mark.campaign("long")
def test_a_dask_cluster_of_its_own_makes_the_same_bytes(
    on_threads: tuple[Prepared, Path], videos_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests of every change run shards on one in test_endings.py, and compare the bytes of another above."""
    names = started(monkeypatch)
    made = prepare("tiny", SETTINGS, videos_dir, tmp_path, runner="dask")
    assert names == ["dask"]
    assert made.cache == on_threads[0].cache
    assert _contents(tmp_path) == _contents(on_threads[1])


@pytest.mark.campaign("long")
def test_a_dask_cluster_ends_without_a_word(environment: dict[str, str], videos_dir: Path, tmp_path: Path) -> None:
    settings = [f"{name}={value}" for name, value in SETTINGS.items()]
    done = subprocess.run(
        [sys.executable, "flows/prepare.py", "tiny", f"videos_dir={videos_dir}", f"workspace_dir={tmp_path}",
         "runner=dask", *settings],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    first, *said = done.stderr.splitlines()
    assert first == "prepare tiny: Prefect starts"
    assert not [line for line in said if not OURS.match(line) and not line.startswith(f"{videos_dir}: ")], (
        done.stderr
    )


def test_an_unknown_runner_is_said_before_anything_runs(
    prefect_server: None, videos_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="there is no runner 'spark': name threads, processes, dask, ray"):
        prepare("tiny", SETTINGS, videos_dir, tmp_path / "workspace", runner="spark")
    with pytest.raises(ConfigError, match=r"no Dask cluster answers at tcp://127\.0\.0\.1:9: start one"):
        prepare("tiny", SETTINGS, videos_dir, tmp_path / "workspace", runner="tcp://127.0.0.1:9")
    assert not (tmp_path / "workspace").exists()


@pytest.mark.skipif(importlib.util.find_spec("prefect_ray") is not None, reason="Ray is installed")
def test_ray_is_asked_for(prefect_server: None, videos_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runner=ray needs Ray: pip install -e '\.\[ray\]'"):
        prepare("tiny", SETTINGS, videos_dir, tmp_path, runner="ray")


@pytest.mark.filterwarnings("ignore")  # of Ray itself
def test_ray_makes_the_same_bytes(on_threads: tuple[Prepared, Path], videos_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("prefect_ray", reason="the extra [ray] has half a gigabyte")
    prepare("tiny", SETTINGS, videos_dir, tmp_path, runner="ray")
    assert _contents(tmp_path) == _contents(on_threads[1])


DEAF = """
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tasks import console

if __name__ == "__main__":
    with console.deaf(starts_processes=True), ProcessPoolExecutor(1, get_context("spawn")) as pool:
        print(signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result())
"""


def test_a_process_that_is_just_starting_does_not_get_ctrl_c(tmp_path: Path) -> None:
    """Python lets it through to those that start with the first one, unless its own helper runs already."""
    program = tmp_path / "deaf.py"
    program.write_text(DEAF)
    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.campaign("kill")
@pytest.mark.parametrize("runner", ["processes", "dask"])
def test_ctrl_c_is_one_line_and_keeps_finished_shards(
    environment: dict[str, str], many_videos_dir: Path, tmp_path: Path, runner: str
) -> None:
    """A terminal sends it to every process of the command."""
    words = [f"videos_dir={many_videos_dir}", f"workspace_dir={tmp_path}", "runtime.cache_shard_videos=8"]
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "flows" / "prepare.py"), "tiny", *words, f"runner={runner}"],
        cwd=REPOSITORY,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started_s = time.monotonic()
    while len(_shards(tmp_path)) < 3:  # the first one is decoded before the others are cut
        assert process.poll() is None
        assert time.monotonic() - started_s < 120
        time.sleep(0.02)
    assert len(_family(process.pid)) > 2
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    *before, last = said.splitlines()
    assert last == "stopped; nothing is lost: the same command goes on from here"
    assert all(OURS.match(line.removeprefix(f"{many_videos_dir}: ")) for line in before), said
    started_s = time.monotonic()
    while _family(process.pid):
        assert time.monotonic() - started_s < 10, _family(process.pid)
        time.sleep(0.1)
    kept = _shards(tmp_path)
    assert 3 <= len(kept) < 12
    made = prepare("tiny", {"runtime.cache_shard_videos": 8}, many_videos_dir, tmp_path)
    assert made.cache.num_ok == 96
    assert kept.items() <= _shards(tmp_path).items()


def _shards(workspace_dir: Path) -> dict[str, int]:
    """The finished shards of a cache and when they were written."""
    return {str(file): file.stat().st_mtime_ns for file in workspace_dir.glob("records/*/*.parquet")}


def _family(process_id: int) -> dict[int, str]:
    """The processes that a command has started, and those that they have started, as far as they live."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{console.VARIABLE}={process_id}:".encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def _contents(folder: Path) -> dict[str, bytes]:
    """Every file of a workspace without locks and what tells the time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".locks" not in path.parts and path.name != ARTIFACT_FILE
    }
