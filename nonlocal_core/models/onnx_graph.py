"""ONNX graphs of a network or a part of it, with the mistakes of MindSpore 2.10 mended.

Its exporter gives the padding of a 3-D convolution as (front, back, top, bottom, left, right), where ONNX wants
(front, top, left, back, bottom, right), and turns the padding of a 3-D max pool into SAME_UPPER.  Some operators
it cannot write: where the network has them, others that compute the same take their place.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
import onnx
from mindspore import nn, ops

from nonlocal_core.errors import InputError
from nonlocal_core.models.convolution import use_operators
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.pairwise import Response
from nonlocal_core.models.trunk import Forward


class _Part(nn.Cell):
    """A function of a network as a network."""

    def __init__(self, net: I3D, forward: Forward) -> None:
        super().__init__(auto_prefix=False)
        self.net, self.forward = net, forward

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """What the function gives."""
        return self.forward(x)


class _WindowMean(nn.Cell):
    """The mean of every window of a map, as a convolution of each channel alone: there is no ONNX of AvgPool3D."""

    def __init__(self, window: tuple[int, int, int]) -> None:
        super().__init__()
        self.mean = ops.Conv3D(1, window)
        self.weight = ms.Tensor(np.full((1, 1, *window), 1 / np.prod(window), np.float32))

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The means, at each place of the window."""
        N, C, T, H, W = x_NCTHW.shape
        y = self.mean(x_NCTHW.reshape(N * C, 1, T, H, W), self.weight)
        return y.reshape(N, C, y.shape[2], y.shape[3], y.shape[4])


def write(net: I3D, example: ms.Tensor, file: Path, texts: dict[str, str], forward: Forward | None = None) -> None:
    """Write a network, or a function of it, to `file`, with some texts as its metadata.

    The file takes inputs of the shape of the example.  Afterwards the network computes slowly on CPUs.

    Raises: InputError that names an operator for which MindSpore has no ONNX.
    """
    _use_what_can_be_written(net)
    with tempfile.TemporaryDirectory() as folder:  # MindSpore takes no path with a space
        exported = f"{folder}/network.onnx"
        try:
            ms.export(_Part(net, forward) if forward else net, example, file_name=exported, file_format="ONNX")
        except RuntimeError as error:
            reason = " ".join(str(error).partition("---")[0].split())[:160]
            raise InputError(f"MindSpore {ms.__version__} cannot write it as ONNX: {reason}") from None
        graph = onnx.load(exported)
    _mend(graph, net)
    onnx.helper.set_model_props(graph, texts)
    onnx.save(graph, str(file))


def _use_what_can_be_written(net: I3D) -> None:
    use_operators(net)
    for _, cell in net.cells_and_names():
        if isinstance(cell, Response):
            cell.use_formula()
    if net.fully_conv:
        del net.window
        net.window = _WindowMean(net.head_window)


def _mend(graph: onnx.ModelProto, net: I3D) -> None:
    pads_of: dict[tuple[int, ...], list[int]] = {}
    if net.model.backbone == "resnet":  # the other network's pools are padded so
        for pool in (net.pool1, net.pool2):  # the same before and after
            pads_of[tuple(pool.max_pool.kernel_size[2:])] = list(pool.max_pool.pad_list[::2])
    for node in graph.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Conv" and len(attributes["kernel_shape"].ints) == 3 and "pads" in attributes:
            pads = list(attributes["pads"].ints)
            attributes["pads"].ints[:] = [*pads[::2], *pads[1::2]]
        if node.op_type == "MaxPool" and pads_of and attributes["auto_pad"].s == b"SAME_UPPER":
            pads = pads_of[tuple(attributes["kernel_shape"].ints)]
            node.attribute.remove(attributes["auto_pad"])
            node.attribute.append(onnx.helper.make_attribute("pads", [*pads, *pads]))
