"""Time stamps of videos whose rate varies, against those that PyAV's decoder gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_files import SLOW_THEN_FAST, encode_timed, encode_video, times_by_pyav

from nonlocal_core.data.video import decoding

DROPPED = [number / 25 for number in range(100) if number % 10 != 7]
FASTER = [number / 25 for number in range(100)] + [4 + number / 30 for number in range(100)]
"""No gap is much longer than another, but the frames in the middle are a third of a second late."""


@pytest.mark.parametrize("times_s", [SLOW_THEN_FAST, DROPPED, FASTER], ids=["slow then fast", "dropped", "faster"])
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_varying_rate_has_its_time_stamps(tmp_path: Path, ending: str, times_s: list[float]) -> None:
    path = encode_timed(tmp_path / f"video.{ending}", [1.5 + time_s for time_s in times_s])
    probed = decoding.probe(path)
    assert (probed.variable_fps, probed.num_frames) == (True, len(times_s))
    assert probed.times_s is not None
    np.testing.assert_allclose(probed.times_s, times_by_pyav(path), atol=1e-9)
    np.testing.assert_allclose(probed.times_s, times_s, atol=1.1e-3)  # MKV rounds to milliseconds


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_an_even_rate_has_none(tmp_path: Path, ending: str) -> None:
    for path in (
        encode_video(tmp_path / f"b.{ending}", b_frames=0 if ending == "avi" else 2),
        encode_timed(tmp_path / "29.97.mkv", [number * 1001 / 30000 for number in range(200)]),
    ):
        probed = decoding.probe(path)
        assert (probed.variable_fps, probed.times_s) == (False, None)
