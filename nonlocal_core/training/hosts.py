"""The hosts of a training, as runtime.hosts names them; read before anything imports MindSpore."""

from __future__ import annotations

from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError


def names(runtime: RuntimeConfig) -> list[str]:
    """The hosts, the first one with its port."""
    return runtime.hosts.split(",") if runtime.hosts else ["127.0.0.1:0"]


def devices_here(runtime: RuntimeConfig) -> int:
    """The number of devices of each host.

    Raises: ConfigError if the hosts cannot have equally many, or the first one names no port.
    """
    first, *others = names(runtime)
    count, left = divmod(runtime.num_devices, 1 + len(others))
    if left:
        raise ConfigError(
            f"runtime.num_devices={runtime.num_devices} cannot be shared by the {1 + len(others)} of"
            " runtime.hosts: name the devices of all hosts together"
        )
    if not first.rpartition(":")[2].isdigit() or not first.rpartition(":")[0]:
        raise ConfigError(f"runtime.hosts={runtime.hosts}: the first one needs a free port, such as {first}:8118")
    return count
