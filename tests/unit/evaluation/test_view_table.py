from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.evaluation import view_table, views


@pytest.fixture
def logits():
    """5 videos of 4 clips x 3 crops with 6 classes."""
    return np.random.default_rng(0).normal(0, 3, (5, 12, 6)).astype(np.float32)


@pytest.fixture
def file(logits, tmp_path):
    rows = pd.DataFrame({"video_id": list("abcde"), "label": list("xyxyz"), "label_id": [0, 1, 0, 1, 2]})
    parts = []
    for number, own in enumerate(([0, 1], [2], [3, 4])):
        parts.append(tmp_path / f"chunk-{number}")
        tables.write(view_table.table(rows.iloc[own], [logits[i] for i in own], num_crops=3), parts[-1])
    view_table.join(parts, tmp_path / Evaluation.VIEWS)
    return tmp_path / Evaluation.VIEWS


def test_every_view_comes_back_bit_for_bit(file, logits):
    found = list(view_table.videos(file))
    assert [(video_id, label, label_id) for video_id, label, label_id, _ in found] == [
        ("a", "x", 0), ("b", "y", 1), ("c", "x", 0), ("d", "y", 1), ("e", "z", 2),
    ]  # fmt: skip
    for (_, _, _, one), own in zip(found, logits, strict=True):
        assert one.dtype == np.float32
        assert np.array_equal(one, own.reshape(4, 3, 6))


def test_the_columns_say_which_view_it_is(file):
    rows = pd.read_parquet(file)
    assert list(rows.columns) == ["video_id", "label", "label_id", "clip", "crop", "logits", "engine"]
    assert rows["clip"].tolist() == [k // 3 for k in range(12)] * 5
    assert rows["crop"].tolist() == [0, 1, 2] * 20


@pytest.mark.parametrize(
    ("clips", "crops", "taken"),
    [
        (None, None, list(range(12))),
        (4, 3, list(range(12))),
        (1, 1, [4]),
        (1, 3, [3, 4, 5]),
        (4, 1, [1, 4, 7, 10]),
        (2, 1, [1, 10]),
        (3, 1, [1, 7, 10]),
    ],
)
def test_fewer_views_are_those_of_the_middle_and_evenly_spread(file, logits, clips, crops, taken):
    scored = view_table.score(file, clips, crops)
    assert scored["video_id"].tolist() == list("abcde")
    for scores, own in zip(scored["scores"], logits, strict=True):
        assert np.array_equal(scores, views.average(own[taken]))


def test_more_views_than_there_are_cannot_be_taken(file):
    with pytest.raises(InputError, match="5 clips cannot be taken from 4: 1 to 4 can"):
        view_table.score(file, 5)
    with pytest.raises(InputError, match="0 crops cannot"):
        view_table.score(file, 1, 0)


def test_a_damaged_part_is_said_and_nothing_is_joined(file, tmp_path):
    file.unlink()
    part = tmp_path / "chunk-1"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DamagedError, match=r"chunk-1 is damaged .*: delete it and run again"):
        view_table.join([tmp_path / "chunk-0", part], file)
    assert not file.exists()


def test_a_file_that_is_damaged_or_missing_is_said(file, tmp_path):
    data = bytearray(file.read_bytes())
    for place in range(200, 1000, 7):
        data[place] ^= 255
    file.write_bytes(data)
    with pytest.raises(DamagedError, match="delete its folder and evaluate again"):
        list(view_table.videos(file))
    with pytest.raises(InputError, match="name the folder of an evaluation"):
        list(view_table.videos(tmp_path / "other"))
