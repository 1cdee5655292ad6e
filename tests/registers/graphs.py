"""The operators of our graphs as a GPU or Ascend device would get them: run as a process of its own, prints JSON.

    python graphs.py FOLDER SETTINGS…          settings of a training each as JSON; "preset" names its preset

MindSpore writes what it compiles into the folder.  Printed is a list of [NAME, types of inputs, types of outputs].
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path

NO_KERNEL = {"Depend", "Load", "MakeTuple", "TupleGetItem", "UpdateState"}
"""what is in a graph and is computed by none"""
SIDE = 32
TYPE = re.compile(r"(?:Tensor\[|Tuple\[|<)(Bool|U?Int\d+|B?Float\d+|None|(?=\]))")
"""the type of each input; empty for a tuple of nothing"""


def trainings(all_settings: list[dict[str, object]]) -> None:
    """Compile a training step and the inference of each network, with the operators of other devices."""
    import mindspore as ms
    import numpy as np
    from small import small_config

    from nonlocal_core.config.tree import resolve
    from nonlocal_core.models.convolution import use_operators
    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.models.normalise import normalise
    from nonlocal_core.training import optimizers
    from nonlocal_core.training.averages import make_average
    from nonlocal_core.training.step import Inputs, dropout_mask, make_step, mixing

    blocks = importlib.import_module("nonlocal_core.models.pairwise")
    setattr(blocks, "BLOCK_WEIGHTS", 64)  # noqa: B010 (so that the soft-max blocks are there)
    ms.set_context(mode=ms.GRAPH_MODE)
    for settings in all_settings:
        preset = str(settings.pop("preset", "tiny"))
        config = resolve(preset, settings) if preset != "tiny" else small_config(**settings)
        net = I3D(config.model, 4)
        use_operators(net)
        optimizer = optimizers.make_optimizer(net, np.array([0.01, 0.01], np.float32), config.train)
        weights_K = np.ones(4, np.float32) if config.train.mixup else None
        take_step = make_step(net, optimizer, config.train, weights_K=weights_K)
        clip_NCTHW = np.zeros((config.train.batch_size, 3, config.clip.clip_len, SIDE, SIDE), np.uint8)
        label_N = np.zeros(config.train.batch_size, np.int32)
        drawn = dropout_mask(config, 0, len(label_N)), *mixing(config.train, 0, len(label_N))
        try:
            take_step(Inputs(clip_NCTHW, label_N, *drawn))
        except Exception as error:  # a CPU has no kernel for some types; what was compiled is written all the same
            print(error, file=sys.stderr)
        make_average(net, config.train.ema).take(0)
        net.set_train(False)

        def infer(clip_NCTHW: ms.Tensor, net: I3D = net) -> ms.Tensor:
            return net(normalise(clip_NCTHW, net.model))

        if config.train.precision == "fp32":
            ms.jit(infer)(ms.Tensor(clip_NCTHW))


def operators(folder: Path) -> set[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The operators in what MindSpore has written last of each graph, before it looks for kernels."""
    found = set()
    for file in folder.glob("*backend_pass_*.ir"):
        name = ""
        for line in file.read_text().splitlines():
            if named := re.match(r"\s*%\d+\([^)]*\) = (?:PrimFunc_)?([A-Za-z0-9]+)\(", line):
                name = named[1]
            elif line.startswith("      : (") and name and name not in NO_KERNEL:
                inputs, _, outputs = line.partition(" -> ")
                found.add((name, tuple(TYPE.findall(inputs)), tuple(TYPE.findall(outputs))))
                name = ""
    return found


if __name__ == "__main__":
    os.environ |= {"MS_DEV_SAVE_GRAPHS": "1", "MS_DEV_SAVE_GRAPHS_PATH": sys.argv[1], "GLOG_v": "4"}
    trainings([json.loads(text) for text in sys.argv[2:]])
    print(json.dumps(sorted(operators(Path(sys.argv[1])))))
