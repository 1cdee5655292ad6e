"""A library that counts calls below a folder, and lets one of them fail or kill: built of shim.c."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

WRITES = ("open", "write", "rename", "fsync", "unlink", "mkdir")


def build(folder: Path) -> Path:
    """The library; the test is skipped where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("only a C compiler can build what kills inside a call")
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class Counted(NamedTuple):
    """What is counted, and what happens at a number."""

    root: Path
    calls: tuple[str, ...]
    file: Path
    """the count of all processes"""

    def variables(self, at: int = 0, errno: int = 0, on: int = 0) -> dict[str, str]:
        """The environment of a process; `at` 0 only counts, `errno` 0 kills, and `on` 0 never gets better."""
        self.file.write_bytes(bytes(8))
        return {
            "CHAOS_ROOT": str(self.root),
            "CHAOS_CALLS": f",{','.join(self.calls)},",
            "CHAOS_COUNT": str(self.file),
            "CHAOS_AT": str(at),
            "CHAOS_DO": str(errno),
            "CHAOS_ON": str(on),
        }

    def num_calls(self) -> int:
        """The number of calls since `variables`."""
        return int.from_bytes(self.file.read_bytes(), "little")
