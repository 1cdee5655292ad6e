"""When a network is compiled, and a line in the log before it is: how long its silent seconds were last time."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator

from nonlocal_core.artifacts import user_cache
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.tree import Config

log = logging.getLogger(__name__)

FILE = "compile_seconds.json"
MOST = 200
"""graphs whose seconds are kept"""


def pays_for_steps(config: Config, last: str, num_steps: int) -> bool:
    """Whether compiling the step of a training takes less time than it saves, on a CPU.

    `last` is the part of the network whose outputs are kept as features, empty for none.

    Compiling takes some 8 s.  Operator by operator, a step takes 0.2 s more, and 3 s more for each G multiply-adds
    of its clips.  benchmarks/compiling.py measures that.
    """
    crop = config.train.crop_size
    gmacs = config.train.batch_size * _gmacs(config.model, (3, config.clip.clip_len, crop, crop), last)
    return num_steps * (0.2 + 3 * gmacs) > 8


def pays_for_views(model: ModelConfig, clip_shape: tuple[int, ...], num_views: int) -> bool:
    """Whether compiling a network for some views takes less time than it saves, on a CPU.

    It takes some 2 s, or as long to export it for OpenVINO, and saves 0.07 s a view and as much for each G
    multiply-adds of one.
    """
    return num_views * 0.07 > 2 or num_views * 0.07 * (1 + _gmacs(model, clip_shape, "")) > 2


def _gmacs(model: ModelConfig, clip_shape: tuple[int, ...], last: str) -> float:
    """G multiply-adds of a clip behind a part of the network."""
    from nonlocal_core.models import cost

    rows = cost.parts_for(model, 2, clip_shape)
    names = [row.name for row in rows]
    return sum(row.used for row in rows[names.index(last) + 1 if last else 0 :]) / 1e9


@contextlib.contextmanager
def compiling(graph: str, *identity: object) -> Iterator[None]:
    """Log that something is compiled, and keep how long it takes; `identity` tells its graph from others."""
    file, key = user_cache.folder() / FILE, digest_of(graph, *identity)
    try:
        seconds_of: dict[str, float] = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        seconds_of = {}
    log.info("compiling %s%s", graph, f": {seconds_of[key]:.0f} s last time" if key in seconds_of else "")
    started_s = time.monotonic()
    yield
    seconds = round(time.monotonic() - started_s, 1)
    seconds_of.pop(key, None)
    with contextlib.suppress(OSError):  # a home that cannot be written costs only the figure
        user_cache.folder().mkdir(parents=True, exist_ok=True)
        write_json(file, dict([*seconds_of.items(), (key, seconds)][-MOST:]))
