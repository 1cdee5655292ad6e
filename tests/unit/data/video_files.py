"""Videos that PyAV encodes: an encoder and decoder that shares no code path with ours."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

NUM_BITS = 8


def painted(number: int, width: int = 128, height: int = 64) -> NDArray[np.uint8]:
    """A frame with its number in its pixels: black and white columns for the bits, over a gradient."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[...] = np.linspace(30, 220, width).astype(np.uint8)[None, :, None] // np.array([1, 2, 3], np.uint8)
    for bit, column in enumerate(np.array_split(np.arange(width), NUM_BITS)):
        frame[: height // 2, column] = 235 if number >> bit & 1 else 20
    return frame


def number_of(frame: NDArray[np.uint8]) -> int:
    """The number that `painted` put into a frame."""
    columns = np.array_split(frame[: frame.shape[0] // 2].mean(axis=(0, 2)), NUM_BITS)
    return sum(int(column.mean() > 128) << bit for bit, column in enumerate(columns))


def encode_video(
    path: Path,
    num_frames: int = 60,
    codec: str = "libx264",
    size: tuple[int, int] = (128, 64),
    gop: int = 12,
    b_frames: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.max_b_frames = b_frames
        stream.options = options or {}
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(painted(number, *size), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def encode_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def cut_without_encoding(source: Path, path: Path, start_s: Fraction) -> Path:
    """What `ffmpeg -ss START -c copy` makes: packets from a keyframe on, the first hidden by an edit list."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        shift = int(start_s / stream.time_base)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copy
                new.mux(packet)
    return path


def frames_by_pyav(path: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
