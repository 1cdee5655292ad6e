"""Published files of weights, read as named arrays: nothing in them is run, and no other framework is needed.

PyTorch (zip since 1.6, and the older pickle with its storages behind it), Caffe2's pickled blobs, MindSpore's
protobuf, Flax's pickled variables and safetensors.
"""

from __future__ import annotations

import io
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from nonlocal_core.artifacts import tensors
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.models.published import file_configs
from nonlocal_core.models.published.pickled import BFLOAT16, Array, NumpyArray, Storage, Tensor
from nonlocal_core.models.published.pickles import Reader
from nonlocal_core.models.published.profiles import Settings
from nonlocal_core.process import confined

_LEGACY = 0x1950A86A20F9469CFC6C
"""the first number in a PyTorch file from before 1.6"""
_TENSORS = "tensors.safetensors"
_STATE_DICTS = ("state_dict", "model_state", "blobs")
"""keys under which mmaction2, SlowFast and video-nonlocal-net keep the tensors"""
_VARIABLES = {"params", "batch_stats"}
"""keys under which Flax keeps dictionaries in dictionaries, whose leaves are the tensors"""
_MOST_DEPTH = 10
_CKPT_DTYPES = {
    f"{kind}{8 * size}": f"<{kind[0].lower()}{size}"
    for kind, sizes in {"Int": (1, 2, 4, 8), "UInt": (1, 2, 4, 8), "Float": (2, 4, 8)}.items()
    for size in sizes
}
_SAFETENSORS_DTYPES = {
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    "BOOL": "?",
}


class Published(NamedTuple):
    """The content of a file of weights."""

    tensors: dict[str, Array]
    """by their names in the file"""
    description: str
    """what a checkpoint of this project says of itself (JSON)"""
    settings: Settings
    """settings of the network that the config inside the file says"""
    clip: str
    """LENxINTERVAL by that config"""
    labels: tuple[str, ...]
    """the classes that a training with mmaction2 1.x noted; empty if the file names none"""


class Parsed(NamedTuple):
    """The content of a file of weights as it stands there."""

    tensors: dict[str, Array]
    beside: dict[str, Any]
    """plain values next to the tensors, such as the text of a config"""


def read(path: Path, config: str = "") -> Published:
    """The content of a file, read in a process of its own; `config` says whose config it may hold.

    Raises: InputError if there is no file, it is damaged or of an unknown kind, reading it takes more memory or
        time than its size allows, it holds anything but plain data and tensors (the message names what was
        refused), or its config describes a network that cannot be imported.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file")
    with tempfile.TemporaryDirectory() as folder:
        answer = confined.run(f"{__package__}.files", path, Path(folder), config)
        _, arrays = tensors.read(Path(folder) / _TENSORS)
    in_order = {name: arrays[name] for name in answer["names"]}
    settings = {key: _tupled(value) for key, value in answer["settings"].items()}
    return Published(in_order, answer["description"], settings, answer["clip"], tuple(answer["labels"]))


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list) else value


def _extract(path: Path, folder: Path, config: str) -> dict[str, Any]:
    """Write the tensors of a file into a folder; give the rest."""
    parsed = parse(path)
    arrays = {name: array.copy("C") for name, array in parsed.tensors.items()}
    safetensors.numpy.save_file(arrays, folder / _TENSORS)
    description = parsed.beside.get("description", "")
    settings, clip = file_configs.settings_and_clip(parsed.beside, config)
    return {
        "names": list(parsed.tensors),
        "description": description if isinstance(description, str) else "",
        "settings": settings,
        "clip": clip,
        "labels": _labels(parsed.beside),
    }


def _labels(beside: dict[str, Any]) -> list[str]:
    """The classes beside the tensors, where mmaction2 1.x keeps them, or 0.x; numbers are names, too."""
    for path in (("dataset_meta", "classes"), ("dataset_meta", "CLASSES"), ("CLASSES",)):
        classes: Any = beside.get("meta")
        for name in path:
            classes = classes.get(name) if isinstance(classes, dict) else None
        if isinstance(classes, list | tuple) and all(type(label) in (str, int) for label in classes):
            return [str(label) for label in classes]
    return []


def parse(path: Path) -> Parsed:
    """The tensors of a file by their names in it, and the plain values beside them, read in this process.

    Raises: InputError if it is damaged or of an unknown kind, or holds anything but plain data and tensors.
    """
    try:
        return _parse(path)
    except InputError:
        raise
    except DamagedError as error:
        raise InputError(str(error)) from None
    except MemoryError:
        raise InputError("reading it takes more memory than a file of its size needs: it is refused") from None
    except Exception as error:  # a damaged file may raise anything
        raise InputError(
            f"it is no file of weights, or is damaged ({type(error).__name__}: {error!s:.200})"
        ) from None


def _parse(path: Path) -> Parsed:
    data = path.read_bytes()
    if path.suffix == ".ckpt" and data[:1] != pickle.PROTO:  # other projects call pickles so, too
        return Parsed(_ckpt(data), {})
    if path.suffix == ".safetensors":
        texts, _ = tensors.read_header(path)
        return Parsed(_safetensors(data), dict(texts))
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _zip(archive, len(data))
    stream = io.BytesIO(data)
    first = Reader(stream).load()
    if first == _LEGACY:
        return _legacy(stream, data)
    return _published(first, _no_storage)


def _published(content: Any, flat: Callable[[Storage], Array]) -> Parsed:
    """The tensors of a checkpoint, and the values beside them."""
    if isinstance(content, dict) and content.keys() == _VARIABLES:
        content = dict(_leaves(content))
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
    return Parsed(arrays, {k: v for k, v in content.items() if k not in names} if names else {})


def _leaves(content: dict[Any, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The leaves of dictionaries in dictionaries, with the keys on the way joined by slashes."""
    if depth > _MOST_DEPTH:
        raise InputError("its dictionaries lie too deep in each other")
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}/", depth + 1)
        else:
            yield f"{prefix}{key}", value


def _view(tensor: Tensor, flat: Callable[[Storage], Array]) -> Array:
    """A tensor of its storage; `pickles` has checked that it lies inside."""
    storage, size, num = flat(tensor.storage), tensor.size, int(np.prod(tensor.size))
    in_order = tuple(int(np.prod(size[axis + 1 :])) for axis in range(len(size)))
    if all(n <= 1 or step == usual for n, step, usual in zip(size, tensor.stride, in_order, strict=True)):
        array = storage[tensor.offset : tensor.offset + num].reshape(size)
    else:
        steps = [np.arange(n) * step for n, step in zip(size, tensor.stride, strict=True)]
        array = storage[tensor.offset + sum(np.ix_(*steps), start=np.zeros((), int))]
    if tensor.storage.dtype == BFLOAT16:
        return _widened(array)
    return array


def _numbers(content: bytes, storage: Storage, offset: int = 0) -> Array:
    return np.frombuffer(content, "<u2" if storage.dtype == BFLOAT16 else storage.dtype, storage.numel, offset)


def _zip(archive: zipfile.ZipFile, size: int) -> Parsed:
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
            arrays[storage.key] = _numbers(archive.read(f"{root}data/{storage.key}"), storage)
        return arrays[storage.key]

    return _published(Reader(io.BytesIO(archive.read(pickles[0]))).load(), flat)


def _legacy(stream: io.BytesIO, data: bytes) -> Parsed:
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
        offset += 8 + storage.numel * (2 if storage.dtype == BFLOAT16 else np.dtype(storage.dtype).itemsize)
    return _published(content, lambda storage: _numbers(data, storage, offsets[storage.key]))


def _safetensors(data: bytes) -> dict[str, Array]:
    """The tensors of a safetensors file, those of bfloat16 as float32."""
    arrays = {}
    for name, entry in safetensors.deserialize(data):  # type: ignore[no-untyped-call]
        if entry["dtype"] == "BF16":
            flat = _widened(np.frombuffer(entry["data"], "<u2"))
        else:
            flat = np.frombuffer(entry["data"], _SAFETENSORS_DTYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"])
    return arrays


def _widened(upper: Array) -> Array:
    """The float32 numbers whose upper halves these are."""
    return (upper.astype("<u4") << 16).view("<f4")


def _no_storage(storage: Storage) -> Array:
    raise InputError(f"the storage {storage.key} is not in the file")


def _ckpt(data: bytes) -> dict[str, Array]:
    """The tensors of a MindSpore checkpoint, in which a large tensor is cut into slices."""
    from mindspore.train.checkpoint_pb2 import Checkpoint  # the other kinds of files do without MindSpore

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


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    confined.answer(source, target, lambda: _extract(source, target, sys.argv[3]))
