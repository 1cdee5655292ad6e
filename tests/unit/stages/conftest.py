from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small import Toy


@pytest.fixture(scope="session")
def broken_videos(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 12 toy videos and four more: text, empty, cut short, and one whose frames are damaged."""
    folder = tmp_path_factory.mktemp("broken") / "videos"
    shutil.copytree(toy.videos_dir, folder)
    good = (folder / "grows/toy-0001.mp4").read_bytes()
    (folder / "falls/text.mp4").write_text("<html>429 Too Many Requests</html>" * 50)
    (folder / "grows/empty.mp4").write_bytes(b"")
    (folder / "rises/cut.mp4").write_bytes(good[: len(good) // 2])
    third = len(good) // 3
    (folder / "shrinks/damaged.mp4").write_bytes(good[:third] + b"\xff" * third + good[2 * third :])
    return folder
