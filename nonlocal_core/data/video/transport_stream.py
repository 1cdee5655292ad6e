"""The rows of a broadcast stream (MPEG-TS): packets of one size, each of which begins with the same byte.

Source: ISO/IEC 13818-1, section 2.4.3.2; 4 bytes of time stand before each packet in an M2TS file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SYNC = 0x47
_SIZES = (188, 192, 204)  # bytes
_FIRST = 8  # packets that show size and place
_CHUNK = 1 << 16  # packets


def is_broken(path: Path) -> bool:
    """Whether a packet does not begin where the one before it ends, though the first ones do."""
    with path.open("rb") as file:
        head = np.frombuffer(file.read(_SIZES[-1] * (_FIRST + 1)), np.uint8)
        layout = _layout(head)
        if layout is None:
            return False
        start, size = layout
        file.seek(start)
        while content := file.read(size * _CHUNK):
            if (np.frombuffer(content, np.uint8)[::size] != _SYNC).any():
                return True
    return False


def _layout(head: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Where the first whole packet begins, and the size of a packet; None if they are not to be seen."""
    for size in _SIZES:
        for start in np.flatnonzero(head[:size] == _SYNC).tolist():
            if len(head) >= start + size * _FIRST and (head[start::size][:_FIRST] == _SYNC).all():
                return start, size
    return None
