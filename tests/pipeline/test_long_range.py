"""The long-range set with a small plan: figures come out, and a second start trains nothing."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from flows.catalogue import LONG_RANGE
from flows.long_range import long_range
from nonlocal_core.config import long_range as plans
from nonlocal_core.errors import InputError
from tests.commands import Warm


@pytest.fixture
def _small_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The committed plan with few videos, steps and rows, in a file of its own."""
    plan = json.loads(plans.FILE.read_text())
    keys = [("far", plan["baseline"]), ("far", plan["blocks"]), ("motion", plan["blocks"])]
    plan["rows"] = [row for row in plan["rows"] if (row["videos"], row["name"]) in keys]
    too_fast = {"train.base_lr": 1e30}  # finite weights that give no finite scores
    plan["rows"].append(plan["rows"][0] | {"name": "diverges", "settings": too_fast})
    plan |= {"seeds": [3], "num_train": 8, "num_val": 4, "num_motion": 16}
    tiny = {"cache.short_side": 36, "train.crop_size": 32, "evaluate.crop_size": 32, "train.warmup_epochs": 0.0}
    plan["settings"] |= tiny | {"model.width": 2, "model.block": "basic", "train.steps": 1, "train.batch_size": 2}
    plan["motion_settings"] |= tiny
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan))
    monkeypatch.setattr(plans, "FILE", file)


@pytest.mark.usefixtures("prefect_server", "_small_plan")
def test_figures_come_out_and_are_found_again(tmp_path: Path) -> None:
    workspace, out = tmp_path / "workspace", tmp_path / "out.json"
    made = long_range(workspace_dir=workspace, out=out)
    figures = json.loads(out.read_text())
    assert [len(row["top1"]) for row in figures["rows"]] == [1, 1, 1, 1]
    assert figures["seeds"] == [3]
    assert figures["plan"]["num_train"] == 8
    none, blocks, motion, diverged = figures["rows"]
    assert diverged["top1"] == [0.5], "it counts as guessing"
    assert none["gain"] is motion["gain"] is None
    assert blocks["gain"]["mean"] == pytest.approx(blocks["mean"] - none["mean"])
    assert [bar["met"] is None for bar in figures["bars"]] == [False, True, True, True, True]
    assert "| no blocks | 2a, 2b, 2c, 2d, 2e |" in made.page

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in workspace.glob("[a-z]*/*/*") if path.is_file()}

    before = times()
    assert long_range(workspace_dir=workspace).page == made.page
    assert times() == before, "nothing is trained, scored or written a second time"
    with pytest.raises(InputError, match="cannot be written"):
        long_range(workspace_dir=tmp_path / "new", out=tmp_path / "missing" / "out.json")
    assert not (tmp_path / "new").exists(), "it is refused before anything is made"


def test_the_command_takes_the_parameters_of_its_flow() -> None:
    assert {*LONG_RANGE.parameters, "quick"} == {*inspect.signature(long_range).parameters}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.epochs=2"], "long_range takes no train.epochs: its plan is fixed"),
        (["2a"], "'2a' is not of the form key=value"),
        (["--qick"], "there is no option --qick"),
        (["videos_dir=x"], "ablate.py long_range has no parameter videos_dir"),
    ],
)
def test_what_a_person_may_get_wrong_is_one_line(warm: Warm, words: list[str], said: str) -> None:
    done = warm.run("ablate", "long_range", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
