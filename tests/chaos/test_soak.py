"""Long runs: memory, open files, threads and semaphores stay flat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.campaign import SAME, WRONG, Tally
from tests.chaos.chain import REPOSITORY, SETTINGS, STAGES, Stages, make_videos

pytestmark = pytest.mark.timeout(900)
Held = dict[str, float]
NUM_STEPS = 2000
NUM_EVALUATIONS = 200
MOST_EVALUATIONS_S = 600.0
SPARE = {"memory": 30.0, "files": 2.0, "threads": 2.0, "semaphores": 2.0}
"""growth from the first quarter to the last that is no leak"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos and a workspace in which everything was made once."""
    made = tmp_path_factory.mktemp("soak")
    make_videos(made / "videos")
    stages = Stages(made)
    ended = stages.run(STAGES, made / "videos", made / "w")
    stages.end()
    assert ended.code == 0, ended.said
    return made


def growth(samples: list[Held]) -> Held:
    """How much more is held in the last quarter than in the first one, from which the very start is left out."""
    quarter = max(1, len(samples) // 4)
    first, last = samples[quarter // 2 : quarter + 1], samples[-quarter:]
    return {
        name: float(np.median([one[name] for one in last]) - np.median([one[name] for one in first]))
        for name in samples[0]
    }


def judge(what: str, samples: list[Held], count: int, tally: Tally) -> None:
    """Count each round as right if nothing grows."""
    grown = growth(samples)
    leaks = {name: value for name, value in grown.items() if value > SPARE[name]}
    for number in range(count):
        tally.add(what, WRONG if leaks and not number else SAME, f"after {count}: {leaks} more; of {samples[-1]}")
    print(f"{what}: {count}, growth {grown}, at the end {samples[-1]}")


def repeated(what: str, folder: Path, count: int, most_s: float) -> list[Held]:
    """What a process holds after each time, for so long at most."""
    command = [
        sys.executable,
        "-m",
        "tests.chaos.soak_process",
        what,
        str(folder / "videos"),
        str(folder / "w"),
        str(count),
    ]
    started_s, samples = time.monotonic(), list[Held]()
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            samples.append(json.loads(line))
            if time.monotonic() - started_s > most_s:
                process.kill()
                break
    assert len(samples) == count or time.monotonic() - started_s > most_s, f"it ended after {len(samples)}"
    return samples


def test_a_few_reruns(tally: Tally, tmp_path: Path) -> None:
    """The slice of every change: index alone."""
    videos_dir, stages = make_videos(tmp_path / "videos"), Stages(tmp_path, network=False)
    open_files = set()
    try:
        for _ in range(3):
            ended = stages.run(STAGES[:1], videos_dir, tmp_path / "w")
            tally.add("reruns", WRONG if ended.code else SAME, ended.said)
            open_files.add(len(os.listdir(f"/proc/{stages.process.pid}/fd")))
    finally:
        stages.end()
    assert len(open_files) == 1
    tally.check()


@pytest.mark.campaign
def test_reruns_hold_nothing(folder: Path, tally: Tally) -> None:
    samples = repeated("reruns", folder, 50, 120.0)
    judge("reruns of everything", samples, len(samples), tally)
    tally.check()


@pytest.mark.campaign
def test_evaluations_hold_nothing(folder: Path, tally: Tally) -> None:
    samples = repeated("evaluations", folder, NUM_EVALUATIONS, MOST_EVALUATIONS_S)
    judge("evaluations", samples, len(samples), tally)
    tally.check()


@pytest.mark.campaign
def test_steps_hold_nothing(folder: Path, tally: Tally, tmp_path: Path) -> None:
    epochs = NUM_STEPS // 4
    settings = {**SETTINGS, "train.epochs": epochs, "train.base_lr": 0.001, "runtime.checkpoint_steps": 100}
    samples: list[Held] = []

    def watch(process: int) -> None:
        samples.extend(held for held in _held(process) if _is_training(folder))

    stages = Stages(tmp_path)
    ended = stages.run(STAGES[:3], folder / "videos", folder / "w", meanwhile=watch, settings=settings)
    stages.end()
    assert ended.code == 0, ended.said
    judge("steps of one training", samples, ended.made["train"]["num_steps"], tally)
    tally.check()


def _is_training(folder: Path) -> bool:
    """Whether some steps were taken."""
    return any(log.read_text().count("\n") > 20 for log in folder.glob("w/train/*.partial/log.jsonl"))


def _held(process: int) -> Iterator[Held]:
    """What another process holds, once a second, until it ends."""
    place = Path("/proc", str(process))
    while True:
        try:
            pages = int((place / "statm").read_text().split()[1])
            files, threads = len(os.listdir(place / "fd")), len(os.listdir(place / "task"))
        except OSError:
            return
        if not pages:  # it has ended
            return
        yield {"memory": pages * os.sysconf("SC_PAGE_SIZE") / 1e6, "files": files, "threads": threads}
        time.sleep(1)
