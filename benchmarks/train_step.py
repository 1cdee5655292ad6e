"""Inference and the training step of the whole network, ours beside PyTorch's mmaction2, time and memory.

    python benchmarks/train_step.py --torch PYTHON [--nets i3d,dot_product,embedded_gaussian] [--sizes 112,224]
                                    [--modes infer,train] [--steps 7] [--threads 2] [--batch 1] [--device CPU]
                                    [--frames 8] [--precision fp32]

PYTHON is an interpreter that has torch and mmaction2; without it only ours is measured.  The mmaction2 1.2.0 of
PyPI lacks the folder mmaction/models/localizers/drn: give it a drn.py with `class DRN: pass`.  `inception` is the
first I3D, with 16 frames or more, beside benchmarks/torch_inception.py; the others are ResNet-50 networks.  Each
case has two fresh processes.  They take steps in turn, the other one waiting; the first step of each, which
compiles ours, does not count.  Where OpenVINO is installed, inference has a third process: ours as evaluate and
predict run it then.  Printed: medians of the wall and of the CPU time of a step, medians of the ratios of
neighbouring steps, the peak of the resident memory, that after the imports in brackets, and the number of
parameters, which must agree.  On a machine that does other work, take --threads 1 and the CPU time: two threads
that wait for each other measure the others.  With --device GPU both run there; the memory is the host's.
PyTorch takes channels_last_3d there, and with --precision fp16 autocast and a GradScaler.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CLASSES = 400
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
RATE, MOMENTUM = 1e-3, 0.9

Step = Callable[[], float]
BARS = {"infer": 1.0, "train": 1.15, "memory": 1.3, "OpenVINO": 0.6}
"""at most so many times PyTorch's time, or the peak of its memory"""


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="PYTHON", help="interpreter with torch and mmaction2")
    parser.add_argument("--nets", default="i3d,dot_product,embedded_gaussian")
    parser.add_argument("--sizes", default="112,224", help="pixels")
    parser.add_argument("--modes", default="infer,train")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--batch", type=int, default=1, help="clips")
    parser.add_argument("--device", default="CPU", choices=("CPU", "GPU"))
    parser.add_argument("--frames", type=int, default=8, choices=(8, 16, 32))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16"), help="of training")
    asked = parser.parse_args()
    if "inception" in asked.nets and asked.frames < 16:
        parser.error("inception leaves an eighth of the frames, and classifies pairs: --frames 16 or 32")
    theirs = asked.torch if asked.torch and has_torch(asked.torch) else None
    if theirs is None:
        print("No torch and mmaction2 (--torch PYTHON): ours alone.")
    cores = sorted(os.sched_getaffinity(0))[: asked.threads]
    os.sched_setaffinity(0, cores)  # the processes inherit it: MindSpore takes a thread a core
    clips = f"{asked.batch} clips of {asked.frames} frames"
    print(f"{asked.device}, {len(cores)} threads, {clips}, {asked.precision}, {asked.steps} steps")
    print("| network | pixels | | ours ms | torch ms | ratio | ours CPU ms | torch CPU ms | ratio "
          "| ours MB (import) | torch MB (import) | ratio | compile s | parameters "
          "| OpenVINO ms | / ours | / torch |")  # fmt: skip
    print("|" + " --- |" * 17)
    reached: dict[str, list[float]] = {name: [] for name in BARS}
    for net in asked.nets.split(","):
        for size in asked.sizes.split(","):
            for mode in asked.modes.split(","):
                case = {
                    "net": net,
                    "size": int(size),
                    "mode": mode,
                    "threads": len(cores),
                    "batch": asked.batch,
                    "device": asked.device,
                    "frames": asked.frames,
                    "precision": asked.precision,
                }
                found = measure(case, theirs, asked.steps)
                print(row(case, found), flush=True)
                if theirs:
                    note(found, mode, reached)
    for name, ratios in reached.items():
        if ratios:
            met = "" if max(ratios) <= BARS[name] else ", missed"
            print(f"{name} / PyTorch: {min(ratios):.2f} to {max(ratios):.2f}, bar {BARS[name]:.2f}{met}")


def note(found: dict[str, dict[str, Any]], mode: str, reached: dict[str, list[float]]) -> None:
    """Add the ratios of a case to those of the bars."""
    reached[mode].append(float(ratio(found["ours"]["wall"], found["torch"]["wall"])))
    reached["memory"].append(found["ours"]["peak"] / found["torch"]["peak"])
    if "openvino" in found:
        reached["OpenVINO"].append(float(ratio(found["openvino"]["wall"], found["torch"]["wall"])))


def has_torch(python: str) -> bool:
    """Whether an interpreter can import what the comparison needs."""
    code = "import torch; from mmaction.models.backbones import ResNet3d"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def measure(case: dict[str, Any], theirs: str | None, steps: int) -> dict[str, dict[str, Any]]:
    """What the processes of a case say of themselves, by their names, with the times of their steps."""
    case = {**case, "map": map_of(case)}
    with_openvino = case["mode"] == "infer" and case["device"] == "CPU" and find_spec("openvino")
    names = ["ours", *(["torch"] if theirs else []), *(["openvino"] if with_openvino else [])]
    servers = {name: Server(str(theirs) if name == "torch" else sys.executable, name, case) for name in names}
    found = {name: server.ask() for name, server in servers.items()}
    for said in found.values():
        said["wall"], said["cpu"] = [], []
    for _ in range(steps):
        for name, said in found.items():
            answer = servers[name].ask()
            said["wall"].append(answer["wall"])
            said["cpu"].append(answer["cpu"])
            said["peak"], said["device_mb"] = answer["peak"], answer["device_mb"]
    for server in servers.values():
        server.end()
    return found


class Server:
    """A process that takes one step when it is asked."""

    def __init__(self, python: str, name: str, case: dict[str, Any]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": str(case["threads"])}
        self.process = subprocess.Popen(
            [python, __file__, "serve", name, json.dumps(case)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self) -> dict[str, Any]:
        """The answer: after the start, what the network is; then the times of a step."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit(f"{self.process.args!r} ended with code {self.process.wait()}")

    def end(self) -> None:
        """The process has gone."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def row(case: dict[str, Any], found: dict[str, dict[str, Any]]) -> str:
    """One line of the table."""
    ours, theirs, engine = found["ours"], found.get("torch"), found.get("openvino")
    cells = [case["net"], str(case["size"]), case["mode"]]
    for key in ("wall", "cpu"):
        cells.append(f"{1000 * statistics.median(ours[key]):.0f}")
        cells.append(f"{1000 * statistics.median(theirs[key]):.0f}" if theirs else "")
        cells.append(ratio(ours[key], theirs[key]) if theirs else "")
    cells.append(f"{ours['peak']:.0f} ({ours['imported']:.0f})")
    cells.append(f"{theirs['peak']:.0f} ({theirs['imported']:.0f})" if theirs else "")
    cells.append(f"{ours['peak'] / theirs['peak']:.2f}" if theirs else "")
    cells.append(f"{ours['first_s']:.0f}")
    numbers = {said["parameters"] for said in found.values()}
    cells.append(f"{numbers.pop():,}" if len(numbers) == 1 else f"DIFFERENT: {sorted(numbers)}")
    cells.append(f"{1000 * statistics.median(engine['wall']):.0f}" if engine else "")
    cells += [ratio(engine["wall"], other["wall"]) if engine and other else "" for other in (ours, theirs)]
    return "| " + " | ".join(cells) + " |"


def ratio(ours: list[float], theirs: list[float]) -> str:
    """The median of the ratios of neighbouring steps."""
    return f"{statistics.median([a / b for a, b in zip(ours, theirs, strict=True)]):.2f}"


def serve(name: str, case: dict[str, Any]) -> None:
    """Take a step for every line that comes in."""
    make = {"ours": make_ours, "torch": make_theirs, "openvino": make_openvino}[name]
    sys.stdin.readline()
    step, parameters, imported = make(case)
    started_s = time.perf_counter()
    step()
    first_s = time.perf_counter() - started_s
    print(json.dumps({"parameters": parameters, "imported": imported, "first_s": first_s}), flush=True)
    for _ in sys.stdin:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        step()
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        said = {"wall": wall_s, "cpu": cpu_s, "peak": resident_mb(), "device_mb": device_mb(name, case["device"])}
        print(json.dumps(said), flush=True)


def device_mb(name: str, device: str) -> float:
    """The most memory of a GPU that tensors took; 0 on a CPU."""
    if device == "CPU":
        return 0.0
    if name == "torch":
        import torch

        return float(torch.cuda.max_memory_allocated() / 1e6)
    import mindspore as ms

    return float(ms.runtime.max_memory_allocated() / 1e6)


def resident_mb() -> float:
    """The peak of this process's resident memory."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def preset_of(case: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The preset of a case, and what differs from it."""
    if case["net"] == "inception":
        return "i3d_inception", {}
    plain = case["net"] == "i3d"
    preset = f"{'i3d' if plain else 'nl_i3d'}_r50_{'8x8' if case['frames'] == 8 else '32x2'}"
    return preset, {} if plain else {"model.pairwise": case["net"]}


def map_of(case: dict[str, Any]) -> list[int]:
    """Frames, rows and columns of the last map of a case: the other network must leave as many."""
    from nonlocal_core.config.model import map_sizes
    from nonlocal_core.config.tree import resolve

    preset, chosen = preset_of(case)
    *_, (_, frames, side) = map_sizes(resolve(preset, chosen).model, case["frames"], case["size"])
    return [frames, side, side]


def make_ours(case: dict[str, Any]) -> tuple[Step, int, float]:
    """A step of ours, the number of parameters, the memory after the imports."""
    import mindspore as ms
    import numpy as np

    from nonlocal_core.config.tree import resolve
    from nonlocal_core.models import device
    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.models.normalise import normalise
    from nonlocal_core.training import optimizers, step

    preset, chosen = preset_of(case)
    alike = {"train.micro_batch": 0, "train.clip_norm": 0, "train.decayed": "kernels"}
    alike |= {"train.precision": case["precision"], "train.batch_size": case["batch"], "train.optimizer": "sgd"}
    config = resolve(preset, {"runtime.device": case["device"], **alike, **chosen})
    device.use(config.runtime)
    imported = resident_mb()
    net = I3D(config.model, CLASSES)
    parameters = sum(param.size for param in net.trainable_params())
    clip = clips(np, case)
    if case["mode"] == "infer":
        net.set_train(False)

        def logits(clip_NCTHW: ms.Tensor) -> ms.Tensor:
            return net(normalise(clip_NCTHW, config.model))

        network = ms.jit(logits)
        return lambda: float(network(ms.Tensor(clip)).asnumpy()[0, 0]), parameters, imported
    rates = np.full(10000, RATE, np.float32)
    take_step = step.make_step(net, optimizers.make_optimizer(net, rates, config.train), config.train)
    numbers = np.arange(case["batch"], dtype=np.int32)
    keep = np.ones((case["batch"], config.model.num_features), np.float32)
    given = step.Inputs(clip, numbers % CLASSES, keep, numbers, np.array(1.0, np.float32))
    return lambda: take_step(given)[0], parameters, imported


def make_openvino(case: dict[str, Any]) -> tuple[Step, int, float]:
    """Ours as evaluate runs it where OpenVINO is installed: exported, compared, then run."""
    import numpy as np

    from nonlocal_core.artifacts.workspace import Workspace
    from nonlocal_core.config.tree import resolve
    from nonlocal_core.models import checkpoint, inference
    from nonlocal_core.models.i3d import I3D

    preset, chosen = preset_of(case)
    settings = {"runtime.engine": "openvino", "evaluate.crop_size": case["size"], "clip.clip_len": case["frames"]}
    config = resolve(preset, {**settings, "evaluate.batch_clips": case["batch"], **chosen})
    imported = resident_mb()
    net, labels = I3D(config.model, CLASSES), tuple(map(str, range(CLASSES)))
    described = checkpoint.Description(
        step=0, labels=labels, model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        checkpoint.save_weights(file, checkpoint.weights_of_network(net), described)
        workspace = Workspace(Path(folder) / "workspace")
        network = inference.load(file, list(labels), config, workspace=workspace)
        clip = clips(np, case)
        network(clip)
    if not network.engine.startswith("OpenVINO"):
        raise SystemExit(f"{network.engine} computes, not OpenVINO")
    return lambda: float(network(clip)[0, 0]), sum(param.size for param in net.trainable_params()), imported


def make_theirs(case: dict[str, Any]) -> tuple[Step, int, float]:
    """The same of the network in PyTorch."""
    import numpy as np
    import torch

    torch.set_num_threads(case["threads"])
    importlib.import_module("torch_inception" if case["net"] == "inception" else "mmaction.models.backbones")
    imported = resident_mb()
    backbone, channels = inception() if case["net"] == "inception" else resnet(case)
    if case["net"] != "inception":
        check_map(backbone, case)
    device = torch.device("cuda" if case["device"] == "GPU" else "cpu")
    net = torch.nn.ModuleList([backbone, torch.nn.Linear(channels, CLASSES)]).to(device)
    parameters = sum(param.numel() for param in net.parameters() if param.requires_grad)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1, 1) for values in (MEAN, STD))
    clip = torch.from_numpy(clips(np, case)).to(device)
    label = torch.arange(case["batch"], device=device) % CLASSES

    def forward() -> Any:
        return net[1](net[0]((clip.float() - mean) / std).mean((2, 3, 4)))

    def infer() -> float:
        with torch.inference_mode():
            return float(forward()[0, 0])

    learning = [param for param in net.parameters() if param.requires_grad]
    groups = [[p for p in learning if (p.ndim > 1) == decayed] for decayed in (True, False)]
    optimizer = torch.optim.SGD(
        [{"params": groups[0], "weight_decay": 1e-4}, {"params": groups[1]}], lr=RATE, momentum=MOMENTUM
    )
    half = case["precision"] == "fp16"
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    if case["device"] == "GPU":
        net = net.to(memory_format=torch.channels_last_3d)

    def train() -> float:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.float16, enabled=half):
            loss = torch.nn.functional.cross_entropy(forward(), label)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return float(loss)

    net.train(case["mode"] == "train")
    return train if case["mode"] == "train" else infer, parameters, imported


def check_map(backbone: Any, case: dict[str, Any]) -> None:
    """End if a network in PyTorch leaves another map than ours: it would do more or less than the same."""
    import torch

    backbone.eval()
    with torch.inference_mode():
        x = backbone(torch.zeros(1, 3, case["frames"], case["size"], case["size"]))
    if list(x.shape[2:]) != case["map"]:
        raise SystemExit(f"PyTorch's network leaves {list(x.shape[2:])}, ours {case['map']}")


def inception() -> tuple[Any, int]:
    """The first I3D, and the channels of its map."""
    import torch_inception

    return torch_inception.network(), torch_inception.FEATURES


def resnet(case: dict[str, Any]) -> tuple[Any, int]:
    """mmaction2's network: its strides, pools and blocks are those of our presets; and the channels of its map."""
    from mmaction.models.backbones import ResNet3d

    blocks: dict[str, Any] = {}
    if case["net"] != "i3d":
        norm = {"type": "BN3d", "requires_grad": True}
        wanted = {"sub_sample": True, "use_scale": False, "norm_cfg": norm, "mode": case["net"]}
        places = ((0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 0, 0))
        blocks = {"non_local": places, "non_local_cfg": wanted}
    stride_t = 1 if case["frames"] == 8 else 2  # as the configs of mmaction2 for 8x8 and for 32x2
    backbone = ResNet3d(
        depth=50,
        pretrained=None,
        conv1_kernel=(5, 7, 7),
        conv1_stride_t=stride_t,
        pool1_stride_t=stride_t,
        inflate=((1, 1, 1), (1, 0, 1, 0), (1, 0, 1, 0, 1, 0), (0, 1, 0)),
        **blocks,
    )
    backbone.init_weights()
    return backbone, 2048


def clips(np: Any, case: dict[str, Any]) -> Any:
    """Random clips, the same for both."""
    shape = (case["batch"], 3, case["frames"], case["size"], case["size"])
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()
