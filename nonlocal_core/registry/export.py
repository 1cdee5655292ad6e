"""An entry as files for other programs; each is run on clips, and kept if its logits are the entry's.

    weights.ckpt               MindSpore's checkpoint, our names
    mmaction2.safetensors      the names and shapes of mmaction2, for PyTorch
    network.mindir             MindSpore's graph with the weights
    network.onnx               the same for onnxruntime
    model_card.md              input, labels, accuracy, lineage, and how to load each file
    config.json, …             for programs: labels, network, preprocessing (export_files.py)

All take normalised clips (1, 3, T, H, W) and give logits (1, K).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
import safetensors.numpy
from mindspore import nn
from numpy.typing import NDArray

from nonlocal_core.artifacts.files import publish, write_atomically
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError, InputError, NonlocalError
from nonlocal_core.models import checkpoint, device
from nonlocal_core.models.convolution import use_operators
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published import weights
from nonlocal_core.models.published.names import mmaction2_name
from nonlocal_core.registry import export_files, model_card
from nonlocal_core.registry.entries import WEIGHTS_FILE, check, check_weights, entry
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import FOLDER, read

SAME_KERNELS, OTHER_KERNELS = 1e-6, 1e-3
"""greatest difference of logits, relative to the greatest logit; other kernels round otherwise"""
NUM_CLIPS = 2
CARD_FILE = "model_card.md"

Array = NDArray[np.float32]


class Original(NamedTuple):
    """The network of an entry, and its logits of some clips."""

    net: I3D
    described: checkpoint.Description
    clips: Array
    """(NUM_CLIPS, 3, T, H, W), normalised"""
    logits: Array
    """(NUM_CLIPS, K)"""


def export(workspace: Workspace, version: str, folder: Path, formats: str | None) -> Iterator[str]:
    """Export an entry to a new folder, and yield a line for each file; without `formats`, all that can be made.

    Raises: InputError if the folder is there already, there is no such entry, or a format that was asked for
        cannot be made or differs from the entry; ConfigError if there is no such format; DamagedError if the entry
        is not whole.
    """
    wanted = formats.split(",") if formats else list(_MAKERS)
    if odd := [name for name in wanted if name not in _MAKERS]:
        raise ConfigError(f"there is no format {odd[0]!r}: there are {', '.join(_MAKERS)}")
    if folder.exists():
        raise InputError(f"{folder} is there already: name a new folder")
    check_weights(version, read(workspace))
    check(workspace, version, read(workspace))
    facts = entry(workspace, version)
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{partial} cannot be made ({error.strerror}): name another folder") from None
    mode = ms.get_context("mode")
    device.use(RuntimeConfig(device="CPU"))
    ms.set_context(mode=ms.PYNATIVE_MODE)  # compiling a graph takes longer than a few clips
    try:
        yield from _write(workspace, version, facts, partial, wanted, formats is not None)
        publish(partial, folder)
    finally:
        ms.set_context(mode=mode)
        shutil.rmtree(partial, ignore_errors=True)
    yield f"written      {folder}"


def _write(
    workspace: Workspace, version: str, facts: Facts, folder: Path, wanted: list[str], is_named: bool
) -> Iterator[str]:
    original = _original(workspace, version, facts)
    file_of: dict[str, str] = {}
    for name in wanted:
        file = folder / _MAKERS[name].file
        try:
            apart = _apart(_MAKERS[name].make(original, file), original, name, _MAKERS[name].tolerance)
        except NonlocalError as error:
            file.unlink(missing_ok=True)
            if is_named:
                raise
            yield from f"{name:12} not made: {error}".split("\n")
            continue
        file.chmod(0o644)  # MindSpore lets the owner alone read what it writes
        file_of[name] = file.name
        yield f"{name:12} {file.name}, its logits differ by {apart:.1e} of the greatest"
    card = model_card.text(workspace, version, facts, original.described, file_of, original.clips.shape[2:])
    write_atomically(folder / CARD_FILE, card.encode())
    yield f"{'card':12} {CARD_FILE}"
    scored_head, head = facts.evaluate_config(version).head, original.described.model.head
    if scored_head not in ("trained", head):
        yield f"{'note':12} the entry was scored with evaluate.head={scored_head}; these files have {head}"
    names = export_files.write(folder, original.described, facts.evaluate_config(version))
    yield f"{'programs':12} {', '.join(names)}"


def _original(workspace: Workspace, version: str, facts: Facts) -> Original:
    net, described = checkpoint.load_network(workspace.root / FOLDER / version / WEIGHTS_FILE)
    side = facts.evaluate_config(version).crop_size
    # The same clips for every export of a network of this size: noise uses all of its input.
    drawn = np.random.default_rng(0).standard_normal((NUM_CLIPS, 3, described.clip.clip_len, side, side))
    clips = drawn.astype(np.float32)
    return Original(net, described, clips, _run(lambda clip: net(ms.Tensor(clip)).asnumpy(), clips))


def _run(network: Callable[[Array], Any], clips: Array) -> Array:
    """The logits of clips, computed one by one."""
    return np.concatenate([np.asarray(network(clip[None]), np.float32) for clip in clips])


def _apart(logits: Array, original: Original, name: str, tolerance: float) -> float:
    """How far exported logits are from the entry's.

    Raises: InputError if that is too far.
    """
    if logits.shape != original.logits.shape or not np.isfinite(logits).all():
        raise InputError(f"what was exported as {name} gives no logits like the entry's, so it was deleted")
    apart = float(np.abs(logits - original.logits).max() / max(np.abs(original.logits).max(), 1e-30))
    if apart > tolerance:
        raise InputError(
            f"what was exported as {name} differs from the entry by {apart:.1e} of its greatest logit, where"
            f" {tolerance:g} is allowed, so it was deleted"
        )
    return apart


def _ckpt(original: Original, file: Path) -> Array:
    """Write MindSpore's checkpoint; the logits of a network that has read it."""
    ms.save_checkpoint(original.net, str(file))
    net = I3D(original.net.model, len(original.described.labels))
    missing, _ = ms.load_param_into_net(net, ms.load_checkpoint(str(file)), strict_load=True)
    if missing:
        raise InputError(f"the checkpoint lacks {', '.join(missing[:5])}")
    net.set_train(False)
    return _run(lambda clip: net(ms.Tensor(clip)).asnumpy(), original.clips)


def _safetensors(original: Original, file: Path) -> Array:
    """Write mmaction2's tensors; the logits of a network that has imported them."""
    model = original.net.model
    tensors = checkpoint.weights_of_network(original.net)
    named = {mmaction2_name(name, model): np.ascontiguousarray(array) for name, array in tensors.items()}
    texts = {"format": "pt", "labels": json.dumps(original.described.labels), "model": model.model_dump_json()}
    write_atomically(file, safetensors.numpy.save(named, metadata=texts))
    switches = {
        name: getattr(model, name)
        for name in ("pairwise", "nl_scale", "input_mean", "input_std", "stem_stride_t", "pool1_stride_t")
    }
    try:
        net = weights.load_published(file, "mmaction2", **switches)
    except (InputError, ConfigError) as error:
        raise InputError(f"mmaction2 has no such network: {str(error).rpartition(' as mmaction2: ')[2]}") from None
    return _run(lambda clip: net(ms.Tensor(clip)).asnumpy(), original.clips)


def _mindir(original: Original, file: Path) -> Array:
    """Write MindSpore's graph; its logits."""
    use_operators(original.net)
    with tempfile.TemporaryDirectory() as folder:  # MindSpore takes no path with a space
        exported = f"{folder}/{file.name}"
        ms.export(original.net, ms.Tensor(original.clips[:1]), file_name=exported, file_format="MINDIR")
        shutil.move(exported, file)
    graph = nn.GraphCell(ms.load(str(file)))
    return _run(lambda clip: graph(ms.Tensor(clip)).asnumpy(), original.clips)


def _onnx(original: Original, file: Path) -> Array:
    """Write an ONNX graph; its logits by onnxruntime."""
    try:
        import onnxruntime

        from nonlocal_core.models import onnx_graph
    except ImportError:
        raise InputError("onnx and onnxruntime are not installed: pip install -e '.[onnx]'") from None
    texts = {
        "labels": json.dumps(original.described.labels),
        "config": json.dumps(original.described.model.model_dump()),
    }
    onnx_graph.write(original.net, ms.Tensor(original.clips[:1]), file, texts)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return _run(lambda clip: session.run(None, {name: clip})[0], original.clips)


class _Maker(NamedTuple):
    file: str
    make: Callable[[Original, Path], Array]
    tolerance: float


_MAKERS = {
    "ckpt": _Maker("weights.ckpt", _ckpt, SAME_KERNELS),
    "safetensors": _Maker("mmaction2.safetensors", _safetensors, SAME_KERNELS),
    "mindir": _Maker("network.mindir", _mindir, OTHER_KERNELS),
    "onnx": _Maker("network.onnx", _onnx, OTHER_KERNELS),
}
