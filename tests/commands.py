"""Commands of flows/, each in a process of its own that need not import Prefect: a fork of one that has.

It takes what `subprocess.run` takes, and the command ends as every program does.  What is tested of signals,
terminals or the start of a process takes `subprocess` itself.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from tests import leftovers

REPOSITORY = Path(__file__).parents[1]
PRELOADED = ("full", "prepare", "evaluate", "predict", "ablate", "crossval")


class Warm:
    """A process that has imported the flows."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=REPOSITORY,
            env={**environment, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, flow: str, *words: str) -> subprocess.CompletedProcess[str]:
        """What a command of flows/ prints, and its exit code."""
        assert self.process.stdin
        assert self.process.stdout
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (out, errors)]
            argv = [str(REPOSITORY / "flows" / f"{flow}.py"), *words]
            asked = {"argv": argv, "files": files, "mark": os.environ[leftovers.VARIABLE]}
            print(json.dumps(asked), file=self.process.stdin, flush=True)
            code = int(self.process.stdout.readline())
            return subprocess.CompletedProcess(argv, code, *(_content(file) for file in (out, errors)))

    def end(self) -> None:
        """End the process."""
        self.process.communicate()


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def main() -> None:
    """Fork for each command that is asked for."""
    for name in PRELOADED:
        __import__(f"flows.{name}")
    gc.freeze()
    for line in sys.stdin:
        process = os.fork()
        if not process:
            become(**json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def become(argv: list[str], files: list[str], mark: str) -> None:
    """Run a script as Python would."""
    os.environ[leftovers.VARIABLE] = mark
    for descriptor, path in enumerate([os.devnull, *files]):
        os.dup2(os.open(path, os.O_RDWR), descriptor)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
