"""benchmarks/gpu.py goes on after whatever fails, and says why; that it works is shown by hand, on a CPU."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nonlocal_core.config.tree import Config, settings

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ODD_PART = """
import os, sys, time
for number, case in enumerate(("fine", "dies", "hangs", "last")):
    if number < int(sys.argv[2]):
        continue
    print("CASE", number, case, flush=True)
    if case == "dies":
        os.kill(os.getpid(), 9)
    if case == "hangs":
        time.sleep(100)
    print('ROW {"found": "something", "bar": "", "verdict": "ok"}', flush=True)
"""


def test_a_case_that_dies_or_hangs_is_a_row_and_the_next_one_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu

    (tmp_path / "gpu_parts.py").write_text(ODD_PART)
    monkeypatch.setattr(gpu, "HERE", tmp_path)
    monkeypatch.setitem(gpu.LIMITS_S, "odd", 2.0)
    rows = gpu.run("odd", argparse.Namespace(device="CPU", torch="", quick=True, out=tmp_path))
    gpu.write(tmp_path, rows, "CPU", 1.0)
    assert [(row.case, row.verdict) for row in rows] == [
        ("fine", "ok"), ("dies", "failed"), ("hangs", "failed"), ("last", "ok"),
    ]  # fmt: skip
    assert rows[1].found == "the process was killed by SIGKILL; odd.log has more"
    assert rows[2].found == "not done within 2 s; odd.log has more"
    table = (tmp_path / "table.md").read_text()
    assert "2 ok, 0 missed, 2 failed, 0 not had" in table
    assert "| odd | dies | the process was killed by SIGKILL; odd.log has more |  | failed |" in table
    assert json.loads((tmp_path / "rows.json").read_text())[3]["case"] == "last"


@pytest.mark.parametrize("part", ["operators", "turns"])
def test_a_device_that_is_not_there_is_the_reason(tmp_path, part):
    words = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(tmp_path), "--device", "Ascend"]
    ran = subprocess.run([*words, "--only", part], capture_output=True, text=True)
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert (ran.returncode, row["verdict"]) == (1, "failed"), ran.stderr
    assert "MindSpore finds CPU only" in row["found"] + (tmp_path / f"{part}.log").read_text()


def test_an_unknown_part_is_one_line(tmp_path):
    words = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(tmp_path), "--only", "doctor,party"]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith(
        "gpu.py: error: --only party: there are doctor, operators, parity"
    )


def test_benchmarks_name_settings_that_exist():
    """Most of them run by hand alone."""
    known, sections = {setting.key for setting in settings()}, "|".join(Config.model_fields)
    keys = re.compile(rf"\b({sections})(?:\.|__)(?!json)(\w+)(?==|\")")
    named = {
        file.name: {".".join(key) for key in keys.findall(file.read_text())} for file in BENCHMARKS.glob("*.py")
    }
    assert len(named["gpu_parts.py"]) > 15
    assert {name: found - known for name, found in named.items() if found - known} == {}
