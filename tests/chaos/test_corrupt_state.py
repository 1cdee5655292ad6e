"""Each file of a finished workspace is damaged: nobody sees another figure, and what cannot be mended is named."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nonlocal_core import html_report, scores
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Checkpoint, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import NonlocalError
from nonlocal_core.models import checkpoint
from nonlocal_core.registry import __main__ as registry_command
from tests.campaign import NAMED, SAME, WRONG, Tally
from tests.chaos.chain import STAGES, Stages, figures, make_videos

MOST_S = 330.0
HARMLESS = ("records", "index/known")
"""folders whose files may change as long as nothing else is read from them"""
WAYS = ("flip", "cut", "swap", "delete")


class Finished(NamedTuple):
    """A finished workspace, kept aside, and what is seen of it."""

    videos_dir: Path
    kept: Path
    used: Path
    """where it is copied to: paths are part of what is seen"""
    stages: Stages
    seen: dict[str, Any]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("finished")
    videos_dir, stages = make_videos(folder / "videos"), Stages(folder)
    ended = stages.run(STAGES, videos_dir, folder / "w")
    assert ended.code == 0, ended.said
    made = Finished(videos_dir, folder / "kept", folder / "w", stages, {})
    seen, said = look(made)
    assert said == [], said
    shutil.copytree(folder / "w", folder / "kept")
    yield made._replace(seen=seen)
    stages.end()


def printed(main: Callable[[list[str]], int], *words: object) -> tuple[str, str]:
    """What a command prints, and its error."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(word) for word in words])
    return (out.getvalue(), errors.getvalue()) if not code else ("", out.getvalue() + errors.getvalue())


def read(workspace_dir: Path, made: dict[str, Any]) -> str:
    """A hash of all frames and weights that a new evaluation would read."""
    workspace = Workspace(workspace_dir)
    reader = RecordReader(workspace, RecordCache.model_validate(made["cache"]))
    frames = (
        frame.tobytes()
        for row, count in enumerate(reader.rows["num_frames"])
        for frame in reader.read(row, np.arange(count))
    )
    weights = Checkpoint.model_validate(made["train"])
    described, _ = checkpoint.read_weights(workspace.path(weights) / weights.file)
    return digest_of(described.content_digest, *frames)


def look(finished: Finished) -> tuple[dict[str, Any], list[str]]:
    """What a person sees of a workspace: results of the same command, of verify, of scores and of the report."""
    seen: dict[str, Any] = {}
    ended = finished.stages.run(STAGES, finished.videos_dir, finished.used)
    said = [ended.said] if ended.code else []
    seen["figures"] = figures(ended.made)
    if not ended.code:
        try:
            seen["read"] = read(finished.used, ended.made)
        except NonlocalError as error:
            said.append(str(error))
    _, wrong = printed(registry_command.main, finished.used, "verify")
    said += [wrong] if wrong else []
    for folder in sorted((finished.used / "evaluate").glob("*[0-9a-f]")):
        seen["scores"], wrong = printed(scores.main, folder, "--labels", "--json")
        said += [wrong] if wrong else []
    _, wrong = printed(html_report.main, finished.used, "champion", "--attention", 0)
    said += [wrong] if wrong else []
    return seen, said


def damage(path: Path, way: str, drawn: random.Random) -> bool:
    """Damage a file; False if there is nothing to damage it with."""
    content = path.read_bytes()
    if way == "delete":
        path.unlink()
    elif way == "cut" and content:
        path.write_bytes(content[: drawn.randrange(len(content))])
    elif way == "flip" and content:
        place = drawn.randrange(len(content))
        changed = content[place] ^ (1 << drawn.randrange(8))
        path.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
    elif way == "swap":
        others = [other for other in sorted(path.parents[1].rglob(f"*{path.suffix}")) if other != path]
        others = [other for other in others if other.is_file() and other.read_bytes() != content]
        if others:
            shutil.copyfile(drawn.choice(others), path)
    return not path.exists() or path.read_bytes() != content


def try_one(finished: Finished, name: str, way: str, tally: Tally) -> None:
    """Damage one file of a fresh copy, use everything, and judge."""
    shutil.rmtree(finished.used)
    shutil.copytree(finished.kept, finished.used)
    shutil.rmtree(finished.used / "reports", ignore_errors=True)
    path, what = finished.used / name, name.partition("/")[0]
    if not damage(path, way, tally.drawn):
        return
    damaged = path.read_bytes() if path.exists() else b""
    try:
        seen, said = look(finished)
    except Exception as error:
        tally.add(what, WRONG, f"{way} {name}: {error!r}")
        return
    if any("Traceback" in line for line in said):
        tally.add(what, WRONG, f"{way} {name}: {said}")
    elif said:
        known = (path.name, path.parent.name, path.name.partition(".")[0])
        named = any(word in line for line in said for word in known)
        tally.add(what, NAMED if named else WRONG, f"{way} {name}: it is not named: {said}")
    elif path.exists() and path.read_bytes() == damaged and not name.startswith(HARMLESS):
        tally.add(what, WRONG, f"{way} {name}: nobody sees it")
    elif changed := [key for key in ("figures", "read", "scores") if seen[key] != finished.seen[key]]:
        tally.add(what, WRONG, f"{way} {name}: others are {changed}")
    else:
        tally.add(what, SAME)


def files_of(finished: Finished) -> list[str]:
    files = (path for path in sorted(finished.kept.rglob("*")) if path.is_file())
    names = [str(path.relative_to(finished.kept)) for path in files]
    return [name for name in names if not name.startswith((".locks", "reports"))]


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_each_file_of_a_workspace(finished: Finished, tally: Tally) -> None:
    todo = [(name, way) for name in files_of(finished) for way in WAYS]
    tally.drawn.shuffle(todo)
    for name, way in todo:
        if tally.seconds() > MOST_S:
            break
        try_one(finished, name, way, tally)
    tally.check()
