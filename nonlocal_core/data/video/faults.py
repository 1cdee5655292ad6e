"""What an error while one video is read says about this video: no file may stop a hundred thousand others."""

from __future__ import annotations

from typing import NamedTuple

import av
import cv2

from nonlocal_core.errors import DecodeError, NonlocalError
from nonlocal_core.escaping import one_line
from nonlocal_core.process import bounds


class Fault(NamedTuple):
    """Why a video cannot be used."""

    status: str
    """of its row: unreadable, given_up, …"""
    reason: str


def fault_of(error: Exception) -> Fault:
    """The fault of a video, whatever was raised while it was read.

    Raises: the error itself, if the disk or the object storage is at fault: it may work later.
    """
    if isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == cv2.Error.STS_NO_MEM):
        error = bounds.no_memory()
    if isinstance(error, DecodeError):
        return Fault(error.status, str(error))
    if isinstance(error, NonlocalError) or (isinstance(error, OSError) and not isinstance(error, av.FFmpegError)):
        raise error
    return Fault("given_up", one_line(f"fails the decoder: {type(error).__name__}: {error}", 120))
