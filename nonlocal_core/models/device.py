"""The device that MindSpore computes on."""

from __future__ import annotations

import os

import mindspore as ms

from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError
from nonlocal_core.process import device_locks

HALF = {"CPU": (), "GPU": ("fp16",), "Ascend": ("fp16", "bf16")}
"""half precisions in which MindSpore 2.10.0 registers kernels for all operators of our graphs, a device"""


def find(runtime: RuntimeConfig) -> str:
    """The name of the device to use: the one in the settings, or the best that there is (CPU, GPU or Ascend).

    Raises: ConfigError if the device in the settings is not there.
    """
    available = [name for name in ("GPU", "Ascend") if ms.hal.is_available(name)]
    name = runtime.device if runtime.device != "auto" else (available or ["CPU"])[0]
    if name not in (*available, "CPU"):
        raise ConfigError(
            f"runtime.device={name}, but MindSpore finds {' and '.join([*available, 'CPU'])} only: "
            "use runtime.device=auto, or install what the device needs"
        )
    return name


def use(runtime: RuntimeConfig, compiled: bool = True) -> str:
    """Make this process use a device, and give its name; waits while another process uses it.

    Networks are compiled, except on a CPU if they are not to be.

    Raises: ConfigError if the device in the settings is not there.
    """
    name = find(runtime)
    if "RANK_ID" not in os.environ:  # with several devices, the stage holds their locks for all processes
        device_locks.reserve(name, 1, runtime)
    if name == "CPU":
        # MindSpore hands every kernel from thread to thread, and the threads spin while they wait.  With few
        # cores they keep each other from working: a step takes 3 to 15 times as long.
        os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
    ms.set_context(mode=ms.GRAPH_MODE if compiled or name != "CPU" else ms.PYNATIVE_MODE)
    if ms.get_context("device_target") != name:  # it must not be set again after something was computed
        ms.set_device(name)
    return name
