"""Forward and backward of the non-local block: the plain formula, ours, and two of PyTorch's.

    python benchmarks/nonlocal_block.py [--torch PYTHON] [--sizes res3x4 ...] [--rounds 15]

PYTHON is an interpreter that imports torch, mmcv (mmaction2's NonLocal3d) and pytorchvideo (the whole block, no
concatenation); the column of what it lacks stays empty.  mmcv's concatenation
has no gradient (it changes the output of its ReLU in place), so it is left out.  A size is a stage and
its number of frames T, batch 1, 28 x 28 (res3, 512 channels) or 14 x 14 (res4, 1024 channels), with spatial
sub-sampling: T = 4 is 32x2 and 8x8; T = 16 is the seed's 32x6, and 128x1.

`pairwise` is the response alone (theta, phi, g to y), `block` the whole block with its 1x1x1 convolutions and its
batch norm.  Every figure comes from a process of its own.  The processes of a row take turns, one step each: ms is
the median of their steps, MiB the peak resident memory above what the process held before its first step: tensors,
what kernels hold, and for MindSpore the compiled graph.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANNELS = {"res3": 512, "res4": 1024}
SIDE = {"res3": 28, "res4": 14}
KINDS = ("dot_product", "embedded_gaussian", "concatenation")
LIBRARIES = ("mmcv", "pytorchvideo")
CPUS = len(os.sched_getaffinity(0))


def shapes(size: str) -> tuple[int, int, int, int]:
    """(C, T, H, W) of a size such as res3x16."""
    stage, T = size.split("x")
    return CHANNELS[stage], int(T), SIDE[stage], SIDE[stage]


def drawn(part: str, size: str) -> list[object]:
    """Arrays of a step: the inputs, then the gradient of the output."""
    import numpy as np

    C, T, H, W = shapes(size)
    P, Q = T * H * W, T * H * W // 4
    rng = np.random.default_rng(0)
    of_block = [(1, C, T, H, W)] * 2
    of_pairwise = [(1, C // 2, P), (1, C // 2, Q), (1, C // 2, Q), (1, C // 2, P)]
    return [rng.normal(size=shape).astype(np.float32) for shape in (of_block if part == "block" else of_pairwise)]


def mindspore_step(part: str, kind: str, size: str, plain: bool) -> Callable[[], object]:
    """One forward and backward in a compiled graph."""
    import nonlocal_core  # noqa: F401  sets the environment, so it comes first

    os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
    import mindspore as ms
    from mindspore import nn, ops

    from nonlocal_core.config.model import ModelConfig
    from nonlocal_core.models.nonlocal_block import NonlocalBlock

    class Plain(nn.Cell):  # type: ignore[misc]
        def __init__(self, response: nn.Cell) -> None:
            super().__init__()
            self.response = response

        def construct(self, theta: ms.Tensor, phi: ms.Tensor, g: ms.Tensor) -> ms.Tensor:
            return ops.bmm(g, self.response.weights(theta, phi).swapaxes(1, 2))

    ms.set_context(mode=ms.GRAPH_MODE)
    block = NonlocalBlock(CHANNELS[size.split("x")[0]], ModelConfig.model_validate({"pairwise": kind}))
    if plain:
        block.response = Plain(block.response)
    net = block if part == "block" else block.response
    *inputs, dy = map(ms.Tensor, drawn(part, size))
    params = net.trainable_params() or None

    gradients = ops.GradOperation(get_all=True, get_by_list=params is not None, sens_param=True)
    gradient = gradients(net, params) if params else gradients(net)

    def step(*given: ms.Tensor) -> object:
        return net(*given[:-1]), gradient(*given)

    step = ms.jit(step)

    def run() -> None:
        found: Any = step(*inputs, dy)
        while isinstance(found, tuple):
            found = found[-1]
        found.asnumpy()

    return run


def torch_step(part: str, kind: str, size: str, library: str) -> Callable[[], object]:
    """One forward and backward of a library's block, or of mmcv's pairwise function and the product with g."""
    import torch

    torch.set_num_threads(CPUS)
    C = CHANNELS[size.split("x")[0]]
    if library == "mmcv":
        from mmcv.cnn.bricks.non_local import NonLocal3d

        config = {"conv_cfg": {"type": "Conv3d"}, "norm_cfg": {"type": "BN3d"}, "use_scale": False}
        block = NonLocal3d(C, mode=kind, sub_sample=True, **config)
    else:
        from pytorchvideo.layers.nonlocal_net import create_nonlocal

        names = {"dot_product": "dot_product", "embedded_gaussian": "softmax"}
        block = create_nonlocal(
            dim_in=C, dim_inner=C // 2, pool_size=(1, 2, 2), instantiation=names[kind], norm=torch.nn.BatchNorm3d
        )
    *inputs, dy = map(torch.from_numpy, drawn(part, size))
    for leaf in inputs:
        leaf.requires_grad_(True)

    def run() -> None:
        for leaf in (*inputs, *block.parameters()):
            leaf.grad = None
        if part == "block":
            out = block(inputs[0])
        else:
            theta, phi, g = inputs
            out = torch.matmul(getattr(block, kind)(theta.transpose(1, 2), phi), g.transpose(1, 2)).transpose(1, 2)
        out.backward(dy)

    return run


def resident_mib(field: str) -> float:
    """What this process holds (VmRSS), or has held at most (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def work(part: str, kind: str, size: str, variant: str) -> None:
    """Take steps as asked on the standard input: each line is answered by seconds and by the peak memory."""
    run = (
        torch_step(part, kind, size, variant)
        if variant in LIBRARIES
        else mindspore_step(part, kind, size, variant == "plain")
    )
    before = resident_mib("VmRSS")
    print("ready", flush=True)
    for _ in sys.stdin:
        started_s = time.perf_counter()
        run()
        print(time.perf_counter() - started_s, resident_mib("VmHWM") - before, flush=True)


class Worker:
    """A process that takes steps of one variant."""

    def __init__(self, python: str, case: tuple[str, str, str, str]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": str(CPUS)}
        self.process = subprocess.Popen(
            [python, __file__, "--work", *case],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.ms: list[float] = []
        self.mib = 0.0
        self.answer("ready")

    def answer(self, expected: str = "") -> list[str]:
        """The next line in words."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line or (expected and line.strip() != expected):
            raise SystemExit(f"{self.process.args!r} ended: run it by hand")
        return line.split()

    def step(self) -> None:
        """Take one step and note its figures."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        seconds, mib = map(float, self.answer())
        self.ms.append(1000 * seconds)
        self.mib = mib

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def measure(
    part: str, kind: str, size: str, variants: dict[str, str], rounds: int
) -> dict[str, tuple[float, float]]:
    """Median ms and peak MiB of each variant, whose processes take turns."""
    workers = {variant: Worker(python, (part, kind, size, variant)) for variant, python in variants.items()}
    for worker in workers.values():
        worker.step()
    for worker in workers.values():
        worker.ms.clear()  # compiling
    for _ in range(rounds):
        for worker in workers.values():
            worker.step()
    for worker in workers.values():
        worker.close()
    return {name: (statistics.median(worker.ms), worker.mib) for name, worker in workers.items()}


def main() -> None:
    """Measure every row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that imports torch and mmcv")
    parser.add_argument("--sizes", nargs="+", default=["res3x4", "res4x4", "res3x16", "res4x16"])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--parts", nargs="+", default=["pairwise", "block"], choices=["pairwise", "block"])
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    if not chosen.torch:
        print("No PyTorch: name an interpreter that imports torch and mmcv with --torch PYTHON.\n")
    there = [name for name in LIBRARIES if chosen.torch and has(chosen.torch, name)]
    if chosen.torch and (missing := set(LIBRARIES) - set(there)):
        print(f"The interpreter of --torch cannot import {' and '.join(sorted(missing))}.\n")
    print(f"{CPUS} CPUs, load {os.getloadavg()[0]:.1f} at the start, {chosen.rounds} rounds\n")
    head = ["part", "size", "pairwise", "plain ms, MiB", "ours", *LIBRARIES]
    head += [f"{name} / ours" for name in ("plain", *LIBRARIES)]
    print(f"| {' | '.join(head)} |")
    print("|" + " --- |" * len(head))
    for part in chosen.parts:
        for size in chosen.sizes:
            for kind in chosen.kinds:
                variants = {"plain": sys.executable, "ours": sys.executable}
                if kind != "concatenation":
                    compared = there if part == "block" else [name for name in there if name == "mmcv"]
                    variants |= dict.fromkeys(compared, chosen.torch)
                found = measure(part, kind, size, variants, chosen.rounds)
                print(row([part, size, kind], found), flush=True)


def has(python: str, library: str) -> bool:
    """Whether an interpreter can import PyTorch and a library."""
    return subprocess.run([python, "-c", f"import torch, {library}"], capture_output=True).returncode == 0


def row(case: list[str], found: dict[str, tuple[float, float]]) -> str:
    """One line of the table."""
    ms, mib = found["ours"]
    columns = ("plain", "ours", *LIBRARIES)
    cells = [f"{found[name][0]:.1f}, {found[name][1]:.0f}" if name in found else "" for name in columns]
    ratios = [
        f"{found[name][0] / ms:.2f}x, {found[name][1] / mib:.1f}x" if name in found else ""
        for name in columns
        if name != "ours"
    ]
    return f"| {' | '.join([*case, *cells, *ratios])} |"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
    else:
        main()
