"""A network computed by OpenVINO on a CPU, where that gives what MindSpore gives.

    WORKSPACE/engines/KEY/   network.onnx, for one input, and in artifact.json how far it is from MindSpore

It is exported once for each checkpoint, size of the clips, version and processor, and compared with MindSpore on
the first clip that comes.  What is further away than `TOLERANCE`, or cannot be exported, is not used; that is kept
too.  Where the workspace is only read, the folder of user_cache keeps the last `MOST` of them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import math
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts import user_cache
from nonlocal_core.artifacts.files import read_checked_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Exported
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace, check_file
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError, DamagedError, WorkspaceError
from nonlocal_core.models.graph import Array, Engine, Graph, Run
from nonlocal_core.process import cuda

log = logging.getLogger(__name__)

VERSION = 2
TOLERANCE = 1e-4
"""greatest difference from MindSpore, relative to the greatest output"""
MOST = 5
"""exports of one user, 30 to 200 MB each, outside of workspaces"""


def is_wanted(runtime: RuntimeConfig) -> bool:
    """Whether the settings, the machine and what is installed lead to OpenVINO.

    Raises: ConfigError if the settings name it, and it is not installed or does not run on their device.
    """
    is_set, elsewhere = runtime.engine == "openvino", runtime.device in ("GPU", "Ascend")
    if is_set and elsewhere:
        raise ConfigError(
            f"runtime.engine=openvino computes on the CPU: leave out runtime.device={runtime.device}"
        )
    if runtime.engine == "mindspore" or elsewhere:
        return False
    problem = _missing()
    if problem and is_set:
        raise ConfigError(f"runtime.engine=openvino {problem}: pip install -e '.[openvino]'")
    if problem:
        return False
    return is_set or runtime.device == "CPU" or not _has_accelerator(runtime)


def _missing() -> str:
    """Why OpenVINO cannot be used; empty if it can."""
    if any(importlib.util.find_spec(name) is None for name in ("openvino", "onnx")):
        return "is not installed"
    try:
        importlib.import_module("openvino")
    except (ImportError, OSError) as error:  # a library that it needs is not there
        problem = f"cannot be loaded ({error})"
        log.warning("OpenVINO %s: MindSpore computes", problem)
        return problem
    return ""


def _has_accelerator(runtime: RuntimeConfig) -> bool:
    """Whether runtime.device=auto is no CPU; MindSpore is asked only where there may be something else."""
    if not cuda.can_load(cuda.DRIVER) and not any(Path("/dev").glob("davinci*")):
        return False
    from nonlocal_core.models import device

    return device.find(runtime) != "CPU"


class StoredExport(NamedTuple):
    """An export, and what keeps it."""

    exported: Exported
    workspace: Workspace


def find(graph: Graph, workspace: Workspace | None) -> StoredExport | None:
    """The export that is kept by the workspace or the user; None if there is none that is whole."""
    key = _key(graph)
    for place in (workspace, Workspace(user_cache.folder(), only_read=True)):
        if place and (exported := _find_in(place, key)):
            return StoredExport(exported, place)
    return None


def _find_in(workspace: Workspace, key: str) -> Exported | None:
    folder = workspace.root / Exported.stage / key
    try:
        exported = workspace.find(Exported, key)
        if exported and not exported.fault:
            check_file(folder / Exported.NETWORK)
        return exported
    except (DamagedError, OSError, ValueError):
        log.warning("%s is damaged: it is made again", folder)
        if not workspace.only_read:
            shutil.rmtree(folder)
        return None


def load(cached: StoredExport, batch_size: int) -> Engine | None:
    """What computes an export; None if it has a fault, which is logged."""
    exported, workspace = cached
    if exported.fault:
        log.warning("%s is not used: %s", _name(), exported.fault)
        return None
    run = _compiled(workspace.path(exported) / Exported.NETWORK, batch_size)
    log.info("%s computes, %.1e of the greatest output from MindSpore", _name(), exported.difference)
    # Rounded up: with several devices, chance decides whose first clip was compared.
    bound = 10.0 ** math.ceil(math.log10(max(exported.difference or 0.0, 1e-9)))
    return Engine(run, f"{_name()}, within {bound:.0e} of MindSpore")


def make(graph: Graph, example: Array, batch_size: int, workspace: Workspace | None) -> Engine | None:
    """As `load`, of an export that is made now, and compared with MindSpore on one input.

    Raises: InputError if MindSpore gives no finite numbers.
    """
    log.info("exporting the network for %s, and comparing it with MindSpore", _name())
    with tempfile.TemporaryDirectory() as folder:
        keeper = workspace if workspace and not workspace.only_read else _of_user() or Workspace(folder)
        path = graph.path.absolute()
        inside = path.relative_to(keeper.root) if path.is_relative_to(keeper.root) else path
        provenance = {"checkpoint": str(inside), "engine": _name()}
        exported = keeper.build(Exported, _key(graph), partial(_export, graph, example), provenance)
        return load(StoredExport(exported, keeper), batch_size)


def _of_user() -> Workspace | None:
    """What keeps exports outside of workspaces, with room for one more; None if it cannot be written."""
    try:
        keeper = Workspace(user_cache.folder())
        oldest_first = sorted((keeper.root / Exported.stage).glob("*/"), key=lambda path: path.stat().st_mtime)
        for folder in oldest_first[: max(0, len(oldest_first) - MOST + 1)]:
            shutil.rmtree(folder)
    except (OSError, WorkspaceError):
        return None
    return keeper


def _export(graph: Graph, example: Array, folder: Path) -> Exported:
    from nonlocal_core.models import mindspore_engine

    file, key = folder / Exported.NETWORK, _key(graph)
    difference = 0.0
    expected = mindspore_engine.outputs(graph, example)
    try:
        mindspore_engine.export(graph, example, file)
        outputs = _compiled(file, 1)(example)
        ends = [graph.num_logits or outputs.shape[1]]
        groups = zip(np.split(outputs, ends, 1), np.split(expected, ends, 1), strict=True)
        difference = max(_difference(part, reference) for part, reference in groups if part.size)
        too_far = f"it differs from MindSpore by {difference:.1e} of the greatest output"
        fault = "" if difference <= TOLERANCE else too_far
    except OSError:  # of the disk, not of the network
        raise
    except Exception as error:  # whatever an exporter fails with, MindSpore can compute
        fault = " ".join(str(error).split())[:200]
    if fault:
        file.unlink(missing_ok=True)
    return Exported(
        key=key,
        digest=digest_of(key, difference, fault),
        path=f"{Exported.stage}/{key}",
        difference=None if fault else difference,
        fault=fault,
    )


def is_of_use(folder: Path, workspace: Workspace) -> bool:
    """Whether an export may be looked for: it is whole, its checkpoint is there, and so is this OpenVINO."""
    try:
        provenance = read_checked_json(folder / ARTIFACT_FILE)["provenance"]
        return provenance["engine"] == _name() and (workspace.root / provenance["checkpoint"]).exists()
    except (OSError, ValueError, KeyError, importlib.metadata.PackageNotFoundError):
        return False


def _name() -> str:
    return f"OpenVINO {importlib.metadata.version('openvino')}"


def _key(graph: Graph) -> str:
    """The key of an export: the network, its input, and what decides how a processor computes it."""
    import openvino

    processor = str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))
    versions = [importlib.metadata.version(package) for package in ("openvino", "onnx", "mindspore")]
    inputs = [*graph.identity, str(graph.input_shape), *versions, processor]
    return key_of(Exported.stage, VERSION, [graph.model], inputs)


def _difference(outputs: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The greatest difference, relative to the greatest number; infinite where a number is not finite."""
    difference = np.abs(outputs - expected).max() / max(np.abs(expected).max(), 1e-30)
    return float(difference) if np.isfinite(difference) else float("inf")


def _compiled(file: Path, batch_size: int) -> Run:
    """A function of arrays that computes as many inputs at a time as there are cores, each by itself.

    So what it gives for an input does not depend on the others.  It has as many threads as MindSpore takes.
    """
    import openvino

    threads = len(os.sched_getaffinity(0))
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # where a processor has half precision, it would take that
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": min(threads, batch_size),
        "ENABLE_CPU_PINNING": False,  # the threads that prepare clips and other processes use the cores too
    }
    queue = openvino.AsyncInferQueue(core.compile_model(core.read_model(str(file)), "CPU", settings))

    def run(inputs: Array) -> NDArray[np.float32]:
        rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(inputs)

        def keep(request: openvino.InferRequest, number: int) -> None:
            rows[number] = request.get_output_tensor(0).data[0].copy()

        queue.set_callback(keep)
        for number in range(len(inputs)):
            queue.start_async({0: inputs[number : number + 1]}, number)
        queue.wait_all()
        return np.stack(rows)

    return run
