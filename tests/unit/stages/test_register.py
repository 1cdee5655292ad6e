from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from small import Toy, files_of, small_config

from nonlocal_core import registry
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import DamagedError
from nonlocal_core.evaluation import score_table
from nonlocal_core.models import checkpoint as checkpoints
from nonlocal_core.registry.lineage import lineage
from nonlocal_core.stages import register as stage
from tests.weights import finished


def scored(
    toy: Toy, workspace: Workspace, name: str, right: int, **training: object
) -> tuple[Checkpoint, Evaluation, RecordCache]:
    """A finished checkpoint and its evaluation: 100 videos, `right` of them right."""
    checkpoint = finished(workspace, name, small_config(), {"made": "by hand", **training})
    evaluation = Evaluation(
        key=name, digest=name, path=f"evaluate/{name}", split="val", protocol="val", split_digest="s",
        top1=right / 100, top5=1.0, num_scored=100, num_videos=100,
    )  # fmt: skip
    rows = pd.DataFrame({"video_id": [f"v/{number}" for number in range(100)], "label": "grows", "label_id": 1})
    rows["scores"] = pd.Series(
        [np.array([0.1, 0.6 if number < right else 0.05, 0.1, 0.2]) for number in range(100)]
    )
    workspace.path(evaluation).mkdir(parents=True, exist_ok=True)
    score_table.write(rows, workspace.path(evaluation) / "scores.parquet")
    return checkpoint, evaluation, toy.cache


def weights_in(workspace, entry):
    _, weights = checkpoints.read(workspace.path(entry) / "checkpoint.safetensors")
    return weights["w"].tobytes().decode()


def flip(path, place):
    """Turn one bit round."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_weights_that_were_damaged_since_they_were_scored_are_not_registered(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    checkpoint, evaluation, cache = scored(toy, workspace, "a", 50)
    flip(workspace.path(checkpoint) / checkpoint.file, -1)
    with pytest.raises(
        DamagedError, match=r"does not match its digest: delete \S+ and run again, which trains anew"
    ):
        stage.register(checkpoint, evaluation, cache, config, workspace)
    other, *_ = scored(toy, workspace, "b", 50)
    shutil.copy(workspace.path(other) / other.file, workspace.path(checkpoint) / checkpoint.file)
    with pytest.raises(DamagedError, match="holds other weights than those that were scored"):
        stage.register(checkpoint, evaluation, cache, config, workspace)
    assert registry.entries(workspace) == {}


def test_an_entry_whose_weights_are_damaged_is_not_found(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    made = scored(toy, workspace, "a", 50)
    entry = stage.register(*made, config, workspace)
    (workspace.path(entry) / ".DS_Store").touch()
    assert stage.register(*made, config, workspace) == entry, "a file beside it does no harm"
    flip(workspace.path(entry) / "checkpoint.safetensors", -1)
    with pytest.raises(DamagedError, match=r"v0001/checkpoint\.safetensors differs from its digest"):
        stage.register(*made, config, workspace)


def test_an_entry_has_all_that_a_person_may_ask_for(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    entry = stage.register(*scored(toy, workspace, "a", 50), config, workspace)
    kept = json.loads((workspace.path(entry) / "entry.json").read_text())
    assert kept["labels"] == {"falls": 0, "grows": 1, "rises": 2, "shrinks": 3}
    assert kept["manifest_digest"] == toy.manifest.digest
    assert kept["config"] == json.loads(config.model_dump_json())
    assert kept["training"]["made"] == "by hand"
    assert kept["evaluation"]["top1"] == 0.5
    assert weights_in(workspace, entry) == "a"


def test_registering_again_touches_nothing_and_a_better_one_becomes_the_champion(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config(registry__min_gain=0.05)
    first = scored(toy, workspace, "a", 50)
    entry = stage.register(*first, config, workspace)
    before = files_of(tmp_path / "registry")
    assert stage.register(*first, config, workspace) == entry
    assert files_of(tmp_path / "registry") == before
    little = stage.register(*scored(toy, workspace, "b", 54), config, workspace)
    much = stage.register(*scored(toy, workspace, "c", 56), config, workspace)
    assert [entry.is_champion, little.is_champion, much.is_champion] == [True, False, True]
    assert registry.read(workspace).champion == "v0003"
    assert not stage.register(*first, config, workspace).is_champion


def test_a_label_with_another_name_is_another_entry(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    checkpoint, evaluation, cache = scored(toy, workspace, "a", 50)
    first = stage.register(checkpoint, evaluation, cache, config, workspace)
    file = workspace.path(cache) / RecordCache.LABELS
    names = label_ids.read(file)
    label_ids.write(file, [*names[:-1], f"{names[-1]} a lot"])
    second = stage.register(checkpoint, evaluation, cache, config, workspace)
    assert (first.version, second.version) == ("v0001", "v0002")
    assert list(registry.entries(workspace)["v0002"].labels)[-1] == f"{names[-1]} a lot"
    assert stage.register(checkpoint, evaluation, cache, config, workspace) == second
    label_ids.write(file, names)
    assert stage.register(checkpoint, evaluation, cache, config, workspace).version == "v0001"


def test_the_same_weights_scored_another_way_are_another_entry(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    checkpoint, evaluation, cache = scored(toy, workspace, "a", 50)
    first = stage.register(checkpoint, evaluation, cache, config, workspace)
    other = evaluation.model_copy(update={"split": "test", "protocol": "test"})
    second = stage.register(checkpoint, other, cache, config, workspace)
    assert (first.version, second.version, second.is_champion) == ("v0001", "v0002", False)


def lineage_of(workspace, version):
    return [(step.name, step.facts) for step in lineage(workspace, version)]


def test_the_lineage_leads_back_to_the_videos_and_the_environment(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    training = {"device": "CPU", "packages": {"mindspore": "2.10.0"}, "init": None}
    entry = stage.register(*scored(toy, workspace, "a", 50, **training), config, workspace)
    said = dict(lineage_of(workspace, entry.version))
    assert list(said) == [
        "entry v0001", "evaluation", "checkpoint", "training", "environment", "parent weights", "cache",
        "manifest", "videos",
    ]  # fmt: skip
    assert said["entry v0001"]["decision"] == "the first entry"
    assert said["evaluation"]["protocol"] == "val"
    assert said["cache"]["digest"] == toy.cache.digest
    assert said["manifest"] == {"digest": toy.manifest.digest, "splits": toy.cache.split_digests}
    assert said["videos"] == {"videos_dir": str(toy.videos_dir)}
    assert said["training"]["code"] == workspace.provenance(toy.cache)["code"]
    assert (said["training"]["device"], said["environment"]["mindspore"]) == ("CPU", "2.10.0")
    assert said["parent weights"] == {"from": "random weights"}


def test_the_lineage_goes_on_with_the_parents(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    published = tmp_path / "start.safetensors"
    description = json.dumps({"imported_from": "mmaction2 0123"})
    safetensors.numpy.save_file({"w": np.zeros(1)}, published, {"description": description})

    def init(file):
        return {"init": {"file": str(file), "digest": digest_of(file.read_bytes())}}

    first = stage.register(*scored(toy, workspace, "a", 50, **init(published)), config, workspace)
    weights = workspace.path(first) / "checkpoint.safetensors"
    second = stage.register(*scored(toy, workspace, "b", 60, **init(weights)), config, workspace)
    steps = lineage_of(workspace, second.version)
    assert [name for name, _ in steps if name.startswith("entry")] == ["entry v0002", "entry v0001"]
    parents = [facts for name, facts in steps if name == "parent weights"]
    assert parents == [
        {**init(weights)["init"], "version": "v0001"},
        {**init(published)["init"], "imported_from": "mmaction2 0123"},
    ]


def test_an_entry_that_is_scored_anew_keeps_its_training(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    first = stage.register(*scored(toy, workspace, "a", 50), config, workspace)
    _, evaluation, cache = scored(toy, workspace, "again", 10)
    checkpoint = registry.checkpoint_of(workspace, first.version)
    _, weights = checkpoints.read(workspace.path(checkpoint) / checkpoint.file)
    assert weights["w"].tobytes() == b"a"
    other = evaluation.model_copy(update={"protocol": "val, otherwise"})
    second = stage.register(checkpoint, other, cache, config, workspace)
    assert not second.is_champion
    assert second.reason.startswith("the weights of the champion v0001 in line ")
    kept = [json.loads((workspace.path(entry) / "entry.json").read_text()) for entry in (first, second)]
    assert kept[0]["training"] == kept[1]["training"]
    assert weights_in(workspace, second) == "a"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_bytes(b"PAR1"), r"is damaged \(.*\)"),
        (lambda file: pd.read_parquet(file).to_parquet(file), "was written by another version"),
    ],
)
def test_without_readable_scores_nothing_is_registered(toy, tmp_path, damage, what):
    workspace = toy.workspace(tmp_path)
    made = scored(toy, workspace, "a", 50)
    damage(tmp_path / "evaluate/a/scores.parquet")
    with pytest.raises(DamagedError, match=rf"scores.parquet {what}: delete .*evaluate/a and run again"):
        stage.register(*made, small_config(), workspace)
    assert registry.entries(workspace) == {}
