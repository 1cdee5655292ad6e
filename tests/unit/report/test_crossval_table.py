"""The table of a cross-validation is that of the videos which its folds hold out today."""

from __future__ import annotations

import json
import shutil

import pandas as pd
from registered_run import Registered

from nonlocal_core import registry
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.data.records import cache_table
from nonlocal_core.evaluation.crossval import Crossval, CrossvalRequest, Fold, ScoredFold
from nonlocal_core.report import crossval_table


def figures(run: Registered, cache: RecordCache, key: str) -> dict[str, int]:
    """How many videos two folds hold out, which are the same ones."""
    checkpoint = registry.entries(run.workspace)["v0001"].checkpoint
    scored = [
        ScoredFold(
            fold=Fold(name=name, number=number, num_folds=2), manifest=run.manifest, cache=cache,
            checkpoint=checkpoint, evaluation=run.evaluation.model_copy(update={"key": key}),
        )
        for number, name in enumerate("ab", 1)
    ]  # fmt: skip
    request = CrossvalRequest(preset="tiny", overrides={}, folds="2")
    made = crossval_table.make(scored, request, run.workspace)
    shown = json.loads((run.workspace.path(made) / Crossval.FIGURES).read_bytes())
    return {name: shown[name] for name in ("num_scored", "num_videos")}


def test_a_broken_video_more_is_one_that_was_not_scored(registered):
    run = registered
    before = figures(run, run.cache, run.evaluation.key)
    assert figures(run, run.cache, run.evaluation.key) == before
    other = run.cache.model_copy(update={"path": "cache/other"})
    folder = shutil.copytree(run.workspace.path(run.cache), run.workspace.path(other))
    rows = cache_table.read(folder / RecordCache.VIDEOS)
    broken = rows[rows["split"] == "val"].iloc[:1].assign(video_id="new.mp4", status="unreadable", reason="cut")
    cache_table.write(pd.concat([rows, broken], ignore_index=True), folder / RecordCache.VIDEOS)
    assert figures(run, other, "of these videos") == {**before, "num_videos": before["num_videos"] + 2}
