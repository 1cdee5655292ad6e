from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from small import python, small_config

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import ConfigError, DamagedError
from nonlocal_core.models.normalise import normalise


@pytest.fixture
def reader(toy):
    return RecordReader(Workspace(toy.root), toy.cache)


def batches(reader, epoch=0, skip=0, rows=None, **overrides):
    rows = loader.readable_rows(reader, "train") if rows is None else rows
    return list(loader.train_batches(reader, rows, small_config(**overrides), epoch, skip))


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.rows == b.rows
        np.testing.assert_array_equal(a.label_N, b.label_N)
        np.testing.assert_array_equal(a.clip_NCTHW, b.clip_NCTHW)


class Watched(RecordReader):
    """Remembers which frames were asked for."""

    def read(self, row_number, indices):
        self.__dict__.setdefault("asked", []).append((row_number, indices.tolist()))
        return super().read(row_number, indices)


@pytest.fixture
def watched(toy):
    return Watched(Workspace(toy.root), toy.cache)


def loader_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_batches_are_a_function_of_seed_and_epoch_and_not_of_the_number_of_threads(reader):
    first = batches(reader, runtime__num_workers=1)
    assert_same(first, batches(reader, runtime__num_workers=1))
    assert_same(first, batches(reader, runtime__num_workers=3))
    assert_same(first, batches(reader, runtime__num_workers=0))
    for other in (batches(reader, epoch=1), batches(reader, train__seed=1)):
        assert [batch.rows for batch in other] != [batch.rows for batch in first]


def test_the_same_video_gives_another_clip_in_another_epoch(reader):
    first, second = (
        {
            row: clip
            for batch in batches(reader, epoch)
            for row, clip in zip(batch.rows, batch.clip_NCTHW, strict=True)
        }
        for epoch in (0, 1)
    )
    assert first.keys() == second.keys()
    assert any(not np.array_equal(first[row], second[row]) for row in first)


def test_a_batch_is_what_the_network_takes(reader):
    rows = loader.readable_rows(reader, "train")
    epoch = batches(reader)
    assert sorted(row for batch in epoch for row in batch.rows) == rows
    labels = reader.rows["label_id"].tolist()
    for batch in epoch:
        assert (batch.clip_NCTHW.shape, batch.clip_NCTHW.dtype) == ((2, 3, 4, 32, 32), np.uint8)
        assert batch.clip_NCTHW.flags.c_contiguous
        assert batch.label_N.dtype == np.int32
        assert batch.label_N.tolist() == [labels[row] for row in batch.rows]


@pytest.mark.parametrize("skip", [1, 3, 4])
def test_skipping_gives_the_rest_of_the_same_epoch(reader, skip):
    assert_same(batches(reader, epoch=2)[skip:], batches(reader, epoch=2, skip=skip))


@pytest.mark.parametrize(("num_videos", "size", "steps"), [(8, 3, 2), (8, 8, 1), (2, 5, 1), (1, 4, 1)])
def test_whole_batches_even_of_fewer_videos_than_one_takes(reader, num_videos, size, steps):
    rows = loader.readable_rows(reader, "train")[:num_videos]
    epoch = batches(reader, rows=rows, train__batch_size=size)
    assert [len(batch.rows) for batch in epoch] == [size] * steps
    assert loader.steps_per_epoch(num_videos, size) == steps
    assert {row for batch in epoch for row in batch.rows} <= set(rows)
    counts = np.bincount([row for batch in epoch for row in batch.rows])
    assert counts[counts > 0].max() - counts[counts > 0].min() <= 1


def unequal(reader):
    """Five rows of one label and one of another."""
    labels = reader.rows["label_id"].to_numpy()
    reader.rows.loc[labels > 1, "label_id"] = 0
    rows = reader.rows.index[reader.rows["label_id"] == 0].tolist()[:5]
    return rows, [*rows, reader.rows.index[reader.rows["label_id"] == 1].tolist()[0]]


def test_a_balanced_epoch_shows_a_rare_label_as_often_each_time_with_another_clip(reader):
    often, rows = unequal(reader)
    epoch = batches(reader, rows=rows, train__batch_size=6, train__balance=1.0)
    (batch,) = epoch
    assert np.bincount(batch.label_N).tolist() == [3, 3]
    assert len({*batch.rows} & {*often}) == 3
    clips = [clip.tobytes() for row, clip in zip(batch.rows, batch.clip_NCTHW, strict=True) if row == rows[-1]]
    assert len(set(clips)) == 3
    assert_same(epoch, batches(reader, rows=rows, train__batch_size=6, train__balance=1.0, runtime__num_workers=1))
    others = [batches(reader, epoch=n, rows=rows, train__batch_size=6, train__balance=1.0) for n in range(1, 5)]
    assert {row for other in others for row in other[0].rows} == {*rows}, "nothing is left out for ever"


def test_a_balanced_epoch_can_be_skipped_into_and_shared(reader):
    _, rows = unequal(reader)
    config = small_config(train__batch_size=2, train__balance=0.7)
    whole = list(loader.train_batches(reader, rows, config, 3, 0))
    assert_same(whole[2:], list(loader.train_batches(reader, rows, config, 3, 2)))
    parts = [list(loader.train_batches(reader, rows, config, 3, 0, rank, 2)) for rank in range(2)]
    for batch, *mine in zip(whole, *parts, strict=True):
        assert batch.rows == [row for part in mine for row in part.rows]
        np.testing.assert_array_equal(batch.clip_NCTHW, np.concatenate([part.clip_NCTHW for part in mine]))


def test_without_balance_a_video_that_fills_a_batch_keeps_its_one_clip(reader):
    """As trainings of before had it."""
    (batch,) = batches(reader, rows=[3], train__batch_size=4)
    assert len({clip.tobytes() for clip in batch.clip_NCTHW}) == 1


def test_what_is_left_out_of_one_epoch_is_in_another(reader):
    rows = set(loader.readable_rows(reader, "train"))
    epochs = [batches(reader, epoch, train__batch_size=3) for epoch in range(4)]
    left_out = [rows - {row for batch in epoch for row in batch.rows} for epoch in epochs]
    assert all(len(left) == 2 for left in left_out)
    assert set.intersection(*left_out) == set()


def test_only_readable_videos_of_the_split_are_taken(reader):
    reader.rows.loc[reader.rows.index[0], "status"] = "unreadable"
    rows = [row for split in ("train", "val", "test") for row in loader.readable_rows(reader, split)]
    assert sorted(rows) == list(range(1, 12))


def test_normalised_pixels(reader):
    import mindspore as ms

    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 6)).astype(np.uint8)
    slowfast = ModelConfig(input_mean=(114.75,) * 3, input_std=(57.375,) * 3)
    for model, mean, std in (
        (ModelConfig(), [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        (slowfast, [114.75, 114.75, 114.75], [57.375, 57.375, 57.375]),
    ):
        expected = (pixels - np.reshape(mean, (3, 1, 1, 1))) / np.reshape(std, (3, 1, 1, 1))
        normalised = normalise(ms.Tensor(pixels), model).asnumpy()
        np.testing.assert_allclose(normalised, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("clips", "crops"), [(1, 1), (3, 3)])
def test_views_of_a_video_are_those_of_its_frames(reader, clips, crops):
    from nonlocal_core.data import sampling, transforms
    from nonlocal_core.data.timing import whole

    config = small_config(evaluate__num_clips=clips, evaluate__num_crops=crops)
    rows = [5, 0, 7]
    found = list(loader.video_views(reader, rows, config.clip, config.evaluate, 2))
    assert len(found) == 3
    for row, views in zip(rows, found, strict=True):
        num_frames = int(reader.rows["num_frames"].iloc[row])
        indices = sampling.test_indices(whole(num_frames), config.clip, clips, "spread")
        expected = [transforms.test_views(reader.frames(row, one), 32, crops, "ends") for one in indices]
        assert views.shape == (clips * crops, 3, 4, 32, 32)
        np.testing.assert_array_equal(views, np.concatenate(expected))


@pytest.mark.parametrize(
    "setting",
    [
        {"clip__sampling": "part"},
        {"clip__sampling": "discrete"},
        {"clip__sampling": "average"},
        {"clip__short_videos": "loop", "clip__frame_interval": 20},
        {"train__scale_max": 1.5},
        {"train__scale_min": 0.9},
        {"train__crop": "multi_scale"},
        {"train__colour_jitter": 0.4},
    ],
)
def test_training_reads_how_clips_are_taken_and_changed(reader, setting):
    interval = {name: value for name, value in setting.items() if name == "clip__frame_interval"}
    first, second = batches(reader, **interval), batches(reader, **setting)
    assert [batch.rows for batch in first] == [batch.rows for batch in second]
    assert first[0].clip_NCTHW.shape == second[0].clip_NCTHW.shape
    assert any(not np.array_equal(a.clip_NCTHW, b.clip_NCTHW) for a, b in zip(first, second, strict=True))
    assert_same(second, batches(reader, runtime__num_workers=3, **setting))


@pytest.mark.parametrize(
    "setting",
    [{"clip__sampling": "average"}, {"clip__sampling": "part"}, {"evaluate__offsets": "paper"}],
)
def test_evaluation_reads_how_clips_are_taken(reader, setting):
    def views(**settings):
        config = small_config(evaluate__num_clips=3, **settings)
        return list(loader.video_views(reader, [5, 0], config.clip, config.evaluate, 2))

    first, second = views(), views(**setting)
    assert [one.shape for one in first] == [one.shape for one in second]
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_results_come_in_order_and_few_are_prepared_ahead():
    started = []

    def slow(number):
        started.append(number)
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    results = loader.map_in_order(slow, range(12), num_workers=3, ahead=4)
    assert next(results) == 0
    time.sleep(0.1)
    assert sorted(started) == [0, 1, 2, 3]
    assert list(results) == [number * number for number in range(1, 12)]
    assert loader_threads() == []
    assert list(loader.map_in_order(slow, [], 2, 4)) == []


def test_an_error_in_a_thread_reaches_the_caller_and_leaves_no_thread():
    def fail(number):
        if number == 3:
            raise DamagedError("frame 7 does not match its checksum")
        return number

    results, taken = loader.map_in_order(fail, range(1000), num_workers=3, ahead=8), []
    with pytest.raises(DamagedError, match="frame 7"):
        taken.extend(next(results) for _ in range(1000))
    assert taken == [0, 1, 2]
    assert loader_threads() == []


def test_a_caller_that_stops_early_leaves_no_thread(reader):
    config = small_config(runtime__num_workers=3)
    for _ in loader.train_batches(reader, loader.readable_rows(reader, "train"), config, 0, 0):
        break
    assert loader_threads() == []


@pytest.mark.parametrize(("size", "num_ranks"), [(4, 2), (4, 4), (6, 3), (8, 2), (2, 1)])
def test_the_parts_of_all_ranks_are_the_batches_of_one(reader, size, num_ranks):
    rows = loader.readable_rows(reader, "train")
    config = small_config(train__batch_size=size)
    for epoch, skip in ((0, 0), (3, 1)):
        whole = list(loader.train_batches(reader, rows, config, epoch, skip))
        parts = [
            list(loader.train_batches(reader, rows, config, epoch, skip, rank, num_ranks))
            for rank in range(num_ranks)
        ]
        assert {len(part) for part in parts} == {len(whole)}
        for step, batch in enumerate(whole):
            mine = [part[step] for part in parts]
            assert {len(part.rows) for part in mine} == {size // num_ranks}
            assert [row for part in mine for row in part.rows] == batch.rows
            np.testing.assert_array_equal(np.concatenate([part.label_N for part in mine]), batch.label_N)
            np.testing.assert_array_equal(np.concatenate([part.clip_NCTHW for part in mine]), batch.clip_NCTHW)


def test_ranks_share_a_batch_equally_or_not_at_all(reader):
    rows = loader.readable_rows(reader, "train")
    with pytest.raises(ConfigError, match=r"train\.batch_size=4 cannot be shared by 3 devices"):
        next(loader.train_batches(reader, rows, small_config(train__batch_size=4), 0, 0, 1, 3))


@pytest.mark.parametrize("num_rows", [0, 1, 2, 7, 8, 100])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8])
def test_every_video_is_evaluated_by_one_rank(num_rows, num_ranks):
    rows = list(range(100, 100 + num_rows))
    parts = [loader.rows_of_rank(rows, rank, num_ranks) for rank in range(num_ranks)]
    assert [row for part in parts for row in part] == rows
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        (0.0, 1.0, 0, 19),
        (0.25, 0.5, 5, 9),
        (0.26, 0.51, 5, 10),
        (0.5, 0.5, 10, 10),
        (1.0, 1.0, 19, 19),
        (0.35, 0.7, 7, 13),
    ],
)
def test_clips_come_from_the_part_of_the_video_that_is_named(watched, start, end, first, last):
    row = 3
    rows = watched.rows
    rows.loc[row, ["num_frames", "start_fraction", "end_fraction"]] = 20, start, end
    config = small_config(clip__clip_len=3, clip__frame_interval=1, train__batch_size=1, evaluate__num_clips=3)
    for epoch in range(60):
        list(loader.train_batches(watched, [row], config, epoch, 0))
    asked = {k for _, indices in watched.asked for k in indices}
    assert asked == set(range(first, last + 1)), "all of the part, nothing else"
    watched.asked.clear()
    list(loader.video_views(watched, [row], config.clip, config.evaluate, 1))
    ((_, indices),) = watched.asked
    assert (min(indices), max(indices)) == (first, last)


def frames_asked_for(watched, row, config):
    """The clips of an evaluation."""
    watched.asked = []
    list(loader.video_views(watched, [row], config.clip, config.evaluate, 1))
    ((_, indices),) = watched.asked
    return np.reshape(indices, (config.evaluate.num_clips, config.clip.clip_len)).tolist()


def test_parts_go_by_time_where_the_rate_varies(watched):
    """10 frames at 1 a second, then 10 at 10: half of the time is over in frame 5."""
    row, rows = 3, watched.rows
    rows.loc[row, ["num_frames", "start_fraction", "end_fraction"]] = 20, 0.0, 0.5
    config = small_config(clip__clip_len=3, clip__frame_interval=1, train__batch_size=1, evaluate__num_clips=3)
    assert frames_asked_for(watched, row, config)[-1] == [7, 8, 9]
    rows.at[row, "times_s"] = np.array([*range(10), *(10 + number / 10 for number in range(10))])
    assert frames_asked_for(watched, row, config)[-1] == [3, 4, 5]
    watched.asked = []
    for epoch in range(40):
        list(loader.train_batches(watched, [row], config, epoch, 0))
    assert {k for _, indices in watched.asked for k in indices} == set(range(6))


def test_clips_are_resampled_by_the_rate_of_each_video(watched):
    """PySlowFast: linspace over sampling_rate * num_frames / target_fps * fps frames."""
    row, rows = 3, watched.rows
    rows.loc[row, "num_frames"] = 20
    config = small_config(clip__clip_len=4, clip__frame_interval=2, clip__fps=30, evaluate__num_clips=2)
    for fps, first, last in (
        (30.0, [0, 2, 4, 7], [12, 14, 16, 19]),
        (60.0, [0, 5, 10, 15], [4, 9, 14, 19]),
        (15.0, [0, 1, 2, 3], [16, 17, 18, 19]),
    ):
        rows.loc[row, "fps"] = fps
        assert frames_asked_for(watched, row, config) == [first, last]
    config = small_config(clip__clip_len=4, clip__frame_interval=2, clip__fps=30, train__batch_size=1)
    rows.loc[row, "fps"] = 60.0
    watched.asked = []
    for epoch in range(40):
        list(loader.train_batches(watched, [row], config, epoch, 0))
    asked = [indices for _, indices in watched.asked]
    assert {indices[-1] - indices[0] for indices in asked} == {15}
    assert {indices[0] for indices in asked} == {0, 1, 2, 3}
    again = watched.asked
    watched.asked = []
    for epoch in range(40):
        list(loader.train_batches(watched, [row], config, epoch, 0))
    assert watched.asked == again, "a function of (seed, epoch, video)"


def test_frames_of_a_video_are_decoded_once_for_all_its_views(watched, monkeypatch):
    decoded = []
    imdecode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *args: decoded.append(1) or imdecode(*args))
    config = small_config(evaluate__num_clips=5, evaluate__num_crops=3, clip__clip_len=8)
    list(loader.video_views(watched, [3], config.clip, config.evaluate, 1))
    ((_, indices),) = watched.asked
    assert len(decoded) == len(set(indices)) < len(indices)


def test_few_clips_are_prepared_if_they_are_large(watched, monkeypatch):
    """A slow consumer: what waits for it is bounded by bytes."""
    config = small_config(train__batch_size=2, runtime__num_workers=4)
    rows = loader.readable_rows(watched, "train")
    for num_clips, waiting in ((100, 4), (2, 2), (0, 1)):  # never more than two batches, and at least one clip
        monkeypatch.setattr(loader, "PREFETCH_BYTES", num_clips * 3 * 4 * 32 * 32)
        watched.asked = []
        for _ in loader.train_batches(watched, rows, config, 0, 0):
            time.sleep(0.2)
            break
        assert len(watched.asked) == 2 + waiting - 1
    monkeypatch.setattr(loader, "PREFETCH_BYTES", 1)
    watched.asked = []
    views = loader.video_views(watched, rows, config.clip, config.evaluate, 4)
    next(views)
    time.sleep(0.1)
    assert len(watched.asked) == 1
    views.close()


LEAK = """
import os, signal, sys, threading, time
from pathlib import Path
import numpy as np
from small import python, small_config
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader

cache = RecordCache.model_validate_json({cache!r})
reader = RecordReader(Workspace(Path({root!r})), cache)
rows = loader.readable_rows(reader, "train")
config = small_config(runtime__num_workers=3)

def held():
    # Of this process: what else lies in /dev/shm is others'.
    shared = Path("/proc/self/maps").read_text().count("/dev/shm")
    return threading.active_count(), shared, len(os.listdir("/proc/self/fd"))

def leftovers():
    children = Path(f"/proc/self/task/{{os.getpid()}}/children").read_text().split()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]
    return children, names, held() == before or (before, held())

list(loader.train_batches(reader, rows, config, 0, 0))
before = held()
for epoch, stop in enumerate(["error", "signal", "thread"]):
    try:
        for batch in loader.train_batches(reader, rows, config, epoch, 0):
            if stop == "error":
                raise KeyError(stop)
            if stop == "signal":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            reader.read = lambda *args: 1 / 0
    except (KeyError, KeyboardInterrupt, ZeroDivisionError) as error:
        said = type(error).__name__
    print(stop, said, *leftovers())
"""


def test_nothing_is_left_after_an_error_or_ctrl_c(toy):
    process = python(LEAK.format(cache=toy.cache.model_dump_json(), root=str(toy.root)))
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert said.splitlines() == [
        "error KeyError [] [] True",
        "signal KeyboardInterrupt [] [] True",
        "thread ZeroDivisionError [] [] True",
    ]
