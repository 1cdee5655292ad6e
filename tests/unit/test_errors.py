from __future__ import annotations

import errno
import pickle

import pytest

from nonlocal_core import command, errors
from nonlocal_core.errors import ChildError, InputError, NonlocalError, RemoteError, all_errors, is_worth_retrying


def test_a_full_disk_is_not_tried_again():
    assert not is_worth_retrying(OSError(errno.ENOSPC, "No space left on device"))
    assert is_worth_retrying(OSError(errno.EIO, "Input/output error"))


def test_the_tree_is_the_drawn_one():
    drawn = [line.replace("│", " ") for line in (errors.__doc__ or "").splitlines() if "Error  " in line]
    names = [line.replace("├──", "").replace("└──", "").split()[0] for line in drawn]
    assert sorted(names) == sorted(all_errors())
    assert all_errors().keys() == {name for name in vars(errors) if name.endswith("Error")}
    for line, name in zip(drawn, names, strict=True):
        depth = (line.index(name) - 4) // 4
        assert len(all_errors()[name].__mro__) - len(NonlocalError.__mro__) == depth, name


def test_exit_codes_tell_the_kinds_apart():
    codes = {cls: cls.exit_code for cls in NonlocalError.__subclasses__()}
    assert sorted([1, *codes.values()]) == list(range(1, len(codes) + 2))
    for cls in all_errors().values():
        assert cls.exit_code not in (0, 130)
        assert cls is NonlocalError or cls.exit_code == codes[next(c for c in codes if issubclass(cls, c))]


@pytest.mark.parametrize("name", [name for name in all_errors() if name not in ("ChildError", "RemoteError")])
def test_our_own_errors_would_come_again(name):
    assert not is_worth_retrying(all_errors()[name]("x"))


@pytest.mark.parametrize(
    ("error", "worth"),
    [
        (ChildError("x"), True),
        (RemoteError("x"), True),
        (ChildError("x", worth_retrying=False), False),
        (OSError(5, "Input/output error"), True),
        (FileNotFoundError(), True),
        (ConnectionResetError(), True),
        (MemoryError(), True),
        (RuntimeError(), True),
        (ValueError(), False),
        (TypeError(), False),
        (AssertionError(), False),
        (KeyError(), False),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
    ],
)
def test_trouble_with_the_machine_is_worth_another_try(error, worth):
    assert is_worth_retrying(error) == worth


def test_errors_can_be_sent():
    again = pickle.loads(pickle.dumps(ChildError("x", worth_retrying=False)))
    assert (str(again), again.worth_retrying) == ("x", False)
    assert str(pickle.loads(pickle.dumps(InputError("y")))) == "y"


def test_a_disk_that_does_not_work_and_too_little_memory_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    fault = OSError(errno.EIO, "Input/output error", "/videos/a.mp4")
    assert command.failed(fault) == 4
    said = capsys.readouterr().err
    assert said == "error: the disk does not work (Input/output error), /videos/a.mp4: look at it and run again\n"
    assert command.failed(OSError(errno.EIO, "Input/output error")) == 4  # while an open file is written
    assert (
        capsys.readouterr().err == "error: the disk does not work (Input/output error): look at it and run again\n"
    )
    assert command.failed(MemoryError()) == 6
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(FileNotFoundError):
        command.failed(FileNotFoundError(errno.ENOENT, "No such file"))
