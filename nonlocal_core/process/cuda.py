"""Load the CUDA 11 libraries that MindSpore needs for a GPU and does not ship.

`pip install '.[gpu]'` brings them as wheels, in folders that no loader looks into: they are loaded by name before
MindSpore is imported.  MindSpore itself finds those that are installed on the machine.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from pathlib import Path

from nonlocal_core.config.sections import RuntimeConfig

log = logging.getLogger(__name__)

LIBRARIES = (  # each needs those before it
    "cuda_runtime/lib/libcudart.so.11.0",
    "cuda_nvrtc/lib/libnvrtc.so.11.2",
    "cublas/lib/libcublasLt.so.11",
    "cublas/lib/libcublas.so.11",
    "cufft/lib/libcufft.so.10",
    "curand/lib/libcurand.so.10",
    "cusparse/lib/libcusparse.so.11",
    "cusolver/lib/libcusolver.so.11",
    "cudnn/lib/libcudnn_ops_infer.so.8",
    "cudnn/lib/libcudnn_cnn_infer.so.8",
    "cudnn/lib/libcudnn_adv_infer.so.8",
    "cudnn/lib/libcudnn_ops_train.so.8",
    "cudnn/lib/libcudnn_cnn_train.so.8",
    "cudnn/lib/libcudnn_adv_train.so.8",
    "cudnn/lib/libcudnn.so.8",
)
"""below the folder `nvidia` of the wheels"""
DRIVER = "libcuda.so.1"
CACHE_BYTES = 4 << 30
"""size of the cache of compiled kernels: a card that MindSpore's kernels are too old for compiles them once"""


def wheels() -> list[Path]:
    """The folders that wheels have put libraries into."""
    package = importlib.util.find_spec("nvidia")
    return [Path(folder) for folder in package.submodule_search_locations or ()] if package else []


def load(runtime: RuntimeConfig) -> list[str]:
    """The names of the libraries that this loads from wheels; MindSpore finds them if it is imported afterwards.

    None are loaded for a CPU or Ascend, or if there are no wheels.
    """
    folders = wheels()
    if runtime.device not in ("auto", "GPU") or not folders or "mindspore" in sys.modules:
        return []
    loaded = []
    for library in LIBRARIES:
        file = next((folder / library for folder in folders if (folder / library).exists()), None)
        if file is None:
            continue
        try:
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            log.warning("%s cannot be loaded (%s): a GPU will not be found", file.name, error)
            continue
        loaded.append(file.name)
    for folder in folders:
        if (folder / "cuda_nvcc/bin").is_dir():
            os.environ.setdefault("CUDA_HOME", str(folder / "cuda_nvcc"))
    os.environ.setdefault("CUDA_CACHE_MAXSIZE", str(CACHE_BYTES))
    return loaded


def missing() -> list[str]:
    """The names of the libraries that are neither in wheels nor found by the loader."""
    folders = wheels()
    return [
        Path(library).name
        for library in LIBRARIES
        if not any((folder / library).exists() for folder in folders) and not can_load(Path(library).name)
    ]


def can_load(name: str) -> bool:
    """Whether the loader finds a library."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def one_device(rank: int) -> dict[str, str]:
    """The environment of a process that uses one device: number `rank` of those that this process may use."""
    variables = {}
    for name in ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"):
        visible = os.environ.get(name, "").split(",")
        variables[name] = visible[rank] if rank < len(visible) and visible[rank] else str(rank)
    return variables
