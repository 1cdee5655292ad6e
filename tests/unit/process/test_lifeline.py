from __future__ import annotations

import signal

import pytest
from small import python
from test_child import is_gone

WAITS = "import time; from nonlocal_core.process import lifeline; lifeline.die_with(0); print(); time.sleep(60)"
OF_OURS = f"""
import os, subprocess
reader, writer = os.pipe()
other = subprocess.Popen([sys.executable, "-c", {WAITS!r}], stdin=reader, stdout=subprocess.PIPE)
other.stdout.readline()
print(other.pid, flush=True)
"""
OF_ANOTHER_PROGRAM = """
import subprocess
from nonlocal_core.process import lifeline
other = subprocess.Popen(["sh", "-c", "sleep 60 & wait"])
while not lifeline.children(other.pid):
    pass
lifeline.end_with_us(other.pid)
print(other.pid, *lifeline.children(other.pid), flush=True)
"""


@pytest.mark.parametrize(("code", "num_processes"), [(OF_OURS, 1), (OF_ANOTHER_PROGRAM, 2)])
def test_processes_end_when_another_one_is_killed(code: str, num_processes: int) -> None:
    killed = python(f"{code}\nsys.stdin.read()")
    assert killed.stdout is not None
    others = [int(word) for word in killed.stdout.readline().split()]
    assert len(others) == num_processes
    assert not any(is_gone(other, within_s=0.5) for other in others)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert all(is_gone(other) for other in others)
