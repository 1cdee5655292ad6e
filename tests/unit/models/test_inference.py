from __future__ import annotations

import numpy as np
import pytest

from nonlocal_core.models import inference
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
    assert {len(batch) for batch in network.batches} == {batch_size}
    assert len(network.batches) == -(-sum(counts) // batch_size)
    padding = [number for batch in network.batches for number in batch][sum(counts) :]
    assert padding == [0.0] * (len(network.batches) * batch_size - sum(counts))
    assert progress.done == len(counts)
