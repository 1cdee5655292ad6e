from __future__ import annotations

import numpy as np
import pytest

from nonlocal_core.models import inference
from nonlocal_core.models.graph import padded
from nonlocal_core.process.progress import Progress


class Network:
    """Says of a clip what it is: the number in its pixels, and that times 10."""

    def __init__(self):
        self.batches = []

    def __call__(self, clip_NCTHW):
        assert clip_NCTHW.dtype == np.uint8
        numbers = clip_NCTHW[:, 0, 0, 0, 0].astype(np.float32)
        self.batches.append(numbers.tolist())
        return np.stack([numbers, 10 * numbers], axis=1)


def videos(counts):
    """Videos with so many views, whose clips are numbered from 1."""
    number = 0
    for count in counts:
        yield np.array([np.full((3, 2, 4, 4), number + i + 1, np.uint8) for i in range(count)])
        number += count


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 7, 100])
@pytest.mark.parametrize("counts", [[1], [3, 3, 3], [30], [2, 5, 1], [4, 4], [0, 4, 0]])
def test_every_view_is_scored_once_and_goes_to_its_video(counts, batch_size):
    network, progress = Network(), Progress("evaluate", "val", len(counts), "videos")
    found = inference.outputs_by_video(network, videos(counts), batch_size, progress)
    assert [len(logits) for logits in found] == counts
    numbers = np.arange(1, sum(counts) + 1)
    np.testing.assert_array_equal(np.concatenate(found), np.stack([numbers, 10 * numbers], axis=1))
    *full, last = [len(batch) for batch in network.batches]
    assert set(full) <= {batch_size}
    assert len(full) * batch_size + last == sum(counts)
    assert 1 <= last <= batch_size
    assert progress.done == len(counts)


def test_a_batch_is_filled_up_to_the_size_that_a_graph_is_compiled_for():
    batch = np.arange(1, 7, dtype=np.uint8).reshape(3, 2)
    found = padded(batch, 5)
    np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6], [0, 0], [0, 0]])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(padded(batch, 3), batch)
