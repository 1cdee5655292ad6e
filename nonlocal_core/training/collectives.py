"""Sums, means and gathered rows over the devices of one training; with a single device, its own values.

Rank 0 is the first device: it alone writes files.  All devices must make the calls here, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from numpy.typing import NDArray

from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.config.tree import Config
from nonlocal_core.data import loader
from nonlocal_core.errors import WorkspaceError

Kind = TypeVar("Kind", bound=np.generic)


class Ranks(NamedTuple):
    """The number of this process's device (rank), and of all devices."""

    rank: int = 0
    num_ranks: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes checkpoints, log and curves."""
        return self.rank == 0

    def config(self, config: Config) -> Config:
        """The settings with the micro batch of one device."""
        return config.model_copy(update={"train": config.train.shared_by(self.num_ranks)})

    def part(self, whole: NDArray[Kind]) -> NDArray[Kind]:
        """This device's part of an array that was drawn for a whole batch.

        Shape:  (N / num_ranks, …) of (N, …)
        """
        return np.split(whole, self.num_ranks)[self.rank]

    def sum(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sum of the devices' arrays, which have one shape."""
        return array if self.num_ranks == 1 else np.asarray(_sum()(Tensor(array)).asnumpy(), np.float32)

    def mean(self, *numbers: float) -> tuple[float, ...]:
        """The mean over the devices of each of the numbers."""
        if self.num_ranks == 1:
            return numbers
        return tuple((self.sum(np.array(numbers, np.float32)) / self.num_ranks).tolist())

    def gather(self, rows: NDArray[np.float32], num_rows: int) -> NDArray[np.float32]:
        """All rows of an array, gathered from the parts that the devices have (loader.rows_of_rank).

        Shape:  (num_rows, …)
        """
        whole = np.zeros((num_rows, *rows.shape[1:]), np.float32)
        whole[loader.rows_of_rank(list(range(num_rows)), self.rank, self.num_ranks)] = rows
        return self.sum(whole)

    def first(self, tensors: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """The first device's tensors, on every device; float32 by name."""
        if self.num_ranks == 1:
            return tensors
        flat = np.concatenate([array.astype(np.float32).ravel() for array in tensors.values()])
        flat = self.sum(flat if self.is_first else np.zeros_like(flat))
        ends = np.cumsum([array.size for array in tensors.values()])[:-1]
        parts = zip(tensors.items(), np.split(flat, ends), strict=True)
        return {name: part.reshape(array.shape).astype(array.dtype) for (name, array), part in parts}

    def check_same(self, text: str) -> None:
        """Check that this text, which describes how a device begins, is the same on all devices.

        Raises: WorkspaceError if it is not.
        """
        digest = np.frombuffer(digest_of(text).encode(), np.uint8).astype(np.float32)
        if not np.array_equal(self.sum(digest), digest * self.num_ranks):
            raise WorkspaceError(
                "the devices begin with different weights: all hosts need the same code and the same workspace,"
                " on a disk that they share"
            )


ALONE = Ranks()


@cache
def _sum() -> Callable[[Tensor], Any]:
    """A compiled function that sums an array over all devices."""
    all_reduce = ops.AllReduce()

    def add_up(array: Tensor) -> Tensor:
        return all_reduce(array)

    compiled: Callable[[Tensor], Any] = ms.jit(add_up)
    return compiled
