"""Videos that are folders of pictures, one a frame."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.errors import DecodeError
from nonlocal_core.process import bounds

SUFFIXES = (".jpg", ".jpeg", ".png")
_SERIES = re.compile(r"[^{}]*\{(:0?\d*d)?\}[^{}]*")
_UNNUMBERED = "without number"
_NUMBER = re.compile(r"(.*?)(\d+)")
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}  # how a JPEG and a PNG begin and end
_FRAME_HEADERS = {bytes([number]) for number in range(0xC0, 0xD0)} - {b"\xc4", b"\xc8", b"\xcc"}  # of a JPEG
_MAX_PADDING = 16  # bytes; some writers fill up the end of a file


def is_sequence(path: Path) -> bool:
    """Whether a path is a folder of pictures, or a series in one such as FOLDER/img_{:05d}.jpg."""
    return path.is_dir() or (is_series(path.name) and not path.exists())


def is_series(name: str) -> bool:
    """Whether a name stands for a series of pictures, as img_{:05d}.jpg does."""
    return _SERIES.fullmatch(name) is not None


def list_pictures(path: Path) -> list[Path]:
    """The pictures of a folder, or of one series in it, in the order of their numbers: 2.jpg comes before 10.jpg.

    Raises: DecodeError if there are none, several series, two of one number, or numbers that are left out.
    """
    is_folder = path.is_dir() or not is_series(path.name)
    folder, wanted = (path, None) if is_folder else (path.parent, numbered(path.name))
    try:
        names = [
            entry.name
            for entry in folder.iterdir()
            if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        ]
    except OSError as error:
        raise DecodeError(f"cannot be opened: {error.strerror}") from None
    if wanted:
        names = [name for name in names if wanted.fullmatch(name)]
    if not names:
        raise DecodeError("a folder without pictures", status="empty")
    _check_series(names)
    return [folder / name for name in sorted(names, key=_natural_order)]


def numbered(frame_name: str) -> re.Pattern[str]:
    """The names that `img_{:05d}.jpg` stands for; without an ending, those of all pictures."""
    before, _, after = frame_name.partition("{")
    digits = re.fullmatch(r"(?::0?(\d*)d)?}(.*)", after)
    at_least = int(digits[1] or 1) if digits else 1
    ending = re.escape(digits[2]) if digits and digits[2] else r"\.(?i:jpg|jpeg|png)"
    return re.compile(rf"{re.escape(before)}\d{{{at_least},}}{ending}")


def _check_series(names: list[str]) -> None:
    """Raise DecodeError if pictures are no single series: frames of others, twice, or some of them missing."""
    series: dict[str, dict[int, str]] = defaultdict(dict)
    for name in sorted(names):
        match = _NUMBER.fullmatch(Path(name).stem)
        numbers = series[match[1] if match else _UNNUMBERED]
        number = int(match[2]) if match else -len(numbers) - 1
        if number in numbers:
            raise DecodeError(f"frame {number} is there twice: {numbers[number]} and {name}")
        numbers[number] = name
    if len(series) > 1:
        counts = ", ".join(
            f"{prefix or 'numbers alone'} ({len(numbers)})" for prefix, numbers in sorted(series.items())
        )
        own = sorted(series.keys() - {_UNNUMBERED})
        first = max(own, key=lambda prefix: (len(series[prefix]), "flow" not in prefix))
        width = len(Path(next(iter(series[first].values()))).stem) - len(first)
        name = f"{first}{{:0{width}d}}"
        raise DecodeError(f"holds {len(series)} series of pictures: {counts}; index.frame_name={name} takes one")
    ordered = sorted(next(iter(series.values())))
    if ordered[0] >= 0 and len(ordered) > 2:
        steps = np.diff(ordered)
        if (steps != steps[0]).any():
            place = int(np.flatnonzero(steps != np.median(steps))[0])
            raise DecodeError(f"some frames between {ordered[place]} and {ordered[place + 1]} are missing")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """One picture, turned as its EXIF data say.

    Shape:  (H, W, 3), RGB.
    Raises: DecodeError that names the picture if it is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DecodeError(f"{path.name} cannot be opened: {error.strerror}") from None
    # The decoder completes a picture that is cut short, with a warning on stderr that does not name the picture.
    end = _ENDS.get(content[:2])
    if end is None or end not in content[-len(end) - _MAX_PADDING :]:
        raise DecodeError(f"{path.name} is no JPEG or PNG, or is cut short")
    bounds.check_frame(*_size(content), path.name)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise DecodeError(f"{path.name} is damaged")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _size(content: bytes) -> tuple[int, int]:
    """Width and height (pixels) as a JPEG or PNG says them in its header; 0, 0 if they are not found.

    Source: PNG, section 11.2.2; ITU-T T.81, section B.2.2.
    """
    if content.startswith(b"\x89P"):
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    place = 2
    while content[place : place + 1] == b"\xff":
        kind, length = content[place + 1 : place + 2], int.from_bytes(content[place + 2 : place + 4], "big")
        if kind in _FRAME_HEADERS:
            height, width = content[place + 5 : place + 7], content[place + 7 : place + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        place += 1 if kind == b"\xff" else 2 + length  # a segment may be preceded by more of these bytes
    return 0, 0


def read_pictures(paths: list[Path]) -> Iterator[NDArray[np.uint8]]:
    """The pictures of these files, one after the other.

    Shape:  (H, W, 3), RGB; every one as large as the first.
    Raises: DecodeError that names the picture if one is damaged or of another size.
    """
    shape: tuple[int, ...] = ()
    for path in paths:
        picture = read_picture(path)
        shape = shape or picture.shape
        if picture.shape != shape:
            height, width, _ = picture.shape
            raise DecodeError(f"{path.name} has {width}x{height} px, those before it {shape[1]}x{shape[0]}")
        yield picture


def _natural_order(name: str) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", Path(name).stem)
    return [(int(part), "") if number % 2 else (0, part) for number, part in enumerate(parts)], name
