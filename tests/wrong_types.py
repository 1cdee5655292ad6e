"""Calls that mypy has to refuse; nothing runs them.

`make check` fails when one of them is let through: an ignored error that is none is an error itself.
"""

from __future__ import annotations

from functools import partial

from nonlocal_core import scoring
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.process import child
from nonlocal_core.registry import Facts
from nonlocal_core.stages import evaluate as evaluate_stage
from nonlocal_core.stages import train as train_stage
from tasks.cache import cache
from tasks.evaluate import evaluate
from tasks.register import register
from tasks.train import train


def tasks(
    manifest: Manifest,
    cached: RecordCache,
    checkpoint: Checkpoint,
    evaluation: Evaluation,
    config: Config,
    at: Workspace,
) -> None:
    cache(cached, config, at, "threads")  # type: ignore[arg-type]
    train(checkpoint, config, at)  # type: ignore[call-overload]
    evaluate(cached, checkpoint, config, at)  # type: ignore[call-overload]
    evaluate.with_options(task_run_name="x")(cached, checkpoint, config, at)  # type: ignore[call-overload]
    register(evaluation, checkpoint, cached, config, at)  # type: ignore[call-overload]
    _: Evaluation = train(cached, config, at)  # type: ignore[assignment]


def children(cached: RecordCache, checkpoint: Checkpoint, config: Config, at: Workspace) -> None:
    child.call(evaluate_stage.evaluate, cached, checkpoint, config, at)  # type: ignore[arg-type]
    child.call(train_stage.train, cached, config)  # type: ignore[call-arg]
    _: Evaluation = child.call(train_stage.train, cached, config, at)  # type: ignore[assignment]
    child.call_all([partial(scoring.score_chunks, cached, [])], [{}])  # type: ignore[arg-type]


def entries(facts: Facts) -> None:
    _ = facts["evaluation"]  # type: ignore[index]
    _ = facts.evaluation.left_out  # type: ignore[attr-defined]
