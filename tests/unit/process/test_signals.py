from __future__ import annotations

import signal
import subprocess
import sys
import threading

from nonlocal_core.process import signals

PROGRAM = """
import os, signal, threading
from nonlocal_core.process import signals

before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
with signals.stop_between_steps() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    assert stop.wait(5)
signals.SAME_SIGNAL_S = 0.0
try:
    with signals.stop_between_steps() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)
    raise AssertionError("the second one is held back as well")
except KeyboardInterrupt:
    pass
assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
"""


def test_the_first_signal_waits_for_the_step_and_another_one_later_does_not():
    """In a process of its own, as a stage is: a signal that nobody handles would end the tests."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_outside_the_main_thread_signals_stay_as_they_are():
    before, found = signal.getsignal(signal.SIGINT), []

    def run():
        with signals.stop_between_steps() as stop:
            found.append((signal.getsignal(signal.SIGINT), stop.is_set()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(before, False)]
