"""What `--help` of each flow says, by topic."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import Config, settings

REPOSITORY = Path(__file__).parents[2]
FLOWS = ("full", "prepare", "evaluate", "ablate", "crossval", "predict")
ASKED = pytest.CaptureFixture[str]


@pytest.fixture(params=FLOWS)
def flow(request: pytest.FixtureRequest) -> str:
    """Each flow in turn."""
    return str(request.param)


def helped(monkeypatch: pytest.MonkeyPatch, capsys: ASKED, flow: str, *words: str) -> tuple[int, str, str]:
    """The exit code of `python flows/FLOW.py WORDS`, and what it prints."""
    file = REPOSITORY / "flows" / f"{flow}.py"
    monkeypatch.setattr(sys, "argv", [str(file), *words])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(file), run_name="__main__")
    return int(ended.value.code or 0), *capsys.readouterr()


@pytest.mark.parametrize("topic", ["", "all", "presets", "tiny", "nl_i3d_r50_128x1", *Config.model_fields])
def test_no_line_is_wider_than_100_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: ASKED, flow: str, topic: str
) -> None:
    code, said, problems = helped(monkeypatch, capsys, flow, "--help", *filter(None, [topic]))
    assert (code, problems) == (0, "")
    assert max(map(len, said.splitlines())) <= 100
    assert not [line for line in said.splitlines() if line != line.rstrip()]


def test_help_begins_with_what_a_newcomer_sets(monkeypatch: pytest.MonkeyPatch, capsys: ASKED, flow: str) -> None:
    _, said, _ = helped(monkeypatch, capsys, flow, "-h")
    assert said.startswith(f"usage: python flows/{flow}.py ")
    shown = [setting.key for setting in settings() if f"  {setting.key}=" in said]
    assert 3 <= len(shown) <= 12
    assert {"runtime.device", "runtime.num_workers"} <= {*shown}
    assert "  workspace_dir=…" in said
    assert ("  videos_dir=…" in said) == (flow != "predict")
    assert ("  checkpoint=…" in said) == (flow in ("evaluate", "predict"))
    assert ("train.epochs=100" in said) == (flow in ("full", "ablate", "crossval"))
    assert ("--help presets" in said) == (flow != "predict")
    assert all(f"  --help {topic} " in said for topic in ("SECTION", "all"))


def test_a_topic_has_all_of_it(monkeypatch: pytest.MonkeyPatch, capsys: ASKED) -> None:
    def keys(topic: str) -> list[str]:
        _, said, _ = helped(monkeypatch, capsys, "full", "--help", topic)
        return re.findall(r"^  (\w+\.\w+)=", said, flags=re.MULTILINE)

    assert keys("train") == [setting.key for setting in settings() if setting.section == "train"]
    assert {*keys("all")} >= {setting.key for setting in settings()}
    _, said, _ = helped(monkeypatch, capsys, "full", "--help", "presets")
    assert [line.split()[0] for line in said.splitlines() if line[:2] == "  " and line[2] != " "] == [*PRESETS]
    _, said, _ = helped(monkeypatch, capsys, "full", "--help", "index")
    assert "  index.layout=auto  " in said
    assert "[auto, class_folders, kinetics, folds, lists]" in " ".join(said.split())


def test_a_preset_in_full_has_command_time_accuracy_and_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: ASKED
) -> None:
    _, said, _ = helped(monkeypatch, capsys, "full", "--help", "nl5_i3d_r50_128x1_caffe2")
    preset = PRESETS["nl5_i3d_r50_128x1_caffe2"]
    for text in (preset.title, preset.command, preset.time, preset.expected, "model.nl_group_frames=0,4,0,0"):
        assert text in said
    assert "train.init=FILE" in preset.command


@pytest.mark.parametrize("topic", ["trian", "epochs", "nl_i3d", "train.epochs"])
def test_a_topic_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: ASKED, flow: str, topic: str
) -> None:
    code, said, problem = helped(monkeypatch, capsys, flow, "--help", topic)
    assert (code, said, problem.count("\n")) == (2, "", 1)
    assert problem.startswith(f"error: --help {topic}: name all, presets, a preset, or one of index, cache, ")
