"""The registry in MLflow: a run and a version of a model for each entry, and the same aliases.

The workspace is the source; MLflow is a copy of it.  Nothing is sent twice, so after a call that broke off or a
server that did not answer, call it again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nonlocal_core.artifacts.files import read_json_lines
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import ConfigError, NonlocalError, WorkspaceError
from nonlocal_core.escaping import in_markdown
from nonlocal_core.registry.entries import entries, line_of
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import FOLDER, State, read

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "MLFLOW_TRACKING_URI"
NAME = "nonlocal-i3d"
"""of the experiment and of the model, where no other is given"""
KEY_TAG, ENTRY_TAG = "nonlocal_i3d.key", "nonlocal_i3d.entry"
MAX_TEXT = 250
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # 7 of them take minutes where no server answers
}


def track(workspace: Workspace, uri: str | None, name: str = NAME) -> Iterator[str]:
    """Send MLflow every entry that it does not know, move its aliases, and yield a line for each change.

    Raises: ConfigError if MLflow is not installed or no server is named; WorkspaceError if MLflow, its database or
            its store of artifacts refuses.
    """
    uri = uri or os.environ.get(VARIABLE)
    if not uri:
        raise ConfigError(f"no MLflow is named: set {VARIABLE}, or give --uri, such as sqlite:///mlflow.db")
    for setting, value in _SETTINGS.items():
        os.environ.setdefault(setting, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise ConfigError("MLflow is not installed: pip install -e '.[mlflow]'") from None
    with workspace.locked("mlflow"):
        state, by_version = read(workspace), entries(workspace)
        try:
            client = MlflowClient(tracking_uri=uri)
            experiment = _experiment(client, name)
            versions = _versions(client, name)
            for version, facts in by_version.items():
                if facts.key not in versions and state.decision(version):
                    versions[facts.key] = _send(client, experiment, name, workspace, version, facts, state)
                    yield f"{version} is version {versions[facts.key]} of {name}"
            yield from _move(
                client, name, {v: versions[f.key] for v, f in by_version.items() if f.key in versions}, state
            )
        except NonlocalError:
            raise
        except Exception as error:  # those of databases and artifact stores are of any class
            fault = str(error) if isinstance(error, MlflowException) else f"{type(error).__name__}: {error}"
            raise WorkspaceError(f"MLflow at {uri} refuses: {fault.splitlines()[0][:200]}") from None


def _experiment(client: MlflowClient, name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    return str(experiment.experiment_id if experiment else client.create_experiment(name))


def _versions(client: MlflowClient, name: str) -> dict[str, str]:
    """The versions of the model by the keys of their entries; the model is made if there is none."""
    if not client.search_registered_models(filter_string=f"name='{name}'"):
        client.create_registered_model(name, description="Non-local I3D action recognisers")
    models, token = [], None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        models += page
        token = page.token
        if not token:
            return {model.tags[KEY_TAG]: str(model.version) for model in models if KEY_TAG in model.tags}


def _send(
    client: MlflowClient,
    experiment: str,
    name: str,
    workspace: Workspace,
    version: str,
    facts: Facts,
    state: State,
) -> str:
    """The version of the model that an entry becomes; the run of a call that broke off is used again."""
    decision, tags = state.decision(version), {KEY_TAG: facts.key, ENTRY_TAG: version, "line": line_of(facts)}
    runs = client.search_runs([experiment], filter_string=f"tags.`{KEY_TAG}` = '{facts.key}'")
    run = runs[0] if runs else client.create_run(experiment, run_name=version, tags=tags)
    run_id, scored = run.info.run_id, facts.evaluation
    for key, value in _parameters(facts).items():
        client.log_param(run_id, key, value)
    for metric in ("top1", "top5", "num_scored", "num_videos"):
        client.log_metric(run_id, metric, getattr(scored, metric), step=facts.checkpoint.num_steps)
    for step, loss in _losses(workspace.root / facts.checkpoint.path / Checkpoint.LOG):
        client.log_metric(run_id, "loss", loss, step=step)
    client.log_artifacts(run_id, str(workspace.root / FOLDER / version), "entry")
    client.set_terminated(run_id)
    model = client.create_model_version(
        name,
        source=f"{run.info.artifact_uri}/entry",
        run_id=run_id,
        tags=tags,
        description=in_markdown(decision.reason if decision else ""),
    )
    return str(model.version)


def _parameters(facts: Facts) -> dict[str, str]:
    sections = facts.config.items()
    settings = {f"{section}.{leaf}": value for section, leaves in sections for leaf, value in leaves.items()}
    more = {"protocol": facts.conditions, "manifest_digest": facts.manifest_digest}
    return {key: str(value)[:MAX_TEXT] for key, value in {**settings, **more}.items()}


def _losses(log: Path) -> list[tuple[int, float]]:
    """Steps and losses of the training, evenly thinned to at most a thousand; none if its log is gone."""
    lines = read_json_lines(log)
    return [(line["step"], line["loss"]) for line in lines[:: len(lines) // 1000 + 1]]


def _move(client: MlflowClient, name: str, versions: dict[str, str], state: State) -> Iterator[str]:
    version_there = {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}
    for alias, version in sorted(state.aliases.items()):
        if version in versions and version_there.get(alias) != versions[version]:
            client.set_registered_model_alias(name, alias, versions[version])
            yield f"{alias} is version {versions[version]} of {name}"
    for alias in sorted(version_there.keys() - state.aliases.keys()):
        client.delete_registered_model_alias(name, alias)
        yield f"{alias} is forgotten"
