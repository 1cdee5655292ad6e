"""Videos that are folders of pictures, one a frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.errors import DecodeError

SUFFIXES = (".jpg", ".jpeg", ".png")
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}  # how a JPEG and a PNG begin and end
_MAX_PADDING = 16  # bytes; some writers fill up the end of a file


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers in their names: 2.jpg comes before 10.jpg.

    Raises: DecodeError if there are none.
    """
    try:
        names = [
            path.name
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    except OSError as error:
        raise DecodeError(f"cannot be opened: {error.strerror}") from None
    if not names:
        raise DecodeError("a folder without pictures", status="empty")
    return [folder / name for name in sorted(names, key=_natural_order)]


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
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise DecodeError(f"{path.name} is damaged")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


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
