"""`make bench` goes on after a benchmark that fails, and its page says what was measured where; other verbs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nonlocal_core import scoring
from nonlocal_core.artifacts.references import Evaluation, RecordCache
from nonlocal_core.process import workers
from tests import processes
from tests.pages import REPOSITORY

FINE = "print('ratio 1.20, bar 1.30')"
MISSED = "print('ratio 1.40, bar 1.30, missed')"
FAILS = "print('half of it'); raise SystemExit(3)"


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import results

    for name, text in (("fine", FINE), ("slow", MISSED), ("broken", FAILS)):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(results, "HERE", tmp_path)
    named = tuple(results.Benchmark(name) for name in ("broken", "fine", "slow"))
    monkeypatch.setattr(results, "BENCHMARKS", (*named, results.Benchmark("beside", needs_peer=True)))
    return results


def measure(results: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr("sys.argv", ["results.py", *words])
    with pytest.raises(SystemExit) as ended:
        results.main()
    return ended.value.code


def test_all_are_run_and_what_failed_is_said(
    results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    assert measure(results, monkeypatch, "--out", str(page)) == "failed: broken"
    assert "beside is left out: it compares with PyTorch" in capsys.readouterr().out
    text = page.read_text()
    verdicts = [line.split(" | ")[1] for line in text.splitlines() if line.startswith("| [")]
    assert verdicts == ["failed", "none missed", "1 missed"]
    busy = [float(line.split(" | ")[4]) for line in text.splitlines() if line.startswith("| [")]
    assert all(0 <= cores <= (os.cpu_count() or 1) for cores in busy)
    without = results.Result("c", "m", "now", "0", None, 1.0, "a table", failed=False)
    assert (without.verdict, without._replace(failed=True).verdict) == ("has none", "failed")
    assert "|  | 1.0 |" in results.page({"fine": without})
    assert "    python benchmarks/slow.py" in text
    assert "ratio 1.40, bar 1.30, missed" in text
    assert "Not run yet: beside." in text
    assert f"{len(os.sched_getaffinity(0))} cores of " in text
    (tmp_path / "broken.py").write_text(FINE)
    assert measure(results, monkeypatch, "--out", str(page), "--only", "broken") == 0
    kept = json.loads(page.with_suffix(".json").read_text())
    assert {name: found["failed"] for name, found in kept.items()} == dict.fromkeys(
        ("broken", "fine", "slow"), False
    )
    assert "ratio 1.40, bar 1.30, missed" in page.read_text(), "what was not measured again is kept"
    assert measure(results, monkeypatch, "--only", "fin") == 2
    assert measure(results, monkeypatch, "--torch", "/no/python") == 2


def test_every_program_is_in_the_list_or_needs_more_than_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    from results import BENCHMARKS

    named = {benchmark.name for benchmark in BENCHMARKS}
    others = {
        *(
            "frames",
            "gpu",
            "gpu_parts",
            "host_blocking",
            "loader_ways",
            "results",
            "evaluation_loop",
            "torch_inception",
            "videos",
        ),
        *("scale_prefect", "scale_stages", "scale_videos"),
    }
    assert {file.stem for file in (REPOSITORY / "benchmarks").glob("*.py")} == named | others


def test_each_bar_of_orchestration_can_be_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import orchestration

    fast = [*orchestration.lines([52.0], [30.0], [9.0], [0.01], "index 0.1 train 0.4", 4)]
    slow = [*orchestration.lines([57.0], [30.0], [16.0], [0.01], "index 0.1 train 0.6", 4)]
    assert sum(", bar " in line for line in fast) == 3
    assert [line for line in fast if line.endswith(", missed")] == []
    assert [line.endswith(", missed") for line in slow] == [", bar " in line for line in fast]


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    import scale

    return scale


def test_what_is_measured_at_scale_runs_on_a_few_videos(
    scale: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import scale_stages

    for module, name in ((workers, "each"), (scoring, "_by_network")):
        monkeypatch.setattr(module, name, getattr(module, name))  # which the benchmark replaces
    place, num_videos = scale_stages.place_of(tmp_path, 48), []
    for stage in scale_stages.STAGES:
        took = scale_stages.measure(stage, place)
        assert took.keys() == {"cpu_s", "wall_s", "peak_mb"}
        if stage.run is scale_stages.run_cache:
            num_videos.append(place.made(RecordCache).num_ok)
    assert num_videos == [47, 47, 48]
    assert 48 * 200 <= place.made(RecordCache).num_frames <= 48 * 300
    assert place.made(Evaluation).num_scored == 4
    assert "v0001" in (place.workspace.root / "reports" / "v0001.html").read_text()


def test_the_table_of_scale_says_what_grows_how(
    scale: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def took(seconds: float) -> dict[str, float]:
        return {"cpu_s": seconds, "wall_s": 2 * seconds, "peak_mb": 100.0}

    found = {"quadratic": {10: took(1.0), 100: took(100.0)}, "quick": {10: took(0.0), 100: took(0.01)}}
    lines = scale.table(found)
    assert lines[2:] == [
        "| quadratic | 1.0 | 100.0 | 200.0 | 100 | 100 | 2.00 |",
        "| quick | 0.0 | 0.0 | 0.0 | 100 | 100 |  |",
    ]
    scale.main(["--videos", "0", "--shards", "0", "--out", str(tmp_path / "out.json")])
    assert json.loads((tmp_path / "out.json").read_text()).keys() == {"began", "load"}
    with pytest.raises(SystemExit):
        scale.main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("verb", ["test", "chaos", "test-postgres"])
def test_what_make_gives_to_pytest_is_understood(verb: str) -> None:
    """`--markers` ends pytest once it has read its arguments."""
    asked = ["make", "--dry-run", "--assume-old=.venv/installed", verb, "ONLY=kill", "SEED=7"]
    told = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    (command,) = (shlex.split(line) for line in told.splitlines() if "pytest" in line)
    command = [sys.executable, *command[1:], "--markers"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_campaigns_have_what_they_begin_with() -> None:
    """They are not among the tests of every change, and a fixture that moved away was not missed."""
    asked = [sys.executable, "-m", "pytest", "tests/chaos", "-n0", "-m", "campaign", "--setup-plan", "-q"]
    ran = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-2000:]


def test_more_processes_run_the_tests_where_others_run_and_no_more_than_fit() -> None:
    assert [processes.suited(2, busy, 23.0) for busy in (0.0, 0.2, 1.0, 2.0)] == [3, 3, 4, 6]
    assert [processes.suited(16, 0.0, free_gb) for free_gb in (128.0, 16.5, 3.0)] == [12, 8, 2]
    busy = processes.busy_cores(0.3)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        found = max(processes.busy_cores(0.5) for _ in range(3))
        process.kill()
    assert busy >= 0
    assert 0.9 < found <= (os.cpu_count() or 1)
    assert processes.here() >= 2
