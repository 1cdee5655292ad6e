"""The table of an ablation, of evaluations whose right answers are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.references import Checkpoint, Evaluation
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.evaluation import figures, score_table
from nonlocal_core.evaluation.ablations import Scored, variants
from nonlocal_core.report.ablation_table import compare

NUM = 40
RIGHT = (range(20), range(10, 36), range(2, 20))
"""the videos that each row knows: 10 and 16 that only one of the first two does; 2 and none of first and third"""


def scored(workspace: Workspace, number: int, right: range) -> Scored:
    label_N = np.arange(NUM) % 2
    taken_N = np.where(np.isin(np.arange(NUM), right), label_N, 1 - label_N)
    rows = pd.DataFrame(
        {
            "video_id": [f"v{video:02d}" for video in range(NUM)][:: 1 - 2 * (number % 2)],  # in another order
            "label": "a",
            "label_id": label_N[:: 1 - 2 * (number % 2)],
            "scores": list(np.eye(2)[taken_N][:: 1 - 2 * (number % 2)]),
        }
    )
    evaluation = Evaluation(
        key=f"e{number}", digest=f"d{number}", path=f"evaluate/e{number}", split="val", protocol="val",
        split_digest="s", top1=len(right) / NUM, top5=1.0, num_scored=NUM, num_videos=NUM,
        coverage="40 of 40 videos scored",
    )  # fmt: skip
    checkpoint = Checkpoint(
        key="", digest="", path=f"train/t{number}", file="w.safetensors", num_steps=1, num_clips=1, final_loss=0.0
    )
    for reference in (evaluation, checkpoint):
        workspace.path(reference).mkdir(parents=True)
    score_table.write(rows, workspace.path(evaluation) / "scores.parquet")
    write_json(workspace.path(evaluation) / "metrics.json", figures.figures(rows, ["a", "b"]))
    tensors = {
        "stem.weight": (2, 3),
        "stem.norm.moving_mean": (7,),
        "average/stem.weight": (2, 3),
        "fc.bias": (5,),
    }
    save_file(
        {name: np.zeros(shape, np.float32) for name, shape in tensors.items()},
        workspace.path(checkpoint) / checkpoint.file,
        {"a": "b"},
    )
    variant = variants(["tiny"], {"train.seed": "0|1|2", "model.width": 4})[number]
    return Scored(variant=variant, checkpoint=checkpoint, evaluation=evaluation)


def two_sided(only_one: int, only_other: int) -> float:
    num = only_one + only_other
    tail = sum(math.comb(num, k) for k in range(min(only_one, only_other) + 1))
    return min(1.0, 2 * tail / 2**num)


def test_each_row_is_compared_with_the_first_one(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    rows = [scored(workspace, number, right) for number, right in enumerate(RIGHT)]
    made = compare(rows, workspace)
    table = pq.read_table(workspace.path(made) / made.ROWS).to_pylist()
    assert [row["top1"] for row in table] == [0.5, 0.65, 0.45]
    assert [row["p_value"] for row in table] == [None, two_sided(10, 16), two_sided(2, 0)]
    assert {row["num_parameters"] for row in table} == {2 * 3 + 5}
    # Wilson's formula for 20 of 40
    half = 1.959964 / (1 + 1.959964**2 / NUM) * math.sqrt(0.25 / NUM + 1.959964**2 / (4 * NUM**2))
    assert table[0]["top1_low"] == pytest.approx(0.5 - half)
    page = (workspace.path(made) / made.PAGE).read_text()
    assert "| tiny train.seed=1 | 11 | 65.00% (49.5% to 77.9%) | 100.00% (91.2% to 100.0%) | – | 0.327 |" in page
    assert "settings of all rows: model.width=4" in page
    assert compare(rows, workspace) == made
    assert compare(rows[::-1], workspace).key != made.key
