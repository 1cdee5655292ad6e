"""The device that MindSpore computes on."""

from __future__ import annotations

import os

import mindspore as ms

from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError
from nonlocal_core.process import device_locks


def find(runtime: RuntimeConfig) -> str:
    """The device asked for, or the best one found: CPU, GPU or Ascend.

    Raises: ConfigError if the one asked for is not there.
    """
    found = [name for name in ("GPU", "Ascend") if ms.hal.is_available(name)]
    wanted = runtime.device if runtime.device != "auto" else (found or ["CPU"])[0]
    if wanted not in (*found, "CPU"):
        raise ConfigError(
            f"runtime.device={wanted}, but MindSpore finds {' and '.join([*found, 'CPU'])} only: "
            "use runtime.device=auto, or install what the device needs"
        )
    return wanted


def use(runtime: RuntimeConfig) -> str:
    """The device that this process uses from now on, in graph mode; waits while another process uses it.

    Raises: ConfigError if the one asked for is not there.
    """
    wanted = find(runtime)
    if "RANK_ID" not in os.environ:  # the processes of several devices share what their stage holds
        device_locks.reserve(wanted, 1, runtime)
    if wanted == "CPU":
        # MindSpore hands every kernel from thread to thread, and the threads spin while they wait.  With few
        # cores they keep each other from working: a step takes 3 to 15 times as long.
        os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
    ms.set_context(mode=ms.GRAPH_MODE)
    if ms.get_context("device_target") != wanted:  # where something has been computed already, it must not be set
        ms.set_device(wanted)
    return wanted
