"""Whether a process still runs, asked by another one."""

from __future__ import annotations

import subprocess
import sys

from nonlocal_core.process.identity import Process

SAY = "from nonlocal_core.process import identity; print(*identity.this(), sep='|', flush=True); input()"


def test_a_process_is_seen_until_it_ends():
    with subprocess.Popen(
        [sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as it:
        host, machine, number, born = it.stdout.readline().strip().split("|")
        said = Process(host, machine, int(number), born)
        assert said.number == it.pid
        assert said.is_gone() is False
        assert said._replace(born="1").is_gone() is True, "a later process has its number"
        assert said._replace(machine="another boot").is_gone() is None
        it.kill()
        while said.is_gone() is False:  # a zombie, until it is waited for
            pass
        assert said.is_gone() is True
    assert said.is_gone() is True
