"""Print what this machine has for a training, and what it lacks.

python -m nonlocal_core.doctor --step runtime.device=GPU workspace_dir=DIR
python -m nonlocal_core.doctor --preset probe videos_dir=DIR

A line that begins with `!` says what is missing and what to do.  The exit status is 0 if a training can run with
the given settings (`runtime.device=GPU`); `--step` tries one step of the preset, else of `tiny`.
`--preset` measures what a preset will cost for the videos of a folder: minutes, memory and disk.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from nonlocal_core import command
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.process import cuda

DECODERS = {"av": "av", "decord": "decord", "OpenCV": "cv2"}
PACKAGES = {"av": "av", "decord": "decord", "OpenCV": "opencv-python-headless"}
GB = 1e9
MIN_FREE_GB = 5.0
"""least free space without a warning; a checkpoint of the large networks has 0.4 GB"""


class Report:
    """Findings that are printed as they come, and whether a training can run."""

    def __init__(self) -> None:
        self.can_train = True

    def say(self, name: str, text: str) -> None:
        """Print something that the machine has."""
        print(f"  {name:<26}{text}")

    def lacks(self, text: str, needed: bool) -> None:
        """Print what is missing and what to do; without something needed, no training can run."""
        print(f"! {text}")
        self.can_train = self.can_train and not needed


def examine(preset: str, config: Config, workspace_dir: Path, tries_step: bool, videos_dir: str = "") -> bool:
    """Whether a training can run here; each finding is printed."""
    report = Report()
    _machine(report, workspace_dir)
    _decoders(report)
    _cuda(report, config.runtime.device == "GPU")
    _mindspore(report, config)
    if tries_step and report.can_train:
        _step(report, config, preset)
    if videos_dir and report.can_train:
        _costs(report, config, videos_dir)
    return report.can_train


def _machine(report: Report, workspace_dir: Path) -> None:
    report.say("Python", f"{platform.python_version()}, {sys.executable}")
    report.say("cores", str(len(os.sched_getaffinity(0))))
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    total, free = (int(memory[name].split()[0]) * 1024 / GB for name in ("MemTotal", "MemAvailable"))
    report.say("memory", f"{total:.1f} GB, {free:.1f} GB of it available")
    folder = workspace_dir.expanduser().absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free / GB
    report.say("workspace", f"{folder}, {free:.1f} GB free")
    if not os.access(there, os.W_OK):
        report.lacks(f"{there} cannot be written: name another folder with workspace_dir=DIR", True)
    if free < MIN_FREE_GB:
        report.lacks(f"{folder} has less than {MIN_FREE_GB:g} GB free: free some space", False)


def _decoders(report: Report) -> None:
    for name, module in DECODERS.items():
        needed = name != "decord"
        try:
            version = metadata.version(PACKAGES[name])
        except metadata.PackageNotFoundError:
            if needed:
                report.lacks(f"{name} is not installed: pip install {PACKAGES[name]}", True)
            else:
                report.say(name, "not installed: PyAV jumps, cache.jump=decord cannot")
            continue
        # In a process of its own: decord aborts some of those that import mindspore after it.
        tried = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True)
        if tried.returncode:
            why = (tried.stderr.strip().splitlines() or [f"code {tried.returncode}"])[-1]
            report.lacks(f"{name} {version} cannot be imported ({why}): install {PACKAGES[name]} again", needed)
        else:
            report.say(name, version)


def _cuda(report: Report, needed: bool) -> None:
    missing, num = cuda.missing(), len(cuda.LIBRARIES)
    report.say(
        "CUDA 11 libraries", f"{num - len(missing)} of {num}, {'with' if cuda.wheels() else 'without'} wheels"
    )
    if missing:
        what = f"for an NVIDIA GPU, {', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}"
        report.lacks(f"{what} are missing: pip install '.[gpu]'", needed)
    if not cuda.can_load(cuda.DRIVER):
        report.lacks(f"for an NVIDIA GPU, {cuda.DRIVER} is missing: install the card's driver", needed)


def _mindspore(report: Report, config: Config) -> None:
    cuda.load(config.runtime)
    try:
        ms = importlib.import_module("mindspore")
    except Exception as error:
        report.lacks(f"mindspore cannot be imported ({error}): install requirements-lock.txt again", True)
        return
    report.say("MindSpore", str(ms.__version__))
    for name in ("CPU", "GPU", "Ascend"):
        report.say(f"  {name}", "available" if ms.hal.is_available(name) else "not available")
    from nonlocal_core.models import device

    for name, half in device.HALF.items():
        if half:
            lacking = [precision for precision in ("fp16", "bf16") if precision not in half]
            without = "".join(f", not for {precision}" for precision in lacking)
            text = f"registered for {', '.join(('fp32', *half))}{without}"
            report.say(f"  kernels on {name}", text)
    blocking = os.environ.get("MS_DEV_HOST_BLOCKING_RUN", "not set; a training on the CPU sets it to 1")
    report.say("MS_DEV_HOST_BLOCKING_RUN", blocking)
    try:
        report.say("a training takes", f"{device.use(config.runtime)} (runtime.device={config.runtime.device})")
    except ConfigError as error:
        report.lacks(str(error), True)


def _step(report: Report, config: Config, preset: str) -> None:
    """Print what a step of a network takes on clips of noise, after the one that compiles."""
    import mindspore as ms

    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.training import costs

    ms.set_seed(0)
    try:
        step = costs.one_step(I3D(config.model, 4), config)
    except Exception as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        report.lacks(f"a training step fails ({why}): try runtime.device=CPU", True)
        return
    took = f"{step.seconds:.2f} s after {step.compile_s:.1f} s to compile"
    report.say(f"a step of {preset}", f"{took}, loss {step.loss:.2f}")


def _costs(report: Report, config: Config, videos_dir: str) -> None:
    from nonlocal_core.training import costs

    for name, text in costs.lines(config, videos_dir):
        report.say(name, text)


def main(words: list[str]) -> int:
    """Print what a command line asks for; gives the exit status."""
    parser = command.parser("nonlocal_core.doctor", __doc__)
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="settings, workspace_dir=DIR, videos_dir=DIR"
    )
    parser.add_argument("--preset", help="measure what this preset will cost for the videos of videos_dir=DIR")
    parser.add_argument("--step", action="store_true", help="try a training step of the preset (default: tiny)")
    args = parser.parse_intermixed_args(words)
    try:
        settings = key_value.pairs(args.settings)
        workspace_dir = Path(settings.pop("workspace_dir", "workspace"))
        videos_dir = settings.pop("videos_dir", "")
        if bool(videos_dir) != bool(args.preset):
            raise ConfigError("--preset NAME and videos_dir=DIR go together: they say what is to cost how much")
        preset = args.preset or "tiny"
        if examine(preset, resolve(preset, settings), workspace_dir, args.step, videos_dir):
            print("a training can run here")
            return 0
        print("a training cannot run here: see the lines with !", file=sys.stderr)
    except (Exception, KeyboardInterrupt) as error:
        return command.failed(error)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
