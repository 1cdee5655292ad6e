from __future__ import annotations

import json
import signal

import mindspore as ms
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keys import settings_in, settings_of
from small import files_of, python, small_config

from nonlocal_core.artifacts import Checkpoint, RecordCache, Workspace
from nonlocal_core.data import loader
from nonlocal_core.data.records import RecordReader
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import report
from nonlocal_core.models.i3d import I3D
from nonlocal_core.stages import evaluate as stage
from nonlocal_core.training import checkpoint as checkpoints

LABELS = ("falls", "grows", "rises", "shrinks")
CONFIG = small_config(evaluate__num_clips=3, evaluate__batch_clips=5)  # 12 views: the last batch is not full


@pytest.fixture(scope="module")
def start(toy, tmp_path_factory):
    """A workspace with a network that nobody trained but that tells videos apart."""
    workspace = toy.workspace(tmp_path_factory.mktemp("evaluate"))
    ms.set_seed(5)
    net = I3D(CONFIG.model, len(LABELS))
    for parameter in net.get_parameters():
        if parameter.name.endswith("gamma"):
            parameter.set_data(ms.ops.ones_like(parameter))
        if parameter.name == "head.fc.weight":
            parameter.set_data(parameter * 100)
    described = checkpoints.Description(
        step=1, labels=LABELS, model=CONFIG.model, clip=CONFIG.clip, cache=CONFIG.cache, train=CONFIG.train,
        cache_digest=toy.cache.digest, manifest_digest=toy.manifest.digest,
    )  # fmt: skip

    def make(folder):
        saved = checkpoints.save_weights(folder / "w.safetensors", checkpoints.weights_of_network(net), described)
        return Checkpoint(
            key="k", digest=saved.weights_digest, path="train/k", file="w.safetensors", num_steps=1, num_clips=2,
            final_loss=0.5,
        )  # fmt: skip

    return workspace, workspace.build(Checkpoint, "k", make, {})


@pytest.fixture(scope="module")
def evaluated(toy, start):
    workspace, checkpoint = start
    return stage.evaluate(checkpoint, toy.cache, CONFIG, workspace)


def scores_of(workspace, evaluation):
    rows = pq.read_table(workspace.path(evaluation) / stage.SCORES_FILE, use_threads=False).to_pylist()
    return {row["video_id"]: np.array(row["scores"]) for row in rows}


def fresh(toy, start, folder):
    """A workspace of its own with the same checkpoint and no evaluation."""
    workspace = toy.workspace(folder)
    source, checkpoint = start
    workspace.path(checkpoint).mkdir(parents=True)
    for file in source.path(checkpoint).iterdir():
        (workspace.path(checkpoint) / file.name).write_bytes(file.read_bytes())
    return workspace, checkpoint


def test_the_key_holds_clip_views_and_what_came_in(toy, start):
    _, checkpoint = start
    assert settings_in(lambda config: stage.key(checkpoint, toy.cache, config)) == settings_of("clip", "evaluate")
    base = stage.key(checkpoint, toy.cache, CONFIG)
    assert stage.key(checkpoint.model_copy(update={"path": "p", "key": "x"}), toy.cache, CONFIG) == base
    assert stage.key(checkpoint.model_copy(update={"digest": "x"}), toy.cache, CONFIG) != base
    assert stage.key(checkpoint, toy.cache.model_copy(update={"digest": "x"}), CONFIG) != base


def test_scores_are_those_of_each_video_alone(toy, start, evaluated):
    """Also of the last one, whose views are in a batch that is not full."""
    workspace, checkpoint = start
    reader = RecordReader(workspace, toy.cache)
    net, _ = checkpoints.load_network(workspace.path(checkpoint) / checkpoint.file)
    rows = loader.readable_rows(reader, "val")
    scores = scores_of(workspace, evaluated)
    assert len(rows) == len(scores) == 4
    right = 0
    for row, views in zip(rows, loader.video_views(reader, rows, CONFIG.clip, CONFIG.evaluate, 1), strict=True):
        assert len(views) == 3
        logits = net(loader.normalise(ms.Tensor(views), net.model)).asnumpy().astype(np.float64)
        expected = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).mean(0)
        record = reader.rows.iloc[row]
        np.testing.assert_allclose(scores[record["video_id"]], expected, rtol=1e-4, atol=1e-6)
        right += int(expected.argmax() == record["label_id"])
    assert len({tuple(np.round(score, 3)) for score in scores.values()}) == 4
    assert (evaluated.top1, evaluated.top5) == (right / 4, 1.0)
    assert (evaluated.num_scored, evaluated.num_videos) == (4, 4)


def test_other_ways_to_take_clips_are_other_protocols():
    ways = [
        {},
        {"clip__sampling": "part"},
        {"clip__sampling": "average"},
        {"clip__short_videos": "loop"},
        {"evaluate__offsets": "paper", "clip__sampling": "part"},
    ]
    assert [stage.protocol(small_config(**way)) for way in ways] == [
        "val, 1 clips x 1 crops of 4x3, 32 px of 36",
        "val, 1 clips x 1 crops of 4x1, 32 px of 36, sampling part",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36, sampling average",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36, short videos loop",
        "val, 1 clips x 1 crops of 4x1, 32 px of 36, sampling part, offsets paper",
    ]


def test_the_artifact_says_what_was_scored_and_how(toy, start, evaluated):
    workspace, checkpoint = start
    assert evaluated.protocol == "val, 3 clips x 1 crops of 4x3, 32 px of 36"
    assert evaluated.split_digest == toy.cache.split_digests["val"]
    assert sorted(files_of(workspace.path(evaluated))) == ["artifact.json", report.REPORT_FILE, stage.SCORES_FILE]
    said = workspace.provenance(evaluated)
    assert Checkpoint.model_validate(said["checkpoint"]) == checkpoint
    assert RecordCache.model_validate(said["cache"]) == toy.cache
    assert said["config"]["evaluate"] == json.loads(CONFIG.evaluate.model_dump_json())


def test_a_second_call_touches_nothing(toy, start, evaluated):
    workspace, checkpoint = start
    before = files_of(workspace.path(evaluated))
    assert stage.evaluate(checkpoint, toy.cache, CONFIG, workspace) == evaluated
    assert stage.find(checkpoint, toy.cache, CONFIG, workspace) == evaluated
    assert files_of(workspace.path(evaluated)) == before


def test_a_killed_evaluation_goes_on_with_its_finished_chunks(toy, start, evaluated, tmp_path, monkeypatch):
    workspace, checkpoint = fresh(toy, start, tmp_path)
    process = python(f"""
import logging, os, signal
from pathlib import Path
from small import small_config
from nonlocal_core import progress
from nonlocal_core.artifacts import Checkpoint, RecordCache, Workspace
from nonlocal_core.stages import evaluate

class Cut(logging.Handler):
    def emit(self, record):
        if record.progress["done"] == 3:
            os.kill(os.getpid(), signal.SIGKILL)

progress.TICK_EVERY_S = 0.0
logging.getLogger(progress.TICKS).addHandler(Cut())
evaluate.CHUNK_VIDEOS = 1
config = small_config(evaluate__num_clips=3, evaluate__batch_clips=5)
checkpoint = Checkpoint.model_validate_json({checkpoint.model_dump_json()!r})
cache = RecordCache.model_validate_json({toy.cache.model_dump_json()!r})
evaluate.evaluate(checkpoint, cache, config, Workspace(Path({str(workspace.root)!r})))
""")
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    partial = workspace.root / f"{evaluated.path}.partial"
    assert sorted(files_of(partial)) == ["scores-00000.parquet", "scores-00001.parquet"]
    chunk = partial / "scores-00000.parquet"
    (row,) = pq.read_table(chunk, use_threads=False).to_pylist()
    first, row["scores"] = row["video_id"], [0.1, 0.2, 0.3, 0.4]
    pq.write_table(pa.Table.from_pylist([row], schema=pq.read_schema(chunk)), chunk)
    monkeypatch.setattr(stage, "CHUNK_VIDEOS", 1)
    made = stage.evaluate(checkpoint, toy.cache, CONFIG, workspace)
    scores, expected = scores_of(workspace, made), scores_of(start[0], evaluated)
    assert scores.pop(first).tolist() == [0.1, 0.2, 0.3, 0.4], "it was scored again"
    assert scores.keys() == expected.keys() - {first}
    for video_id, score in scores.items():
        np.testing.assert_allclose(score, expected[video_id], rtol=1e-5)
    assert sorted(files_of(workspace.path(made))) == ["artifact.json", report.REPORT_FILE, stage.SCORES_FILE]


def test_a_checkpoint_of_other_labels_is_refused(toy, start, tmp_path):
    workspace, checkpoint = fresh(toy, start, tmp_path)
    labels = {"shrinks": 0, "rises": 1, "grows": 2, "falls": 3}
    (workspace.path(toy.cache) / RecordCache.LABELS).write_text(json.dumps(labels))
    with pytest.raises(InputError, match=r"on other labels .*falls, grows, rises.* against shrinks, rises"):
        stage.evaluate(checkpoint, toy.cache, CONFIG, workspace)


def test_a_split_without_videos_cannot_be_scored(toy, start):
    workspace, checkpoint = start
    with pytest.raises(InputError, match="no video of the split test could be decoded"):
        stage.evaluate(checkpoint, toy.cache, small_config(evaluate__split="test"), workspace)


def test_videos_that_could_not_be_decoded_count_in_the_denominator(toy, start, tmp_path):
    workspace, checkpoint = fresh(toy, start, tmp_path)
    file = workspace.path(toy.cache) / RecordCache.VIDEOS
    table = pq.read_table(file)
    rows = table.to_pylist()
    broken = next(row for row in rows if row["split"] == "val")
    broken.update(status="unreadable", reason="damaged: cut short", num_frames=0)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file, write_page_checksum=True)
    made = stage.evaluate(checkpoint, toy.cache, CONFIG, workspace)
    assert (made.num_scored, made.num_videos) == (3, 4)
    page = (Workspace(tmp_path).path(made) / report.REPORT_FILE).read_text()
    assert "Scored: 3 of 4 videos, 1 quarantined" in page
    assert f"| {broken['video_id']} | {broken['label']} | unreadable | damaged: cut short |" in page
