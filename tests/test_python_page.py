"""The Python of docs/reference/python.md runs as it stands there."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.pretrained import store
from tests.pages import REPOSITORY, blocks

PAGE = REPOSITORY / "docs" / "reference" / "python.md"
WEIGHTS = "i3d_inception_k400"
LABELS = {"falls", "grows", "rises", "shrinks"}
TELL = """
import json
print(json.dumps({
    "version": run.entry.version, "again": entry.version, "scores": scores, "label": label,
    "num_features": len(features), "losses": losses,
}))
"""


def code(*, with_weights: bool) -> str:
    pieces = ["\n".join(lines) for language, _, lines in blocks(PAGE) if language == "python"]
    assert len(pieces) == 5
    return "\n".join(piece for piece in pieces if with_weights or WEIGHTS not in piece)


def run(folder: Path, text: str) -> list[str]:
    """The lines that a program prints in a folder with the videos that the page speaks of."""
    videos = make_toy_videos(folder / "videos", 16)
    shutil.copy(next((videos / "rises").glob("*.mp4")), folder / "video.mp4")
    (folder / "program.py").write_text(text)
    done = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_the_page_says_runs_and_fits_together(tmp_path: Path) -> None:
    lines = run(tmp_path, code(with_weights=False) + TELL)
    told, own = json.loads(lines[-1]), ast.literal_eval(lines[-2])
    assert (told["version"], told["again"]) == ("v0001", "v0001"), "the stages one by one find what train has made"
    assert any(line.startswith("top-1     ") for line in lines)
    assert told["scores"].keys() == own.keys() == LABELS
    assert told["label"] == max(told["scores"], key=told["scores"].get)
    assert sum(own.values()) == pytest.approx(1)
    assert own != pytest.approx(told["scores"], abs=1e-4)
    assert told["num_features"] > 8
    assert len(told["losses"]) == 2 * (12 // 8)
    assert told["losses"][-1] != pytest.approx(told["losses"][0], abs=1e-4)


@pytest.mark.campaign("long")
def test_the_published_weights_too(tmp_path: Path) -> None:
    if not store.checkpoint_path(WEIGHTS).exists():
        pytest.skip(f"python -m nonlocal_core.pretrained get {WEIGHTS} fetches them")
    assert any(line.startswith("{'") for line in run(tmp_path, code(with_weights=True)))
