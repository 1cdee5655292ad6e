"""Writing pictures and videos, and captions on them; the room data/video reads them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nonlocal_core.artifacts.files import replacing

TICK_S = Fraction(1, 90_000)
"""unit of time stamps, usual in video (seconds)"""

Frames = NDArray[np.uint8]
Font = ImageFont.FreeTypeFont


def png(frame_HWC: Frames) -> bytes:
    """The PNG of a picture."""
    return _encoded(frame_HWC, "PNG")


def jpeg(frame_HWC: Frames, quality: int = 82) -> bytes:
    """The JPEG of a picture."""
    return _encoded(frame_HWC, "JPEG", quality=quality)


def _encoded(frame_HWC: Frames, kind: str, **options: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(frame_HWC).save(content, kind, optimize=True, **options)
    return content.getvalue()


def write_gif(path: Path, frames: Iterable[Frames], fps: float) -> None:
    """Write an animated GIF that plays for ever."""
    first, *others = (Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames)
    with replacing(path) as unfinished:
        first.save(unfinished, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


def write_mp4(path: Path, frames: Iterable[Frames], fps: float, times_s: Iterable[float] | None = None) -> None:
    """Write an H.264 video that every browser plays; an odd last row or column is left out.

    With `times_s`, each frame is shown from its own time on (seconds), and `fps` is only their mean rate.
    """
    stream, options = None, {"movflags": "+faststart"}
    with replacing(path) as unfinished, av.open(unfinished, "w", "mp4", options=options) as container:
        for frame_HWC, time_s in zip(frames, itertools.repeat(None) if times_s is None else times_s, strict=False):
            height, width = (side - side % 2 for side in frame_HWC.shape[:2])
            if stream is None:
                stream = container.add_stream(
                    "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "20"}
                )
                stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                if times_s is not None:
                    stream.codec_context.time_base = TICK_S
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC[:height, :width]), "rgb24")
            if time_s is not None:
                frame.pts, frame.time_base = round(time_s / TICK_S), TICK_S
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))


def with_caption(frame_HWC: Frames, texts: list[str]) -> Frames:
    """The picture with lines of text on a dark band at its lower edge; long lines get a smaller font."""
    from nonlocal_core.report.fonts import letter  # loads matplotlib, which other pictures do not need

    height, width = frame_HWC.shape[:2]
    picture = Image.fromarray(frame_HWC)
    size = max(9, min(height // 12, width // 16))
    draw = ImageDraw.Draw(picture, "RGBA")
    lettered = [letter(text) for text in texts]
    fonts = [_fitting(line.font, line.text, size, width - size) for line in lettered]
    line_heights = [round(font.size * 1.35) for font in fonts]
    top = height - sum(line_heights) - size // 3
    draw.rectangle((0, top - size // 3, width, height), fill=(0, 0, 0, 150))
    for line, font, line_height in zip(lettered, fonts, line_heights, strict=True):
        draw.text((size // 2, top), line.text, font=font, fill="white")
        top += line_height
    return np.asarray(picture)


def _fitting(name: str, text: str, size: int, width: int) -> Font:
    """A font in which a text is not wider than `width` pixels."""
    while size > 6 and ImageFont.truetype(name, size).getlength(text) > width:
        size -= 1
    return ImageFont.truetype(name, size)
