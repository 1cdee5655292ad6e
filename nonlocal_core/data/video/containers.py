"""The containers of video files: their packets, and which of their statements can be trusted.

FFmpeg opens a file that is cut short as if it were a shorter one, may show frames that an edit list hides, and may
jump to a wrong frame.  The packets show all this without being decoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import av

from nonlocal_core.data.video import chains, file_headers, packets, sample_tables
from nonlocal_core.data.video.opening import Stream, fault_of, is_video
from nonlocal_core.data.video.packets import Packet
from nonlocal_core.errors import DecodeError

_FACTS = attrgetter("pts", "dts", "duration", "size", "is_keyframe", "is_discard", "is_corrupt", "stream_index")

_HEADER_SAYS_DURATION = {"matroska", "avi", "flv"}
_INDEXED = {"mov", "avi"}  # the index lists every packet
_STARTS_ANYWHERE = {"mpegts", "mpeg"}
_MAX_BETWEEN = 4096  # bytes between two packets of an MKV file; at most 30 were seen
_USUAL_BETWEEN = 30
_MISSING_S, _MISSING_SHARE = 0.5, 0.05  # of the duration in a header, which is a few frames off


class Contents:
    """The packets of one video, collected while they are read."""

    def __init__(self, container: Any, stream: Stream) -> None:
        self.packets: list[Packet] = []
        self.family: str = container.format.name.partition(",")[0]
        self.codec: str = stream.codec.canonical_name
        self.start: float | None = None
        """Time stamp from which on frames can be decoded; None before the packet that has it.  A recording of a
        broadcast may start between two key frames; of any other file that is damage."""
        self._container, self._stream = container, stream
        self._num_before = 0  # packets before the start
        self._num_listed = 0  # packets that an index lists, some of which may be empty
        # Between its packets there are only headers; with transparency there would be more.
        self._is_dense = self.family == "matroska" and "alpha_mode" not in stream.metadata
        self._place = 0  # in the file, behind the last packet
        self._holes: list[int] = []  # numbers of the packets before which there are bytes that are no packet
        self._num_indexed = len(stream.index_entries)  # by the file; FFmpeg adds what it finds
        self._ends: dict[int, int] = {}  # of each stream, in its own time unit

    def demux(self) -> Iterator[Any]:
        """The packets of the video in the order of the file.

        Raises: DecodeError where the file ends inside a packet or cannot be read.
        """
        # The duration in a header may be that of the sound.
        is_timed = self.family in _HEADER_SAYS_DURATION
        wanted = self._container.streams if is_timed else (self._stream,)
        own, may_hide = self._stream.index, self.codec in ("vp8", "mpeg4")
        try:
            for packet in self._container.demux(*wanted):
                pts, dts, duration, size, is_key, is_hidden, is_corrupt, index = _FACTS(packet)
                if is_corrupt:
                    raise DecodeError("damaged: cut short or unreadable inside")
                time = dts if pts is None else pts
                if is_timed and time is not None:
                    self._ends[index] = max(self._ends.get(index, time), time + (duration or 0))
                if self._is_dense:
                    self._check_place(packet.pos, size)
                if index == own:
                    self._num_listed += time is not None or size > 0  # the last packet only marks the end
                    if size:
                        if self.start is None and (is_key or self.family not in _STARTS_ANYWHERE):
                            self.start = -math.inf if pts is None else pts
                            self._num_before = len(self.packets)
                        if may_hide:
                            is_hidden = is_hidden or self._is_hidden(packet, size)
                        self.packets.append(Packet(pts, dts, is_key, is_hidden, duration or 0))
                        yield packet
        except av.FFmpegError as error:
            raise fault_of(error, "damaged: cut short or unreadable inside") from None

    def _check_place(self, place: int | None, size: int) -> None:
        """Raise DecodeError at a gap: FFmpeg silently skips unreadable parts of an MKV or WebM file."""
        if place is None:
            return
        if self._place and place - self._place > _MAX_BETWEEN:
            raise DecodeError("damaged: unreadable inside")
        if self._place and place - self._place > _USUAL_BETWEEN:
            self._holes.append(len(self.packets))
        self._place = max(self._place, place + size)

    def _is_hidden(self, packet: Any, size: int) -> bool:
        if self.codec == "vp8":  # it has frames that only others refer to; one bit of the first byte says so
            return not memoryview(packet)[0] & 0x10
        return size == 1  # DivX puts two frames into one packet and a single byte into the next (all of HMDB51)

    def may_lack_references(self) -> bool:
        """Whether the last packet may refer to frames before the file, from which it was cut out: until the second
        key frame, in a file that begins with none, or with frames that are shown before it."""
        first, *others = self.packets
        is_cut = not first.is_key or any(
            packet.pts is None or first.pts is None or packet.pts <= first.pts for packet in others
        )
        return is_cut and len(self.key_numbers()) <= 1

    def check_whole(self, path: Path) -> None:
        """Compare the packets with what the headers of the file, at `path`, say.

        Raises: DecodeError if the file is cut short, or frames are missing inside.
        """
        num_indexed = max(len(self._stream.index_entries), self._num_stated())
        if self.family in _INDEXED and self._num_listed < num_indexed:
            expected, present, tolerance, unit = float(num_indexed), float(self._num_listed), 0.0, "frames"
        elif self.family in _HEADER_SAYS_DURATION and self._container.duration:
            expected, unit = self._container.duration / av.time_base, "s"
            present = max(
                (end * float(self._container.streams[index].time_base) for index, end in self._ends.items()),
                default=0.0,
            )
            tolerance = max(_MISSING_S, _MISSING_SHARE * expected)
        else:
            expected, present, tolerance, unit = 0.0, 0.0, 0.0, ""
        if expected - present > tolerance:
            raise DecodeError(f"damaged: cut short, {present:.1f} of {expected:.1f} {unit} are there")
        if fault := packets.fault_of(self.packets, self.family, self.codec, self._holes):
            raise DecodeError(fault)
        is_odd = self.family == "flv" and not self.has_one_video()  # a tag that was changed makes a stream
        if is_odd or chains.is_broken(path, self.family):
            raise DecodeError("damaged: unreadable inside")
        if self.family == "mov" and sample_tables.contradict(file_headers.movie_header(path)):
            raise DecodeError("damaged: its tables of frames contradict each other")

    def _num_stated(self) -> int:
        """Frames that the header promises; one more than the index of an AVI file lists may be a slip."""
        stated: int = self._stream.frames
        is_slip = self._num_indexed == self._num_listed == stated - 1
        return stated if self.family == "avi" and not is_slip else 0  # an edit list may hide frames of an MP4

    def shown(self) -> list[Packet]:
        """The packets of the frames that are shown, in the order of the file.

        Packets after the first that come before it in time refer to frames before the file.  In an MKV file that
        was cut they have no time stamp, or that of the first packet.
        """
        start = self.start
        return [
            packet
            for number, packet in enumerate(self.packets[self._num_before :])
            if not packet.is_hidden
            and (
                number == 0 or start is None or (start == -math.inf if packet.pts is None else packet.pts > start)
            )
        ]

    def times(self, shown: list[Packet]) -> list[int]:
        """The time stamps of the frames that are `shown`, in order; empty if the file has none.

        An AVI file has a constant rate and no time stamps; FFmpeg only guesses them.
        """
        for stamps in ((packet[column] for packet in shown) for column in (0, 1)):
            present = [stamp for stamp in stamps if stamp is not None]
            if len(present) == len(shown) and self.family != "avi":
                return sorted(present)
        return []

    def key_numbers(self) -> list[int]:
        """The numbers of the packets of key frames."""
        return [number for number, packet in enumerate(self.packets) if packet.is_key]

    def stamp(self, item: Any) -> int | None:
        """What tells a packet or frame from all others; in an AVI file, its place in the file."""
        stamp: int | None = item.dts if self.family == "avi" else item.pts
        return stamp

    def stamps(self) -> tuple[list[int], list[int]]:
        """The stamps of the frames that are shown and those of the key frames, in order.

        Both are empty where no jump is safe: stamps do not tell frames apart, or the first frame is no key frame.
        """
        stamps = {stamp for packet in self.packets if (stamp := self.stamp(packet)) is not None}
        is_out_of_order = self.family == "avi" and (self.is_reordered() or any(p.is_hidden for p in self.packets))
        if self.family in _STARTS_ANYWHERE or is_out_of_order or len(stamps) < len(self.packets):
            return [], []
        times = sorted(stamp for packet in self.shown() if (stamp := self.stamp(packet)) is not None)
        keys = sorted(
            stamp for packet in self.packets if packet.is_key and (stamp := self.stamp(packet)) is not None
        )
        return (times, keys) if times and keys and keys[0] <= times[0] else ([], [])

    def may_end_without_picture(self) -> bool:
        """Whether one packet may hold no picture, as those do with which many AVI writers (all of HMDB51) end."""
        return self.family == "avi" or self.codec == "mpeg4"

    def has_one_video(self) -> bool:
        """Whether no other stream of the file is a video too."""
        return sum(is_video(stream) for stream in self._container.streams) == 1

    def has_duration(self) -> bool:
        """Whether the header says how long the video is; one that was streamed has no index either."""
        return bool(self._container.duration)

    def is_reordered(self) -> bool:
        """Whether frames are shown in another order than that of the file."""
        return bool(self._stream.codec_context.reorder_depth)


def may_be_turned(path: Path, family: str) -> bool:
    """Whether the frames of a file may have to be turned before they are shown; decoding a frame shows if."""
    if family in ("mov", "matroska"):
        return not file_headers.is_upright(path)
    return family in ("image2", "jpeg_pipe")
