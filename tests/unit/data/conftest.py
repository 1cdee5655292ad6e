from __future__ import annotations

from pathlib import Path

import pytest
from video_files import encode_video


@pytest.fixture(scope="session")
def good_mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of 128x64 px at 25 frames per second, with B-frames."""
    folder = tmp_path_factory.mktemp("good") / "run"
    folder.mkdir()
    return encode_video(folder / "good.mp4", b_frames=2)
