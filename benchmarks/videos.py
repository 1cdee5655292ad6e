"""Generated videos for the benchmarks: the size, length, rate and weight of Kinetics-400's 340x256 copies.

Shapes, textures and noise move so that a video of 10 s has some 600 to 900 kB as H.264 and a frame some 15 to
25 kB as JPEG.
"""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.files import replacing

HEIGHT, WIDTH, NUM_FRAMES, FPS = 256, 340, 300, 30


def make(folder: Path, count: int, width: int = WIDTH, height: int = HEIGHT) -> Path:
    """`folder/{a,b}/NNNN.mp4` and nothing else of ours; those that are there are left.

    In other sizes everything is larger but the noise.
    """
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number:04d}.mp4"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, np.random.default_rng(number), width, height)
    return folder


def copy(folder: Path, count: int) -> None:
    """Have every video so often, each time another file: with another title, not encoded again."""
    for source in sorted(folder.rglob("????.mp4")):
        for number in range(1, count):
            with (
                av.open(str(source)) as old,
                av.open(str(source.with_stem(f"{source.stem}-{number}")), "w") as new,
            ):
                new.metadata["title"] = f"copy {number}"
                stream = new.add_stream_from_template(old.streams.video[0])
                for packet in old.demux(video=0):
                    if packet.dts is not None:
                        packet.stream = stream
                        new.mux(packet)


def _write(path: Path, rng: np.random.Generator, width: int, height: int) -> None:
    scale = height / HEIGHT
    wide = _texture(height * 2, width * 2, rng)
    patch_h, patch_w = int(70 * scale), int(90 * scale)
    patches = [_texture(patch_h, patch_w, rng) for _ in range(3)]
    speed = rng.uniform(-1.2, 1.2, (4, 2))
    with replacing(path) as unfinished, av.open(unfinished, "w", "mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "18", "preset": "medium", "g": "250"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for t in range(NUM_FRAMES):
            y, x = (int(abs(v * t * scale)) % side for v, side in zip(speed[0], (height, width), strict=True))
            frame = wide[y : y + height, x : x + width].copy()
            for patch, (down, across) in zip(patches, speed[1:], strict=True):
                top = int(scale * (93 + 90 * np.sin(down * t / 20)))
                left = int(scale * (125 + 120 * np.sin(across * t / 20)))
                frame[top : top + patch_h, left : left + patch_w] = patch
            grain = rng.integers(-4, 5, (height, width, 1), dtype=np.int16)
            shown = np.clip(frame + grain, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())


def _texture(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    picture = np.full((height, width, 3), 110, np.float32)
    for cells, strength in ((6, 45), (24, 25), (96, 10)):
        coarse = rng.normal(0, strength, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255)
