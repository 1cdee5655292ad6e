"""A function as a compiled graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn

from nonlocal_core.models.compiling import compiling


class Graph(nn.Cell):
    """A function that is compiled before its first run; the memory that compiling frees is returned in between.

    It is some 100 MB, which glibc would keep and the run would not use.  In MindSpore's PyNative mode nothing is
    compiled, and each run goes operator by operator.
    """

    def __init__(self, function: Callable[..., Any], what: str, *identity: object) -> None:
        super().__init__(auto_prefix=False)
        self.function = function
        self.what, self.identity = what, identity
        self.is_compiled = False

    def construct(self, *arguments: Tensor) -> Any:
        """What the function returns."""
        return self.function(*arguments)

    def run(self, *arguments: Tensor) -> Any:
        """What the function returns; the first call compiles it before."""
        if ms.get_context("mode") == ms.PYNATIVE_MODE:
            return self.function(*arguments)
        if not self.is_compiled:
            shapes = [argument.shape for argument in arguments]
            with compiling(self.what, *self.identity, shapes):
                self.compile(*arguments)
            if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # only glibc has it
                trim(0)
            self.is_compiled = True
        return self(*arguments)
