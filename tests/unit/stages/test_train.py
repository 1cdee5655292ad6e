from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from keys import settings_in, settings_of
from small import files_of, python, small_config

from nonlocal_core.artifacts import Checkpoint, RecordCache, Workspace
from nonlocal_core.errors import InputError
from nonlocal_core.stages import train as stage


def test_the_key_holds_clip_network_training_and_what_came_in(toy):
    assert settings_in(lambda config: stage.key(toy.cache, config)) == settings_of("clip", "model", "train")
    moved = toy.cache.model_copy(update={"key": "other", "path": "cache/other"})
    assert stage.key(moved, small_config()) == stage.key(toy.cache, small_config())
    other = toy.cache.model_copy(update={"digest": "other"})
    assert stage.key(other, small_config()) != stage.key(toy.cache, small_config())


def test_a_finished_training_is_found_without_mindspore(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    key = stage.key(toy.cache, config)
    assert stage.find(toy.cache, config, workspace) is None
    made = Checkpoint(key=key, digest="d", path=f"train/{key}", file="w", num_steps=1, num_clips=2, final_loss=0.5)
    workspace.build(Checkpoint, key, lambda folder: made, {})
    before = files_of(tmp_path)
    process = python(f"""
import sys
from small import small_config
from nonlocal_core.artifacts import RecordCache, Workspace
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


def test_provenance_says_what_a_checkpoint_was_made_of(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config(train__epochs=1, train__batch_size=8)
    made = stage.train(toy.cache, config, workspace)
    said = Workspace(tmp_path).provenance(made)
    assert RecordCache.model_validate(said["cache"]) == toy.cache
    assert said["config"] == {
        name: json.loads(getattr(config, name).model_dump_json()) for name in ("clip", "model", "train")
    }
    assert stage.train(toy.cache, config, workspace) == made
