"""register as a task: what the UI shows of its decision."""

from __future__ import annotations

import json
import logging
from typing import Any

import pandas as pd
import pytest
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import ArtifactSort

from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.evaluation import score_table
from nonlocal_core.prediction.results import Guess, Prediction, Predictions
from tasks import report
from tasks.register import register
from tests.weights import finished


def references(workspace: Workspace, name: str, right: int) -> tuple[Checkpoint, Evaluation, RecordCache]:
    """A finished checkpoint, its evaluation of 10 videos, `right` of them right, and the cache of both."""
    checkpoint = finished(workspace, name, resolve("tiny", {}), {"init": None})
    evaluation = Evaluation(
        key=name, digest=name, path=f"evaluate/{name}", split="val", protocol="val", split_digest="s",
        top1=right / 10, top5=1.0, num_scored=10, num_videos=10,
    )  # fmt: skip
    rows = pd.DataFrame({"video_id": [f"v{number}" for number in range(10)], "label": "falls", "label_id": 0})
    rows["scores"] = [[0.9, 0.1] if number < right else [0.1, 0.9] for number in range(10)]
    for folder in (workspace.path(evaluation), workspace.root / "cache/c"):
        folder.mkdir(parents=True, exist_ok=True)
    score_table.write(rows, workspace.path(evaluation) / "scores.parquet")
    (workspace.root / "cache/c" / RecordCache.LABELS).write_text(json.dumps({"falls": 0, "grows": 1}))
    cache = RecordCache(
        key="c", digest="c", path="cache/c", records="records/r", settings=resolve("tiny", {}).cache,
        videos_dir="videos", manifest_digest="m", split_digests={"val": "s"}, num_videos=10, num_ok=10,
        num_frames=10, num_bytes=10,
    )  # fmt: skip
    return checkpoint, evaluation, cache


def pages() -> list[str]:
    """What the UI shows of decisions."""
    with get_client(sync_client=True) as client:
        return [str(artifact.data) for artifact in client.read_artifacts() if artifact.key == "registry-decision"]


def test_the_decision_and_its_reason_are_in_the_ui(prefect_server, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace, config = Workspace(tmp_path), resolve("tiny", {})

    @flow
    def registering() -> list[Entry]:
        return [
            register(*references(workspace, name, right), config, workspace)
            for name, right in (("a", 6), ("b", 5))
        ]

    entries = registering()
    assert [entry.is_champion for entry in entries] == [True, False]
    begins = "# v0002: not the champion, which is v0001\n\nnot better: top-1 50.00% against 60.00% of v0001"
    (page,) = [page for page in pages() if page.startswith(begins)]
    assert "- **manifest**: digest m" in page


def test_a_new_champion_is_told_once_if_the_task_fails_after_the_decision(prefect_server, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace, config = Workspace(tmp_path), resolve("tiny", {})
    sent, answers = [], iter([OSError("Prefect does not answer")])

    def fails_once(*arguments: Any, **more: Any) -> Any:
        if error := next(answers, None):
            raise error
        return create_markdown_artifact(*arguments, **more)

    monkeypatch.setattr("tasks.register.create_markdown_artifact", fails_once)
    monkeypatch.setattr(report, "emit_event", lambda name, *_, payload: sent.append((name, payload["version"])))

    @flow
    def registering() -> Entry:
        again = register.with_options(retries=1, retry_delay_seconds=0)
        return again(*references(workspace, "a", 6), config, workspace)

    assert registering().is_champion
    assert next(answers, None) is None, "the first try failed"
    assert sent == [(report.NEW_CHAMPION, "v0001")]
    assert registering().is_champion
    assert sent == [(report.NEW_CHAMPION, "v0001")], "it was the champion before"


@pytest.mark.filterwarnings("default")
def test_a_tracker_that_cannot_be_told_stops_nothing(prefect_server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    workspace, config = Workspace(tmp_path), resolve("tiny", {})

    @flow
    def registering() -> Entry:
        return register(*references(workspace, "a", 6), config, workspace)

    caplog.set_level(logging.WARNING)
    assert registering().is_champion
    assert "registry " in caplog.text
    assert f"track workspace_dir={workspace.root}` does it later" in caplog.text


def test_names_are_no_markdown_in_the_ui(prefect_server):
    name = "![x](http://e.x)\n<b>.mp4"
    shown = "!\\[x\\](http\\://e.x)\\\\n\\<b>.mp4"
    manifest = Manifest(key="k", digest="d", path="p", videos_dir=name, num_videos=1, num_ok=1, num_labels=1)
    predicted = Prediction(video=name, status="ok", guesses=(Guess(label=name, score=1.0),))

    @flow
    def showing() -> None:
        shows()

    @task
    def shows() -> None:
        report.table(manifest)
        report.predictions(Predictions(entry=name, protocol="p", videos=(predicted,)))

    showing()
    with get_client(sync_client=True) as client:
        newest_first = client.read_artifacts(sort=ArtifactSort.CREATED_DESC)
    found = {artifact.key: artifact for artifact in reversed(newest_first)}  # other tests' are older
    rows = json.loads(str(found["index-result"].data))
    assert {"field": "videos_dir", "value": shown} in rows
    (row,) = json.loads(str(found["predictions"].data))
    assert (row["video"], row["label"], found["predictions"].description) == (shown, shown, f"{shown}, p")
