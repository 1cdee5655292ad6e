"""Locks of devices: one run at a time uses a GPU or Ascend device of a host; the next waits, and logs for whom.

The lock of a device belongs to the process that computes on it, from the first use until it ends, however that
happens: MindSpore gives its memory back no sooner.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from nonlocal_core.artifacts import locks
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError

VISIBLE = {"GPU": "CUDA_VISIBLE_DEVICES", "Ascend": "ASCEND_RT_VISIBLE_DEVICES"}

SHARED = 0o1777
"""mode of a folder in which everybody writes, and changes only files of their own"""

_held: dict[Path, contextlib.ExitStack] = {}


def reserve(target: str, count: int, runtime: RuntimeConfig) -> None:
    """Reserve the first `count` devices of a kind for this process until it ends.

    The CPU is shared by all processes, unless runtime.slots_dir is set.

    Raises: ConfigError if the folder of the locks cannot be written, or is another user's own.
    """
    if target == "CPU" and not runtime.slots_dir:
        return
    folder = Path(runtime.slots_dir or Path(tempfile.gettempdir()) / "nonlocal-devices").absolute()
    try:
        if not runtime.slots_dir:
            _share(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in _names(target, count):  # all runs take them in this order, so none waits for another in turn
            if folder / name not in _held:
                stack = contextlib.ExitStack()
                stack.enter_context(locks.hold(folder, name))
                _held[folder / name] = stack
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be written: name a folder with runtime.slots_dir=DIR"
        ) from None


def _share(folder: Path) -> None:
    """Make a folder in which all users of the host queue for its devices, and remove nothing of each other.

    Raises: ConfigError if there is something else of another user, maybe to lead us elsewhere.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    status = folder.lstat()
    is_folder, is_shared = stat.S_ISDIR(status.st_mode), stat.S_IMODE(status.st_mode) == SHARED
    if is_folder and not is_shared and status.st_uid == os.getuid():
        folder.chmod(SHARED)
    elif not is_folder or not is_shared:
        raise ConfigError(
            f"{folder} of user {status.st_uid} is no folder that all users share (chmod 1777): have it removed, or"
            " name another one with runtime.slots_dir=DIR, the same for all users of these devices"
        )


def _names(target: str, count: int) -> list[str]:
    """The names of the devices' locks on this host, in the same order for every process."""
    visible = os.environ.get(VISIBLE.get(target, ""), "")
    numbers = visible.split(",") if visible else [str(number) for number in range(count)]
    if target == "CPU":
        numbers = ["0"]
    return [f"{target}-{number}" for number in sorted(number.strip() for number in numbers[:count])]
