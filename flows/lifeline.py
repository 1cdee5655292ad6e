"""Another process that ends when this one is gone, also after `kill -9`."""

from __future__ import annotations

import os

WATCHER = 'cat; kill -TERM "$1"'


def end_with_us(process_id: int) -> None:
    """Nothing; once this process is gone, the other one (or with `-process_id` its group) is told to end.

    A shell reads from a pipe that this process alone can write to: it closes when this process dies of anything.
    """
    reader, writer = os.pipe()
    os.set_inheritable(writer, False)
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", WATCHER, "lifeline", str(process_id)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reader, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
    )
    os.close(reader)
