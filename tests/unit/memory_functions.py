"""What the tests of `nonlocal_core.memory` run in another process, whose memory is limited."""

from __future__ import annotations

import os
import resource
import signal

import numpy as np

MB = 1 << 20


def limit(megabytes: int) -> None:
    """From now on this process may have so much more memory than it has now."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + megabytes * MB, now + megabytes * MB))


def compute(clips: int, limit_mb: int) -> int:
    """Take 100 MB a clip."""
    limit(limit_mb)
    return len(np.ones((clips, 100 * MB), np.uint8))


def compute_in_mindspore(gigabytes: int) -> None:
    import mindspore as ms

    limit(1024)
    ms.ops.ones((gigabytes, 1 << 28), ms.float32).asnumpy()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
