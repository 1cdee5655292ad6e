"""What the trunk gives is kept by content, and learned and scored from as if it were computed again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pandas as pd
import pytest
import second_host
from small import PLAIN, small_config

from nonlocal_core.artifacts.references import Features
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data import loader
from nonlocal_core.data.records import cache_table, kept_features, store
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import ConfigError, DamagedError, InputError
from nonlocal_core.evaluation import view_table
from nonlocal_core.models import checkpoint, parts, trunk
from nonlocal_core.models.i3d import I3D
from nonlocal_core.prune import prune
from nonlocal_core.stages import evaluate as evaluate_stage
from nonlocal_core.stages import features as stage
from nonlocal_core.stages import train as train_stage

NET: dict[str, Any] = {**PLAIN, "train__init_head": "new", "features__num_clips": 2, "features__crop_size": 32}
VIEWS: dict[str, Any] = {"evaluate__num_clips": 2, "evaluate__batch_clips": 2}
LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def init(tmp_path_factory):
    """A checkpoint of a network whose every weight matters, of other labels than the videos."""
    config = small_config(**PLAIN)
    ms.set_seed(1)
    net, rng = I3D(config.model, len(LABELS)), np.random.default_rng(1)
    weights = {
        name: rng.uniform(0.5, 1, array.shape).astype(np.float32) if array.ndim == 1 else array
        for name, array in checkpoint.weights_of_network(net).items()
    }
    described = checkpoint.Description(
        step=0, labels=LABELS, model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    path = tmp_path_factory.mktemp("init") / "weights.safetensors"
    checkpoint.save_weights(path, weights, described)
    return path


def settings(init, last="res5", **others):
    return small_config(**{**NET, **VIEWS, "train__init": str(init), "train__freeze": last, **others})


@pytest.fixture(scope="module", params=["res4", "res5"])
def kept(request, toy, init, tmp_path_factory):
    """Workspace, settings and features."""
    workspace = toy.workspace(tmp_path_factory.mktemp("kept") / "w")
    config = settings(init, request.param)
    return workspace, config, stage.features(toy.cache, config, workspace)


def files(workspace):
    return {path.name: path.stat().st_mtime_ns for path in workspace.root.glob("activations/*/shard-*.bin")}


def test_they_are_what_the_trunk_gives_for_the_views_of_an_evaluation(toy, kept, init):
    workspace, config, features = kept
    reader = RecordReader(workspace, toy.cache)
    kept_reader = kept_features.FeatureReader(workspace, features, reader.rows)
    net, _ = checkpoint.load_network(init)
    rows = [int(row) for row in np.flatnonzero(reader.rows["status"] == "ok")]
    assert features.num_videos == len(rows) == 12
    views = loader.video_views(reader, rows, config.clip, config.evaluate, 1)
    for row, clips in zip(rows, views, strict=True):
        expected = trunk.trunk(net, config.train.freeze)(ms.Tensor(clips)).asnumpy()
        np.testing.assert_allclose(kept_reader.views(row), expected, rtol=1e-5, atol=1e-6)


def test_a_finished_run_is_found_and_a_lost_shard_alone_is_made_again(toy, kept):
    workspace, config, features = kept
    assert stage.find(toy.cache, config, workspace) == features
    before = files(workspace)
    lost = sorted(before)[0]
    next(workspace.root.glob(f"activations/*/{lost}")).unlink()  # its table is there
    assert stage.find(toy.cache, config, workspace) is None
    assert stage.features(toy.cache, config, workspace) == features
    after = files(workspace)
    assert {name for name in before if after[name] != before[name]} == {lost}


def test_other_splits_and_labels_need_nothing_new(toy, kept):
    """The folds of a cross-validation look at each video once."""
    workspace, config, features = kept
    before = files(workspace)
    folder = workspace.path(toy.cache)
    rows = cache_table.read(folder / "videos.parquet")
    turned = rows.assign(split=np.where(rows["split"] == "val", "train", "val"))
    cache_table.write(turned, folder / "videos.parquet")
    try:
        again = stage.features(toy.other_cache, config, workspace)
    finally:
        cache_table.write(rows, folder / "videos.parquet")
    assert again.key != features.key
    assert again.digest == features.digest
    assert files(workspace) == before


def test_a_run_that_is_stopped_goes_on_with_the_other_shards(toy, init, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "SHARD_VIEWS", 4)
    workspace, config, written = toy.workspace(tmp_path / "w"), settings(init), []

    def write(*arguments):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments[1])
        store_shard(*arguments)

    store_shard = kept_features.write
    monkeypatch.setattr(kept_features, "write", write)
    with pytest.raises(KeyboardInterrupt):
        stage.features(toy.cache, config, workspace)
    before = files(workspace)
    assert len(before) == 2
    list(prune(workspace.root, really=True))
    assert files(workspace) == before, "nobody takes away what it has done"
    monkeypatch.setattr(kept_features, "write", store_shard)
    features = stage.features(toy.cache, config, workspace)
    after = files(workspace)
    assert len(after) == 6
    assert before.items() <= after.items()
    assert not list(workspace.root.glob(f"features/*/{Features.PLAN}"))
    whole = stage.features(toy.cache, config, toy.workspace(tmp_path / "other"))
    assert (whole.key, whole.digest) == (features.key, features.digest)


def written(workspace, features):
    """The files of the store and the table of the artifact."""
    paths = [*workspace.root.glob("activations/*/*"), workspace.path(features) / Features.VIDEOS]
    return {path.name: path.read_bytes() for path in paths}


def test_another_host_looks_at_its_share(toy, init, tmp_path, monkeypatch, caplog):
    """The second host is a process that makes every second shard; the last of them is then lost again."""
    caplog.set_level("INFO")
    monkeypatch.setattr(stage, "SHARD_VIEWS", 4)
    one, two = (toy.workspace(tmp_path / name) for name in ("one", "two"))
    alone = stage.features(toy.cache, settings(init), one)
    looked = second_host.comes_first(monkeypatch, stage, "compute_chunks")
    shared = stage.features(toy.cache, settings(init, **second_host.HOSTS), two)
    assert [len(chunks) for chunks in looked] == [3, 1]
    assert shared == alone
    assert len(written(one, alone)) == 6 * 2 + 2
    assert written(two, shared) == written(one, alone)
    assert two.provenance(shared)["engines"] == one.provenance(alone)["engines"]
    assert "MindSpore" in two.provenance(shared)["engines"][0]
    assert f"on 127.0.0.2: python -m nonlocal_core.share {two.root / shared.activations} 1" in caplog.text
    assert "127.0.0.2 has left 1 of its 3 chunks, which are made here" in caplog.text


def test_what_was_changed_on_disk_is_damage(toy, kept):
    workspace, _, features = kept
    copy = Workspace(shutil.copytree(workspace.root, workspace.root.with_name("copy"), dirs_exist_ok=True))
    shard = next(copy.root.glob("activations/*/shard-*.bin"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    rows = cache_table.read(copy.path(toy.cache) / "videos.parquet")
    reader = kept_features.FeatureReader(copy, features, rows)
    with pytest.raises(DamagedError, match="does not match its checksum: rm "):
        for row in range(len(rows)):
            reader.views(row)


def test_scores_from_features_are_those_of_the_network(toy, kept):
    """A head that was learned from features, and the whole network that it is written into."""
    workspace, config, features = kept
    if config.train.freeze == "res5":
        config = config.model_copy(update={"train": config.train.model_copy(update={"optimizer": "lbfgs"})})
    made = train_stage.train(toy.cache, config, workspace, features)
    assert made.num_clips == made.num_steps * (16 if config.train.optimizer == "lbfgs" else 2)
    from_features = evaluate_stage.evaluate(made, toy.cache, config, workspace, features)
    other = Workspace(shutil.copytree(workspace.root, workspace.root.with_name("again"), dirs_exist_ok=True))
    shutil.rmtree(other.path(from_features))
    from_clips = evaluate_stage.evaluate(made, toy.cache, config, other)
    assert from_features.key == from_clips.key
    pairs = zip(
        *(view_table.videos(where.path(from_clips) / "views.parquet") for where in (workspace, other)), strict=True
    )
    for found, expected in pairs:
        assert found[:3] == expected[:3]
        np.testing.assert_allclose(found[3], expected[3], rtol=1e-4, atol=1e-5)
    described, weights = checkpoint.read_weights(workspace.path(made) / made.file)
    assert described.labels == ("falls", "grows", "rises", "shrinks")
    init = checkpoint.read_weights(Path(config.train.init))[1]
    same = {name for name in init if name in weights and np.array_equal(init[name], weights[name])}
    assert {name for name in init if name.startswith(parts.prefixes(config.train.freeze))} <= same
    assert "head.fc.weight" not in same


def test_features_of_another_trunk_are_not_taken(toy, kept, init, tmp_path):
    workspace, config, features = kept
    made = train_stage.train(toy.cache, config, workspace, features)
    wrong = features.model_copy(update={"trunk_digest": "0" * 16})
    config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"batch_clips": 1})})
    with pytest.raises(InputError, match="has another trunk"):
        evaluate_stage.evaluate(made, toy.cache, config, workspace, wrong)
    other = config.model_copy(update={"train": config.train.model_copy(update={"seed": 7})})
    with pytest.raises(InputError, match=r"has another trunk than the one whose features were kept: run again"):
        train_stage.train(toy.cache, other, workspace, wrong)


def test_the_same_training_is_done_again_bit_for_bit(toy, init, tmp_path):
    config = settings(init, "res4", features__mirrored=True)
    digests = set()
    for name in ("one", "two"):
        workspace = toy.workspace(tmp_path / name)
        features = stage.features(toy.cache, config, workspace)
        assert features.num_views == 4
        digests.add(train_stage.train(toy.cache, config, workspace, features).digest)
    assert len(digests) == 1


def test_a_block_that_would_stay_as_it_was_drawn_is_refused(toy, init, tmp_path):
    config = settings(init, "res4", model__nl_res4=(0,))
    with pytest.raises(InputError, match=r"lacks res4\.nl0.* lower train\.freeze"):
        stage.features(toy.cache, config, toy.workspace(tmp_path / "w"))
    inserted_after_the_trunk = settings(init, "res3", model__nl_res4=(0,))
    assert stage.features(toy.cache, inserted_after_the_trunk, toy.workspace(tmp_path / "x")).last == "res3"


def test_what_does_not_fit_is_said_before(init):
    with pytest.raises(ConfigError, match=r"set train\.init"):
        small_config(features__num_clips=1, features__crop_size=32, train__freeze="res5")
    with pytest.raises(ConfigError, match=r"by train\.freeze"):
        small_config(features__num_clips=1, features__crop_size=32, train__init="a.safetensors")
    with pytest.raises(ConfigError, match=r"set features\.num_clips=1"):
        small_config(train__optimizer="lbfgs", train__freeze="res5", train__init="a.safetensors")
    with pytest.raises(ConfigError, match=r"features\.crop_size=224 is larger than a cached frame"):
        small_config(features__num_clips=1, train__freeze="res5", train__init="a.safetensors")


def test_an_interrupted_write_leaves_no_record(tmp_path):
    """The store's own promise, which features rely on: a shard without its table does not exist."""
    kept_features.write(tmp_path, ["x"], [np.ones((2, 3), np.float32)], "t")
    assert store.contents(tmp_path).index.tolist() == ["x"]
    next(tmp_path.glob("*.parquet")).unlink()
    assert store.contents(tmp_path).empty
    assert kept_features.read_trunk(tmp_path) == ("t", (3,))
    (tmp_path / "trunk.json").write_text("{}")
    with pytest.raises(DamagedError, match="is damaged: delete"):
        kept_features.read_trunk(tmp_path)


def test_parts_of_a_video_are_contents_of_their_own():
    rows = pd.DataFrame(
        {"sha256": "s", "digest": "d", "start_fraction": [0.0, 0.5, 0.0], "end_fraction": [1.0, 1.0, 1.0]}
    )
    names = kept_features.names(rows)
    assert names[0] == names[2] != names[1]
    assert Features.stage == "features"
