"""The location of a video: a path or a URI."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote


def is_uri(place: str | Path) -> bool:
    """Whether a location is a URI, not a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", str(place)) is not None


def join(folder: str, path: str) -> str:
    """The location of a file below a folder, which is a path or a URI."""
    if not is_uri(folder):
        return f"{folder}/{path}"
    head, mark, query = folder.partition("?")
    return f"{head}/{quote(path)}{mark}{query}" if path else folder
