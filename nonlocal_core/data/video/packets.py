"""The packets of a video as its container describes them, and what of them cannot be in a whole file.

Each sign was tried on mutants of 19 kinds of files (tests/chaos), and is in none of the kinds that tests write and
in no real video that was tried.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_LONG = 1.5
"""times the usual time between two frames"""
_ROUNDED = 2
"""units of time by which even time stamps may differ"""
_NEAR = 16
"""frames from a hole in a file to the gap in time that it makes: they are shown in another order"""
_FEW = 0.05
"""share of the packets that have something before them; in some files it is all of them"""
_IN_ORDER = ("vp8", "vp9", "av1", "mjpeg", "theora", "gif")
"""codecs whose frames are shown in the order of the file"""


class Packet(NamedTuple):
    """A frame as the container describes it."""

    pts: int | None
    dts: int | None
    is_key: bool
    is_hidden: bool
    """before the start of an edit list, or a reference frame that is never shown"""
    duration: int = 0
    """in units of time; 0 if it is not said"""


def fault_of(packets: list[Packet], family: str, codec: str, holes: Iterable[int]) -> str:
    """What the time stamps say is damaged; "" if nothing is.

    `holes` are the numbers of the packets before which the file has bytes that belong to none.
    """
    if family == "mov":
        return _gap(packets) or _disorder(packets)
    if family != "avi" and codec in _IN_ORDER:
        stamps = [packet.pts for packet in packets if packet.pts is not None and not packet.is_hidden]
        if any(later < earlier for earlier, later in itertools.pairwise(stamps)):
            return "damaged: its time stamps are not in order"
    return _hole(packets, list(holes)) if family == "matroska" else ""


def _gap(packets: list[Packet]) -> str:
    """Frames that are left out: in an MP4 or MOV file a frame lasts until the next one in the file begins."""
    longest, place = 0, 0
    for number, (packet, following) in enumerate(itertools.pairwise(packets)):
        if packet.dts is not None and following.dts is not None:
            gap = following.dts - packet.dts - packet.duration
            longest, place = (gap, number) if gap > longest else (longest, place)
    if not longest or not packets[place].duration:
        return ""
    usual = statistics.median(packet.duration for packet in packets)
    if longest > _LONG * usual > 0:
        return f"damaged: about {longest / usual:.0f} frames are missing behind frame {place}"
    return ""


def _disorder(packets: list[Packet]) -> str:
    """Wrong time stamps: frames that are decoded at even times are shown at even times."""
    pts = [packet.pts for packet in packets if packet.pts is not None]
    dts = [packet.dts for packet in packets if packet.dts is not None]
    if len(packets) < 3 or min(len(pts), len(dts)) < len(packets):
        return ""
    steps = np.diff(dts)
    if steps.max() - steps.min() <= _ROUNDED and np.diff(sorted(pts)).max() > _LONG * steps[0]:
        return "damaged: its time stamps contradict each other"
    return ""


def _hole(packets: list[Packet], holes: list[int]) -> str:
    """Frames that are left out: there is something else in the file, and time goes on."""
    pts = sorted(packet.pts for packet in packets if packet.pts is not None)
    if len(pts) < 3 or not 0 < len(holes) <= max(1, _FEW * len(packets)):
        return ""
    steps = np.diff(pts)
    gaps = np.flatnonzero(steps > _LONG * float(np.median(steps)))
    if any(abs(int(gap) + 1 - hole) <= _NEAR for gap in gaps for hole in holes):
        return "damaged: unreadable inside"
    return ""
