"""predict as a task: what it refuses before a process is started for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nonlocal_core.errors import ConfigError
from nonlocal_core.prediction.results import Request
from tasks.predict import predict


def test_out_in_a_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "taken.json").mkdir()
    request = Request(source=tmp_path, workspace_dir=tmp_path, checkpoint="weights.safetensors")
    with pytest.raises(ConfigError, match=f"^out={tmp_path}/taken.json is a folder: name a file$"):
        predict.fn(request, Path("~/taken.json"))
