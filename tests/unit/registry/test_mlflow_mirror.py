"""MLflow with a database and a folder of its own; runs where the extra mlflow is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from registered import add

from nonlocal_core import registry
from nonlocal_core.errors import ConfigError
from nonlocal_core.registry.__main__ import main
from nonlocal_core.registry.mlflow_mirror import VARIABLE, track


def test_without_a_server_or_mlflow_one_line_says_so(workspace, capsys, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    add(workspace, "a", 0.5)
    assert main([str(workspace.root), "track"]) == ConfigError.exit_code
    assert capsys.readouterr().err.startswith(f"error: no MLflow is named: set {VARIABLE}")


@pytest.mark.filterwarnings("default")
def test_entries_and_aliases_are_in_mlflow_once(workspace, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)  # its artifacts lie beside
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for name, top1 in (("a", 0.5), ("b", 0.6)):
        add(workspace, name, top1)
        log = workspace.root / "train" / name / "log.jsonl"
        log.write_text("".join(json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in (1, 2)))
    assert list(track(workspace, uri)) == [
        "v0001 is version 1 of nonlocal-i3d",
        "v0002 is version 2 of nonlocal-i3d",
        "champion is version 2 of nonlocal-i3d",
        "previous is version 1 of nonlocal-i3d",
    ]
    assert list(track(workspace, uri)) == []
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_model_version_by_alias("nonlocal-i3d", "champion")
    assert (found.tags["nonlocal_i3d.entry"], found.description[:6]) == ("v0002", "better")
    run = client.get_run(found.run_id)
    assert (run.data.metrics["top1"], run.data.metrics["loss"]) == (0.6, 0.5)
    assert run.data.params["protocol"] == "val, 30 views"
    folder = Path(
        mlflow.artifacts.download_artifacts(found.source, dst_path=str(tmp_path / "got"), tracking_uri=uri)
    )
    for file in (workspace.root / "registry/v0002").iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    registry.move(workspace, "demo", "v0001")
    registry.rollback(workspace)
    add(workspace, "c", 0.55)
    assert list(track(workspace, uri)) == [
        "v0003 is version 3 of nonlocal-i3d",
        "champion is version 3 of nonlocal-i3d",
        "demo is version 1 of nonlocal-i3d",
    ]
    registry.drop(workspace, "demo")
    assert list(track(workspace, uri)) == ["demo is forgotten"]
