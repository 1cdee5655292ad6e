from __future__ import annotations

import os
import signal
import threading

import pytest

from nonlocal_core.process import signals


def test_the_first_signal_waits_for_the_step_and_another_one_later_does_not(monkeypatch):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with signals.stop_between_steps() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
    monkeypatch.setattr(signals, "SAME_SIGNAL_S", 0.0)
    with pytest.raises(KeyboardInterrupt), signals.stop_between_steps() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_stay_as_they_are():
    before, found = signal.getsignal(signal.SIGINT), []

    def run():
        with signals.stop_between_steps() as stop:
            found.append((signal.getsignal(signal.SIGINT), stop.is_set()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(before, False)]
