"""Damaged copies of files, and what an independent decoder reads of a video."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

WAYS = ("flip a bit", "set a byte", "set ten bytes", "hole", "noise", "cut", "delete", "insert", "repeat", "swap")


def mutant(content: bytes, drawn: random.Random) -> tuple[str, bytes]:
    """How some bytes were damaged, and the damaged bytes."""
    way, size = drawn.choice(WAYS), len(content)
    # Half of all damage hits the first or the last kilobytes, where headers and indexes are.
    near = drawn.random()
    place = drawn.randrange(size)
    if near < 0.35:
        place = drawn.randrange(min(size, 1000))
    elif near < 0.5:
        place = size - 1 - drawn.randrange(min(size, 2000))
    length = min(drawn.choice((1, 4, 16, 200, 2000)), size - place)
    damaged = bytearray(content)
    if way == "flip a bit":
        damaged[place] ^= 1 << drawn.randrange(8)
    elif way == "set a byte":
        damaged[place] = drawn.choice((0, 1, 127, 128, 255))
    elif way == "set ten bytes":
        for _ in range(10):
            damaged[drawn.randrange(size)] = drawn.randrange(256)
    elif way == "hole":
        damaged[place : place + length] = bytes(length)
    elif way == "noise":
        damaged[place : place + length] = drawn.randbytes(length)
    elif way == "cut":
        del damaged[place:]
    elif way == "delete":
        del damaged[place : place + length]
    elif way == "insert":
        damaged[place:place] = drawn.randbytes(length)
    elif way == "repeat":
        damaged[place:place] = damaged[place : place + length]
    else:
        other = drawn.randrange(size - length + 1)
        damaged[place : place + length], damaged[other : other + length] = (
            damaged[other : other + length],
            damaged[place : place + length],
        )
    return f"{way} at {place}, {length} bytes", bytes(damaged)


class Frames(NamedTuple):
    """What a decoder reads of a video."""

    frames_NHWC: NDArray[np.uint8]
    complaint: str
    """what it says is wrong; empty if nothing is"""


def by_ffmpeg(path: Path, height: int, width: int) -> Frames:
    """Every frame that the `ffmpeg` program shows, and what it says about the file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", f"file:{path}", "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-s", f"{width}x{height}", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    ended = subprocess.run(command, capture_output=True, timeout=60)
    whole = len(ended.stdout) // (height * width * 3) * height * width * 3
    frames = np.frombuffer(ended.stdout[:whole], np.uint8).reshape(-1, height, width, 3)
    said = ended.stderr.decode(errors="replace").strip().splitlines()
    return Frames(frames, said[0] if said else "" if ended.returncode == 0 else f"exit code {ended.returncode}")


def by_us(path: Path) -> NDArray[np.uint8]:
    """Every frame that a cache would keep.  Shape: (num_frames, H, W, 3)."""
    from nonlocal_core.data.video import decoding

    return np.stack(list(decoding.read_frames(path)))


def differs(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> str:
    """How two decodings differ; empty if they do not.  Decoders round differently."""
    if a.shape != b.shape:
        return f"{len(a)} frames of {a.shape[1:3]}, not {len(b)} of {b.shape[1:3]}"
    far = np.abs(a.astype(np.int16) - b).mean(axis=(1, 2, 3)) > 2
    return f"{far.sum()} of {len(a)} frames are others" if far.any() else ""
