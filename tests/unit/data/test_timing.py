"""When frames are shown, against plain searches through their time stamps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_files import SLOW_THEN_FAST

from nonlocal_core.data.timing import whole

GAPS = st.lists(st.sampled_from([1 / 30, 1 / 60, 0.5, 1.0]), min_size=2, max_size=60)


def shown_at(times_s: list[float], time_s: float) -> int:
    """The last frame that has begun."""
    return max(number for number, begin_s in enumerate(times_s) if begin_s <= time_s + 1e-9)


@given(GAPS, st.floats(0, 1), st.floats(0, 1))
def test_a_part_has_the_frames_that_are_shown_in_it(gaps: list[float], one: float, other: float) -> None:
    times_s = np.cumsum([0.0, *gaps]).tolist()
    mean_s = times_s[-1] / (len(times_s) - 1)
    start_s, end_s = (share * (times_s[-1] + mean_s) for share in sorted((one, other)))
    if min(abs(time_s - edge) for time_s in times_s for edge in (start_s, end_s)) < 1e-3 * mean_s:
        return  # what is shown just then is a matter of rounding
    video = whole(len(times_s), 99.0, times_s)
    assert video.fps == pytest.approx(1 / mean_s)
    part = video.part(start_s * video.fps, end_s * video.fps)
    shown = range(part.first, part.first + part.num_frames)
    expected = {shown_at(times_s, start_s)} | {n for n, time_s in enumerate(times_s) if start_s <= time_s < end_s}
    assert set(shown) == expected
    middle = (start_s + end_s) / 2
    if min(abs(time_s - middle) for time_s in times_s) > 1e-3 * mean_s:
        (number,) = part.shown(np.array([(middle - start_s) * video.fps]))
        assert part.first + number == shown_at(times_s, middle)


@given(st.integers(1, 300), st.integers(0, 300), st.integers(1, 300))
def test_an_even_rate_is_counting(num_frames: int, start: int, length: int) -> None:
    part = whole(num_frames, 25.0).part(start / 2, start / 2 + length)
    assert part.first == min(start // 2, num_frames - 1)
    assert part.num_frames == max(1, min(num_frames, -(-(start + 2 * length) // 2)) - part.first)
    assert part.shown(np.array([0.0, 0.99, 2.5])).tolist() == [min(n, part.num_frames - 1) for n in (0, 0, 2)]


def test_even_time_stamps_say_what_counting_says() -> None:
    counted, timed = whole(50, 25.0), whole(50, 25.0, [number / 25 for number in range(50)])
    assert timed.fps == pytest.approx(25.0)
    for start, end in ((0, 50), (3, 9), (3.3, 9.9), (49, 50), (12.5, 12.6)):
        one, other = counted.part(start, end), timed.part(start, end)
        assert (one.first, one.num_frames) == (other.first, other.num_frames)


def test_a_decoder_may_find_more_or_fewer_frames_than_there_are_time_stamps() -> None:
    fewer, more = whole(68, 0.0, SLOW_THEN_FAST), whole(72, 0.0, SLOW_THEN_FAST)
    assert fewer.shown(np.array([4.5 * fewer.fps, 999.0])).tolist() == [4, 67]
    assert more.shown(np.array([4.5 * more.fps, 999.0])).tolist() == [4, 71]
    assert whole(1, 25.0, SLOW_THEN_FAST) == whole(1, 25.0)
