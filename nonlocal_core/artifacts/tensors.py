"""Safetensors files: arrays by their names, and texts in a header that is read without them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors

from nonlocal_core.errors import DamagedError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The texts of a file, and the shapes of its arrays.

    Raises: OSError if it cannot be opened; DamagedError if it is not whole.
    """
    with _opened(path) as file:
        names = file.keys()
        return file.metadata() or {}, {name: tuple(file.get_slice(name).get_shape()) for name in names}


def read(path: Path) -> tuple[dict[str, str], dict[str, NDArray[np.generic]]]:
    """The texts and the arrays of a file.

    Raises: as `read_header`.
    """
    with _opened(path) as file:
        names = file.keys()
        return file.metadata() or {}, {name: file.get_tensor(name) for name in names}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise DamagedError(f"{path} is no file of weights, or is damaged ({error})") from None
