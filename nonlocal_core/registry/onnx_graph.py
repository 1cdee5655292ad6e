"""ONNX graphs, with the mistakes of MindSpore 2.10 mended.

Its exporter gives the padding of a 3-D convolution as (front, back, top, bottom, left, right), where ONNX wants
(front, top, left, back, bottom, right), and turns the padding of a 3-D max pool into SAME_UPPER.  Some operators
it cannot write at all: the error names them.
"""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import onnx

from nonlocal_core.errors import InputError
from nonlocal_core.models.i3d import I3D


def write(net: I3D, clip_NCTHW: ms.Tensor, file: Path, texts: dict[str, str]) -> None:
    """Write a network to `file`, for clips of one shape, with some texts as its metadata.

    Raises: InputError that names an operator for which MindSpore has no ONNX.
    """
    try:
        ms.export(net, clip_NCTHW, file_name=str(file), file_format="ONNX")
    except RuntimeError as error:
        reason = " ".join(str(error).partition("---")[0].split())[:160]
        raise InputError(f"MindSpore {ms.__version__} cannot write it as ONNX: {reason}") from None
    graph = onnx.load(str(file))
    pools: list[list[int]] = []
    if net.model.backbone == "resnet":  # the other network's pools are padded so
        pools = [list(pool.max_pool.pad_list[::2]) for pool in (net.pool1, net.pool2)]  # the same before and after
    for node in graph.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Conv" and len(attributes["kernel_shape"].ints) == 3 and "pads" in attributes:
            pads = list(attributes["pads"].ints)
            attributes["pads"].ints[:] = [*pads[::2], *pads[1::2]]
        if pools and node.op_type == "MaxPool" and attributes["auto_pad"].s == b"SAME_UPPER":
            pads = pools.pop(0)
            node.attribute.remove(attributes["auto_pad"])
            node.attribute.append(onnx.helper.make_attribute("pads", [*pads, *pads]))
    onnx.helper.set_model_props(graph, texts)
    file.unlink()  # MindSpore made it read-only
    onnx.save(graph, str(file))
