from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
from small import python

from nonlocal_core.process import cuda


def doctor(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "nonlocal_core.doctor", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )


QUICK = ("model.nl_res3=[]", "model.nl_res4=[]", "model.block=basic", "model.inflate=none")
"""a network that is compiled in little time"""


def test_a_step_is_tried_and_everything_is_named(tmp_path):
    words = ("runtime.device=CPU", "train.batch_size=2", f"workspace_dir={tmp_path / 'new'}")
    said = doctor("--step", *words, *QUICK)
    assert (said.returncode, said.stderr) == (0, "")
    lines = said.stdout.splitlines()
    found = dict(line.strip().split(maxsplit=1) for line in lines if line.startswith("  "))
    assert found["Python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert found["MindSpore"] == "2.10.0"
    assert found["CPU"] == "available"
    assert found["cores"] == str(len(os.sched_getaffinity(0)))
    assert {"av", "decord", "OpenCV", "memory", "MS_DEV_HOST_BLOCKING_RUN"} <= found.keys()
    assert any(line.startswith(f"  workspace                 {tmp_path / 'new'}, ") for line in lines)
    assert any("a step of tiny" in line and " s after " in line and "loss 1." in line for line in lines)
    assert lines[-1] == "a training can run here"
    assert not (tmp_path / "new").exists()


def test_what_a_preset_will_cost_is_measured_before_anything_starts(toy, tmp_path):
    small = (
        "cache.short_side=36",
        "clip.clip_len=4",
        "model.width=2",
        "train.crop_size=32",
        "evaluate.crop_size=32",
        *QUICK,
    )
    words = (f"videos_dir={toy.videos_dir}", f"workspace_dir={tmp_path / 'new'}", "train.epochs=3")
    said = doctor("--preset", "tiny", *words, *small)
    assert (said.returncode, said.stderr) == (0, "")
    found = dict(
        re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in said.stdout.splitlines() if "  " in line.strip()
    )
    assert found["videos"] == "12 of 4 labels: 10 train, 2 val"
    assert re.fullmatch(r"about \d+ s, 0\.0\d+ GB of disk", found["cache"])
    assert re.fullmatch(r"3 steps of \d+\.\d\d s, after \d+ s to compile: about \d+ s", found["train"])
    assert re.fullmatch(r"4 views of 0\.\d\d s: about \d+ s", found["evaluate"])
    assert re.match(r"\d\.\d GB for the network", found["memory"])
    assert found["all together"].startswith("about ")
    assert not (tmp_path / "new").exists()


def test_costs_need_a_preset_and_videos(tmp_path):
    for words, line in (
        (("--preset", "probe"), "--preset NAME and videos_dir=DIR go together"),
        ((f"videos_dir={tmp_path}",), "--preset NAME and videos_dir=DIR go together"),
        (("--preset", "prob", f"videos_dir={tmp_path}"), "there is no preset 'prob': did you mean probe?"),
    ):
        said = doctor(*words, "runtime.device=CPU")
        assert said.returncode != 0
        assert line in said.stderr


@pytest.mark.skipif(cuda.can_load(cuda.DRIVER), reason="this machine has a GPU's driver")
def test_a_gpu_that_is_not_there_is_one_line_and_an_exit_code():
    said = doctor("--step", "runtime.device=GPU")
    assert said.returncode == 1
    problems = [line for line in said.stdout.splitlines() if line.startswith("!")]
    assert f"! for an NVIDIA GPU, {cuda.DRIVER} is missing: install the card's driver" in problems
    assert any(line.startswith("! runtime.device=GPU, but MindSpore finds CPU only") for line in problems)
    assert "a step of tiny" not in said.stdout
    assert "a training cannot run here" in said.stderr


@pytest.mark.parametrize(("name", "is_needed"), [("av", True), ("decord", False)])
def test_a_decoder_that_aborts_is_one_line(tmp_path, name, is_needed):
    (tmp_path / f"{name}.py").write_text("import os\nos.abort()\n")
    said = doctor("runtime.device=CPU", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert said.returncode == is_needed
    (problem,) = (line for line in said.stdout.splitlines() if f" {name} " in line)
    assert problem.startswith(
        f"! {name} {metadata.version(name)} cannot be imported (code -6): install {name} again"
    )


def test_without_decord_a_training_can_run(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib import metadata\nfound = metadata.version\n"
        "def version(name):\n    return found('no-' * (name == 'decord') + name)\nmetadata.version = version\n"
    )
    said = doctor("runtime.device=CPU", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert said.returncode == 0
    assert "  decord                    not installed: PyAV jumps, cache.jump=decord cannot\n" in said.stdout


def test_a_mistyped_setting_is_one_line():
    said = doctor("runtime.devise=GPU")
    assert (said.returncode, said.stdout) == (2, "")
    assert "runtime.device" in said.stderr


@pytest.mark.parametrize(("device", "is_loaded"), [("auto", True), ("GPU", True), ("CPU", False)])
def test_libraries_in_wheels_are_loaded_in_their_order(tmp_path, device, is_loaded):
    """Any library stands for them; one is missing, one is damaged."""
    any_library = str(importlib.util.find_spec("_ctypes").origin)
    for library in cuda.LIBRARIES[:-1]:
        file = tmp_path / "nvidia" / library
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(any_library, file)
    (tmp_path / "nvidia/cufft/lib/libcufft.so.10").write_text("damaged")
    (tmp_path / "nvidia/cuda_nvcc/bin").mkdir(parents=True)
    process = python(f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
from nonlocal_core.process import cuda
from nonlocal_core.config.sections import RuntimeConfig
os.environ.pop("CUDA_HOME", None)
print(*cuda.load(RuntimeConfig(device={device!r})))
print(os.environ.get("CUDA_HOME"))
print(*cuda.missing())
with open("/proc/self/maps") as maps:
    print({str(tmp_path)!r} in maps.read())
sys.modules["mindspore"] = None
print(cuda.load(RuntimeConfig(device={device!r})))
""")
    said, problems = process.communicate(timeout=60)
    names = [library.rpartition("/")[2] for library in cuda.LIBRARIES]
    whole = [name for name in names[:-1] if name != "libcufft.so.10"]
    home = str(tmp_path / "nvidia/cuda_nvcc") if is_loaded else "None"
    assert said.splitlines() == [" ".join(whole) if is_loaded else "", home, names[-1], str(is_loaded), "[]"]
    assert ("libcufft.so.10 cannot be loaded" in problems) == is_loaded
