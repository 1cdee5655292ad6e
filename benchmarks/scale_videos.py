"""Generated videos for benchmarks/scale.py: files without bytes, and what stands for all that is found in them.

A file has a name and a size, and is sparse.  In the place of `workers.each`, which starts a process, `each` gives
generated hashes, probes and frames.  A frame has 2 to 8 random bytes: so tables have as many lengths and checksums
as those of real videos, and the .bin files are small.  In the place of the network, `by_network` gives random
logits.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonlocal_core import scoring
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.records import encoding
from nonlocal_core.data.records.frame_writer import FrameWriter
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.video.decoding import Probe
from nonlocal_core.process import shares

NUM_LABELS = 400
VAL_EVERY = 12
"""one video in so many is of val, as in Kinetics-400"""
MEAN_FRAMES = 250


spent = {"wall_s": 0.0, "cpu_s": 0.0}
"""what generating has taken in this process"""


def timed(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function; the time that it takes is counted as that of generating."""

    def made(item: Any) -> Any:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        result = make(item)
        spent["wall_s"] += time.perf_counter() - began_s
        spent["cpu_s"] += time.process_time() - began_cpu_s
        return result

    return made


def _random(place: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(place.encode(), digest_size=8).digest()))


def hashed(place: str) -> str:
    """What stands for the SHA-256 of a file."""
    return hashlib.sha256(place.encode()).hexdigest()


def _num_frames(place: str) -> int:
    return int(_random(place).integers(MEAN_FRAMES - 50, MEAN_FRAMES + 51))


def probed(job: file_probe.Job) -> file_probe.Facts:
    """What stands for the probe of a file; the rate of one in fifty varies."""
    num_frames, varies = _num_frames(job.place), hashed(job.place)[:2] < "05"
    times_s = tuple(float(k) for k in np.arange(num_frames) / 25 + 0.001) if varies else None
    probe = Probe(
        num_frames=num_frames, fps=25.0, height=256, width=340, duration_s=num_frames / 25, codec="h264",
        rotation=0, variable_fps=varies, num_keyframes=10, longest_gap=40, first_pts_s=0.0,
        container_frames=num_frames, seek_safe=True, times_s=times_s,
    )  # fmt: skip
    return file_probe.Facts(job.sha256 or hashed(job.place), "ok", "", probe, True)


def encoded(job: encoding.Job) -> encoding.Encoded:
    """What stands for the frames of a video."""
    num_frames, rng = _num_frames(job.place), _random(job.place)
    ends = np.cumsum(rng.integers(2, 9, num_frames)).tolist()
    content = rng.bytes(ends[-1])
    with job.file.open("r+b") as file:
        writer = FrameWriter(file, job.offset)
        for start, end in zip([0, *ends], ends, strict=False):
            writer.add(content[start:end])
    return encoding.Encoded("ok", "", writer.stored, num_frames, 256, 340, num_frames * 256 * 340, 0.2)


MADE: dict[Callable[..., Any], Callable[[Any], Any]] = {
    file_probe.hash_of: timed(hashed),
    file_probe.probe_file: timed(probed),
    encoding.encode_video: timed(encoded),
}


def each(function: Callable[..., Any], items: Iterable[Any], *_: object, **__: object) -> Iterator[Any]:
    """In the place of `workers.each`: generated results."""
    return (MADE[function](item) for item in items)


def by_network(
    job: scoring.Job, reader: RecordReader, chunks: list[shares.Chunk], *_: object, **__: object
) -> Any:
    """In the place of `scoring._by_network`: random logits, whose right class is often the greatest."""
    num_views = job.config.evaluate.num_clips * job.config.evaluate.num_crops
    label_ids_N = reader.rows["label_id"].to_numpy()
    num_labels = int(label_ids_N.max()) + 1

    def logits(row: int) -> NDArray[np.float32]:
        made_VK = np.random.default_rng(row).standard_normal((num_views, num_labels), np.float32)
        made_VK[:, label_ids_N[row]] += row % 4
        return made_VK

    make = timed(logits)
    for chunk in chunks:
        yield [make(row) for row in chunk.rows], "generated"


def add_files(videos_dir: Path, numbers: Iterable[int]) -> None:
    """Make sparse files, named as those of Kinetics are: SPLIT/LABEL/ID_BEGIN_END.mp4."""
    for number in numbers:
        video = hashlib.blake2b(str(number).encode(), digest_size=6).hexdigest()
        name = f"{video}_{number:06d}_{number + 10:06d}.mp4"
        split = "train" if number % VAL_EVERY else "val"
        file = videos_dir / split / f"doing the activity {number // VAL_EVERY % NUM_LABELS:03d}" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
        os.truncate(descriptor, 400_000 + int(hashed(name)[:6], 16) % 2_000_000)
        os.close(descriptor)
