"""The parts of benchmarks/gpu.py: functions that give cases, each a name and what to run.

    python gpu_parts.py PART FIRST OPTIONS       the cases of a part from a number on

A case prints its rows.  One that raises is a row with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
FIXTURES = HERE.parent / "tests/parity/fixtures"
BARS = {"fp32": 1e-4, "fp16": 1e-1, "bf16": 5e-1}
"""greatest difference from a reference, as a share of its largest number

Half precision has 11 and 8 bits; a fixture's random weights make its logits differ by up to 5 % in fp16.
"""
SMALL = {
    "cache.short_side": 36, "clip.clip_len": 4, "model.width": 4, "train.crop_size": 32, "train.batch_size": 2,
    "evaluate.crop_size": 32, "evaluate.num_clips": 1, "model.nl_res3": [0], "model.nl_res4": [],
}  # fmt: skip
"""settings of `tiny` that a CPU trains in seconds"""


class Options(NamedTuple):
    """What benchmarks/gpu.py was asked for."""

    device: str
    torch: str
    quick: bool
    out: str

    def settings(self, **others: object) -> dict[str, object]:
        """Settings with the device."""
        return {"runtime.device": self.device, **{key.replace("__", "."): value for key, value in others.items()}}


Case = tuple[str, Callable[[], None]]


def say(found: str, bar: str = "", verdict: str = "ok") -> None:
    """Print a row of the table."""
    print("ROW", json.dumps({"found": found, "bar": bar, "verdict": verdict}), flush=True)


def judge(found: float, bar: float, text: str) -> None:
    """Print a row with a bar that a figure should not exceed."""
    say(text, f"at most {bar:g}", "ok" if found <= bar else "missed")


def precisions(options: Options) -> tuple[str, ...]:
    """The number formats to try: those that the device has kernels for, and on a CPU fp16 to try the script."""
    from nonlocal_core.models import device

    return ("fp32", *(device.HALF[options.device] or ("fp16",)))


def use(options: Options, **others: object) -> Any:
    """Take the device, without TF32, whose products have 10 bits; gives the settings of the preset tiny."""
    from nonlocal_core.config.tree import resolve
    from nonlocal_core.process import cuda

    config = resolve("tiny", options.settings(**others))
    cuda.load(config.runtime)
    import mindspore as ms

    from nonlocal_core.models import device

    if options.device == "GPU":
        ms.device_context.gpu.op_precision.conv_allow_tf32(False)
        ms.device_context.gpu.op_precision.matmul_allow_tf32(False)
    device.use(config.runtime)
    return config


def doctor(options: Options) -> Iterator[Case]:
    """What the machine has."""

    def examine() -> None:
        words = [sys.executable, "-m", "nonlocal_core.doctor", "--step", f"runtime.device={options.device}"]
        ran = subprocess.run(words, capture_output=True, text=True)
        print(ran.stdout, ran.stderr, file=sys.stderr)
        missing = [line[2:] for line in ran.stdout.splitlines() if line.startswith("! ")]
        last = (ran.stderr if ran.returncode else ran.stdout).strip().splitlines()[-1]
        say("; ".join([last, *missing]), "a training can run", "failed" if ran.returncode else "ok")
        if options.device == "GPU" and (program := shutil.which("nvidia-smi")):
            asked = "--query-gpu=name,driver_version,memory.total,compute_cap"
            ran = subprocess.run([program, asked, "--format=csv,noheader"], capture_output=True, text=True)
            say(ran.stdout.strip())

    yield "nonlocal_core.doctor --step", examine


def operators(options: Options) -> Iterator[Case]:
    """Each operator of the graphs once: forward and backward, in each number format."""
    use(options)
    import mindspore as ms
    import numpy as np
    import operators as table
    from mindspore import ops

    def once(run: Callable[[str], Any], precision: str) -> None:
        arrays = [ops.cast(array, ms.float32).asnumpy() for array in run(precision)]
        finite = all(np.isfinite(array).all() for array in arrays)
        say(f"{len(arrays)} arrays", "finite numbers", "ok" if finite else "missed")

    for precision in precisions(options):
        for name, run in table.CASES:
            yield f"{name}, {precision}", partial(once, run, precision)


def parity(options: Options) -> Iterator[Case]:
    """Each fixture of tests/parity on the device, in each number format."""
    use(options)
    import mindspore as ms
    import test_references
    from mindspore import ops

    from nonlocal_core.models.pairwise import keep_in_float32
    from nonlocal_core.models.published.weights import load_published

    tests: Any = test_references
    types = {"fp16": ms.float16, "bf16": ms.bfloat16}
    chosen = [one for one in tests.REFERENCES if not options.quick or one.file.startswith("pyslow")]

    def compare(reference: Any, precision: str) -> None:
        clip, made = tests.reference_of(reference.name)
        net = load_published(FIXTURES / reference.file, reference.profile, **reference.switches)

        def forward(clip_NCTHW: ms.Tensor) -> ms.Tensor:
            return net(clip_NCTHW)

        half = precision != "fp32"
        if half:
            keep_in_float32(net)
        run = ms.jit(ms.amp.auto_mixed_precision(forward, "auto", types[precision]) if half else forward)
        logits = ops.cast(run(clip), ms.float32).asnumpy()
        apart = tests.apart(logits, made["logits"])
        judge(apart, BARS[precision], f"{apart:.1e} of the largest logit")

    for precision in precisions(options):
        for reference in chosen:
            yield f"{reference.name}, {precision}", partial(compare, reference, precision)


def step(options: Options) -> Iterator[Case]:
    """A training step beside PyTorch's, by benchmarks/train_step.py: time and memory of the device."""
    import train_step

    theirs = options.torch if options.torch and train_step.has_torch(options.torch) else None

    def torch() -> None:
        if theirs:
            say(f"{theirs} has torch and mmaction2")
        else:
            say("no interpreter with torch and mmaction2 (--torch PYTHON): ours alone", verdict="not had")

    yield "PyTorch beside it", torch

    def measure(frames: int, batch: int, precision: str) -> None:
        case = {
            "net": "dot_product", "size": 32 if options.quick else 224, "mode": "train", "threads": 2,
            "batch": batch, "device": options.device, "frames": frames, "precision": precision,
        }  # fmt: skip
        found = train_step.measure(case, theirs, 1 if options.quick else 10)
        for name, said in found.items():
            ms = 1000 * statistics.median(said["wall"])
            memory = said.get("device_mb") or said["peak"]
            text = f"{name}: {ms:.0f} ms, {1000 * batch / ms:.1f} clips/s, {memory:.0f} MB"
            say(f"{text}, first step {said['first_s']:.0f} s")
        if "torch" in found:
            ratio = float(train_step.ratio(found["ours"]["wall"], found["torch"]["wall"]))
            judge(ratio, 1.2, f"{ratio:.2f} times PyTorch's time")

    for frames in (8,) if options.quick else (8, 32):
        for precision in ("fp32",) if options.quick else precisions(options):
            for batch in (1,) if options.quick else (1, 4, 8):
                name = f"{'8x8' if frames == 8 else '32x2'}, batch {batch}, {precision}"
                yield name, partial(measure, frames, batch, precision)


def loss(options: Options) -> Iterator[Case]:
    """The loss of half precision beside that of fp32, over the same steps."""
    import numpy as np

    kept: dict[str, list[float]] = {}
    num_steps = 3 if options.quick else 50

    def learn(precision: str) -> None:
        config = use(options, **{key.replace(".", "__"): value for key, value in SMALL.items()})
        if not options.quick:
            from nonlocal_core.config.tree import resolve

            config = resolve("nl_i3d_r50_8x8", options.settings(train__micro_batch=0))
        train = config.train.model_copy(update={"precision": precision, "batch_size": 4, "micro_batch": 0})
        config = config.model_copy(update={"train": train})
        kept[precision], num_skipped = losses(config, num_steps)
        if precision == "fp32":
            say(f"{num_steps} steps, loss {kept['fp32'][0]:.3f} to {kept['fp32'][-1]:.3f}")
            return
        apart = np.abs(np.array(kept[precision]) - np.array(kept["fp32"])).mean() / np.mean(kept["fp32"])
        judge(float(apart), 0.05, f"{apart:.1%} from fp32, {num_skipped} steps skipped")

    for precision in precisions(options):
        yield precision, partial(learn, precision)


def losses(config: Any, num_steps: int) -> tuple[list[float], int]:
    """The losses of a training on four clips of noise, and how many of its steps were skipped."""
    import mindspore as ms
    import numpy as np

    from nonlocal_core.data.loader import Batch
    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.training import optimizers
    from nonlocal_core.training.loss_scale import LossScale
    from nonlocal_core.training.step import inputs, make_step

    ms.set_seed(0)
    net, scale, size = I3D(config.model, 4), LossScale(), config.train.crop_size
    optimizer = optimizers.make_optimizer(net, np.full(num_steps, 0.01, np.float32), config.train)
    take_step = make_step(net, optimizer, config.train, loss_scale=scale)
    clip_NCTHW = np.random.default_rng(0).integers(0, 256, (4, 3, config.clip.clip_len, size, size), np.uint8)
    batch = Batch(clip_NCTHW, np.arange(4, dtype=np.int32), list(range(4)))
    return [take_step(inputs(batch, config, number))[0] for number in range(num_steps)], scale.num_skipped


def resume(options: Options) -> Iterator[Case]:
    """A training that is killed and started again, beside one that is not."""

    def kill() -> None:
        import numpy as np

        from nonlocal_core.models import checkpoint

        made = {}
        for name in ("whole", "killed"):
            folder = Path(options.out) / f"resume-{name}"
            process = trainer(options, folder, steps=12)
            if name == "killed":
                wait_for(process, folder, "step-*.safetensors")
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                process = trainer(options, folder, steps=12)
            if process.wait():
                raise RuntimeError(f"the training {name} ended with code {process.returncode}")
            (file,) = folder.glob("workspace/train/*/weights.safetensors")
            made[name] = checkpoint.read_weights(file)[1]
        pairs = [(made["whole"][name], made["killed"][name]) for name in made["whole"]]
        apart = max(float(np.abs(np.subtract(one, other)).max()) for one, other in pairs)
        bar = 0.0 if options.device == "CPU" else 1e-3  # a GPU's sums have no fixed order
        judge(apart, bar, f"weights are {apart:.1e} apart")

    yield "SIGKILL at a checkpoint", kill


def trainer(options: Options, folder: Path, **others: object) -> subprocess.Popen[bytes]:
    """A process of its own that trains on toy videos."""
    words = [sys.executable, str(HERE / "gpu_parts.py"), "train", str(folder), json.dumps([options, others])]
    return subprocess.Popen(words, stdout=sys.stderr, start_new_session=True)


def wait_for(process: subprocess.Popen[bytes], folder: Path, pattern: str) -> None:
    """Wait until a training has written a file."""
    while not list(folder.glob(f"workspace/train/*.partial/{pattern}")):
        if process.poll() is not None:
            raise RuntimeError(f"the training ended with code {process.returncode} before it wrote {pattern}")
        time.sleep(0.05)


def train(folder: Path, options: Options, steps: int, seconds: float = 0.0) -> None:
    """Index, cache and train toy videos; with a time, the network is that of the paper, and SIGINT ends it."""
    from nonlocal_core.artifacts.workspace import Workspace
    from nonlocal_core.config.tree import resolve
    from nonlocal_core.data.layouts.toy import make_toy_videos
    from nonlocal_core.stages import cache, index
    from nonlocal_core.stages import train as stage

    large = bool(seconds) and not options.quick
    settings = {"cache.short_side": 256, "train.batch_size": 8, "train.micro_batch": 0, "train.lr_batch": 0,
                "train.base_lr": 0.005, "clip.frame_interval": 2} if large else SMALL  # fmt: skip
    chosen = {
        **settings, "train.steps": steps, "train.milestones": (10**6,), "train.val_epochs": 0,
        "runtime.checkpoint_steps": 2 if not seconds else 50, "runtime.compile": "always",
    }  # fmt: skip
    config = resolve("nl_i3d_r50_8x8" if large else "tiny", options.settings() | chosen)
    workspace = Workspace(folder / "workspace")
    if not (folder / "videos").exists():
        make_toy_videos(folder / "videos", 40 if large else 12)
    manifest = index.index(folder / "videos", config, workspace)
    records = cache.cache(manifest, config, workspace)
    if seconds:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.alarm(round(seconds))
    with contextlib.suppress(KeyboardInterrupt):
        stage.train(records, config, workspace)


def waiting(options: Options) -> Iterator[Case]:
    """The share of a step that waits for clips, and what the loop adds: benchmarks/training.py."""

    def share() -> None:
        few = ["6", "train.crop_size=32", "cache.short_side=40", "evaluate.crop_size=32", "model.width=8"]
        words = few if options.quick else ["60", "train.batch_size=8"]
        words = [sys.executable, str(HERE / "training.py"), *words, f"runtime.device={options.device}"]
        ran = subprocess.run(words, cwd=HERE.parent, capture_output=True, text=True)
        print(ran.stdout, ran.stderr, file=sys.stderr)
        lines = [
            line for line in ran.stdout.splitlines() if line.startswith(("step ", "waiting", "the loop", "start"))
        ]
        if not lines:
            raise RuntimeError((ran.stderr.strip().splitlines() or [f"code {ran.returncode}"])[-1])
        for line in lines:
            percent = re.search(r"([\d.-]+)% .*bar: (\d+) %", line)
            met = percent is None or float(percent[1]) < float(percent[2])
            say(re.sub(" +", " ", line), verdict="ok" if met else "missed")

    yield "benchmarks/training.py", share


def turns(options: Options) -> Iterator[Case]:
    """Two processes that want the device: the second waits until the first has ended."""

    def take() -> None:
        words = [sys.executable, str(HERE / "gpu_parts.py"), "turn", options.out, json.dumps([options, {}])]
        both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        said = [process.communicate()[0].splitlines() for process in both]
        if any(process.returncode for process in both):
            raise RuntimeError("a process that wants the device ended with an error")
        spans = sorted(json.loads(lines[-1]) for lines in said)
        (_, first_end), (second_start, _) = spans
        apart = "after" if second_start >= first_end else "before"
        say(f"the second began {abs(second_start - first_end):.1f} s {apart} the end of the first",
            "one after the other", "ok" if apart == "after" else "missed")  # fmt: skip

    yield "two processes", take


def turn(options: Options) -> None:
    """Take the device, compute on it for a moment, and print when."""
    use(options, runtime__slots_dir=str(Path(options.out) / "slots"))
    from_s = time.time()
    import mindspore as ms
    import numpy as np
    from mindspore import ops

    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        ops.matmul(ms.Tensor(np.ones((64, 64), np.float32)), ms.Tensor(np.ones((64, 64), np.float32))).asnumpy()
    print(json.dumps([from_s, time.time()]), flush=True)


def training(options: Options) -> Iterator[Case]:
    """Five minutes of a training from a cache, ended by Ctrl-C."""

    def five_minutes() -> None:
        seconds, folder = (20.0 if options.quick else 300.0), Path(options.out) / "training"
        process = trainer(options, folder, steps=10**6, seconds=seconds)
        if process.wait():
            raise RuntimeError(f"the training ended with code {process.returncode}")
        (log,) = folder.glob("workspace/train/*.partial/log.jsonl")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        timed = lines[len(lines) // 2 :]
        rate = statistics.median(line["clips_per_s"] for line in timed)
        waits = statistics.mean(line["waits"] for line in timed)
        first, last = (statistics.mean(line["loss"] for line in part) for part in (lines[:10], lines[-10:]))
        say(f"{len(lines)} steps, {rate:.1f} clips/s, loss {first:.3f} to {last:.3f}")
        judge(waits, 0.05, f"{waits:.1%} of the time waiting for clips")
        kept = list(log.parent.glob("step-*.safetensors"))
        say(f"{len(kept)} checkpoints", "1 or more", "ok" if kept else "missed")

    yield "nl_i3d_r50_8x8" if not options.quick else "tiny", five_minutes


PARTS: dict[str, Callable[[Options], Iterator[Case]]] = {
    "doctor": doctor, "operators": operators, "parity": parity, "step": step, "loss": loss, "resume": resume,
    "waiting": waiting, "turns": turns, "training": training,
}  # fmt: skip


def main() -> None:
    """Run the cases of a part, or be the process that one of them has started."""
    name, where, text = sys.argv[1:]
    given = json.loads(text)
    if name == "train":
        train(Path(where), Options(*given[0]), **given[1])
        return
    if name == "turn":
        turn(Options(*given[0]))
        return
    try:
        for number, (case, run) in enumerate(PARTS[name](Options(**given))):
            if number < int(where):
                continue
            print(f"CASE {number} {case}", flush=True)
            try:
                run()
            except Exception as error:
                fail(error)
    except Exception as error:  # before the first case: the device cannot be taken, or something is not installed
        fail(error)


def fail(error: Exception) -> None:
    """Print a row with the reason, and the traceback for the log."""
    traceback.print_exc()
    say(" ".join(str(error).split())[:200] or type(error).__name__, verdict="failed")


if __name__ == "__main__":
    main()
