from __future__ import annotations

import pytest
from small import Toy, small_config

from nonlocal_core.artifacts import Workspace
from nonlocal_core.data.toy import make_toy_videos
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """12 toy videos, indexed and cached; whoever writes takes `toy.workspace(tmp_path)`."""
    folder = tmp_path_factory.mktemp("toy")
    videos_dir = make_toy_videos(folder / "videos", 12)
    workspace, config = Workspace(folder / "workspace"), small_config()
    manifest = index(videos_dir, config, workspace)
    return Toy(videos_dir, workspace.root, manifest, cache(manifest, config, workspace))
