"""MLflow with a database and a folder of its own; runs where the extra mlflow is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from registered import add

from nonlocal_core import registry
from nonlocal_core.errors import ConfigError, WorkspaceError
from nonlocal_core.registry.__main__ import main
from nonlocal_core.registry.mlflow_mirror import VARIABLE, track


def test_without_a_server_or_mlflow_one_line_says_so(workspace, capsys, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    add(workspace, "a", 0.5)
    assert main([str(workspace.root), "track"]) == ConfigError.exit_code
    assert capsys.readouterr().err.startswith(f"error: no MLflow is named: set {VARIABLE}")


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder for a package in place of MLflow, which nobody imports after the test."""
    package = tmp_path / "path/mlflow"
    package.mkdir(parents=True)
    (package / "exceptions.py").write_text("class MlflowException(Exception): pass\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(package.parent)
    yield package
    for name in ("mlflow", "mlflow.exceptions"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("error", ["PermissionError(13, 'no')", "ModuleNotFoundError('no boto3')", "OSError"])
def test_whatever_fails_behind_the_client_is_one_line(workspace, stand_in, error):
    (stand_in / "__init__.py").write_text(
        "class MlflowClient:\n"
        "    def __init__(self, tracking_uri): pass\n"
        f"    def get_experiment_by_name(self, name): raise {error}\n"
    )
    add(workspace, "a", 0.5)
    kind = error.partition("(")[0]
    with pytest.raises(WorkspaceError, match=f"^MLflow at http://nowhere refuses: {kind}: "):
        list(track(workspace, "http://nowhere"))


@pytest.mark.filterwarnings("default")
def test_a_store_of_artifacts_that_cannot_be_written_is_one_line(workspace, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").touch()  # where its artifacts would lie
    add(workspace, "a", 0.5)
    with pytest.raises(WorkspaceError, match=r"^MLflow at sqlite:///\S+ refuses: \w+Error: "):
        list(track(workspace, f"sqlite:///{tmp_path}/mlflow.db"))


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
    assert run.data.params["protocol"] == registry.entries(workspace)["v0002"].conditions
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
