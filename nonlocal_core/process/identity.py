"""Which process this is, said so that another one can tell whether it still runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process of some machine."""

    host: str
    machine: str
    """this boot of it, and the namespace of process numbers: a number says nothing elsewhere"""
    number: int
    born: str
    """clock ticks since the boot; a later process with the same number has others"""

    def __str__(self) -> str:
        """Its number and its host, for a person."""
        return f"process {self.number} on {self.host}"

    def is_gone(self) -> bool | None:
        """Whether it has ended; None if it cannot be seen from here."""
        if self.machine != _machine() or not self.machine:
            return None
        return _born(self.number) != self.born


def this() -> Process:
    """The process that asks."""
    return Process(socket.gethostname(), _machine(), os.getpid(), _born(os.getpid()))


def _machine() -> str:
    """This boot of this machine and our namespace of process numbers; empty where there is no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _born(number: int) -> str:
    """When a process was born; empty if it is gone, or only waits for its parent to hear that it has ended."""
    try:
        state, *rest = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]
