"""Locks of devices: one run at a time uses a GPU or Ascend device of a host; the next waits, and logs for whom.

The lock of a device belongs to the process that computes on it, from the first use until it ends, however that
happens: MindSpore gives its memory back no sooner.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from nonlocal_core.artifacts import locks
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError

VISIBLE = {"GPU": "CUDA_VISIBLE_DEVICES", "Ascend": "ASCEND_RT_VISIBLE_DEVICES"}

_held: dict[Path, contextlib.ExitStack] = {}


def reserve(target: str, count: int, runtime: RuntimeConfig) -> None:
    """Reserve the first `count` devices of a kind for this process until it ends.

    The CPU is shared by all processes, unless runtime.slots_dir is set.

    Raises: ConfigError if the folder of the locks cannot be written.
    """
    if target == "CPU" and not runtime.slots_dir:
        return
    folder = Path(runtime.slots_dir or Path(tempfile.gettempdir()) / "nonlocal-devices").absolute()
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # all users of the host queue for its devices
        for name in _names(target, count):  # all runs take them in this order, so none waits for another in turn
            if folder / name not in _held:
                stack = contextlib.ExitStack()
                stack.enter_context(locks.hold(folder, name))
                _held[folder / name] = stack
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder} cannot be written: name a folder with runtime.slots_dir=DIR"
        ) from None


def _names(target: str, count: int) -> list[str]:
    """The names of the devices' locks on this host, lowest number first."""
    visible = os.environ.get(VISIBLE.get(target, ""), "")
    numbers = visible.split(",") if visible else [str(number) for number in range(count)]
    if target == "CPU":
        numbers = ["0"]
    return [f"{target}-{number.strip()}" for number in sorted(numbers[:count])]
