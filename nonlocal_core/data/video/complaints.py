"""What FFmpeg says of a file without ending: its demuxers and decoders go on after damage with a message alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

from nonlocal_core.errors import DecodeError

# Parts of FFmpeg that go on after damage with a message alone, and what others say of damage only.
_SAY_DAMAGE = {"matroska,webm", "ogg", "asf", "gif", "mjpeg"}
_SKIPPED = "Skipping invalid undecodable NALU"  # only a warning of HEVC's decoder, which loses a picture
# Of things beside the pictures, and of encoders that keep the books of their reference frames wrongly.
_HARMLESS = ("SEI type", "mmco: ", "number of reference frames")
_DAMAGE = (
    *("Packet mismatch", "Sample size", "Something went wrong during header parsing", "timescale not set"),
    "Failed to parse temporal unit",
)

av.logging.set_level(av.logging.WARNING)
av.logging.set_skip_repeated(False)  # else what is said of a file appears with the next one
logging.getLogger("libav").disabled = True  # the messages are read here


@contextmanager
def checked() -> Iterator[None]:
    """Raise DecodeError at the end if FFmpeg has found damage that it only speaks of."""
    with av.logging.Capture() as messages:
        yield
    for level, part, text in messages:
        if (level <= av.logging.ERROR and part in _SAY_DAMAGE) or any(words in text for words in _DAMAGE):
            raise DecodeError(f"damaged: {text.strip()[:100]}")


def decode(stream: Any, packet: Any) -> tuple[list[Any], str]:
    """The frames that a packet completes, and what the decoder of a video stream complains of; "" if it does not.

    Raises: av.FFmpegError if nothing can be decoded.
    """
    with av.logging.Capture() as messages:
        frames = stream.decode(packet)
    for level, _, text in messages:
        is_harmless = text.startswith(_HARMLESS)
        if (level <= av.logging.ERROR and not is_harmless) or text.startswith(_SKIPPED):
            return frames, text.strip()[:100]
    return frames, ""
