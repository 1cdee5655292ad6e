"""The real command, `python flows/full.py`, on a few tiny videos, and what its workspace holds at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.chain import REPOSITORY, SETTINGS

LIMIT_S = 240.0


def start(
    videos_dir: Path, workspace_dir: Path, environment: Mapping[str, str], settings: dict[str, object] = SETTINGS
) -> subprocess.Popen[str]:
    """The running command, in a group of its own."""
    words = [
        f"{name}={json.dumps(list(value) if isinstance(value, tuple) else value)}"
        for name, value in settings.items()
    ]
    places = [f"videos_dir={videos_dir}", f"workspace_dir={workspace_dir}"]
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "flows" / "full.py"), "tiny", *places, *words],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def results(workspace_dir: Path) -> dict[str, Any]:
    """The keys, digests and scores of everything that a workspace holds."""
    found: dict[str, Any] = {}
    for file in sorted(workspace_dir.glob("*/*/artifact.json")):
        reference = json.loads(file.read_text())["reference"]
        found[str(file.parent.relative_to(workspace_dir))] = {
            name: value
            for name, value in reference.items()
            if name in ("digest", "top1", "top5", "num_scored", "num_ok")
        }
    for file in sorted(workspace_dir.glob("registry/*/entry.json")):
        entry = json.loads(file.read_text())
        found[file.parent.name] = {name: entry[name] for name in ("key", "files")}
    return found
