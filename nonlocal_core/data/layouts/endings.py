"""The endings of video files."""

from __future__ import annotations

SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".mpe", ".mpv", ".mp2v", ".m1v", ".m2v",
    ".m2p", ".ts", ".m2ts", ".mts", ".m2t", ".trp", ".tp", ".tod", ".mod", ".wmv", ".asf", ".flv", ".f4v",
    ".f4p", ".3gp", ".3gpp", ".3g2", ".3gpp2", ".ogv", ".ogm", ".gif", ".apng", ".vob", ".evo", ".vro", ".ps",
    ".mxf", ".gxf", ".dv", ".divx", ".xvid", ".rm", ".rmvb", ".y4m", ".h264", ".264", ".avc", ".h265", ".265",
    ".hevc", ".ivf", ".obu", ".av1", ".mjpeg", ".mjpg", ".mj2", ".qt", ".mp4v", ".mk3d", ".ismv", ".nut",
    ".wtv", ".amv", ".dvr-ms", ".dav", ".nsv", ".pva", ".swf", ".fli", ".flc", ".roq", ".bik", ".insv", ".360",
)  # fmt: skip
"""endings of files that FFmpeg opens as videos, in lower case, the usual ones first

Not .lrv, a camera's small copy of the video beside it.
"""


def is_video(name: str) -> bool:
    """Whether a file is a video by its name."""
    return name.lower().endswith(SUFFIXES)


def without(name: str) -> str:
    """A name or path without the ending of a video."""
    return name[: name.rindex(".")] if is_video(name) else name
