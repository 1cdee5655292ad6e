"""evaluate: a checkpoint and a record cache in, the scores of a split and its report out.

Videos are scored in chunks (scoring.py), so a killed evaluation goes on with those that are not finished.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nonlocal_core import scoring
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import locations
from nonlocal_core.errors import DamagedError
from nonlocal_core.evaluation import figures, score_table, view_table
from nonlocal_core.evaluation.figures import Figures
from nonlocal_core.report import markdown

VERSION = 2


def find(checkpoint: Checkpoint, cache: RecordCache, config: Config, workspace: Workspace) -> Evaluation | None:
    """The finished evaluation of this checkpoint on this cache, if there is one."""
    return workspace.find(Evaluation, key(checkpoint, cache, config))


def key(checkpoint: Checkpoint, cache: RecordCache, config: Config) -> str:
    """The key of an evaluation; the views of a protocol count, not its name."""
    views = config.evaluate.model_copy(update={"protocol": "own"})
    read = cache.scored(config.evaluate.split, config.clip)
    return key_of("evaluate", VERSION, [config.clip, views], [checkpoint.digest, *read])


def protocol(config: Config) -> str:
    """The views of an evaluation as text; only those with the same text and the same frames can be compared."""
    test, clip = config.evaluate, config.clip
    text = (
        f"{test.split}, {test.num_clips} clips x {test.num_crops} crops of {clip.name}, "
        f"{test.crop_size} px of {config.cache.short_side}"
    )
    offsets = f"random {test.seed}" if test.offsets == "random" else test.offsets
    ways = {"sampling": clip.sampling, "short videos": clip.short_videos, "offsets": offsets, "head": test.head}
    if test.num_crops == 3 or test.crops == "slowfast":  # the centre alone is the same in the other two
        ways["crops"] = test.crops
    defaults = ("interval", "repeat_last", "spread", "trained", "ends")
    return ", ".join([text, *(f"{name} {way}" for name, way in ways.items() if way not in defaults)])


def evaluate(
    checkpoint: Checkpoint,
    cache: RecordCache,
    config: Config,
    workspace: Workspace,
    features: Features | None = None,
) -> Evaluation:
    """The scores of every video of a split, with their figures.

    Where the views that are scored are kept as features, the trunk does not look at them again.

    Raises: InputError if no video of the split could be decoded, or the checkpoint knows other labels; ChildError
            if the process of a device dies.
    """
    evaluation_key = key(checkpoint, cache, config)
    weights = workspace.path(checkpoint) / checkpoint.file

    def make(folder: Path) -> Evaluation:
        from nonlocal_core.data.records.reader import RecordReader

        reader, labels = RecordReader(workspace, cache), label_ids.read(workspace.path(cache) / RecordCache.LABELS)
        usable = features if features and _are_the_views(features, config) else None
        job = scoring.Job(config=config, root=workspace.root, weights=weights, cache=cache, features=usable)
        scoring.score(job, reader.rows, folder)
        scored = view_table.score(folder / Evaluation.VIEWS)
        score_table.write(scored, folder / Evaluation.SCORES)
        split = scoring.of_split(reader.rows, config.evaluate.split)
        if scored["video_id"].tolist() != split.loc[split["status"] == "ok", "video_id"].tolist():
            raise DamagedError(f"{folder} has the views of other videos: delete it and run again")
        paths = (locations.join(cache.videos_dir, path) for path in split["path"])
        results = figures.figures(scored, labels)
        results["worst"] = figures.worst(scored, labels, dict(zip(split["video_id"], paths, strict=True)))
        evaluation = _evaluation(evaluation_key, cache, config, scored, results, split)
        engine = provenance["engine"] = view_table.engines(folder / Evaluation.VIEWS)
        evaluation = evaluation.model_copy(update={"engine": engine})
        basis = {name: getattr(evaluation, name) for name in ("protocol", "frames", "coverage", "num_videos")}
        write_json(folder / Evaluation.METRICS, {**basis, "left_out": figures.left_out(split), **results})
        markdown.write(folder, evaluation, results, split)
        return evaluation

    provenance: dict[str, Any] = {
        "checkpoint": checkpoint.model_dump(mode="json"),
        "cache": cache.model_dump(mode="json"),
        "config": config.model_dump(mode="json", include={"clip", "evaluate"}),
    }
    return workspace.build(Evaluation, evaluation_key, make, provenance)


def _evaluation(
    key: str, cache: RecordCache, config: Config, scored: pd.DataFrame, results: Figures, split: pd.DataFrame
) -> Evaluation:
    name, by_split = config.evaluate.split, cache.split_digests
    return Evaluation(
        key=key,
        digest=_digest(scored),
        path=f"evaluate/{key}",
        split=name,
        protocol=protocol(config),
        split_digest=digest_of(*sorted(by_split.items())) if name == "all" else by_split[name],
        top1=results["top"]["1"]["value"],
        top5=results["top"]["5"]["value"],
        num_scored=len(scored),
        num_videos=len(split),
        coverage=figures.coverage(len(scored), split),
        loss=results["loss"],
        mean_class_accuracy=results["mean_class_accuracy"],
        num_labels=len(results["labels"]),
        frames=config.cache.frames,
        guessing=results["guessing"],
    )


def _are_the_views(features: Features, config: Config) -> bool:
    """Whether kept features are of the views that are scored."""
    test, stored = config.evaluate, features.settings
    views = stored.num_clips, stored.num_crops, stored.crop_size
    same = (test.num_clips, test.num_crops, test.crop_size) == views
    ways = (test.offsets, test.head, test.crops)
    return same and features.clip == config.clip and ways == ("spread", "trained", "ends")


def _digest(scored: pd.DataFrame) -> str:
    label_N = scored["label_id"].to_numpy(np.int64)
    return digest_of(*scored["video_id"], label_N.tobytes(), np.stack(scored["scores"].to_list()).tobytes())
