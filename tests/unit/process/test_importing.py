from __future__ import annotations

import gc

import pytest

from nonlocal_core.process import importing


def test_garbage_is_looked_for_again_after_the_imports_also_if_one_fails():
    before = gc.get_freeze_count()
    with importing.at_once():
        kept = [[] for _ in range(1000)]
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept), "what is there is not looked through again"
    with pytest.raises(ModuleNotFoundError), importing.at_once():
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()
