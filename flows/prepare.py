"""index and cache alone, for machines without a GPU.

python flows/prepare.py [PRESET] [videos_dir=DIR] [key=value ...]
"""

from __future__ import annotations

if __name__ == "__main__":  # says its first line before the imports below, and imports this file again
    from flows.command_line import main

    main("prepare")

from pathlib import Path
from typing import Any

from prefect import flow

from nonlocal_core.artifacts.references import Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from tasks import policy
from tasks.cache import cache
from tasks.choices import Preset, Runner
from tasks.index import index, videos
from tasks.signature import sign


class Prepared(Frozen):
    """The cache of a run, and its workspace."""

    cache: RecordCache
    workspace: str

    def __str__(self) -> str:
        """A few lines for a person."""
        return f"""
  videos    {self.cache.num_ok} used, {self.cache.num_videos - self.cache.num_ok} quarantined
  frames    {self.cache.num_frames}, {self.cache.num_bytes / 1e6:.1f} MB
  cache     {self.workspace}/{self.cache.path}
"""


@flow(name="prepare", flow_run_name=policy.run_name, on_running=[sign])
def prepare(
    preset: Preset = "tiny",
    overrides: dict[str, Any] | None = None,
    videos_dir: Path | str | None = None,
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: Runner = "threads",
) -> Prepared:
    """Index and cache.

    Args:
        preset: named settings
        overrides: settings that differ from the preset, such as {"cache.short_side": 128}
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos; the preset tiny makes its own
        workspace_dir: folder that all results live in
        labels_path: file of label ids: JSON, label_map.txt, classInd.txt or CSV; alphabetical if there is none
        runner: where shards of index and cache run: threads, processes, dask, ray, or a cluster's address
    """
    config = resolve(preset, overrides or {})
    policy.check_runner(runner)
    workspace = Workspace(workspace_dir)
    with policy.shard_pool(runner) as pool:
        manifest = index(videos(videos_dir, preset, workspace), config, workspace, labels_path, pool)
        cached = cache(manifest, config, workspace, pool)
    return Prepared(cache=cached, workspace=str(workspace.root))
