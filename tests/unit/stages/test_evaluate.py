from __future__ import annotations

import json
import signal
from pathlib import Path

import mindspore as ms
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import second_host
from keys import settings_in, settings_of
from small import PLAIN, files_of, python, small_config

from nonlocal_core import scores, scoring
from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.evaluation import view_table
from nonlocal_core.models import checkpoint as checkpoints
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.process import cuda, progress, shares
from nonlocal_core.stages import evaluate as stage

LABELS = ("falls", "grows", "rises", "shrinks")
SETTINGS: dict[str, object] = {"evaluate__num_clips": 3, "evaluate__batch_clips": 5}
CONFIG = small_config(**PLAIN, **SETTINGS)  # 12 views: the last batch is not full

FILES = ["artifact.json", Evaluation.METRICS, Evaluation.REPORT, Evaluation.SCORES, Evaluation.VIEWS]


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
    rows = pq.read_table(workspace.path(evaluation) / Evaluation.SCORES, use_threads=False).to_pylist()
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
    assert stage.key(checkpoint, toy.other_cache, CONFIG) != base


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
        logits = net(normalise(ms.Tensor(views), net.model)).asnumpy().astype(np.float64)
        expected = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).mean(0)
        record = reader.rows.iloc[row]
        np.testing.assert_allclose(scores[record["video_id"]], expected, rtol=1e-4, atol=1e-6)
        right += int(expected.argmax() == record["label_id"])
    assert len({tuple(np.round(score, 3)) for score in scores.values()}) == 4
    assert (evaluated.top1, evaluated.top5) == (right / 4, 1.0)
    assert (evaluated.num_scored, evaluated.num_videos) == (4, 4)


def test_other_ways_to_take_clips_are_other_protocols():
    ways: list[dict[str, object]] = [
        {},
        {"clip__sampling": "part"},
        {"clip__sampling": "average"},
        {"clip__short_videos": "loop"},
        {"evaluate__offsets": "paper", "clip__sampling": "part"},
        {"evaluate__offsets": "random", "evaluate__seed": 7, "evaluate__head": "pooled"},
        {"evaluate__protocol": "seed"},
        {"evaluate__num_crops": 3, "evaluate__crops": "even"},
        {"evaluate__crops": "even"},
        {"evaluate__crops": "slowfast"},
    ]
    assert [stage.protocol(small_config(**way)) for way in ways] == [
        "val, 1 clips x 1 crops of 4x3, 32 px of 36",
        "val, 1 clips x 1 crops of 4x1, 32 px of 36, sampling part",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36, sampling average",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36, short videos loop",
        "val, 1 clips x 1 crops of 4x1, 32 px of 36, sampling part, offsets paper",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36, offsets random 7, head pooled",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36, offsets random 0, head pooled",
        "val, 1 clips x 3 crops of 4x3, 32 px of 36, crops even",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36",
        "val, 1 clips x 1 crops of 4x3, 32 px of 36, crops slowfast",
    ]


def test_the_artifact_says_what_was_scored_and_how(toy, start, evaluated):
    workspace, checkpoint = start
    assert evaluated.protocol == "val, 3 clips x 1 crops of 4x3, 32 px of 36"
    assert evaluated.frames == "resized by auto, JPEG 90"
    assert f"{evaluated.protocol}, frames {evaluated.frames}" in (
        workspace.path(evaluated) / evaluated.REPORT
    ).read_text(encoding="utf-8")
    assert evaluated.split_digest == toy.cache.split_digests["val"]
    assert sorted(files_of(workspace.path(evaluated))) == FILES
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


def test_a_smaller_protocol_needs_no_network(toy, start, capsys):
    """The views of 3 x 3 that 3 x 1 has too give its scores."""
    workspace, checkpoint = start
    made = stage.evaluate(checkpoint, toy.cache, small_config(**SETTINGS, evaluate__num_crops=3), workspace)
    folder = workspace.path(made)
    again = view_table.score(folder / Evaluation.VIEWS, 3, 1)
    run = stage.evaluate(checkpoint, toy.cache, CONFIG, workspace)
    expected = scores_of(workspace, run)
    assert len(again) == len(expected) == 4
    for row in again.itertuples():
        np.testing.assert_allclose(np.asarray(row.scores), expected[row.video_id], rtol=1e-4, atol=1e-6)

    capsys.readouterr()
    assert scores.main([str(folder), "--json", "--k", "1", "2"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["coverage"] == "4 of 4 videos scored, 0 quarantined"
    assert list(said["views"]) == [
        "1 of 3 clips x 1 of 3 crops", "3 of 3 clips x 1 of 3 crops",
        "1 of 3 clips x 3 of 3 crops", "3 of 3 clips x 3 of 3 crops",
    ]  # fmt: skip
    kept = json.loads((workspace.path(run) / Evaluation.METRICS).read_text())
    assert said["views"]["3 of 3 clips x 1 of 3 crops"]["top"]["1"] == kept["top"]["1"]
    assert said["views"]["3 of 3 clips x 1 of 3 crops"]["loss"] == pytest.approx(kept["loss"], rel=1e-4)
    whole = json.loads((folder / Evaluation.METRICS).read_text())
    assert said["views"]["3 of 3 clips x 3 of 3 crops"]["confusion"] == whole["confusion"]

    assert scores.main([str(folder), "--clips", "2", "--crops", "1", "--labels"]) == 0
    page = capsys.readouterr().out
    assert "2 of 3 clips x 1 of 3 crops\n  top-1: " in page
    assert "| falls | 1 | " in page
    assert scores.main([str(folder), "--clips", "4"]) == 3
    assert capsys.readouterr().err == "error: 4 clips cannot be taken from 3: 1 to 3 can\n"
    assert scores.main([str(folder.parent)]) == 3
    assert "is no finished evaluation: name a folder workspace/evaluate/KEY" in capsys.readouterr().err


def test_metrics_are_those_of_the_artifact(start, evaluated):
    workspace, _ = start
    kept = json.loads((workspace.path(evaluated) / Evaluation.METRICS).read_text())
    assert kept["top"]["1"]["value"] == evaluated.top1
    assert (kept["loss"], kept["mean_class_accuracy"]) == (evaluated.loss, evaluated.mean_class_accuracy)
    assert kept["coverage"] == evaluated.coverage == "4 of 4 videos scored, 0 quarantined"
    scored = scores_of(workspace, evaluated)
    ids = {video_id: LABELS.index(video_id.split("/")[0]) for video_id in scored}
    assert kept["loss"] == pytest.approx(np.mean([-np.log(scored[name][ids[name]]) for name in scored]))
    assert all(Path(one["path"]).exists() for one in kept["worst"])


def test_every_video_of_all_splits_can_be_scored(toy, start):
    workspace, checkpoint = start
    made = stage.evaluate(checkpoint, toy.cache, small_config(evaluate__split="all"), workspace)
    assert (made.num_scored, made.num_videos) == (12, 12)
    assert made.protocol.startswith("all, 1 clips")
    assert made.split_digest not in toy.cache.split_digests.values()


def run_and_cut(toy, checkpoint, workspace, cut, **settings):
    """What a process with the stage says, in which `cut` is called with the progress of each video."""
    process = python(f"""
import logging, os, signal
from pathlib import Path
from small import small_config
from nonlocal_core.process import cuda, progress, shares
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import ChildError
from nonlocal_core.process import shares
from nonlocal_core.stages import evaluate

class Cut(logging.Handler):
    def emit(self, record):
        done = record.progress["done"]
        {cut}

progress.TICK_EVERY_S = 0.0
logging.getLogger(progress.TICKS).addHandler(Cut())
shares.CHUNK_VIEWS = 1
checkpoint = Checkpoint.model_validate_json({checkpoint.model_dump_json()!r})
cache = RecordCache.model_validate_json({toy.cache.model_dump_json()!r})
try:
    evaluate.evaluate(checkpoint, cache, small_config(**{settings!r}), Workspace(Path({str(workspace.root)!r})))
except ChildError as error:
    print(error.worth_retrying, error)
""")
    said, problems = process.communicate(timeout=100)
    return process.returncode, said, problems


def written(workspace, evaluation):
    """The files of an evaluation, without the one that tells the time."""
    folder = workspace.path(evaluation)
    return {name: (folder / name).read_bytes() for name in FILES if name != "artifact.json"}


CHUNKS: dict[str, object] = {"evaluate__num_clips": 3, "evaluate__batch_clips": 3}


@pytest.fixture(scope="module")
def in_chunks(toy, start, tmp_path_factory):
    """An evaluation in chunks of one video, and its workspace."""
    workspace, checkpoint = fresh(toy, start, tmp_path_factory.mktemp("chunks"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "CHUNK_VIEWS", 1)
        return stage.evaluate(checkpoint, toy.cache, small_config(**CHUNKS), workspace), workspace


def shown(caplog):
    """What is counted while an evaluation runs, and up to what number."""
    return {
        (tick.progress["what"], tick.progress["total"]) for tick in caplog.records if hasattr(tick, "progress")
    }


def test_a_killed_evaluation_goes_on_with_its_finished_chunks(
    toy, start, in_chunks, tmp_path, monkeypatch, caplog
):
    caplog.set_level("DEBUG", progress.TICKS)
    workspace, checkpoint = fresh(toy, start, tmp_path)
    cut = "done == 3 and os.kill(os.getpid(), signal.SIGKILL)"
    code, _, problems = run_and_cut(toy, checkpoint, workspace, cut, **CHUNKS)
    assert code == -signal.SIGKILL, problems
    config = small_config(**CHUNKS)
    partial = workspace.root / f"evaluate/{stage.key(checkpoint, toy.cache, config)}.partial"
    assert sorted(files_of(partial)) == ["chunk-000000.parquet", "chunk-000001.parquet"]
    chunk = partial / "chunk-000000.parquet"
    rows = pq.read_table(chunk, use_threads=False).to_pylist()
    first = {row["video_id"] for row in rows}
    assert len(rows) == 3
    assert len(first) == 1
    for row in rows:
        row["logits"] = [0.0, 0.0, 0.0, 9.0]
    tables.write(pa.Table.from_pylist(rows, schema=view_table.SCHEMA), chunk)
    monkeypatch.setattr(shares, "CHUNK_VIEWS", 1)
    made = stage.evaluate(checkpoint, toy.cache, config, workspace)
    assert shown(caplog) == {("val", 4)}
    scores, expected = scores_of(workspace, made), scores_of(in_chunks[1], in_chunks[0])
    assert scores.pop(first.pop())[3] > 0.99, "it was scored again"
    assert len(scores) == len(expected) - 1
    assert all(scores[video_id].tolist() == expected[video_id].tolist() for video_id in scores)
    assert sorted(files_of(workspace.path(made))) == FILES


def test_two_devices_make_the_same_files(toy, start, in_chunks, tmp_path, monkeypatch, caplog):
    """Each video once, and byte for byte what one process makes."""
    caplog.set_level("DEBUG", progress.TICKS)
    monkeypatch.setattr(shares, "CHUNK_VIEWS", 1)  # a chunk has one video, so both devices have some
    workspace, checkpoint = fresh(toy, start, tmp_path)
    made = stage.evaluate(checkpoint, toy.cache, small_config(**CHUNKS, runtime__num_devices=2), workspace)
    alone, other = in_chunks
    assert made == alone
    assert written(workspace, made) == written(other, alone)
    assert shown(caplog) == {("val, device 1 of 2", 2), ("val, device 2 of 2", 2)}


def on_two_hosts():
    return small_config(**CHUNKS, **second_host.HOSTS)


def test_another_host_scores_its_share_and_nobody_waits_for_one_that_is_gone(
    toy, start, in_chunks, tmp_path, monkeypatch, caplog
):
    """The second host is a process that scores every second chunk; one of them is then taken away again."""
    caplog.set_level("INFO")
    monkeypatch.setattr(shares, "CHUNK_VIEWS", 1)
    workspace, checkpoint = fresh(toy, start, tmp_path)
    config = on_two_hosts()
    scored = second_host.comes_first(monkeypatch, scoring, "score_chunks")
    made = stage.evaluate(checkpoint, toy.cache, config, workspace)
    folder = workspace.root / f"evaluate/{made.key}.partial"
    assert [[chunk.file.stem for chunk in chunks] for chunks in scored] == [
        ["chunk-000000", "chunk-000002"], ["chunk-000003"]
    ]  # fmt: skip
    assert sorted(files_of(workspace.path(made))) == FILES
    alone, other = in_chunks
    assert made == alone
    assert written(workspace, made) == written(other, alone)
    assert f"on 127.0.0.2: python -m nonlocal_core.share {folder} 1" in caplog.text
    assert "127.0.0.2 has left 1 of its 2 chunks, which are made here" in caplog.text
    late = second_host.begin(folder)
    assert (late.returncode, late.stderr.count("\n")) == (3, 1)
    assert "nothing is shared there, or it is made already" in late.stderr


def test_what_a_stop_between_two_steps_leaves_is_not_in_the_evaluation(toy, start, in_chunks, tmp_path):
    """All views are joined; a chunk is still there."""
    workspace, checkpoint = fresh(toy, start, tmp_path)
    config = on_two_hosts()
    folder = workspace.partial(Evaluation, stage.key(checkpoint, toy.cache, config))
    alone, other = in_chunks
    (folder / Evaluation.VIEWS).write_bytes((other.path(alone) / Evaluation.VIEWS).read_bytes())
    (folder / "chunk-000001.parquet").write_text("x")
    made = stage.evaluate(checkpoint, toy.cache, config, workspace)
    assert made == alone
    assert sorted(files_of(workspace.path(made))) == FILES


@pytest.mark.campaign("kill")
def test_two_devices_make_the_same_files_also_when_one_is_killed(toy, start, tmp_path, monkeypatch):
    """Each video once, and byte for byte what one process makes."""
    workspace, checkpoint = fresh(toy, start, tmp_path / "two")
    settings = {
        "evaluate__num_clips": 10, "evaluate__num_crops": 3, "evaluate__batch_clips": 1, "runtime__num_devices": 2,
    }  # fmt: skip
    cut = (
        "[own] = [f for f in Path('/proc/self/task').glob('*/children') if f.read_text()][:1] or [None];"
        "own and os.kill(int(own.read_text().split()[0]), signal.SIGKILL)"
    )
    code, said, problems = run_and_cut(toy, checkpoint, workspace, cut, **settings)
    assert (code, problems) == (0, "")
    assert said.startswith("True the process of scoring was killed by SIGKILL: run again")
    config = small_config(**settings)
    partial = workspace.root / f"evaluate/{stage.key(checkpoint, toy.cache, config)}.partial"
    assert len(files_of(partial)) < 4

    monkeypatch.setattr(shares, "CHUNK_VIEWS", 1)
    made = stage.evaluate(checkpoint, toy.cache, config, workspace)
    other, _ = fresh(toy, start, tmp_path / "one")
    alone = stage.evaluate(checkpoint, toy.cache, small_config(**{**settings, "runtime__num_devices": 1}), other)
    assert (made.num_scored, made.num_videos) == (4, 4)
    assert made == alone
    assert written(workspace, made) == written(other, alone)
    views = pq.read_table(workspace.path(made) / Evaluation.VIEWS, use_threads=False).to_pandas()
    assert len(views) == 120
    assert not views.duplicated(["video_id", "clip", "crop"]).any()


def test_each_device_is_seen_by_one_process(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7")
    monkeypatch.delenv("ASCEND_RT_VISIBLE_DEVICES", raising=False)
    found = [cuda.one_device(rank) for rank in range(3)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["4", "GPU-7", "2"]
    assert [one["ASCEND_RT_VISIBLE_DEVICES"] for one in found] == ["0", "1", "2"]


@pytest.mark.parametrize("batch", [1, 3, 5, 8, 64, 100])
@pytest.mark.parametrize(("num_clips", "num_crops"), [(1, 1), (10, 1), (10, 3), (7, 3)])
def test_chunks_hold_every_video_once_in_whole_batches(batch, num_clips, num_crops, tmp_path):
    rows = pd.DataFrame({"split": ["train", "val", "val", "val"] * 90, "status": ["ok", "ok", "empty", "ok"] * 90})
    test = EvaluateConfig(num_clips=num_clips, num_crops=num_crops, batch_clips=batch)
    chunks = scoring.chunks_of(rows, test, tmp_path)
    assert [row for chunk in chunks for row in chunk.rows] == [4 * i + k for i in range(90) for k in (1, 3)]
    for chunk in chunks[:-1]:
        num_views = len(chunk.rows) * num_clips * num_crops
        assert num_views % batch == 0
        assert shares.CHUNK_VIEWS <= num_views < shares.CHUNK_VIEWS + num_clips * num_crops * batch
    assert len({chunk.file for chunk in chunks}) == len(chunks)


def test_views_of_other_videos_are_not_taken_for_these(toy, start, evaluated, tmp_path):
    """An unfinished folder from before says nothing of videos that are there now."""
    workspace, checkpoint = fresh(toy, start, tmp_path)
    whole = start[0].path(evaluated) / Evaluation.VIEWS
    rows = pq.read_table(whole, use_threads=False).slice(3)
    partial = workspace.partial(Evaluation, evaluated.key)
    pq.write_table(rows, partial / Evaluation.VIEWS)
    with pytest.raises(DamagedError, match=r"partial has the views of other videos: delete it and run again"):
        stage.evaluate(checkpoint, toy.cache, CONFIG, workspace)


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
    page = (Workspace(tmp_path).path(made) / Evaluation.REPORT).read_text()
    assert "- 3 of 4 videos scored, 1 quarantined: 1 unreadable\n" in page
    assert f"| {broken['video_id']} | {broken['label']} | unreadable | damaged: cut short |" in page
