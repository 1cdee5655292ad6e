"""Published files of weights, read as named arrays: nothing in them is run, and no other framework is needed.

PyTorch (zip since 1.6, and the older pickle with its storages behind it), Caffe2's pickled blobs, MindSpore's
protobuf and safetensors.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mindspore.train.checkpoint_pb2 import Checkpoint

from nonlocal_core.artifacts import tensors
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.models.published.pickles import Array, NumpyArray, Reader, Storage, Tensor

_LEGACY = 0x1950A86A20F9469CFC6C
"""the first number in a PyTorch file from before 1.6"""
_STATE_DICTS = ("state_dict", "model_state", "blobs")
"""keys under which mmaction2, SlowFast and video-nonlocal-net keep the tensors"""
_CKPT_DTYPES = {
    f"{kind}{8 * size}": f"<{kind[0].lower()}{size}"
    for kind, sizes in {"Int": (1, 2, 4, 8), "UInt": (1, 2, 4, 8), "Float": (2, 4, 8)}.items()
    for size in sizes
}


class Published(NamedTuple):
    """The content of a file of weights."""

    tensors: dict[str, Array]
    beside: dict[str, Any]
    """plain values next to the tensors, such as the text of a config"""


def read(path: Path) -> Published:
    """The tensors of a file by their names in it, and the plain values beside them.

    Raises: InputError if there is no file, it is damaged or of an unknown kind, or it holds anything but plain
        data and tensors (the message names what was refused).
    """
    try:
        return _read(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except DamagedError as error:
        raise InputError(str(error)) from None
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: name the file") from None
    except Exception as error:  # a damaged file may raise anything
        raise InputError(
            f"{path} is no file of weights, or is damaged ({type(error).__name__}: {error!s:.200})"
        ) from None


def _read(path: Path) -> Published:
    if path.suffix == ".ckpt":
        return Published(_ckpt(path.read_bytes()), {})
    if path.suffix == ".safetensors":
        texts, arrays = tensors.read(path)
        return Published(arrays, dict(texts))
    data = path.read_bytes()
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _zip(archive, len(data))
    stream = io.BytesIO(data)
    first = Reader(stream).load()
    if first == _LEGACY:
        return _legacy(stream, data)
    return _published(first, _no_storage)


def _published(content: Any, flat: Callable[[Storage], Array]) -> Published:
    """The tensors of a checkpoint, and the values beside them."""
    names = [name for name in _STATE_DICTS if isinstance(content, dict) and name in content]
    state = content[names[0]] if names else content
    numbers = int | float
    if not isinstance(state, dict) or not all(
        isinstance(v, Tensor | NumpyArray | numbers) for v in state.values()
    ):
        raise InputError(f"it holds no dictionary of tensors, alone or under {', '.join(_STATE_DICTS)}")
    arrays = {
        str(name): value.array if isinstance(value, NumpyArray) else _view(value, flat)
        for name, value in state.items()
        if not isinstance(value, numbers)
    }
    if not arrays:
        raise InputError("it holds no tensors")
    return Published(arrays, {k: v for k, v in content.items() if k not in names} if names else {})


def _view(tensor: Tensor, flat: Callable[[Storage], Array]) -> Array:
    """A tensor as a view of its storage; `pickles` has checked that it lies inside."""
    storage = flat(tensor.storage)[tensor.offset :]
    steps = [step * storage.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage, tensor.size, steps, writeable=False)


def _zip(archive: zipfile.ZipFile, size: int) -> Published:
    """A checkpoint of PyTorch 1.6 or later: a pickle and a file for each storage."""
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise InputError("refused compressed entries: PyTorch writes none")
    if sum(entry.file_size for entry in entries) > size or len({e.filename for e in entries}) < len(entries):
        raise InputError("refused entries that lie over each other")
    pickles = [entry.filename for entry in entries if entry.filename.endswith("data.pkl")]
    if len(pickles) != 1:
        raise InputError("this is a zip archive, but no checkpoint of PyTorch")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
        raise InputError("the tensors are not little-endian")
    arrays: dict[str, Array] = {}

    def flat(storage: Storage) -> Array:
        if storage.key not in arrays:
            content = archive.read(f"{root}data/{storage.key}")
            arrays[storage.key] = np.frombuffer(content, storage.dtype, count=storage.numel)
        return arrays[storage.key]

    return _published(Reader(io.BytesIO(archive.read(pickles[0]))).load(), flat)


def _legacy(stream: io.BytesIO, data: bytes) -> Published:
    """A checkpoint from before PyTorch 1.6: pickles, then the storages in the order of the last pickle."""
    _, system = Reader(stream).load(), Reader(stream).load()
    if not system["little_endian"]:
        raise InputError("the tensors are not little-endian")
    reader = Reader(stream)
    content = reader.load()
    offsets: dict[str, int] = {}
    offset = -1
    for key in Reader(stream).load():
        offset = stream.tell() if offset < 0 else offset
        storage = reader.storages[key]
        if int.from_bytes(data[offset : offset + 8], "little") != storage.numel:
            raise InputError(f"the storage {key} is not as long as the file says")
        offsets[key] = offset + 8
        offset += 8 + storage.numel * np.dtype(storage.dtype).itemsize
    return _published(content, lambda s: np.frombuffer(data, s.dtype, count=s.numel, offset=offsets[s.key]))


def _no_storage(storage: Storage) -> Array:
    raise InputError(f"the storage {storage.key} is not in the file")


def _ckpt(data: bytes) -> dict[str, Array]:
    """The tensors of a MindSpore checkpoint, in which a large tensor is cut into slices."""
    if data[-17:-10] == b"crc_num":
        data = data[:-17]
    message = Checkpoint()
    message.ParseFromString(data)
    slices: dict[str, list[Any]] = {}
    for value in message.value:
        if value.HasField("tensor") and value.tensor.tensor_type in _CKPT_DTYPES:
            slices.setdefault(value.tag, []).append(value.tensor)
    arrays = {}
    for name, parts in slices.items():
        flat = np.frombuffer(b"".join(part.tensor_content for part in parts), _CKPT_DTYPES[parts[0].tensor_type])
        arrays[name] = flat.reshape([] if list(parts[0].dims) == [0] else list(parts[0].dims))
    if not arrays:
        raise InputError("it holds no tensors")
    return arrays
