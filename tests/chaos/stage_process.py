"""A process that runs stages, each time in a fork of its own that may be killed: it has imported what they need.

It reads lines of JSON (`Asked`) and answers each with two lines: the number of the fork, and its exit code.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.command import failed
from nonlocal_core.config.tree import resolve

KINDS = {"index": Manifest, "cache": RecordCache, "train": Checkpoint, "evaluate": Evaluation}
UNKNOWN = 70
"""exit code after an error that is not one of `nonlocal_core.errors`"""


def run(stages: list[str], folders: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """The references of these stages, which must begin with index; `folders` are the videos' and the workspace."""
    from nonlocal_core.stages.cache import cache
    from nonlocal_core.stages.evaluate import evaluate
    from nonlocal_core.stages.index import index
    from nonlocal_core.stages.register import register
    from nonlocal_core.stages.train import train

    config, workspace = resolve("tiny", settings), Workspace(folders[1])
    made: dict[str, Any] = {}
    for stage in stages:
        if stage == "index":
            made[stage] = index(folders[0], config, workspace)
        elif stage == "cache":
            made[stage] = cache(made["index"], config, workspace)
        elif stage == "train":
            made[stage] = train(made["cache"], config, workspace)
        elif stage == "evaluate":
            made[stage] = evaluate(made["train"], made["cache"], config, workspace)
        else:
            made[stage] = register(made["train"], made["evaluate"], made["cache"], config, workspace)
    return {name: reference.model_dump(mode="json") for name, reference in made.items()}


def become(
    stages: list[str], folders: list[str], settings: dict[str, Any], variables: dict[str, str], answer: str
):
    """Run stages as a command does: a person's error is one line on stderr, and has an exit code of its own."""
    os.environ.update(variables)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    for descriptor, path in ((1, os.devnull), (2, f"{answer}.errors")):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    if "CHAOS_MEMORY" in variables:
        most = int(variables["CHAOS_MEMORY"])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        made = run(stages, folders, settings)
    except Exception as error:
        os.environ.pop("CHAOS_ROOT", None)
        try:
            code = failed(error)
        except Exception:
            traceback.print_exc()
            code = UNKNOWN
        os._exit(code)
    except BaseException:
        os._exit(130)
    os.environ.pop("CHAOS_ROOT", None)
    Path(answer).write_text(json.dumps(made))
    os._exit(0)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Fork for each line."""
    import nonlocal_core.stages.cache
    import nonlocal_core.stages.evaluate
    import nonlocal_core.stages.index
    import nonlocal_core.stages.register
    import nonlocal_core.stages.train

    if sys.argv[1:]:
        import nonlocal_core.evaluation.comparison
        import nonlocal_core.models.inference
        import nonlocal_core.report.charts
        import nonlocal_core.training.loop  # noqa: F401

    for line in sys.stdin:
        process = os.fork()
        if not process:
            become(**json.loads(line))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
