"""Try a training that runs out of memory once more, with half as many clips at a time.

The batch keeps its size: twice as many parts make one update.  BN sees one part, so the result differs; so do the
settings and, with them, the key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nonlocal_core.artifacts.files import remove_unfinished, write_atomically
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import ChildError

T = TypeVar("T")

log = logging.getLogger(__name__)

MESSAGES = (  # in lower case: what an error says that is due to too little memory
    *("memory not enough", "memory isn't enough", "memory failed", "out of memory"),  # MindSpore, CUDA
    *("alloc_failed", "bad_alloc", "memoryerror", "cannot allocate memory"),  # cuDNN, C++, Python, Linux
)
KILLED = "was killed by SIGKILL"
COUNTS = Path("/proc/vmstat")


def retry_halved(attempt: Callable[[Config], T], config: Config, note: Path) -> T:
    """What `attempt(config)` returns or, if it runs out of memory, returns with half as many clips at a time.

    The file `note` then makes later runs begin with half as many.

    Raises: ChildError, which is not worth another try, if half is too much as well.
    """
    remove_unfinished(note.parent, note.name)
    smaller = halved(config)
    if not note.exists() or smaller is None:
        kills = _num_kills()
        try:
            return attempt(config)
        except ChildError as error:
            if not _ran_out(error, kills):
                raise
            if smaller is None:
                raise _give_up("one clip at a time") from None
        write_atomically(note, b"delete this file to try the whole batch again\n")
    half = smaller.train.micro_batch
    log.warning(
        "the training ran out of memory: it goes through the network in parts of train.micro_batch=%d clips"
        " (%d parts a batch); set it to begin with that, or delete %s to try more again",
        *(half, smaller.train.num_parts, note),
    )
    kills = _num_kills()
    try:
        return attempt(smaller)
    except ChildError as error:
        if not _ran_out(error, kills):
            raise
        raise _give_up(f"{half} clips at a time, too") from None


def halved(config: Config) -> Config | None:
    """The settings with at most half as many clips at a time, a divisor of the batch; None if one clip is left."""
    train = config.train
    device_batch = max(1, train.batch_size // config.runtime.num_devices)
    current = min(train.micro_batch or device_batch, device_batch)
    sizes = [size for size in range(1, current // 2 + 1) if device_batch % size == 0]
    if not sizes:
        return None
    return config.model_copy(update={"train": train.model_copy(update={"micro_batch": sizes[-1]})})


def _ran_out(error: ChildError, kills_before: int) -> bool:
    text = str(error)
    killed = KILLED in text and _num_kills() > kills_before
    return killed or any(words in text.lower() for words in MESSAGES)


def _num_kills() -> int:
    """How many processes Linux has killed because memory ran out; 0 if it does not say."""
    try:
        counts = dict(line.split() for line in COUNTS.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return 0
    return int(counts.get("oom_kill", 0))


def _give_up(how: str) -> ChildError:
    return ChildError(
        f"the training runs out of memory with {how}: lower train.micro_batch, train.crop_size or clip.clip_len,"
        " or end what else uses the memory",
        worth_retrying=False,
    )
