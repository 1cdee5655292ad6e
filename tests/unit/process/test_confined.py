"""A process that reads a foreign file, and crashes, hangs, or takes all memory."""

from __future__ import annotations

import time

import pytest

from nonlocal_core.errors import InputError
from nonlocal_core.process import confined

READER = """
import os, signal, sys
from pathlib import Path
from nonlocal_core.process import confined
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
confined.LEAST_S = 2
def read():
    {code}
confined.answer(path, folder, read)
"""


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"made the reader crash \(SIGSEGV\)"),
        ("os.abort()", r"made the reader crash \(SIGABRT\)"),
        ("while True: pass", "takes more time than a file of its size needs"),
        ("return len(bytearray(3 << 30))", "MemoryError"),
        ("Path(folder, 'big').write_bytes(bytes(20_000_000))", "File too large|SIGXFSZ"),
        ("os._exit(3)", "exit code 3"),
        ("raise ZeroDivisionError('by zero')", "ZeroDivisionError: by zero"),
        ("return 'x' * 20_000_000", "reading it failed"),
    ],
)
def test_the_end_of_a_reader_is_one_line(tmp_path, monkeypatch, code, told):
    (tmp_path / "a_reader.py").write_text(READER.format(code=code))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "a.file").write_bytes(b"1")
    (tmp_path / "out").mkdir()
    started_s = time.monotonic()
    with pytest.raises(InputError, match=told) as caught:
        confined.run("a_reader", tmp_path / "a.file", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'a.file'}: ")
    assert time.monotonic() - started_s < 60


def test_an_answer_is_json(tmp_path, monkeypatch):
    (tmp_path / "a_reader.py").write_text(READER.format(code="return {'a': [1, 2.5, None]}"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert confined.run("a_reader", tmp_path / "missing", tmp_path) == {"a": [1, 2.5, None]}
