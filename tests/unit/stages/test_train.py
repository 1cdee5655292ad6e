from __future__ import annotations

import importlib.metadata
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from keys import settings_in, settings_of
from registered import add
from small import PLAIN, files_of, python, small_config

from nonlocal_core import registry
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Checkpoint, RecordCache
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.stages import train as stage


@pytest.fixture
def registered(toy, tmp_path):
    """A workspace whose registry has two entries of any content; the first one is the champion."""
    workspace = toy.workspace(tmp_path)
    add(workspace, "a", 0.6)
    add(workspace, "b", 0.5)
    return workspace


NETWORK = {**PLAIN, "model__zero_gamma": False}  # all of it learns from the first step
TRAINED = small_config(**NETWORK, train__epochs=1, train__batch_size=8, train__val_epochs=0)


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """A training of one step, and its workspace."""
    workspace = toy.workspace(tmp_path_factory.mktemp("trained"))
    return stage.train(toy.cache, TRAINED, workspace), workspace


def test_the_key_holds_clip_network_training_and_what_came_in(toy, registered):
    def key(config, cache=toy.cache):
        return stage.key(cache, config, registered)

    expected = {*settings_of("clip", "model", "train", "features"), "runtime.num_devices"}
    assert settings_in(key, init=toy.root / "cache" / toy.cache.key / "videos.parquet") == expected
    moved = toy.cache.model_copy(update={"key": "other", "path": "cache/other"})
    assert key(small_config(), moved) == key(small_config())
    assert key(small_config(), toy.other_cache) != key(small_config())


def test_the_key_holds_the_clips_that_bn_sees_and_not_how_many_devices_share_them(toy, registered):
    def key(num_devices, micro_batch):
        train = {"train__batch_size": 8, "train__micro_batch": micro_batch}
        return stage.key(toy.cache, small_config(**train, runtime__num_devices=num_devices), registered)

    assert key(1, 2) == key(2, 2) == key(4, 2) == key(4, 0)
    assert len({key(1, 0), key(2, 0), key(4, 0)}) == 3


def test_the_key_holds_the_content_of_the_first_weights(toy, registered, tmp_path):
    def key(init):
        return stage.key(toy.cache, small_config(train__init=init), registered)

    before = key("champion"), key("v0001"), key("v0002")
    registry.promote(registered, "v0002")
    assert key("previous") == before[0]
    assert (key("champion") != before[0], key("v0001"), key("v0002")) == (True, *before[1:])
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"a")
    first = key(str(file))
    file.write_bytes(b"b")
    assert key(str(file)) != first


def test_the_champion_if_there_is_one(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    assert stage.first_weights(small_config(train__init="champion_if_any"), workspace) is None
    plain = small_config()
    assert stage.key(toy.cache, plain, workspace) == stage.key(
        toy.cache, small_config(train__init="champion_if_any"), workspace
    )


@pytest.mark.parametrize("init", ["v0009", "nowhere.safetensors", "champion"])
def test_first_weights_that_are_not_there(toy, tmp_path, init):
    workspace = toy.workspace(tmp_path)
    with pytest.raises(InputError, match=f"train.init={init}"):
        stage.train(toy.cache, small_config(train__init=init), workspace)
    assert not list(tmp_path.glob("train/*"))


def test_a_training_starts_from_the_champion_and_its_frozen_parts_stay(toy, registered, trained):
    made, elsewhere = trained
    champion = elsewhere.path(made) / made.file
    (registered.root / "registry/v0001/checkpoint.safetensors").write_bytes(champion.read_bytes())
    settings = {"train__init": "champion", "train__freeze": "res4", "train__seed": 9, "train__val_epochs": 0}
    config = small_config(**NETWORK, **settings, train__epochs=1)
    tuned = stage.train(toy.cache, config, registered)
    before, after = (safetensors.numpy.load_file(file) for file in (champion, registered.path(tuned) / tuned.file))
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith(("res5.", "head."))}
    assert max(np.abs(before[name] - after[name]).max() for name in moved) < 1.0  # not drawn anew
    said = registered.provenance(tuned)["init"]
    assert said == {
        "file": str(registered.root / "registry/v0001/checkpoint.safetensors"),
        "digest": digest_of(champion.read_bytes()),
    }


def test_a_finished_training_is_found_without_mindspore(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    key = stage.key(toy.cache, config, workspace)
    assert stage.find(toy.cache, config, workspace) is None
    made = Checkpoint(key=key, digest="d", path=f"train/{key}", file="w", num_steps=1, num_clips=2, final_loss=0.5)
    workspace.build(Checkpoint, key, lambda folder: made, {})
    before = files_of(tmp_path)
    process = python(f"""
import sys
from registered import add
from small import small_config
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.stages.train import train
cache = RecordCache.model_validate_json({toy.cache.model_dump_json()!r})
print(train(cache, small_config(), Workspace({str(tmp_path)!r})).model_dump_json())
assert "mindspore" not in sys.modules
""")
    found, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert Checkpoint.model_validate_json(found) == made
    assert {name: time for name, time in files_of(tmp_path).items() if not name.startswith(".locks")} == {
        name: time for name, time in before.items() if not name.startswith(".locks")
    }


def test_without_a_readable_train_video_there_is_nothing_to_learn_from(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    file = workspace.path(toy.cache) / RecordCache.VIDEOS
    table = pq.read_table(file)
    table = table.set_column(table.schema.get_field_index("split"), "split", pa.array(["val"] * len(table)))
    pq.write_table(table, file, write_page_checksum=True)
    with pytest.raises(InputError, match="no video of the train split could be decoded"):
        stage.train(toy.cache, small_config(), workspace)
    assert not list(tmp_path.glob("train/*/artifact.json"))


def test_provenance_says_what_a_checkpoint_was_made_of(toy, trained):
    made, workspace = trained
    said = workspace.provenance(made)
    assert RecordCache.model_validate(said["cache"]) == toy.cache
    assert said["config"] == {
        name: json.loads(getattr(TRAINED, name).model_dump_json()) for name in ("clip", "model", "train")
    }
    assert (said["device"], said["packages"]["mindspore"]) == ("CPU", importlib.metadata.version("mindspore"))
    assert stage.train(toy.cache, TRAINED, workspace) == made


@pytest.mark.parametrize(("precision", "needed"), [("fp16", "GPU or Ascend"), ("bf16", "Ascend")])
def test_half_precision_on_a_cpu_is_refused(toy, tmp_path, precision, needed):
    with pytest.raises(ConfigError, match=f"train.precision={precision} needs {needed}, .*on CPU: set .*=fp32$"):
        stage.train(toy.cache, small_config(train__precision=precision), toy.workspace(tmp_path))


def test_without_a_val_split_the_best_cannot_be_chosen(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    file = workspace.path(toy.cache) / RecordCache.VIDEOS
    table = pq.read_table(file)
    table = table.set_column(table.schema.get_field_index("split"), "split", pa.array(["train"] * len(table)))
    pq.write_table(table, file, write_page_checksum=True)
    with pytest.raises(InputError, match=r"no video of the val split .* train.select=best"):
        stage.train(toy.cache, small_config(train__select="best"), workspace)
