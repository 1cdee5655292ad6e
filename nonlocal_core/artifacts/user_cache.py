"""The folder of what serves every workspace of a user: `~/.cache/nonlocal-i3d`, or that in XDG_CACHE_HOME."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """The folder, which may not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "nonlocal-i3d"
