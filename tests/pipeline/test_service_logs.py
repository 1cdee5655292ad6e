from __future__ import annotations

import re
import subprocess
import sys
import time

from flows.server import service_logs


def test_lines_are_dated_and_files_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(service_logs, "MOST_BYTES", 2000)
    file = tmp_path / "server.log"
    code = "import sys; sys.stdout.buffer.write(b'\\xff odd\\n'); [print(f'line {n}') for n in range(1000)]"
    for _ in range(2):  # of one that was started again
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout
        service_logs.keep(process.stdout, file)
        assert process.wait(60) == 0
    deadline_s = time.monotonic() + 30
    while "line 999" not in file.read_text() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    kept = sorted(tmp_path.iterdir())
    assert [path.name for path in kept] == ["server.log", *(f"server.log.{number}" for number in range(1, 6))]
    assert all(path.stat().st_size <= 2000 for path in kept)
    lines = [line for path in kept for line in path.read_text().splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  (line \d+|\\xff odd)", line) for line in lines)
