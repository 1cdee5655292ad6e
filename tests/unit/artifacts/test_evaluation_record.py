"""What earlier versions have written is read."""

from __future__ import annotations

import json

import pytest

from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace

OLD: dict[str, object] = {
    "key": "k", "digest": "d", "path": "evaluate/k", "split_digest": "s", "top1": 0.5, "top5": 1.0,
    "num_scored": 7, "num_videos": 10,
}  # fmt: skip


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_an_evaluation_without_a_split_is_found_finished(workspace: Workspace, split: str) -> None:
    folder = workspace.root / "evaluate/k"
    folder.mkdir(parents=True)
    old = {**OLD, "protocol": f"{split}, 10 clips x 3 crops of 32x2, 256 px of 256"}
    (folder / ARTIFACT_FILE).write_text(json.dumps({"reference": old, "files": {}, "provenance": {}}))
    found = workspace.find(Evaluation, "k")
    assert found is not None
    assert (found.split, found.coverage) == (split, "7 of 10 videos scored")


def test_what_is_there_is_not_filled_in() -> None:
    fields = {"split": "all", "protocol": "val, 10 clips", "coverage": "7 of 10 videos scored, 3 quarantined"}
    found = Evaluation.model_validate({**OLD, **fields})
    assert (found.split, found.coverage) == (fields["split"], fields["coverage"])
