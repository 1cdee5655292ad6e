"""The exported tensors in mmaction2 itself, by the code of the model card.

Runs where a Python has torch and mmaction2: this one, or the one that TORCH_PYTHON names.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from exported import add_network, code_of

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.models import checkpoint
from nonlocal_core.registry import WEIGHTS_FILE
from nonlocal_core.registry.export import export

PYTHON = os.environ.get("TORCH_PYTHON", sys.executable)
NETWORKS: dict[str, dict[str, object]] = {
    "i3d": {},
    "dot_product": {"model__nl_res3": (0,), "model__pairwise": "dot_product"},
    "embedded_gaussian": {
        "model__nl_res3": (0,),
        "model__nl_res4": (1,),
        "model__stage_blocks": (1, 1, 2, 1),
        "model__pairwise": "embedded_gaussian",
        "model__nl_sub_sample": "none",
        "model__stem_kernel_t": 3,
        "model__stem_stride_t": 1,
    },
    "basic": {"model__block": "basic", "model__inflate": "3x3x3", "model__nl_res3": (0,)},
}


def in_torch(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    run = [PYTHON, "-W", "ignore", "-c", code]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module", autouse=True)
def _torch(tmp_path_factory):
    said = in_torch("import torch, safetensors, mmaction.models", tmp_path_factory.mktemp("torch"))
    if said.returncode:
        pytest.skip("no Python with torch and mmaction2: name one with TORCH_PYTHON")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_exported_tensors_give_the_same_logits_in_mmaction2(name, tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    entry = add_network(workspace, name, **NETWORKS[name])
    folder = tmp_path / "out"
    list(export(workspace, entry.version, folder, "safetensors"))
    net, described = checkpoint.load_network(workspace.path(entry) / WEIGHTS_FILE)
    clip = np.random.default_rng(5).normal(size=(1, 3, described.clip.clip_len, 32, 32)).astype(np.float32)
    np.save(folder / "clip.npy", clip)
    code = code_of(folder / "model_card.md", "PyTorch, with mmaction2")
    before = "import numpy, torch\nclip = torch.from_numpy(numpy.load('clip.npy'))\n"
    said = in_torch(f"{before}{code}\nnumpy.save('logits.npy', logits.detach().numpy())", folder)
    assert said.returncode == 0, said.stderr
    import mindspore as ms

    ours = net(ms.Tensor(clip)).asnumpy()
    theirs = np.load(folder / "logits.npy")
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
