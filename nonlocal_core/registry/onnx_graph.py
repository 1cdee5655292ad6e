"""ONNX graphs, with what MindSpore 2.10 writes wrongly put right.

Its exporter gives the padding of a 3-D convolution as (front, back, top, bottom, left, right), where ONNX wants
(front, top, left, back, bottom, right), and turns the padding of a 3-D max pool into SAME_UPPER.  Some operators
it has not got at all: what is raised then names them.
"""

from __future__ import annotations

import re
from pathlib import Path

import mindspore as ms
import onnx

from nonlocal_core.errors import InputError
from nonlocal_core.models.i3d import I3D


def write(net: I3D, clip_NCTHW: ms.Tensor, file: Path) -> None:
    """Put a network at `file`, for clips of one shape.

    Raises: InputError that names an operator for which MindSpore has no ONNX.
    """
    try:
        ms.export(net, clip_NCTHW, file_name=str(file), file_format="ONNX")
    except RuntimeError as error:
        raise InputError(f"MindSpore {ms.__version__} cannot write it as ONNX: {_first(error)}") from None
    graph = onnx.load(str(file))
    pools = [
        list(pool.max_pool.pad_list[::2]) for pool in (net.pool1, net.pool2)
    ]  # before and after, they are one
    for node in graph.graph.node:
        found = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Conv" and len(found["kernel_shape"].ints) == 3 and "pads" in found:
            pads = list(found["pads"].ints)
            found["pads"].ints[:] = [*pads[::2], *pads[1::2]]
        if node.op_type == "MaxPool" and found["auto_pad"].s == b"SAME_UPPER":
            pads = pools.pop(0)
            node.attribute.remove(found["auto_pad"])
            node.attribute.append(onnx.helper.make_attribute("pads", [*pads, *pads]))
    file.unlink()  # MindSpore made it read-only
    onnx.save(graph, str(file))


def _first(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error).partition("---")[0]).strip()[:160]
