from __future__ import annotations

import pytest

from nonlocal_core.artifacts.workspace import Workspace


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)
