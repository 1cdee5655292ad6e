"""Pickles of PyTorch and Caffe2, read without these frameworks and without running code from them.

A pickle is a program.  This reader knows only the instructions that plain data needs.  A name in the file becomes
an inert marker, and a call of it calls one of the few `pickled.FUNCTIONS`.  Objects of other packages, such as the
state of a training, become `Opaque`: they hold nothing, and nothing of them is run.  What is read is never larger
than the file.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from nonlocal_core.errors import InputError
from nonlocal_core.models.published import pickled
from nonlocal_core.models.published.pickled import Dtype, Name, NumpyArray, Opaque, Storage

_PLAIN = """
    PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
    FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES
    SHORT_BINBYTES BINBYTES8 EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT
    GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL BINPERSID
"""
_OF_PYTHON = sys.stdlib_module_names | {"__builtin__", "copy_reg", "numpy", "torch"}
"""packages whose names are refused unless `pickled` or `_INERT` has them: they can do harm, or would be tensors"""
_INERT = {
    *(
        "builtins.getattr",
        "__builtin__.getattr",
        "builtins.set",
        "__builtin__.set",
        "builtins.frozenset",
        "__builtin__.frozenset",
        "builtins.slice",
    ),
    *("collections.defaultdict", "collections.deque", "collections.Counter", "argparse.Namespace"),
    *(
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.WindowsPath",
        "pathlib.PureWindowsPath",
    ),
    *("datetime.datetime", "datetime.date", "datetime.timedelta", "uuid.UUID", "decimal.Decimal"),
    *("torch.device", "torch.float32", "torch.float16", "torch.bfloat16", "torch.float64", "torch.int64"),
    *(
        "torch.int8",
        "torch.uint8",
        "torch.int16",
        "torch.int32",
        "torch.bool",
        "torch.strided",
        "torch.preserve_format",
    ),
}
"""names of those packages that become markers, and whose calls are passed over"""


class Reader(pickle._Unpickler):  # the one in Python, whose instructions can be chosen
    """A reader of one pickle, which gives containers, text, numbers, `Tensor` and `NumpyArray`."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {}
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="latin1")
        self.left = len(stream.getbuffer())
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Name:
        """The marker of a name, if files of weights need it, or it is of no package that could do harm."""
        full = f"{module}.{name}"
        if (
            module.split(".")[0] in _OF_PYTHON
            and full not in pickled.NAMES | _INERT
            and not full.startswith("torch.optim.")
        ):
            raise InputError(f"refused {full}: only tensors and plain data are read")
        return Name(full)

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a persistent id names."""
        kind, dtype, key, _, numel, *view = pid
        if kind != "storage" or not isinstance(dtype, Name) or view not in ([], [None]):
            raise InputError(f"refused a persistent {pickled.short(kind)}: only storages are read")
        if not isinstance(key, str | int) or not pickled.are_sizes((numel,)):
            raise InputError("refused a storage without a name and a size")
        storage = Storage(pickled.DTYPES[dtype.name.removeprefix("torch.")], str(key), numel)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise InputError(f"refused the storage {key}, which the file describes in two ways")
        return storage

    def reduce(self) -> None:
        """Call one of `pickled.FUNCTIONS`, by its marker; pass over other objects."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if _is_inert(function):
            if isinstance(function, Name) and function.name.endswith(".getattr"):
                _check_attribute(arguments)
            self.stack.append(Opaque())
            return
        if not isinstance(function, Name) or function.name not in pickled.FUNCTIONS:
            raise InputError("refused to call what is no function of tensors")
        self._spend(arguments)
        self.stack.append(pickled.FUNCTIONS[function.name](*arguments))

    def new(self) -> None:
        """Pass over a new object."""
        _, kind = self.stack.pop(), self.stack.pop()
        if not _is_inert(kind):
            raise InputError("refused to make what is no tensor")
        self.stack.append(Opaque())

    def build(self) -> None:
        """Set the state of a dtype or an array; that of an ordered dictionary is dropped."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Dtype | NumpyArray):
            self._spend(state)
            target.build(state)
        elif type(target) not in (dict, Opaque):
            raise InputError("refused to alter what is no array")

    def fill(self) -> None:
        """Put the entries on the stack into the dictionary below them."""
        flat = self.pop_mark()
        pickled.fill(self.stack[-1], flat)

    def fill_one(self) -> None:
        """Put one entry into the dictionary below it."""
        value, key = self.stack.pop(), self.stack.pop()
        pickled.fill(self.stack[-1], [key, value])

    def make(self) -> None:
        """Make a dictionary of the entries on the stack."""
        flat = self.pop_mark()
        self.append(pickled.fill({}, flat))

    def extend(self) -> None:
        """Put the values on the stack into the list below them; those of another object are passed over."""
        values = self.pop_mark()
        self._extend(values)

    def extend_by_one(self) -> None:
        """Put one value into the list below it."""
        self._extend([self.stack.pop()])

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list | Opaque):
            raise InputError("refused to alter what is no list")
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def _spend(self, parts: Any) -> None:
        """Count what a call may copy, so that a short pickle cannot copy a long text again and again."""
        self.left -= sum(len(part) for part in parts if isinstance(part, str | tuple | list))
        if self.left < 0:
            raise InputError("refused to make more than the file holds")


def _check_attribute(arguments: Any) -> None:
    """Raise InputError unless an attribute is one of an object that is passed over."""
    owner = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if not isinstance(owner, Name) or owner.name.split(".")[0] in _OF_PYTHON:
        raise InputError("refused builtins.getattr: only tensors and plain data are read")


def _is_inert(value: Any) -> bool:
    """Whether a value stands for something that is passed over."""
    return isinstance(value, Opaque) or (isinstance(value, Name) and value.name not in pickled.NAMES)


Reader.dispatch = {
    **{getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _PLAIN.split()},
    pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
    pickle.REDUCE[0]: Reader.reduce,
    pickle.BUILD[0]: Reader.build,
    pickle.SETITEMS[0]: Reader.fill,
    pickle.SETITEM[0]: Reader.fill_one,
    pickle.DICT[0]: Reader.make,
    pickle.NEWOBJ[0]: Reader.new,
    pickle.APPENDS[0]: Reader.extend,
    pickle.APPEND[0]: Reader.extend_by_one,
}
