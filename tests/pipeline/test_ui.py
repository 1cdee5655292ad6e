"""What the UI shows: how far a stage is, and the texts of the form of a run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.full import NothingNew, Summary, full
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.escaping import in_markdown
from nonlocal_core.process.progress import Progress
from tasks import policy, report

REPOSITORY = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
SMALL = {
    "model.width": 2, "model.nl_res3": [], "model.nl_res4": [], "clip.clip_len": 4, "cache.short_side": 36,
    "model.block": "basic", "model.inflate": "none", "train.epochs": 2, "train.crop_size": 32,
    "train.val_epochs": 0, "evaluate.crop_size": 32, "evaluate.num_clips": 1, "runtime.device": "CPU",
    "runtime.attention_videos": 0,
}  # fmt: skip


def shown(key: str) -> dict[str, float]:
    """The bars of a key on the server: text and per cent."""
    asked = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        return {str(one.description): float(str(one.data)) for one in client.read_artifacts(artifact_filter=asked)}


@pytest.fixture(scope="module")
def first_night(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path, Path]:
    """What a run gave, its videos and its workspace."""
    folder, nightly = tmp_path_factory.mktemp("night"), {"index": {"frozen_val": "nightly"}, "train.epochs": 50}
    videos_dir = make_toy_videos(folder / "videos", 13)
    overrides = {**SMALL, "index": {"duplicates": "drop_from_train"}}
    made = full("tiny", overrides, videos_dir, folder / "w", defaults=nightly)
    assert isinstance(made, Summary)
    return made, videos_dir, folder / "w"


def test_each_stage_shows_its_counts(first_night: tuple[Summary, Path, Path]) -> None:
    made, _, workspace_dir = first_night
    kept = workspace_dir / "index" / "frozen" / "nightly.parquet"
    assert kept.exists(), "overrides are merged with defaults"
    assert made.checkpoint.num_steps < 10, "and count more"
    assert shown("index-progress")["13 of 13 videos"] == 100
    assert shown("cache-progress")["8 of 8 videos"] == 100, "the first shard"
    assert shown("cache-progress")["5 of 5 videos"] == 100
    assert (
        shown("evaluate-progress")[f"{made.evaluation.num_scored} of {made.evaluation.num_scored} videos"] == 100
    )
    steps = made.checkpoint.num_steps
    assert any(text.startswith(f"{steps} of {steps} steps, loss ") for text in shown("train-progress"))


def page() -> str:
    """The newest page of what a run came to."""
    asked = ArtifactFilter(key=ArtifactFilterKey(any_=["what-it-came-to"]))
    with get_client(sync_client=True) as client:
        return str(max(client.read_artifacts(artifact_filter=asked), key=lambda one: str(one.created)).data)


def test_a_run_says_what_it_came_to_and_which_videos_changed(
    first_night: tuple[Summary, Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nonlocal_core")
    first, videos_dir, workspace_dir = first_night
    assert "# v0001 is the champion: the first entry; " in page()
    assert "13 videos, 0 that cannot be used" in page()

    rows = pd.read_parquet(workspace_dir / first.cache.path / RecordCache.VIDEOS)
    changed, gone = (videos_dir / name for name in rows.loc[rows["split"] == "train", "video_id"][:2])
    changed.write_bytes(changed.read_bytes() + b"\0\0\0\x08free")
    gone.unlink()
    (changed.parent / "half_copied.mp4").write_bytes(b"no video")
    settings = {**SMALL, "index.frozen_val": "nightly", "runtime.max_unreadable": 0.5}
    second = full("tiny", settings, videos_dir, workspace_dir)
    assert isinstance(second, Summary)
    changes = "since v0001: 1 new, 1 changed, 1 removed videos; 1 that cannot be used, 1 of them since then"
    assert changes in page()
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("nonlocal_core.")]
    assert changes in logged, "in the log of the run, too"
    for kind, file in (("changed", changed), ("removed", gone)):
        assert f"| {kind} | 1 | {in_markdown(file.relative_to(videos_dir))} |" in page()
    (broken,) = (line for line in page().splitlines() if line.endswith(" | new |"))
    assert "half" in broken
    assert f"{second.entry.version}" in page()

    again = full("tiny", settings, videos_dir, workspace_dir, only_new=True)
    assert isinstance(again, NothingNew)
    assert "# nothing new: v0002 was made of the same 12 videos" in page()
    assert "since v0002: 0 new, 0 changed, 0 removed videos; 1 that cannot be used, 0 of them since then" in page()


def test_a_bar_says_how_long_it_will_take(prefect_server: None) -> None:
    seen: list[Any] = []

    @task
    def work() -> None:
        report.show_in_prefect()
        progress = Progress("some-stage", "all", 4, "videos")
        progress.started_s -= 300
        progress.advance()
        seen.append(shown("some-stage-progress"))
        progress.advance(3)

    @flow
    def run() -> None:
        work()

    run()
    assert seen == [{"1 of 4 videos, about 15 min left": 25}]
    assert shown("some-stage-progress") == {"4 of 4 videos": 100}


def schema_of(deployment: dict[str, Any]) -> Any:
    return parameter_schema(import_object(deployment["entrypoint"].replace("/", ".").replace(".py:", ".")))


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: str(one["name"]))
def test_every_parameter_of_a_form_is_explained_and_has_a_default(deployment: dict[str, Any]) -> None:
    schema = schema_of(deployment)
    assert len(schema.properties) > (2 if deployment["name"] == "prune" else 5)
    for name, field in schema.properties.items():
        assert len(field.get("description", "")) > 5, name
        must = {"source"} if deployment["name"] == "predict" else set()
        assert ("default" in field or name in deployment["parameters"]) != (name in must), name
    assert deployment["parameters"].keys() <= schema.properties.keys()
    assert not deployment["parameters"].get("overrides"), "those of a run would replace them"


@pytest.mark.parametrize("deployment", DEPLOYMENTS[:3], ids=lambda one: str(one["name"]))
def test_preset_and_runner_are_chosen_from_a_list(deployment: dict[str, Any]) -> None:
    schema = schema_of(deployment)
    own = [""] if deployment["name"] == "evaluate" else []  # the settings of the checkpoint
    assert schema.properties["preset"]["enum"] == [*own, *PRESETS]
    runner = schema.properties["runner"]["anyOf"][0]
    assert runner["enum"] == list(policy.RUNNERS)
    for fits in ({"preset": "nl_i3d_r50_32x2"}, {"runner": "dask"}, {"runner": "tcp://10.0.0.1:8786"}):
        validate(fits, schema.model_dump(), raise_on_error=True)
    for wrong in ({"preset": "tinny"}, {"runner": "tasks"}):
        with pytest.raises(ValidationError):
            validate(wrong, schema.model_dump(), raise_on_error=True)
