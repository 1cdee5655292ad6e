"""Every benchmark, one after the other, and what each printed as a page.

    python benchmarks/results.py [--torch PYTHON] [--only index,cache] [--out docs/evidence/results.md]

PYTHON is an interpreter with PyTorch and mmaction2 (benchmarks/loader.py says how to make one); without it ours is
measured alone where that makes sense.  Beside the page lies a JSON file, from which a later call keeps what it
does not measure again.  Ctrl-C keeps what is finished.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[1]))
from tests.processes import busy_cores

HERE = Path(__file__).parent
ROOT = HERE.parent
PEER = "PYTHON"
"""stands for the interpreter with PyTorch"""


class Benchmark(NamedTuple):
    """A program of this folder."""

    name: str
    words: tuple[str, ...] = ()
    needs_peer: bool = False


BENCHMARKS = (
    Benchmark("index"),
    Benchmark("inventory"),
    Benchmark("cache"),
    Benchmark("jumps"),
    Benchmark("loader", ("--peer", PEER)),
    Benchmark("memory"),
    Benchmark("compiling"),
    Benchmark("training"),
    Benchmark("nonlocal_block", ("--torch", PEER)),
    Benchmark("train_step", ("--torch", PEER), needs_peer=True),
    Benchmark("evaluation", ("--torch", PEER, "--videos", "1")),
    Benchmark("orchestration"),
    Benchmark("databases", ("--rounds", "1")),
    Benchmark("scale"),
    Benchmark("tiny_learns"),
)
"""those that need neither a GPU nor videos of others"""


class Result(NamedTuple):
    """What a benchmark printed, and where."""

    command: str
    machine: str
    began: str
    commit: str
    load: float | None
    """cores that other programs kept busy in the second before it; None if nobody looked"""
    minutes: float
    output: str
    failed: bool

    @property
    def verdict(self) -> str:
        """The bars in the output, in words."""
        if self.failed:
            return "failed"
        missed = self.output.count(", missed")
        return f"{missed} missed" if missed else "none missed" if " bar" in self.output else "has none"


def machine(peer: str | None) -> str:
    """Processor, cores, memory, and the versions of what computes."""
    names = [
        line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")
    ]
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    found = [
        f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.machine()}",
        f"{memory_gb:.0f} GB",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)}" for name in ("mindspore", "openvino", "av")),
    ]
    if peer:
        code = (
            "import torch, mmaction; print('PyTorch', torch.__version__, 'with mmaction2', mmaction.__version__)"
        )
        said = subprocess.run([peer, "-c", code], capture_output=True, text=True, check=True)
        found.append(said.stdout.splitlines()[-1])
    return ", ".join(found)


def _has_torch(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import torch, mmaction"], capture_output=True).returncode == 0
    except OSError:
        return False


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def run(benchmark: Benchmark, peer: str | None, commit: str) -> Result:
    """Run one, showing what it prints."""
    words = benchmark.words if peer or PEER not in benchmark.words else ()
    shown = " ".join(["python", f"benchmarks/{benchmark.name}.py", *words])
    command = [
        sys.executable,
        str(HERE / f"{benchmark.name}.py"),
        *(str(peer) if word == PEER else word for word in words),
    ]
    print(f"== {shown}", flush=True)
    load = busy_cores()
    began_s = time.monotonic()
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    minutes = (time.monotonic() - began_s) / 60
    now = f"{datetime.now(UTC):%Y-%m-%d}"
    output = "\n".join(lines) if lines else "it printed nothing"
    return Result(shown, machine(peer), now, commit, load, minutes, output, process.returncode != 0)


def page(results: dict[str, Result]) -> str:
    """The page, in the order of `BENCHMARKS`."""
    lines = [
        "# Results of all benchmarks",
        "",
        "    make bench TORCH=PYTHON     # an interpreter with PyTorch and mmaction2; ONLY=index,cache for some",
        "",
        "writes this page. Each benchmark measures its sides in turns, in one run, and prints medians and ratios.",
        "Busy are the cores that other programs used in the second before.",
        "",
        "| benchmark | bars | date | commit | busy | minutes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    there = [(each.name, results[each.name]) for each in BENCHMARKS if each.name in results]
    for name, one in there:
        link, busy = f"[{name}](#{name})", "" if one.load is None else f"{one.load:.1f}"
        lines.append(f"| {link} | {one.verdict} | {one.began} | {one.commit} | {busy} | {one.minutes:.1f} |")
    if missing := [each.name for each in BENCHMARKS if each.name not in results]:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    for name, one in there:
        lines += ["", f"## {name}", "", f"{one.machine}.", "", f"    {one.command}", "", "```text"]
        lines += [*one.output.splitlines(), "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked for, and write the page after each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter with torch and mmaction2")
    parser.add_argument("--only", default="", metavar="NAME,...")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "evidence" / "results.md")
    words = parser.parse_args()
    if words.torch and not _has_torch(words.torch):
        parser.error(f"--torch {words.torch} is no interpreter that imports torch and mmaction")
    names = words.only.split(",") if words.only else [each.name for each in BENCHMARKS]
    if unknown := set(names) - {each.name for each in BENCHMARKS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}: {', '.join(each.name for each in BENCHMARKS)}")
    kept = words.out.with_suffix(".json")
    results = (
        {name: Result(**told) for name, told in json.loads(kept.read_text()).items()} if kept.exists() else {}
    )
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    for benchmark in BENCHMARKS:
        if benchmark.name not in names:
            continue
        if benchmark.needs_peer and not words.torch:
            print(f"== {benchmark.name} is left out: it compares with PyTorch, --torch PYTHON")
            continue
        results[benchmark.name] = run(benchmark, words.torch, commit)
        kept.write_text(json.dumps({name: one._asdict() for name, one in results.items()}, indent=1) + "\n")
        words.out.write_text(page(results), encoding="utf-8")
    failed = [name for name in names if name in results and results[name].failed]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
