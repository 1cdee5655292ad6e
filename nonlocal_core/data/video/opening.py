"""Opening video files with FFmpeg: which of them it may open, and what it says of their streams."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from nonlocal_core.data.video import complaints, file_headers
from nonlocal_core.errors import DecodeError
from nonlocal_core.process import bounds

Stream = Any  # av.VideoStream: its type stubs leave out half of it

_PLAYLISTS = {"concat", "hls", "dash"}  # FFmpeg would read the files in the list
# To know a stream FFmpeg decodes its first frame, which costs more than all other parts of opening a file.
_UNDECODED = {"skip_frame": "all", "probesize": "32"}
_true_headers: set[tuple[Any, ...]] = set()  # what MP4 files say of their streams, and their first frame said too
_tries = Counter[str]()  # of opening without decoding, which costs more where no two files share a header
_MOST_MISSES = 32


@contextmanager
def open_video(path: Path, is_decoded: bool = True) -> Iterator[tuple[Any, Stream]]:
    """A container and its video stream, at the first packet, to be decoded by one thread.

    Where nothing `is_decoded` but a first frame at most, an MP4 file is opened without decoding if its codec's own
    header, and what the file says of it, are those of another file in which a decoded frame has said the same.

    Raises: DecodeError if there is no video that can be read, or at the end if FFmpeg has found damage.
    """
    is_mp4 = check_file(path)[4:] == b"ftyp"
    with complaints.checked():
        yield from _open(path, is_decoded or not is_mp4 or _tries["missed"] > _MOST_MISSES + _tries["hit"])


def _open(path: Path, is_decoded: bool) -> Iterator[tuple[Any, Stream]]:
    with _container(path, {}) if is_decoded else _undecoded(path) as container:
        if container.format.name in _PLAYLISTS:
            raise DecodeError("not a video but a list of files")
        stream = container.streams.best("video")
        if stream is None or not is_video(stream):
            if container.streams.audio:
                raise DecodeError("no video stream", status="audio_only")
            raise DecodeError("no video stream")
        if stream.codec_context is None:
            raise DecodeError("no decoder for this kind of video")
        bounds.check_frame(stream.width, stream.height)
        stream.codec_context.options = {"max_pixels": str(bounds.max_frame_px())}  # frames may say otherwise
        stream.thread_count = 1
        stream.thread_type = "NONE"
        yield container, stream


def _container(path: Path, options: dict[str, str]) -> Any:
    try:
        return av.open(f"file:{path.absolute()}", metadata_errors="replace", options=options)
    except (av.FFmpegError, OSError, ValueError):
        # FFmpeg has one error for a container that it does not know and for one without its index.
        raise DecodeError("not a video or damaged: no container that can be read") from None


def _undecoded(path: Path) -> Any:
    """A container that was opened without decoding, if what it says was true of another file; else as usual."""
    container = _container(path, _UNDECODED)
    stated = _header(container)
    is_true = stated in _true_headers
    _tries["hit" if is_true else "missed"] += 1
    if is_true:
        return container
    container.close()
    container = _container(path, {})
    if stated and stated == _header(container):
        _true_headers.add(stated)
    return container


def _header(container: Any) -> tuple[Any, ...]:
    """What is said of the video's pictures outside of them; empty if its codec has no header of its own."""
    stream: Stream = container.streams.best("video")
    codec = stream.codec_context if stream else None
    if codec is None or not codec.extradata:
        return ()
    return codec.name, codec.extradata, stream.width, stream.height, stream.sample_aspect_ratio or 1


def fault_of(error: av.FFmpegError, reason: str) -> DecodeError:
    """The error for a video that FFmpeg cannot read, which has this reason unless memory is missing."""
    return bounds.no_memory() if isinstance(error, MemoryError) else DecodeError(reason)


def check_file(path: Path) -> bytes:
    """The first eight bytes of a file; the others do not show that it is cut short.

    Raises: DecodeError if it is missing or cut short.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DecodeError("not a file")
        if status.st_size == 0:
            raise DecodeError("empty file", status="empty")
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(max(0, status.st_size - 16))
            end = file.read()
            is_cut_short = file_headers.is_cut_short(file, status.st_size)
    except OSError as error:
        raise DecodeError(f"cannot be opened: {error.strerror}") from None
    if start.startswith(b"GIF8") and not end.rstrip(b"\0").endswith(b";"):
        raise DecodeError("damaged: cut short")
    if is_cut_short:
        raise DecodeError("damaged: cut short")
    return start


def is_video(stream: Any) -> bool:
    """Whether a stream is a video, not the cover picture of a piece of music."""
    return stream.type == "video" and not stream.disposition & Disposition.attached_pic
