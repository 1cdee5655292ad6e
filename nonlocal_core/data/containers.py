"""What the containers of video files say, and which of their words can be trusted.

FFmpeg opens a file that is cut short as a whole, shorter one, shows what an edit list hides if it is asked the
wrong way, and jumps to another frame than it was asked for.  The packets themselves tell, without being decoded.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.stream import Disposition

from nonlocal_core.errors import DecodeError

Stream = Any  # av.VideoStream: its type stubs leave out half of it

# A file names nothing but itself: without this, a playlist that is called x.mp4 would open whatever it lists.
_ONLY_FILES = {"protocol_whitelist": "file", "pattern_type": "none"}
# What decord was seen to jump right in.  AVI: unless frames are reordered; all others either raise or are wrong.
_JUMPS_RIGHT = {
    "mov": {"h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "vp9", "h263", "prores", "png", "qtrle"},
    "matroska": {"h264", "hevc", "mpeg4", "mpeg2video", "vp8", "vp9", "ffv1"},
    "flv": {"h264", "flv1"},
    "avi": {"mpeg4", "mjpeg", "msmpeg4v3"},
}
_HEADER_SAYS_DURATION = {"matroska", "avi", "flv", "asf"}
_SHARE_THERE = 0.9  # of the seconds that a header promises; headers are a frame or two off
_UPRIGHT = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
_MATRIX_AFTER = {b"\0": 39, b"\1": 51}  # bytes from the version of a tkhd box to its display matrix
_LARGEST_MOOV = 1 << 26  # bytes


class Packet(NamedTuple):
    """What a container says of one frame."""

    pts: int | None
    dts: int | None
    is_key: bool
    is_hidden: bool
    """before the start of an edit list, or a reference that is never shown itself"""


class Contents:
    """The packets of one video, collected while they pass by."""

    def __init__(self, container: Any, stream: Stream) -> None:
        self.packets: list[Packet] = []
        self.family: str = container.format.name.partition(",")[0]
        self.codec: str = stream.codec.canonical_name
        self._container, self._stream = container, stream
        self._num_packets = 0
        self._end_s = 0.0

    def demux(self) -> Iterator[Any]:
        """The packets of the video in the order of the file.

        Raises: DecodeError where the file ends inside a packet or cannot be read.
        """
        try:
            for packet in self._container.demux():
                if packet.is_corrupt:
                    raise DecodeError("damaged: cut short or unreadable inside")
                time = packet.dts if packet.pts is None else packet.pts
                if time is not None:
                    self._end_s = max(self._end_s, float((time + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index == self._stream.index:
                    self._num_packets += time is not None or packet.size > 0  # the last one only says "the end"
                    if packet.size:
                        self.packets.append(self._described(packet))
                        yield packet
        except av.FFmpegError:
            raise DecodeError("damaged: cut short or unreadable inside") from None

    def _described(self, packet: Any) -> Packet:
        # VP8 has frames that only others refer to; one bit of the first byte says so.
        is_hidden = packet.is_discard or (self.codec == "vp8" and not memoryview(packet)[0] & 0x10)
        return Packet(packet.pts, packet.dts, packet.is_keyframe, is_hidden)

    def check_whole(self) -> None:
        """Compare what passed by with what the header promises.

        Raises: DecodeError if the file is cut short.
        """
        if self.family == "mov":  # its index lists every packet, and no others than can be had
            promised, there, unit = float(len(self._stream.index_entries)), float(self._num_packets), "frames"
            share = 1.0
        elif self.family in _HEADER_SAYS_DURATION and self._container.duration:
            promised, there, unit = self._container.duration / av.time_base, self._end_s, "s"
            share = _SHARE_THERE
        else:
            return
        if there < share * promised:
            raise DecodeError(f"damaged: cut short, {there:.1f} of {promised:.1f} {unit} are there")

    @property
    def first_key(self) -> int:
        """Number of the first packet that can be decoded by itself; 0 if no packet says so."""
        return next((number for number, packet in enumerate(self.packets) if packet.is_key), 0)

    def shown(self) -> list[Packet]:
        """The packets that become frames that are shown, in the order of the file.

        What lies before the first key frame, in the file or in time, cannot be decoded.
        """
        first = self.packets[self.first_key :]
        start = first[0].pts if first else None
        return [
            packet
            for packet in first
            if not packet.is_hidden and (start is None or packet.pts is None or packet.pts >= start)
        ]

    def times(self) -> list[int]:
        """The time stamps of the frames that are shown, in order; none if the file has none."""
        shown = self.shown()
        for stamps in ([packet.pts for packet in shown], [packet.dts for packet in shown]):
            known = [stamp for stamp in stamps if stamp is not None]
            if len(known) == len(stamps):
                return sorted(known)
        return []

    def keys(self) -> list[int]:
        """The numbers of the packets that can be decoded by themselves."""
        return [number for number, packet in enumerate(self.packets) if packet.is_key]

    def jumps_right(self) -> bool:
        """Whether decord finds the frames of this file by their number.

        It counts packets in the order of the file and frames in the order of showing.  Both orders have to agree
        at every key frame, and every packet has to be one frame that is shown.
        """
        if self.codec not in _JUMPS_RIGHT.get(self.family, ()) or any(packet.is_hidden for packet in self.packets):
            return False
        if self.family == "avi" and self._stream.codec_context.reorder_depth:
            return False
        if self.family == "matroska" and not self._container.duration:
            return False  # streamed without an index
        if sum(_is_video(stream) for stream in self._container.streams) > 1:
            return False  # it may choose another one
        pts = [packet.pts for packet in self.packets if packet.pts is not None]
        if len(set(pts)) < len(self.packets) or not self.packets[0].is_key:
            return False
        rank = np.argsort(np.argsort(np.array(pts)))
        return all(rank[key] == key for key in self.keys())


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Stream]]:
    """A container and its video stream, at the first packet, to be decoded by one thread.

    Raises: DecodeError if there is no video that can be read.
    """
    check_file(path)
    try:
        container: Any = av.open(
            f"file:{path.absolute()}", metadata_errors="replace", container_options=_ONLY_FILES
        )
    except (av.FFmpegError, OSError, ValueError):
        # FFmpeg has one error for a container that it does not know and for one without its index.
        raise DecodeError("not a video or damaged: no container that can be read") from None
    with container:
        stream = container.streams.best("video")
        if stream is None or not _is_video(stream):
            if container.streams.audio:
                raise DecodeError("no video stream", status="audio_only")
            raise DecodeError("no video stream")
        if stream.codec_context is None:
            raise DecodeError("no decoder for this kind of video")
        stream.thread_count = 1
        stream.thread_type = "NONE"
        yield container, stream


def check_file(path: Path) -> None:
    """Nothing, if there is a file with something in it.

    Raises: DecodeError if not.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DecodeError(f"cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError("not a file")
    if status.st_size == 0:
        raise DecodeError("empty file", status="empty")


def may_be_turned(path: Path, family: str) -> bool:
    """Whether the frames of a file may have to be turned.  MP4 and MOV say so in a few bytes of their header.

    A yes costs the decoding of a frame, which knows.
    """
    if family != "mov":
        return family in ("matroska", "image2", "jpeg_pipe")
    header = _moov(path)
    places = [
        found.end() + _MATRIX_AFTER.get(found[1], 0) for found in re.finditer(rb"tkhd(.)", header, re.DOTALL)
    ]
    return not places or any(header[place : place + len(_UPRIGHT)] != _UPRIGHT for place in places)


def _moov(path: Path) -> bytes:
    """The header box of an MP4 or MOV file; empty if it is not where it should be."""
    with path.open("rb") as file:
        while len(start := file.read(8)) == 8:
            size, name = int.from_bytes(start[:4], "big"), start[4:]
            read = 8
            if size == 1:  # the size is in the next 8 bytes
                size, read = int.from_bytes(file.read(8), "big"), 16
            if name == b"moov":
                return file.read(size - read) if read <= size < _LARGEST_MOOV else b""
            if size < read:
                break
            file.seek(size - read, 1)
    return b""


def _is_video(stream: Any) -> bool:
    """Whether a stream is moving pictures, not the cover of a piece of music."""
    return stream.type == "video" and not stream.disposition & Disposition.attached_pic
