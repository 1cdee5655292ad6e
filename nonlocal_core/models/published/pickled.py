"""The few values that a pickle of weights may hold, and the functions that make them.

What is checked here holds for any file: an array has few dimensions, sizes and strides are whole numbers, and a
tensor lies inside its storage.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.errors import InputError

Array = NDArray[Any]

BFLOAT16 = "bfloat16"
"""a type that NumPy does not have: the upper half of a float32"""
MOST_DIMS = 8
"""of an array: networks need 5, and NumPy's own checks cannot be relied on beyond 32"""
DTYPES = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "ByteStorage": "<u1",
    "CharStorage": "<i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "BoolStorage": "?",
    "BFloat16Storage": BFLOAT16,
}


class Name(NamedTuple):
    """The inert marker that a name in a file becomes."""

    name: str


class Opaque:
    """An object that is passed over."""


class Storage(NamedTuple):
    """A flat array of numbers somewhere in a PyTorch file."""

    dtype: str
    key: str
    numel: int


class Tensor(NamedTuple):
    """A view of a storage; offset and stride in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Dtype:
    """A NumPy dtype in a file; only those of numbers."""

    def __init__(self, kind: object, *_: object) -> None:
        if not isinstance(kind, str) or not re.fullmatch("[fiu][1248]|b1", kind):
            raise InputError(f"refused an array of {short(kind)}: only numbers are read")
        self.text = kind

    def build(self, state: Any) -> None:
        """Take the byte order, all that the state of a dtype of numbers holds."""
        if state[1] not in ("<", ">", "|") or any(part is not None for part in state[2:5]):
            raise InputError("refused an array of records: only numbers are read")
        self.text = state[1] + self.text


class NumpyArray:
    """A NumPy array in a file."""

    def __init__(self, *_: object) -> None:
        self.array: Array = np.zeros(0)

    def build(self, state: Any) -> None:
        """Take shape and numbers from the state."""
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: Any, dtype: Any, shape: Any, order: Any) -> NumpyArray:
        """Put numbers into the array."""
        if not isinstance(dtype, Dtype) or not isinstance(data, bytes | str):
            raise InputError("refused an array of objects: only numbers are read")
        content = data.encode("latin1") if isinstance(data, str) else data
        flat = np.frombuffer(content, dtype.text)
        if not are_sizes(shape) or math.prod(shape) != flat.size:
            raise InputError("refused an array whose shape is not that of its data")
        self.array = flat.reshape(shape, order=order)
        return self


def are_sizes(values: Any) -> bool:
    """Whether these can be the sizes, or the strides, of an array."""
    return (
        isinstance(values, tuple)
        and len(values) <= MOST_DIMS
        and all(type(value) is int and 0 <= value < 1 << 62 for value in values)
    )


def short(value: object) -> str:
    """A value in a message: a text as it is; of anything else the type, since writing it may take for ever."""
    return f"{value!r:.80}" if isinstance(value, str) else type(value).__name__


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: object) -> Tensor:
    if not isinstance(storage, Storage) or type(offset) is not int:
        raise InputError("refused a tensor without a storage")
    if not are_sizes(size) or not are_sizes(stride) or len(size) != len(stride):
        raise InputError(f"refused a tensor outside its storage, or of more than {MOST_DIMS} dimensions")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    numel = math.prod(size)
    if offset < 0 or numel > storage.numel or (numel and last >= storage.numel):
        raise InputError("refused a tensor that reaches outside its storage")
    return Tensor(storage, offset, size, stride)


def _mapping(pairs: Iterable[Any] = ()) -> dict[Any, Any]:
    return fill({}, [part for pair in pairs for part in pair])


def _bytes(text: str, encoding: str) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise InputError(f"refused bytes encoded as {short(encoding)}")
    return text.encode(encoding)


_NUMPY = ("numpy.core", "numpy._core")
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _mapping,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "_codecs.encode": _bytes,
    "numpy.dtype": Dtype,
    **{f"{core}.multiarray._reconstruct": NumpyArray for core in _NUMPY},
    **{
        f"{core}.multiarray.scalar": lambda dtype, data: NumpyArray().fill(data, dtype, (), "C") for core in _NUMPY
    },
    **{f"{core}.numeric._frombuffer": lambda *arguments: NumpyArray().fill(*arguments) for core in _NUMPY},
}
NAMES = {"numpy.ndarray", *FUNCTIONS, *(f"torch.{name}" for name in DTYPES)}


def fill(items: Any, flat: list[Any]) -> Any:
    """A dictionary with more entries; keys are text or small whole numbers only, so that comparing them ends."""
    if isinstance(items, Opaque):
        return items
    if not isinstance(items, dict) or not all(
        isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 60) for key in flat[::2]
    ):
        raise InputError("refused a dictionary whose keys are not text")
    items.update(zip(flat[::2], flat[1::2], strict=True))
    return items
