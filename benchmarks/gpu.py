"""What a GPU does with this program: one command and, by estimate, a quarter of an hour on a fresh machine.

    python benchmarks/gpu.py --out DIR [--torch PYTHON] [--device GPU] [--only doctor,parity] [--quick]

PYTHON is an interpreter with torch and mmaction2, as for benchmarks/train_step.py; without it the training step
has nothing beside it.  The parts are in benchmarks/gpu_parts.py.  Each case has a time limit, and what fails,
hangs or takes its process with it is a row with the reason: the others still run.  DIR/table.md has the rows,
DIR/rows.json the same for programs, DIR/PART.log what a part has said.  The exit status is 0 if no row failed.

With --quick everything is so small that a CPU does it in some minutes: that shows that this script works, and says
nothing about speed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import NamedTuple, TextIO

from gpu_parts import PARTS

from nonlocal_core import __version__

HERE = Path(__file__).parent
HEAD = "| part | case | found | bar | verdict |\n| --- | --- | --- | --- | --- |\n"
ROWS = "rows.json"
LIMITS_S = {"doctor": 180.0, "operators": 60.0, "parity": 90.0, "step": 240.0, "loss": 240.0, "training": 480.0}
"""longest silence of a part (seconds)"""


class Row(NamedTuple):
    """One line of the table."""

    part: str
    case: str
    found: str
    bar: str = ""
    """what was expected; empty for a figure that has no bar"""
    verdict: str = "failed"
    """ok, missed (a bar), failed (found says why), or not had (it could not be tried)"""


def main() -> None:
    """Run every part and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder of the table and the logs")
    parser.add_argument("--torch", default="", metavar="PYTHON", help="interpreter with torch and mmaction2")
    parser.add_argument("--device", default="GPU", choices=("GPU", "Ascend", "CPU"))
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--quick", action="store_true", help="small networks and few steps")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.only.split(",")) - set(PARTS)):
        parser.error(f"--only {','.join(unknown)}: there are {', '.join(PARTS)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    began_s = time.monotonic()
    for part in asked.only.split(","):
        for row in run(part, asked):
            print(f"{row.part:<10} {row.case:<34} {row.verdict:<8} {row.found}", flush=True)
            rows.append(row)
            write(asked.out, rows, f"{asked.device}{', quick' if asked.quick else ''}", time.monotonic() - began_s)
    print(f"\n{asked.out / 'table.md'} has the table; {time.monotonic() - began_s:.0f} s")
    sys.exit(any(row.verdict == "failed" for row in rows))


def write(folder: Path, rows: list[Row], device: str, seconds: float) -> None:
    """The table so far, as Markdown and JSON."""
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    what = f"{device}, {platform.node()}, {len(os.sched_getaffinity(0))} cores, nonlocal-i3d {__version__}"
    counts = {name: sum(row.verdict == name for row in rows) for name in ("ok", "missed", "failed", "not had")}
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    text = f"{when}, {what}, {seconds:.0f} s: {said}.\n\n{HEAD}" + "\n".join(lines) + "\n"
    (folder / "table.md").write_text(text)
    (folder / ROWS).write_text(json.dumps([row._asdict() for row in rows], indent=1))


def run(part: str, asked: argparse.Namespace) -> list[Row]:
    """The rows of a part; a case that takes the process with it is a row, and another process goes on after it."""
    rows: list[Row] = []
    first = 0
    limit_s = LIMITS_S.get(part, 120.0)
    with (asked.out / f"{part}.log").open("w") as log:
        while first >= 0:
            first = go_on(part, first, asked, rows, log, limit_s)
    return rows


def go_on(part: str, first: int, asked: argparse.Namespace, rows: list[Row], log: TextIO, limit_s: float) -> int:
    """Run the cases from a number on in one process; the number to go on from if it died, else -1."""
    options = {
        "device": asked.device, "torch": asked.torch, "quick": asked.quick, "out": str(asked.out.absolute()),
    }  # fmt: skip
    search = os.pathsep.join(
        [str(HERE.parent), str(HERE), str(HERE.parent / "tests/parity"), str(HERE.parent / "tests/registers")]
    )
    process = subprocess.Popen(
        [sys.executable, str(HERE / "gpu_parts.py"), part, str(first), json.dumps(options)],
        env={"GLOG_v": "3", **os.environ, "PYTHONPATH": search},
        cwd=asked.out,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    case, number, why = "start", first - 1, ""
    with process:  # which ends it and closes its output
        for line in lines_within(process, limit_s):
            log.write(line)
            log.flush()
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "CASE":
                number, case = int(rest.split(" ", 1)[0]), rest.split(" ", 1)[1]
            elif word == "ROW":
                rows.append(Row(part, case, **json.loads(rest)))
            elif word == "LATE":
                why = f"not done within {limit_s:.0f} s"
    returncode = process.returncode
    if returncode == 0 and not why:
        return -1
    rows.append(Row(part, case, f"{why or how_it_ended(returncode)}; {part}.log has more"))
    return number + 1 if number >= first else -1  # what dies before its first case does so again


def lines_within(process: subprocess.Popen[str], limit_s: float) -> Iterator[str]:
    """The lines of a process; where none comes for too long, it is killed with its children, and LATE is last."""
    lines: Queue[str] = Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    reader = Thread(target=read)
    reader.start()
    try:
        while line := lines.get(timeout=limit_s):
            yield line
    except Empty:
        os.killpg(process.pid, signal.SIGKILL)
        yield "LATE"
    reader.join()


def how_it_ended(returncode: int) -> str:
    """What an exit status says."""
    if returncode < 0:
        return f"the process was killed by {signal.Signals(-returncode).name}"
    return f"the process ended with code {returncode}"


if __name__ == "__main__":
    main()
