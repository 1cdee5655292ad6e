"""The tables of frames in the header of an MP4 or MOV file: three of them say how many frames there are.

Source: ISO/IEC 14496-12, sections 8.6.1.2 (stts), 8.7.3.2 (stsz), 8.7.4 (stsc) and 8.7.5 (stco, co64).
"""

from __future__ import annotations

import numpy as np

from nonlocal_core.data.video.file_headers import Box, inner

_PATH = (b"trak", b"mdia", b"minf", b"stbl")


def contradict(header: bytes) -> bool:
    """Whether the tables of a video track, in the content of a box moov, have different numbers of frames."""
    return any(_contradicts(header, track) for track in _below(header, 0, len(header), _PATH))


def _below(header: bytes, start: int, end: int, path: tuple[bytes, ...]) -> list[dict[bytes, Box]]:
    """The boxes in each box at the end of a path of names, where there is a video header beside it."""
    boxes = list(inner(header, start, end))
    if not path:
        return [{box.name: box for box in boxes}]
    if path[0] == b"stbl" and all(box.name != b"vmhd" for box in boxes):
        return []
    groups = [_below(header, box.start, box.end, path[1:]) for box in boxes if box.name == path[0]]
    return [tables for group in groups for tables in group]


def _contradicts(header: bytes, tables: dict[bytes, Box]) -> bool:
    offsets = tables.get(b"stco") or tables.get(b"co64")
    if offsets is None or not {b"stts", b"stsz", b"stsc"} <= tables.keys():
        return False
    num_frames = int.from_bytes(header[tables[b"stsz"].start + 8 : tables[b"stsz"].start + 12], "big")
    num_chunks = int.from_bytes(header[offsets.start + 4 : offsets.start + 8], "big")
    if not num_frames:  # they are in fragments
        return False
    by_time = int(_rows(header, tables[b"stts"], 2)[:, 0].sum())
    chunks = _rows(header, tables[b"stsc"], 3)
    in_each = np.diff([*chunks[:, 0].tolist(), num_chunks + 1])
    return not by_time == num_frames == int((in_each * chunks[:, 1]).sum())


def _rows(header: bytes, table: Box, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The rows of a table of 32-bit numbers, as many as it says."""
    count = int.from_bytes(header[table.start + 4 : table.start + 8], "big")
    content = header[table.start + 8 : min(table.end, table.start + 8 + 4 * width * count)]
    numbers = np.frombuffer(content[: len(content) // (4 * width) * 4 * width], ">u4").astype(np.int64)
    return numbers.reshape(-1, width)
