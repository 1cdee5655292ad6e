"""All stages in their order, for programs and notebooks: a folder of labelled videos in, a registered network out.

`flows/full.py` does the same under Prefect, with retries, and each stage in a process of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nonlocal_core import early
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, Frozen, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.evaluation import headline
from nonlocal_core.stages import cache, evaluate, features, index, register
from nonlocal_core.stages import train as train_stage


class Run(Frozen):
    """What each stage of a run has made."""

    manifest: Manifest
    cache: RecordCache
    checkpoint: Checkpoint
    evaluation: Evaluation
    entry: Entry

    def __str__(self) -> str:
        """A few lines for a person."""
        cached, champion = self.cache, "the champion" if self.entry.is_champion else "not the champion"
        lines = {
            "videos": f"{cached.num_ok} used, {cached.num_videos - cached.num_ok} quarantined",
            **headline.of(self.evaluation),
            "scored": f"{self.evaluation.coverage} ({self.evaluation.protocol})",
            "registry": f"{self.entry.version}, {champion}: {self.entry.reason}",
        }
        return "\n".join(f"{name:<9} {text}" for name, text in lines.items())


def train(
    videos_dir: Path | str,
    preset: str = "probe",
    overrides: Mapping[str, object] | None = None,
    workspace_dir: Path | str = "workspace",
    labels_path: Path | None = None,
) -> Run:
    """A network that has learned from a folder of labelled videos, scored and registered.

    What an earlier call has finished is found, and a stopped one goes on.

    Raises: InputError if there is nothing to learn from; ConfigError if a setting does not fit; and what the
            stages raise.
    """
    config, workspace = resolve(preset, dict(overrides or {})), Workspace(Path(workspace_dir).expanduser())
    early.before_index(config, workspace)
    manifest = index.index(videos_dir, config, workspace, labels_path)
    early.before_cache(config, workspace, manifest)
    cached = cache.cache(manifest, config, workspace)
    stored_features = features.features(cached, config, workspace) if config.features.num_clips else None
    checkpoint = train_stage.train(cached, config, workspace, stored_features)
    evaluation = evaluate.evaluate(checkpoint, cached, config, workspace, stored_features)
    entry = register.register(checkpoint, evaluation, cached, config, workspace)
    return Run(manifest=manifest, cache=cached, checkpoint=checkpoint, evaluation=evaluation, entry=entry)


def train_and_score(cached: RecordCache, config: Config, workspace: Workspace) -> Evaluation:
    """The scores of a network that has learned from a cache; nothing is registered.

    Raises: what train and evaluate raise.
    """
    return evaluate.evaluate(train_stage.train(cached, config, workspace), cached, config, workspace)
