"""A network or a part of it computed by MindSpore, and written as the file that OpenVINO runs.

Shapes: N batch, C channels, K classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import DamagedError, InputError, NotFiniteError, few
from nonlocal_core.models import checkpoint, device, parts, trunk
from nonlocal_core.models.compiling import compiling
from nonlocal_core.models.graph import Array, Engine, Graph, check_finite, padded
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.models.trunk import Forward


def load(graph: Graph, runtime: RuntimeConfig, batch_size: int, *, compiled: bool = True) -> Engine:
    """A function of arrays, compiled at its first call for one number of inputs, or computed operator by operator.

    The function raises an InputError if a layer gives numbers that are not finite for its first input.

    Raises: ConfigError if the device in the settings is not there.
    """
    name = device.use(runtime, compiled)
    net, forward = graph.build()
    is_first = True
    if ms.get_context("mode") == ms.PYNATIVE_MODE:

        def run_operators(inputs: Array) -> NDArray[np.float32]:
            nonlocal is_first
            with _watched(net, graph) if is_first else contextlib.nullcontext():
                outputs = np.asarray(forward(ms.Tensor(inputs)).asnumpy(), dtype=np.float32)
            is_first = False
            return outputs

        return Engine(run_operators, f"MindSpore {ms.__version__} on {name}, operator by operator")
    compiled_forward = ms.jit(forward)

    def run(inputs: Array) -> NDArray[np.float32]:
        nonlocal is_first
        batch = padded(inputs, batch_size)
        if is_first:
            with _operators(), _watched(net, graph):
                forward(ms.Tensor(inputs[:1])).asnumpy()
        with compiling("the network", graph.model, batch.shape) if is_first else contextlib.nullcontext():
            outputs = np.asarray(compiled_forward(ms.Tensor(batch)).asnumpy(), dtype=np.float32)
        is_first = False
        return outputs[: len(inputs)]

    return Engine(run, f"MindSpore {ms.__version__} on {name}")


def outputs(graph: Graph, example: Array) -> NDArray[np.float32]:
    """What a graph gives on the CPU, operator by operator: compiling it takes longer than an input or two.

    Raises: InputError if that, or what a layer gives, is not finite.
    """
    device.use(RuntimeConfig(device="CPU"))
    net, forward = graph.build()
    with _operators(), _watched(net, graph):
        outputs = np.asarray(forward(ms.Tensor(example)).asnumpy(), np.float32)
    check_finite(outputs, graph)
    return outputs


def export(graph: Graph, example: Array, file: Path) -> None:
    """Write a graph as ONNX, for inputs of the shape of the example.

    Raises: InputError if MindSpore cannot write it.
    """
    from nonlocal_core.models import onnx_graph

    device.use(RuntimeConfig(device="CPU"))
    net, forward = graph.build()
    with _operators():
        onnx_graph.write(net, ms.Tensor(example), file, {}, forward)


@contextlib.contextmanager
def _watched(net: I3D, graph: Graph) -> Iterator[None]:
    """Check what each layer gives: after it, a ReLU on a CPU makes zeros of what is no number.

    Raises: NotFiniteError that names checkpoint and layer, if numbers are not finite.
    """
    overflown: list[str] = []

    def look(name: str, output: ms.Tensor) -> None:
        if not overflown and not np.isfinite(output.asnumpy()).all():
            overflown.append(name)

    layers = [(name, layer) for name, layer in net.cells_and_names() if not layer.cells()]
    hooks = [
        layer.register_forward_hook(lambda _, __, output, name=name: look(name, output)) for name, layer in layers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if overflown:
        raise NotFiniteError(
            f"{graph.path} gives numbers that are not finite in {overflown[0]}: its weights are too large, its"
            " training has diverged; take another"
        )


@contextlib.contextmanager
def _operators() -> Iterator[None]:
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=mode)


def network(model: ModelConfig, num_labels: int, weights: checkpoint.Tensors, path: Path) -> I3D:
    """The network of these settings and weights, in inference mode.

    Raises: DamagedError if they do not fit.
    """
    checkpoint.check_size(model, num_labels, weights, path)
    net = I3D(model, num_labels)
    checkpoint.assign(net, weights, path)
    net.set_train(False)
    return net


def network_of_trunk(path: Path, config: Config) -> I3D:
    """The network of the settings with the weights of a checkpoint up to train.freeze, and others as drawn.

    Raises: InputError if the checkpoint is not whole or lacks a part of the trunk.
    """
    described, weights = checkpoint.read_user_file(path, "train.init")
    last = config.train.freeze
    net = I3D(config.model, len(described.labels))
    own = checkpoint.weights_of_network(net)
    missing = [name for name in own if name.startswith(parts.prefixes(last)) and name not in weights]
    if missing:
        raise InputError(
            f"train.init={path} lacks {few(missing, 3)}, which would stay as they are drawn: lower train.freeze"
        )
    fitting = {name: weights[name] if name.startswith(parts.prefixes(last)) else own[name] for name in own}
    try:
        checkpoint.assign(net, fitting, path)
    except DamagedError as error:
        raise InputError(f"train.init: {error}") from None
    net.set_train(False)
    return net


def logits_and_features(net: I3D) -> Forward:
    """The logits of uint8 clips, and behind them the pooled features.

    Shape: (N, K + C) of (N, 3, T, H, W).
    """

    def forward(clip_NCTHW: ms.Tensor) -> ms.Tensor:
        map_NCTHW = net.feature_map(normalise(clip_NCTHW, net.model))
        return ms.ops.cat((net.logits(map_NCTHW), net.pooled(map_NCTHW)), 1)

    return forward


def logits(net: I3D, last: str) -> Forward:
    """The logits of what the trunk up to `last` gives.

    Shape: (N, K).
    """
    rest = trunk.features(net, last)

    def classify(features: ms.Tensor) -> ms.Tensor:
        return net.classify(rest(features))

    return classify
