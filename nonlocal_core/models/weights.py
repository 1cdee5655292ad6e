"""Weights that others published, read without their framework and without running anything from their files.

A `.pth` file is a zip archive of a pickle and of raw storages.  The reader knows the few names that a dictionary
of tensors needs, refuses every other name, and never lets a tensor reach outside its storage.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from nonlocal_core.errors import InputError
from nonlocal_core.models.i3d import I3D

Array = np.ndarray[Any, np.dtype[Any]]

_DTYPES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "ByteStorage": "<u1",
    "CharStorage": "<i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "BoolStorage": "?",
}
_STATE_DICTS = ("state_dict", "model_state")  # where mmaction2 and SlowFast keep the tensors
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_BRANCH = {"a": "conv1", "b": "conv2", "c": "conv3", "proj": "downsample"}


def read_torch(path: Path) -> dict[str, Array]:
    """Every tensor of a PyTorch checkpoint by its name there.

    Raises: InputError if the file is no checkpoint of PyTorch 1.6 or later, holds anything but plain data and
        tensors (the message names what was refused), or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = _root(archive)
            with archive.open(f"{root}data.pkl") as stream:
                checkpoint = _Unpickler(stream, archive, root).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except zipfile.BadZipFile:
        raise InputError(f"{path} is no checkpoint of PyTorch 1.6 or later, or is cut short") from None
    except Exception as error:  # a damaged pickle fails in any way
        raise InputError(f"{path} cannot be read as a checkpoint: {error!r}") from None
    return _tensors(checkpoint, path)


def load_mmaction2(net: I3D, path: Path) -> None:
    """Nothing; `net` gets the weights of an mmaction2 checkpoint, all of them or, when something differs, none.

    Strides and the pairwise function leave no trace in a file: the caller builds `net` as the file's config says.

    Raises: InputError that names the tensors that are missing, left over or of another shape.
    Source: mmaction2 1.2.0, ResNet3d and its I3DHead.
    """
    theirs = {name: value for name, value in read_torch(path).items() if not name.endswith(".num_batches_tracked")}
    params = {_mmaction2_name(p.name, net.model.nl_sub_sample == "after_conv"): p for p in net.get_parameters()}
    differences = {
        "missing": sorted(params.keys() - theirs.keys()),
        "left over": sorted(theirs.keys() - params.keys()),
        "of another shape": [
            f"{name} {theirs[name].shape} for {param.name} {tuple(param.shape)}"
            for name, param in params.items()
            if name in theirs and theirs[name].shape != tuple(param.shape)
        ],
    }
    if any(differences.values()):
        told = "; ".join(f"{len(names)} {how}: {_few(names)}" for how, names in differences.items() if names)
        raise InputError(f"{path} does not fit the network: {told}")
    for name, param in params.items():
        param.set_data(ms.Tensor(theirs[name].astype(np.float32)))


class _RebuildTensor:
    """What stands for torch's function of this name: an object that a file cannot alter."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Array:
        """One tensor, copied out of its storage."""
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(size) != len(stride):
            raise InputError("refused a tensor without a storage")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        numel = math.prod(size)
        if min(offset, *size, *stride, 0) < 0 or numel > storage.size or (numel and last >= storage.size):
            raise InputError("refused a tensor that reaches outside its storage")
        steps = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()


class _Unpickler(pickle.Unpickler):
    """Builds containers, numbers, text and NumPy arrays, and nothing else.

    What `find_class` returns cannot be altered by the file: a built-in type, text, an object without attributes.
    """

    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(stream)
        self.archive = archive
        self.root = root

    def find_class(self, module: str, name: str) -> Any:
        """The few things that a dictionary of tensors is made of."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise InputError(f"refused {module}.{name}: only tensors and plain data are read")

    def persistent_load(self, pid: Any) -> Array:
        """One storage as a flat array."""
        kind, dtype, key, _, numel = pid
        if kind != "storage":
            raise InputError(f"refused a persistent {kind!r}: only storages are read")
        entry = self.archive.getinfo(f"{self.root}data/{key}")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"refused the compressed storage {key}: PyTorch writes none")
        return np.frombuffer(self.archive.read(entry), np.dtype(dtype), count=numel)


def _root(archive: zipfile.ZipFile) -> str:
    """The folder of the archive that everything lies in."""
    pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
    if len(pickles) != 1:
        raise InputError("this is a zip archive, but no checkpoint of PyTorch")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise InputError("the tensors are not little-endian")
    return root


def _tensors(checkpoint: Any, path: Path) -> dict[str, Array]:
    state = checkpoint
    for name in _STATE_DICTS:
        if isinstance(checkpoint, dict) and name in checkpoint:
            state = checkpoint[name]
    if not isinstance(state, dict) or not all(isinstance(value, np.ndarray) for value in state.values()):
        raise InputError(f"{path} holds no dictionary of tensors, alone or under {' or '.join(_STATE_DICTS)}")
    return {str(name): value for name, value in state.items()}


def _mmaction2_name(name: str, sub_sample: bool) -> str:
    """What mmaction2 calls one of our parameters."""
    head, _, leaf = name.rpartition(".")
    if name.startswith("head."):
        return f"cls_head.fc_cls.{leaf}"
    if head.endswith(".norm"):
        head, leaf = head.removesuffix(".norm"), f"bn.{_NORM[leaf]}"
    else:
        head, leaf = head.removesuffix(".conv"), f"conv.{leaf}"
    if head == "stem":
        return f"backbone.conv1.{leaf}"
    stage, block, *part = head.split(".")
    layer = f"backbone.layer{int(stage.removeprefix('res')) - 1}.{block.removeprefix('nl')}"
    if not block.startswith("nl"):
        return f"{layer}.{_BRANCH[part[0]]}.{leaf}"
    inside = re.sub("^out$", "conv_out", part[0] if part else "conv_out")
    if inside in ("phi", "g") and sub_sample:
        inside += ".0"  # followed by the pool
    return f"{layer}.non_local_block.{inside}.{leaf}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
