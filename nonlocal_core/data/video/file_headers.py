"""Headers of video files, for what FFmpeg does not say: whether a file is cut short, and whether it is upright.

An MP4 or MOV file is a sequence of boxes: the size of a box, its name, its content.  An MKV or WebM file is one
large element: its name, its size, its content.
Source: ISO/IEC 14496-12, sections 4.2 and 8.3.2; RFC 8794, sections 4 and 11; RFC 9559, section 5.1.4.1.28.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_ANY_NAME = re.compile(rb"[ -~]{4}")
_NAMES = set(b"ftyp moov mdat moof mfra free skip wide uuid sidx styp pnot".split())
_TRACK_HEADER = re.compile(rb"tkhd([\0\1])", re.DOTALL)
_MATRIX_AFTER = {b"\0": 39, b"\1": 51}  # bytes from the version of a track header to its display matrix
_UPRIGHT = b"".join(number.to_bytes(4, "big") for number in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
_MAX_HEADER = 1 << 26  # bytes
_MKV_HEADER = 1 << 16  # bytes; a longer one is not searched
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_CLUSTER, _PROJECTION = b"\x1f\x43\xb6\x75", b"\x76\x70"


class Box(NamedTuple):
    """One of the outermost boxes of a file."""

    name: bytes
    start: int
    """offset of its content in the file"""
    end: int


def is_cut_short(file: BinaryIO, size: int) -> bool:
    """Whether an open file of `size` bytes is shorter than its header says, or its fragments end in the middle.

    False for files of other kinds.
    """
    boxes = list(_boxes(file))
    if not boxes:
        return _segment_end(file) > size
    return any(box.end > size for box in boxes) or _is_broken_off(file, boxes)


def movie_header(path: Path) -> bytes:
    """The content of the box moov; empty if there is none, or it is too large."""
    with path.open("rb") as file:
        return _movie_header(file)


def _movie_header(file: BinaryIO) -> bytes:
    for box in _boxes(file):
        if box.name == b"moov" and box.end - box.start < _MAX_HEADER:
            file.seek(box.start)
            return file.read(box.end - box.start)
    return b""


def is_upright(path: Path) -> bool:
    """Whether no track has to be turned before it is shown; False if the header is not found."""
    with path.open("rb") as file:
        if file.read(len(_EBML)) == _EBML:
            head = file.read(_MKV_HEADER)
            place = head.find(_CLUSTER)
            return place > 0 and _PROJECTION not in head[:place]
        header = _movie_header(file)
    places = [match.end() + _MATRIX_AFTER[match[1]] for match in _TRACK_HEADER.finditer(header)]
    return bool(places) and all(header.startswith(_UPRIGHT, place) for place in places)


def _is_broken_off(file: BinaryIO, boxes: list[Box]) -> bool:
    """Whether no box begins where the last fragment ends, or a fragment is torn: FFmpeg silently leaves it out."""
    if not (fragments := [box for box in boxes if box.name == b"moof"]):
        return False
    file.seek(boxes[-1].end)
    head = file.read(8)
    return bool(head and not _ANY_NAME.fullmatch(head[4:])) or any(_is_torn(file, box) for box in fragments)


def _is_torn(file: BinaryIO, fragment: Box) -> bool:
    """Whether the header of a fragment is no sequence of boxes, or that of a track in it: its frames are lost."""
    file.seek(fragment.start)
    content = file.read(min(fragment.end - fragment.start, _MAX_HEADER))
    tracks = list(inner(content, 0, len(content)))
    below = [box for track in tracks if track.name == b"traf" for box in inner(content, track.start, track.end)]
    return not below or b"" in {box.name for box in (*tracks, *below)}


def inner(content: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes in a part of a file; one without a name is not whole."""
    while start < end:
        size, name = int.from_bytes(content[start : start + 4], "big"), content[start + 4 : start + 8]
        if size < 8 or start + size > end or not _ANY_NAME.fullmatch(name):
            yield Box(b"", start, end)
            return
        yield Box(name, start + 8, start + size)
        start += size


def _boxes(file: BinaryIO) -> Iterator[Box]:
    """The outermost boxes up to the first with an unknown name; what follows is not part of the video."""
    start = 0
    file.seek(start)
    while (head := file.read(8))[4:] in _NAMES:
        size, length = int.from_bytes(head[:4], "big"), 8
        if size == 1:  # the size is in the next 8 bytes
            size, length = int.from_bytes(file.read(8), "big"), 16
        if size < length:  # 0 means up to the end of the file
            return
        yield Box(head[4:], start + length, start + size)
        start += size
        file.seek(start)


def _segment_end(file: BinaryIO) -> int:
    """The end of the one large element of an MKV or WebM file; 0 if it is not stated, or in other files."""
    file.seek(0)
    head = file.read(4096)
    place = 0
    for name in (_EBML, _SEGMENT):
        first = head[place + 4 : place + 5]
        if not head.startswith(name, place) or first in (b"", b"\0"):
            return 0
        length = 9 - first[0].bit_length()  # bytes of the size: one more than the zeros that it begins with
        start = place + 4 + length
        mask = (1 << 7 * length) - 1
        size = int.from_bytes(head[place + 4 : start], "big") & mask
        if size == mask:  # unknown: the file was written while it was recorded
            return 0
        place = start + size
    return place
