"""A process of its own for reading a foreign file, with bounds on its memory and time.

A fault in a reader of foreign bytes ends that process, and a person reads one line.  The process answers with
files, and what it says is JSON: nothing of it is unpickled.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nonlocal_core.errors import InputError
from nonlocal_core.process import bounds

ANSWER = "answer.json"
MOST_ANSWER_BYTES = 10_000_000
LEAST_BYTES = 1 << 30
"""memory that any reading may take"""
TIMES_FILE = 6
"""memory and written bytes that reading may take, as a multiple of the file's size"""
LEAST_S = 10
BYTES_PER_S = 20_000_000
"""a file of so many bytes may take a second longer"""
START_S = 120
"""seconds for what is imported, on a busy machine"""


def run(module: str, path: Path, folder: Path, *words: str) -> Any:
    """The answer of `python -m module PATH FOLDER WORDS`, which calls `answer`.

    Raises: InputError that says what the process did not like, or that it died, with the path in front.
    """
    command = [sys.executable, "-m", module, str(path.absolute()), str(folder), *words]
    limit_s = START_S + 10 * _seconds(path)
    with (folder / "output").open("wb") as output:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=limit_s
            ).returncode
        except subprocess.TimeoutExpired:
            code = -signal.SIGXCPU
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise InputError(f"{path}: reading it takes more time than a file of its size needs: it is refused")
    if code < 0:
        name = signal.Signals(-code).name
        raise InputError(f"{path}: reading it made the reader crash ({name}): it is damaged, or made to do harm")
    try:
        with (folder / ANSWER).open("rb") as file:
            content = json.loads(file.read(MOST_ANSWER_BYTES))
        outcome, value = content["outcome"], content["value"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        last = (folder / "output").read_bytes()[-300:].decode(errors="replace").strip().splitlines()
        raise InputError(f"{path}: reading it failed: {last[-1] if last else f'exit code {code}'}") from None
    if outcome == "refused":
        raise InputError(f"{path}: {value}")
    return value


def answer(path: Path, folder: Path, read: Callable[[], Any]) -> None:
    """Bound this process by the size of a file, read it, and leave the answer in a folder."""
    size = path.stat().st_size if path.is_file() else 0
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = int(usage.ru_utime + usage.ru_stime + _seconds(path))
    for kind, most in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, MOST_ANSWER_BYTES + TIMES_FILE * size),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    bounds.limit_memory(LEAST_BYTES + TIMES_FILE * size)
    try:
        content = {"outcome": "read", "value": read()}
    except InputError as error:
        content = {"outcome": "refused", "value": f"{error!s:.600}"}
    (folder / ANSWER).write_text(json.dumps(content), encoding="utf-8")


def _seconds(path: Path) -> int:
    return LEAST_S + (path.stat().st_size if path.is_file() else 0) // BYTES_PER_S
