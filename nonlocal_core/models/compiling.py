"""A line in the log before a network is compiled, which takes many silent seconds: how long it took last time."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator

from nonlocal_core.artifacts import user_cache
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import digest_of

log = logging.getLogger(__name__)

FILE = "compile_seconds.json"
MOST = 200
"""graphs whose seconds are kept"""


@contextlib.contextmanager
def compiling(what: str, *identity: object) -> Iterator[None]:
    """Log that something is compiled, and keep how long it takes; `identity` tells its graph from others."""
    file, key = user_cache.folder() / FILE, digest_of(what, *identity)
    try:
        known: dict[str, float] = dict(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        known = {}
    log.info("compiling %s%s", what, f": {known[key]:.0f} s last time" if key in known else "")
    started_s = time.monotonic()
    yield
    seconds = round(time.monotonic() - started_s, 1)
    known.pop(key, None)
    with contextlib.suppress(OSError):  # a home that cannot be written costs only the figure
        user_cache.folder().mkdir(parents=True, exist_ok=True)
        write_json(file, dict([*known.items(), (key, seconds)][-MOST:]))
