"""Videos that are folders of pictures, one a frame."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
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
_COMPUTED = re.compile(r"flow|mask|depth|seg|(?<![a-z])(gt|label)")
_NUMBER = re.compile(r"(.*?)(\d+)(\D*)")
"""what stands before the last number of a name, the number, and what stands after it"""
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
    if is_folder and (beside := [child.name for child in folder.iterdir() if _is_beside(names, child)]):
        frame_name = _frame_name(names)
        raise DecodeError(
            f"holds pictures, and a folder {min(beside)} with pictures of the same numbers: index.frame_name="
            f"{frame_name} takes those beside it"
        )
    _check_series(names)
    return [folder / name for name in sorted(names, key=_natural_order)]


def belong_to(frames: list[str], names: list[str]) -> bool:
    """Whether pictures, by their names, belong to these frames, as masks do: each has the number of a frame."""
    numbers, others = ({match[2].lstrip("0") for match in _matches(group)} for group in (frames, names))
    return bool(others) and len(numbers) > 1 and others <= numbers


def _is_beside(names: list[str], folder: Path) -> bool:
    if not folder.is_dir() or folder.name.startswith("."):
        return False
    return belong_to(names, [name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES)])


def _matches(names: list[str]) -> list[re.Match[str]]:
    return [match for name in names if (match := _NUMBER.fullmatch(Path(name).stem))]


def _frame_name(names: list[str]) -> str:
    """What stands for the longest series of these names, as img_{:05d}.jpg does for img_00001.jpg."""
    series = Counter((match[1], len(match[2]), match[3]) for match in _matches(names))
    (before, width, after), _ = max(series.items(), key=lambda item: (item[1], _is_picture(item[0])))
    return f"{before}{{:0{width}d}}{after}"


def _is_picture(series: tuple[str, int, str]) -> bool:
    """Whether a series is called like none of what is computed from pictures."""
    return not _COMPUTED.search(f"{series[0]} {series[2]}".lower())


def numbered(frame_name: str) -> re.Pattern[str]:
    """The names that `img_{:05d}.jpg` stands for; without an ending, those of all pictures."""
    before, _, after = frame_name.partition("{")
    digits = re.fullmatch(r"(?::0?(\d*)d)?}(.*)", after)
    at_least = int(digits[1] or 1) if digits else 1
    rest = digits[2] if digits else ""
    ending = "" if rest.lower().endswith(SUFFIXES) else r"\.(?i:jpg|jpeg|png)"
    return re.compile(rf"{re.escape(before)}\d{{{at_least},}}{re.escape(rest)}{ending}")


def _check_series(names: list[str]) -> None:
    """Raise DecodeError if pictures are no single series: frames of others, twice, or some of them missing."""
    series: dict[str, dict[int, str]] = defaultdict(dict)
    for key, number, name in _numbered(names):
        if number in series[key]:
            raise DecodeError(f"frame {number} is there twice: {series[key][number]} and {name}")
        series[key][number] = name
    if len(series) > 1:
        counts = ", ".join(
            f"{prefix or 'numbers alone'} ({len(numbers)})" for prefix, numbers in sorted(series.items())
        )
        raise DecodeError(
            f"holds {len(series)} series of pictures: {counts}; index.frame_name={_frame_name(names)} takes one"
        )
    ordered = sorted(next(iter(series.values())))
    if ordered[0] >= 0 and len(ordered) > 2:
        steps = np.diff(ordered)
        if (steps != steps[0]).any():
            place = int(np.flatnonzero(steps != np.median(steps))[0])
            raise DecodeError(f"some frames between {ordered[place]} and {ordered[place + 1]} are missing")


def _numbered(names: list[str]) -> Iterator[tuple[str, int, str]]:
    """The series, the number and the name of each picture; without a number, they count from -1 down.

    Of several numbers in names that are otherwise equal, the last one that changes counts the frames.
    """
    alike: dict[tuple[str, ...], list[tuple[list[str], str]]] = defaultdict(list)
    for name in sorted(names):
        parts = re.split(r"(\d+)", Path(name).stem)
        alike[tuple(parts[::2]) if len(parts) > 1 else ()].append((parts, name))
    for texts, group in alike.items():
        columns = range(1, 2 * len(texts) - 2, 2)
        changing = [column for column in columns if len({int(parts[column]) for parts, _ in group}) > 1]
        for place, (parts, name) in enumerate(group):
            if not texts:
                yield _UNNUMBERED, -place - 1, name
                continue
            column = [columns[-1], *changing][-1]
            before, after = "".join(parts[:column]), "".join(parts[column + 1 :])
            yield f"{before}…{after}" if after else before, int(parts[column]), name


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
