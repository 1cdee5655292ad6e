"""A second host for the tests: a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nonlocal_core.process import shares

HOSTS: dict[str, object] = {"runtime.num_devices": 2, "runtime.hosts": "127.0.0.1:1,127.0.0.2"}


def begin(folder: Path) -> subprocess.CompletedProcess[str]:
    """What the second host says when it takes part in a folder."""
    command = [sys.executable, "-m", "nonlocal_core.share", str(folder), "1"]
    return subprocess.run(command, capture_output=True, text=True)


def comes_first(patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[list[shares.Chunk]]:
    """What the first host makes, call by call, after the second one has made its share and lost the last of it.

    The function of this name makes chunks.
    """
    made: list[list[shares.Chunk]] = []
    compute = getattr(module, name)

    def watched(job: Any, chunks: list[shares.Chunk], *where: int) -> None:
        if not made:
            [file] = job.root.rglob(shares.SHARES_FILE)
            said = begin(file.parent)
            assert (said.returncode, said.stdout) == (0, "the share of host 1 is made\n"), said.stderr
            assert [chunk.file.exists() for chunk in job.chunks] == [bool(k % 2) for k in range(len(job.chunks))]
            job.chunks[1::2][-1].file.unlink()
        made.append(chunks)
        compute(job, chunks, *where)

    patch.setattr(module, name, watched)
    return made
