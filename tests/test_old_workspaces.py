"""A workspace of each earlier version is found finished by this one, is readable, and its next night goes on."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from small import files_of

import nonlocal_core
from nonlocal_core import prune, registry
from nonlocal_core.artifacts.workspace import LOCKS, Workspace
from nonlocal_core.chain import Run
from nonlocal_core.retention.needed import Age
from tests.workspaces import make

MADE_AGAIN = {"0.1.0": {"cache", "records", "train", "evaluate", "registry"}}
"""folders of a workspace in which this version makes anything again; CHANGELOG.md says so in bold, and why.

Not of the index, which looks at the videos in their new place, and for which val is frozen by now."""


@pytest.fixture(params=MADE_AGAIN)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    version = str(request.param)
    with tarfile.open(make.FOLDER / f"{version}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return version, tmp_path


def run(folder: Path, **more: str) -> Run:
    return nonlocal_core.train(folder / "videos", "tiny", {**make.ASKED, **more}, folder / "workspace")


def written(folder: Path) -> dict[str, int]:
    found = files_of(folder / "workspace")
    return {name: time_ns for name, time_ns in found.items() if not name.startswith(LOCKS)}


def test_an_old_workspace_is_found_finished(old: tuple[str, Path]) -> None:
    version, folder = old
    before = written(folder)
    state = registry.read(Workspace(folder / "workspace"))
    assert registry.verify(Workspace(folder / "workspace"), "v0001", state) == []
    made = run(folder)
    assert made.entry.version == ("v0002" if "registry" in MADE_AGAIN[version] else "v0001")
    assert run(folder).entry.version == made.entry.version
    changed = {name for name, time_ns in written(folder).items() if before.get(name) != time_ns}
    assert {Path(name).parts[0] for name in changed} - {"index"} == MADE_AGAIN[version]
    lines = list(prune.prune(folder / "workspace", Age(nights=1), really=False))
    assert any(line.startswith("records/") and line.endswith(": nothing to free") for line in lines)


@pytest.mark.campaign("long")
def test_the_next_night_goes_on_from_an_old_workspace(old: tuple[str, Path]) -> None:
    _, folder = old
    make.draw(folder / "videos" / "falls" / "new.mp4", 9, backwards=False)
    made = run(folder, **{"train.init": "champion_if_any", "train.init_head": "match"})
    assert made.entry.version == "v0002"
    assert made.cache.num_ok == 9
    first, second = registry.entries(Workspace(folder / "workspace")).values()
    assert second.parent is not None
    assert second.parent.version == "v0001"
    assert second.evaluation.split_digest == first.evaluation.split_digest


def test_this_version_has_one() -> None:
    """Else: python -m tests.workspaces.make, and a line in MADE_AGAIN."""
    assert nonlocal_core.__version__ in MADE_AGAIN
    assert (make.FOLDER / f"{nonlocal_core.__version__}.tar.gz").stat().st_size < 200_000
