"""Entries made by hand, for the tests of the registry."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from nonlocal_core import registry
from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.evaluation.comparison import RANKS

LABELS = {"falls": 0, "grows": 1}
NUM_VIDEOS = 100


def ranks(right: list[bool], first: int = 0) -> pa.Table:
    """Ranks of as many videos: 0 where the network is right, else 1."""
    ids = [f"v/{first + number}.mp4" for number in range(len(right))]
    columns: dict[str, list[Any]] = {
        "video_id": ids,
        "label_id": [0] * len(right),
        "rank": [0 if one else 1 for one in right],
    }
    return pa.Table.from_pydict(columns, schema=RANKS)


def scored(workspace: Workspace, name: str, top1: float, **overrides: object) -> tuple[Checkpoint, Evaluation]:
    """A checkpoint on disk and its evaluation."""
    checkpoint = Checkpoint(
        key=name, digest=name, path=f"train/{name}", file="w.safetensors", num_steps=1, num_clips=1, final_loss=0.5
    )
    workspace.path(checkpoint).mkdir(parents=True, exist_ok=True)
    write_atomically(workspace.path(checkpoint) / "w.safetensors", f"weights of {name}".encode())
    fields = {
        "split": "val", "protocol": "val, 30 views", "split_digest": "videos", "top5": 1.0,
        "num_scored": NUM_VIDEOS, "num_videos": NUM_VIDEOS, "digest": f"{name}-scores",
    }  # fmt: skip
    return checkpoint, Evaluation.model_validate(
        {"key": name, "path": f"evaluate/{name}", "top1": top1, **fields, **overrides}
    )


def facts(
    checkpoint: Checkpoint,
    evaluation: Evaluation,
    labels: dict[str, int] = LABELS,
    config: Config = Config(),  # noqa: B008 (frozen)
) -> registry.Facts:
    """What is known of an entry, all of it made up."""
    cache = RecordCache(
        key="c", digest="c", path="cache/c", records="records/r", settings=config.cache, videos_dir="videos",
        manifest_digest="of the manifest", split_digests={"val": evaluation.split_digest}, num_videos=NUM_VIDEOS,
        num_ok=NUM_VIDEOS, num_frames=NUM_VIDEOS, num_bytes=NUM_VIDEOS,
    )  # fmt: skip
    return registry.Facts(
        key=evaluation.key, evaluation=evaluation, checkpoint=checkpoint, labels=labels,
        manifest_digest=cache.manifest_digest, cache=cache, config=config.model_dump(mode="json"),
        training=registry.Training(), parent=None, code="abc", python="3", host="here", packages={}, files={},
    )  # fmt: skip


def add(
    workspace: Workspace,
    name: str,
    top1: float,
    rule: RegistryConfig = RegistryConfig(),  # noqa: B008 (frozen)
    labels: dict[str, int] = LABELS,
    weights: str = "",
    right: list[bool] | None = None,
    **overrides: object,
) -> Entry:
    """An entry that is right on the first of 100 videos, as many as `top1` says, or on those of `right`."""
    checkpoint, evaluation = scored(workspace, name, top1, **overrides)
    checkpoint = checkpoint.model_copy(update={"digest": weights or name})
    table = ranks(right or [number < round(NUM_VIDEOS * top1) for number in range(NUM_VIDEOS)])
    return registry.add(workspace, facts(checkpoint, evaluation, labels), table, rule)
