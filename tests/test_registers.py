"""Every operator of our graphs has a kernel in MindSpore's plug-ins for GPU and Ascend, by what they register."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nonlocal_core.models import device

REPOSITORY = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "registers"
SMALL: dict[str, object] = {
    "model__block": "basic", "model__inflate": "none", "model__nl_res4": [], "model__nl_res3": [0],
    "model__nl_sub_sample": "after_conv",
}  # fmt: skip
CONCATENATION = {
    **SMALL, "model__pairwise": "concatenation", "model__head": "fully_conv", "model__head_window": [2, 1, 1],
    "train__mixup": 0.2, "train__label_smoothing": 0.1, "train__clip_norm": 1.0, "train__ema": 0.9,
    "train__nesterov": True,
}  # fmt: skip
SOFTMAX = {**SMALL, "model__pairwise": "embedded_gaussian", "model__nl_scale": True, "train__precision": "fp16"}
DOT_PRODUCT = {**SMALL, "model__pairwise": "dot_product", "train__precision": "bf16"}
INCEPTION = {
    "preset": "i3d_inception", "clip.clip_len": 16, "clip.frame_interval": 1, "model.width": 8,
    "train.batch_size": 4, "train.micro_batch": 2, "train.crop_size": 32, "evaluate.crop_size": 32,
}  # fmt: skip
OTHER_NAMES = {"Gather": "GatherV2"}
"""operators that CANN's ACL has under another name"""
HALF = {"Cast", "Conv3D", "Conv3DBackpropFilter", "Conv3DBackpropInput", "MatMul", "Reshape"}
"""operators that compute in half precision; BN, soft-max, the products of all pairs and the loss do not"""
Operator = tuple[str, list[str], list[str]]


def asked(script: str, *words: str) -> Any:
    """What one of the scripts prints."""
    search = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/unit")])
    command = [sys.executable, str(FOLDER / script), *words]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": search})
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def registers(tmp_path_factory):
    """What the plug-in of a device registers."""
    if shutil.which("g++") is None or shutil.which("nm") is None:
        pytest.skip("only with a C++ compiler the registers can be read")
    return {name: asked("registers.py", str(tmp_path_factory.mktemp(name)), name) for name in ("GPU", "Ascend")}


def lacks(operators: list[Operator], register: dict) -> list[str]:
    """The operators without a kernel for their types; where a register has no types, without any kernel."""
    kernels, replaced = register["kernels"], register["replaced"]
    found = []
    for name, inputs, outputs in operators:
        if name in replaced:
            continue
        if isinstance(kernels, list):
            known = name in kernels or OTHER_NAMES.get(name) in kernels
        else:
            known = any(fits(kernel, inputs, outputs) for kernel in kernels.get(name, []))
        if not known:
            found.append(name)
    return sorted(set(found))


def fits(kernel: tuple[bool, list[str], list[str]], inputs: list[str], outputs: list[str]) -> bool:
    """Whether a kernel takes these types; one for any number of inputs has one type, an empty input any."""
    same, its_inputs, its_outputs = kernel
    if same:
        return inputs[0] == its_inputs[0] and outputs[0] == its_outputs[0]
    alike = all(one in ("", "None", its) for one, its in zip(inputs, its_inputs, strict=False))
    return alike and outputs[:1] == its_outputs[:1]


@pytest.mark.campaign("long")
def test_a_training_in_fp16_has_kernels_on_both_devices(registers, tmp_path):
    operators = asked("graphs.py", str(tmp_path), json.dumps(SOFTMAX))
    assert {name for name, _, _ in operators} >= {"Conv3D", "MaxPool3DGrad", "BatchNormGrad", "BatchMatMul"}
    assert {name for name, *types in operators if "Float16" in types[0] + types[1]} == HALF
    for register in registers.values():
        assert lacks(operators, register) == []
        assert lacks([("NoSuchOperator", ["Float32"], ["Float32"])], register) == ["NoSuchOperator"]
    assert lacks([("Conv3D", ["Float64", "Float64"], ["Float64"])], registers["GPU"]) == ["Conv3D"]


@pytest.mark.campaign("long")
@pytest.mark.parametrize("settings", [CONCATENATION, INCEPTION], ids=["concatenation", "inception"])
def test_other_networks_in_fp32_have_them_too(registers, tmp_path, settings):
    operators = asked("graphs.py", str(tmp_path), json.dumps(settings))
    assert len({name for name, _, _ in operators}) > 30
    for register in registers.values():
        assert lacks(operators, register) == []


@pytest.mark.campaign("long")
def test_bf16_has_kernels_on_ascend_alone(registers, tmp_path):
    """`device.HALF` says so, and a training and doctor say it to people."""
    operators = asked("graphs.py", str(tmp_path), json.dumps(DOT_PRODUCT))
    assert {name for name, *types in operators if "BFloat16" in types[0] + types[1]} == HALF
    assert lacks(operators, registers["GPU"]) == sorted(HALF)
    assert lacks(operators, registers["Ascend"]) == []
    assert (device.HALF["GPU"], device.HALF["Ascend"]) == (("fp16",), ("fp16", "bf16"))
