"""Where an entry comes from: its figures, its source videos, and the weights that it started from."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from nonlocal_core.artifacts import tensors
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import DamagedError
from nonlocal_core.escaping import in_markdown
from nonlocal_core.registry.entries import entry, line_of
from nonlocal_core.registry.facts import Facts, Parent
from nonlocal_core.registry.state_file import FOLDER, read

PACKAGES = (
    *("mindspore", "numpy", "pandas", "pyarrow", "opencv-python-headless", "av", "decord"),
    *("safetensors", "pydantic", "prefect", "openvino"),
)


class Step(NamedTuple):
    """One step on the way from videos to an entry."""

    name: str
    facts: dict[str, object]


def packages() -> dict[str, str]:
    """The versions of the packages that compute something."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def imported_from(file: Path) -> str:
    """The profile and digest of the published file that a checkpoint's weights come from; empty without one."""
    try:
        texts, _ = tensors.read_header(file)
        return str(json.loads(texts["description"]).get("imported_from", ""))
    except (OSError, ValueError, KeyError, DamagedError):
        return ""


def lineage(workspace: Workspace, version: str) -> list[Step]:
    """The steps from an entry back to its videos, the nearest first; then its parents, each with its own steps.

    Raises: InputError if there is no entry of this version; DamagedError if it cannot be read.
    """
    steps: list[Step] = []
    seen: set[str] = set()
    following: str | None = version
    while following and following not in seen:
        seen.add(following)
        facts = entry(workspace, following)
        steps += _steps(workspace, following, facts)
        following = facts.parent.version if facts.parent else None
        if following and not (workspace.root / FOLDER / following).is_dir():
            break
    return steps


def _steps(workspace: Workspace, version: str, facts: Facts) -> list[Step]:
    decision = read(workspace).decision(version)
    scored, weights, cache, training = facts.evaluation, facts.checkpoint, facts.cache, facts.training
    random: dict[str, object] = {"from": "random weights"}
    parent = _chosen(facts.parent, *Parent.model_fields) if facts.parent else random
    steps = [
        Step(
            f"entry {version}",
            {
                "key": facts.key,
                "line": line_of(facts),
                "decision": decision.reason if decision else "not decided on yet",
                "decided_at": decision.decided_at if decision else "",
            },
        ),
        Step(
            "evaluation",
            _chosen(scored, "key", "digest", "protocol", "engine", "split_digest", "num_scored", "num_videos"),
        ),
        Step("checkpoint", _chosen(weights, "key", "digest", "num_steps", "num_clips", "final_loss")),
        Step("training", _chosen(training, "created_at", "host", "device", "seconds", "code", "version")),
        Step("environment", {"python": facts.python, **(training.packages or facts.packages)}),
        Step("parent weights", parent | ({"leak": str(facts.leak)} if facts.leak else {})),
        Step(
            "cache", _chosen(cache, "key", "digest", "settings", "num_videos", "num_ok", "num_frames", "num_bytes")
        ),
        Step("manifest", {"digest": facts.manifest_digest, "splits": cache.split_digests}),
        Step("videos", _chosen(cache, "videos_dir")),
    ]
    return [step for step in steps if step.facts]


def _chosen(record: BaseModel, *names: str) -> dict[str, object]:
    """The fields of these names that were set in a record."""
    fields = record.model_dump(mode="json", include=set(names), exclude_unset=True)
    return {name: fields[name] for name in names if name in fields}


def in_words(steps: Iterable[Step], hidden: Collection[str] = ()) -> str:
    """Steps as a list in Markdown, without the hidden facts."""
    lines = []
    for step in steps:
        facts = {name: in_markdown(text_of(value)) for name, value in step.facts.items() if name not in hidden}
        shown = [f"{name} {text}" for name, text in facts.items()]
        lines += [f"- **{step.name}**: {'; '.join(shown)}"] if shown else []
    return "\n".join(lines)


def text_of(value: object) -> str:
    """A fact in words."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {text_of(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
