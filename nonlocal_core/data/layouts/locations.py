"""Where a video lies, a path or a URI, and a file to read it from.

What lies in object storage is fetched to a temporary file.  It is removed after use, and by `remove_orphans` if
its process dies before.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote


def is_uri(place: str | Path) -> bool:
    """Whether a place is named by a URI, not by a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", str(place)) is not None


def join(folder: str, path: str) -> str:
    """Where a file below a folder lies, whichever way the folder is named."""
    if not is_uri(folder):
        return f"{folder}/{path}"
    head, mark, query = folder.partition("?")
    return f"{head}/{quote(path)}{mark}{query}" if path else folder
