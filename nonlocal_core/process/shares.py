"""Work that devices and hosts share, in chunks.

A chunk is a few videos, and a file once it is made, so what was killed goes on with the other chunks.  Each host
makes every n-th one.  The first host writes the job into a folder, says what to start on each of the others, and
makes its own share.  Then it waits for those that have begun, and makes what is left of their shares.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from nonlocal_core.artifacts.files import read_checked_json, sha256_of, write_checked_json
from nonlocal_core.artifacts.references import Frozen
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import InputError
from nonlocal_core.process import child, cuda

log = logging.getLogger(__name__)

SHARES_FILE = "shares.json"
CHUNK_VIEWS = 64
"""least number of views of a chunk; they take a GPU a second, and two cores half a minute"""


class Chunk(NamedTuple):
    """Videos that are looked at together: the file that is made of them, and their rows in a table."""

    file: Path
    rows: list[int]


class Job(Frozen):
    """What is made, with what; its paths are the same on every host."""

    config: Config
    root: Path
    """the workspace"""
    weights: Path
    """of the network"""
    weights_sha256: str = ""
    """for other hosts, which have to find the same file"""
    chunks: tuple[Chunk, ...] = ()


J = TypeVar("J", bound=Job)
Compute = Callable[[J, list[Chunk], int, int, int], None]
"""makes some chunks as one of several devices: its number, how many there are, and how many videos were done"""


def chunks_of(rows: Sequence[int], size: int, folder: Path, suffix: str) -> list[Chunk]:
    """Some rows in chunks of a size, each a file in a folder."""
    files = (folder / f"chunk-{number:06d}{suffix}" for number in itertools.count())
    return [Chunk(next(files), list(rows[start : start + size])) for start in range(0, len(rows), size)]


def videos_of_chunk(num_views: int, batch_size: int) -> int:
    """The number of videos, each with so many views, that fill whole batches and have `CHUNK_VIEWS` views."""
    step = batch_size // math.gcd(batch_size, num_views)
    return step * math.ceil(CHUNK_VIEWS / (num_views * step))


def make(job: J, chunks: list[Chunk], folder: Path, compute: Compute[J]) -> None:
    """Have chunks made, by this host and those that take part; finished ones are not made again."""
    job = job.model_copy(update={"chunks": tuple(chunks)})
    workspace, file = Workspace(job.root, only_read=True), folder / SHARES_FILE
    others = [(host, name) for host, name in enumerate(_hosts(job)) if host and _todo(_share(job, host))]
    if others:
        shared = job.model_copy(update={"weights_sha256": sha256_of(job.weights)})
        write_checked_json(file, shared.model_dump(mode="json"))
    for host, name in others:
        log.info("on %s: python -m nonlocal_core.share %s %d", name, folder, host)
    with contextlib.ExitStack() as locks:
        _make_share(job, 0, compute)
        for host, name in others:
            locks.enter_context(workspace.locked(_lock(folder, host)))
            if left := _todo(share := _share(job, host)):
                log.info("%s has left %d of its %d chunks, which are made here", name, len(left), len(share))
                _make_share(job, host, compute)
        file.unlink(missing_ok=True)


def take_part(folder: Path, host: int, kind: type[J], compute: Compute[J]) -> None:
    """Make the share of another host of the job that is made in a folder.

    Raises: InputError if nothing is shared there, this host has no share of it, or it has other weights.
    """
    try:
        job = kind.model_validate(read_checked_json(folder / SHARES_FILE))
    except FileNotFoundError:
        raise InputError(f"{folder}: nothing is shared there, or it is made already") from None
    if host not in range(1, len(_hosts(job))):
        raise InputError(f"host {host}: there are {len(_hosts(job))}, and the first of them, 0, runs the flow")
    if not job.weights.exists() or sha256_of(job.weights) != job.weights_sha256:
        raise InputError(f"{job.weights} is not the file that the first host has: put it on a disk that both see")
    with Workspace(job.root, only_read=True).locked(_lock(folder, host)):
        if (folder / SHARES_FILE).exists():  # else the first host has made all of it meanwhile
            _make_share(job, host, compute)


def _hosts(job: Job) -> list[str]:
    return job.config.runtime.hosts.split(",")


def _share(job: Job, host: int) -> list[Chunk]:
    return list(job.chunks[host :: len(_hosts(job))])


def _todo(chunks: list[Chunk]) -> list[Chunk]:
    return [chunk for chunk in chunks if not chunk.file.exists()]


def _lock(folder: Path, host: int) -> str:
    """The name of the lock that another host holds while it makes its share."""
    return f"{folder.parent.name}-{folder.stem}-host-{host}"


def _make_share(job: J, host: int, compute: Compute[J]) -> None:
    """Make the chunks of a host that are not there yet, with the devices of this one."""
    share = _share(job, host)
    todo = _todo(share)
    num_devices = min(job.config.runtime.num_devices // len(_hosts(job)), len(todo))
    if num_devices > 1:
        ranks = range(num_devices)
        calls = [partial(compute, job, todo[rank::num_devices], rank, num_devices, 0) for rank in ranks]
        child.call_all(calls, [cuda.one_device(rank) for rank in ranks])
    elif todo:
        num_done = sum(len(chunk.rows) for chunk in share) - sum(len(chunk.rows) for chunk in todo)
        compute(job, todo, 0, 1, num_done)
