"""Frames in a file, one after the other, with their lengths and checksums."""

from __future__ import annotations

import os
import zlib
from typing import IO, Any, NamedTuple


class Stored(NamedTuple):
    """Frames that are in a file, one after the other."""

    lengths: list[int]
    """of each (bytes)"""
    crc32: list[int]
    """checksum of each"""

    @property
    def num_bytes(self) -> int:
        """Of all together."""
        return sum(self.lengths)


NONE = Stored([], [])


class FrameWriter:
    """Writes into a file that is there, after its first `offset` bytes; what lay behind is cut off."""

    def __init__(self, file: IO[bytes], offset: int) -> None:
        if file.seek(0, os.SEEK_END) > offset:
            file.truncate(offset)
        file.seek(offset)
        self._file = file
        self.stored = Stored([], [])
        self.num_bytes = 0

    def add(self, frame: Any) -> None:
        """Append a frame, which is bytes or an array of them."""
        num_bytes = memoryview(frame).nbytes
        self._file.write(frame)
        self.stored.lengths.append(num_bytes)
        self.stored.crc32.append(zlib.crc32(frame))
        self.num_bytes += num_bytes
