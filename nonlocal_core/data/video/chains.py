"""Files that are a chain of packets from their first byte to their last: MPEG-TS, MPEG-PS, FLV.

FFmpeg looks for the next packet after damage, and says no more than about a recording that begins anywhere.
Source: ISO/IEC 13818-1, sections 2.4.3.2 and 2.5.3; 4 bytes of time stand before each packet of an M2TS file;
Adobe Flash Video File Format 10.1, annex E.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import numpy as np

_SYNC = 0x47
_SIZES = (188, 192, 204)  # bytes of an MPEG-TS packet
_HEAD = 1 << 16  # bytes that show size and place of packets
_CHUNK = 1 << 16  # packets
_PACK, _END = b"\x00\x00\x01\xba", b"\x00\x00\x01\xb9"
_TAGS = (8, 9, 18)  # of FLV: sound, video, script


def is_broken(path: Path, family: str) -> bool:
    """Whether a packet does not begin where the one before it ends; False for files of other kinds."""
    if family == "mpegts":
        return _is_broken_transport_stream(path)
    if family == "mpeg":
        return _breaks(path, _after_pack)
    return family == "flv" and _breaks(path, _after_tag)


def _breaks(path: Path, after: Callable[[mmap.mmap, int], int]) -> bool:
    """Whether the chain breaks inside: `after` gives the end of the packet at a place, or -1 if there is none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        place, size = after(content, 0), len(content)
        if place < 0:  # it is no such chain: a recording that begins inside a packet
            return False
        while 0 <= place < size:
            place = after(content, place)
        return place < 0


def _after_pack(content: mmap.mmap, place: int) -> int:
    """The end of a pack header, system header or packet of MPEG-PS; zeros may fill up the end of a file."""
    head = content[place : place + 14]
    if head.startswith(_PACK):
        is_first = head[4:5] != b"" and head[4] >> 4 == 2  # of MPEG-1
        return place + 12 if is_first else place + 14 + (head[13] & 7 if len(head) == 14 else 0)
    if head.startswith(_END):
        return place + 4
    if head.startswith(b"\x00\x00\x01") and len(head) >= 6 and head[3] > _PACK[3]:
        size = int.from_bytes(head[4:6], "big")
        return place + 6 + size if size else len(content)  # it says no size, and nobody knows more
    return -1 if content[place:].strip(b"\0") else len(content)


def _after_tag(content: mmap.mmap, place: int) -> int:
    """The end of a tag of FLV, or of its header, with the size of it that stands behind."""
    if place == 0:
        return int.from_bytes(content[5:9], "big") + 4 if content[:3] == b"FLV" else -1
    if content[place] & 31 not in _TAGS:
        return -1
    end = place + 11 + int.from_bytes(content[place + 1 : place + 4], "big")
    return end + 4 if end <= len(content) else -1


def _is_broken_transport_stream(path: Path) -> bool:
    """The first packet may be half of one: packets are where most of the first ones are."""
    with path.open("rb") as file:
        head = np.frombuffer(file.read(_HEAD), np.uint8) == _SYNC
        shares = {
            (size, start): head[start::size].mean() for size in _SIZES for start in range(min(size, len(head)))
        }
        if not shares or max(shares.values()) < 0.5:
            return False
        size, start = max(shares, key=lambda place: shares[place])
        file.seek(start)
        while content := file.read(size * _CHUNK):
            if (np.frombuffer(content, np.uint8)[::size] != _SYNC).any():
                return True
    return False
