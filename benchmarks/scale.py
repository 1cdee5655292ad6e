"""What 240,000 videos take of all but decoding and the network: time, memory, Prefect's database.

    python benchmarks/scale.py [--videos 2400 24000 240000] [--shards 100 500 1000]
                               [--databases SQLite Postgres] [--folder DIR] [--out FILE.json]

Each stage runs in a process of its own, on files without bytes and records that are generated;
benchmarks/scale_stages.py says what is real.  Its row has CPU and wall seconds without those of
generating, the greatest resident memory, and the slope of the CPU seconds from the last but one
number of videos to the last: 1.0 grows as the videos do, 2.0 is quadratic.  Then nights with so
many shards run against a Prefect server of their own (benchmarks/scale_prefect.py).  Postgres is
that of this machine.  DIR holds the files, some 3 GB for 240,000 videos, and they are removed.
--videos 0 or --shards 0 leaves that half out.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

FOLDERS = (".locks", "index", "cache", "records", "evaluate")
Found = dict[str, dict[int, dict[str, float]]]
"""by stage and number of videos"""


def stages(videos: list[int], folder: Path) -> tuple[Found, dict[int, Any]]:
    """What each stage takes for each number of videos, and what the folders of the workspace then hold."""
    from scale_stages import STAGES

    found: Found = {stage.name: {} for stage in STAGES}
    disks: dict[int, Any] = {}
    for num_videos in videos:
        with tempfile.TemporaryDirectory(dir=folder, prefix="scale-") as place:
            for number, stage in enumerate(STAGES):
                found[stage.name][num_videos] = one(number, Path(place), num_videos)
                took = found[stage.name][num_videos]
                text = f"{num_videos:>9,} {stage.name:<36} {took['cpu_s']:9.2f} s CPU {took['peak_mb']:7.0f} MB"
                print(text, file=sys.stderr, flush=True)
            disks[num_videos] = {name: taken(Path(place) / "workspace" / name) for name in FOLDERS}
    return found, disks


def one(number: int, folder: Path, num_videos: int) -> dict[str, float]:
    """Seconds and peak memory of one stage, in a process of its own."""
    command = [sys.executable, str(HERE / "scale_stages.py"), str(number), str(folder), str(num_videos)]
    environment = {**os.environ, "PYTHONPATH": f"{HERE.parent}:{HERE}"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return took


def taken(folder: Path) -> dict[str, float]:
    """Files of a folder and their bytes."""
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def table(found: Found) -> list[str]:
    """The rows of the stages: CPU seconds, memory and the slope of the first; wall seconds for most videos."""
    videos = sorted(next(iter(found.values())))
    heads = [f"{count:,}: CPU s" for count in videos] + ["wall s"] + [f"{count:,}: MB" for count in videos]
    lines = [f"| stage | {' | '.join(heads)} | slope |", "| --- |" + " ---: |" * (len(heads) + 1)]
    for name, by_videos in found.items():
        rows = [by_videos[count] for count in videos]
        cells = [f"{row['cpu_s']:.1f}" for row in rows] + [f"{rows[-1]['wall_s']:.1f}"]
        cells += [f"{row['peak_mb']:.0f}" for row in rows]
        lines.append(f"| {name} | {' | '.join(cells)} | {slope(videos, [row['cpu_s'] for row in rows])} |")
    return lines


def slope(videos: list[int], seconds: list[float]) -> str:
    """The power of the number of videos that the last two times grow with; nothing for what takes no time."""
    if len(videos) < 2 or min(seconds[-2:]) < 0.05:
        return ""
    return f"{math.log(seconds[-1] / seconds[-2]) / math.log(videos[-1] / videos[-2]):.2f}"


def nights(shards: list[int], names: list[str]) -> list[dict[str, Any]]:
    """What nights of so many shards take of Prefect; a line each."""
    import scale_prefect

    rows = []
    for on in names:
        for num_shards in shards:
            row = {"database": on, "shards": num_shards, **scale_prefect.measure(on, num_shards)}
            print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
    return rows


def night_table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows of Prefect."""
    names = ("task_run", "task_run_state", "log", "artifact", "events", "event_resources")
    heads = ["s", "ms a shard", "until the server is done, s", "flow, MB", "server, MB", "database, MB", *names]
    lines = [f"| database | shards | {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) + 1)]
    for row in rows:
        cells = [f"{row['mapped_s']:.1f}", f"{1000 * row['mapped_s'] / row['shards']:.1f}", f"{row['lag_s']:.0f}"]
        cells += [f"{row['flow_mb']:.0f}", f"{row['server_mb']:.0f}", f"{row['bytes'] / 1e6:.1f}"]
        cells += [str(row[name]) for name in names]
        lines.append(f"| {row['database']} | {row['shards']} | {' | '.join(cells)} |")
    return lines


def main(words: list[str]) -> None:
    """Measure, print the tables, and write all figures as JSON."""

    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="scale.py", description=__doc__, formatter_class=shape)
    parser.add_argument("--videos", type=int, nargs="+", default=[2_400, 24_000, 240_000], metavar="N")
    parser.add_argument("--shards", type=int, nargs="+", default=[100, 500, 1000], metavar="N")
    parser.add_argument("--databases", nargs="+", default=["SQLite"], choices=("SQLite", "Postgres"))
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the files lie")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file of all figures")
    given = parser.parse_args(words)
    result: dict[str, Any] = {
        "began": time.strftime("%Y-%m-%d", time.gmtime()),
        "load": os.getloadavg()[0],
    }
    videos, shards = ([count for count in counts if count] for counts in (given.videos, given.shards))
    if videos:
        result["stages"], result["disk"] = stages(sorted(videos), given.folder)
        print("\n".join(table(result["stages"])), flush=True)
    if shards:
        result["nights"] = nights(sorted(shards), given.databases)
        print("\n".join(night_table(result["nights"])), flush=True)
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
