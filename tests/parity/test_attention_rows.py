"""One query's weights against the paper's whole matrix, written out pair by pair in float64."""

from __future__ import annotations

from itertools import product

import mindspore as ms
import numpy as np
import pytest
from test_oracle import (
    PAIRWISE,
    SUB_SAMPLE,
    drawn_block,
    drawn_clip,
    everywhere,
    expected_of,
    of_each_part,
    same_frame,
    same_pair_of_frames,
    same_place,
)

from nonlocal_core.report import attention

SOME = slice(None, None, 11)  # of the queries, in every frame, row and column


def rows_of(block, x_NCTHW):
    """The rows of some queries as a matrix, 0 where they do not look, and as maps."""
    T, H, W = x_NCTHW.shape[2:]
    places = list(product(range(T), range(H), range(W)))[SOME]
    found = [attention.row(block, ms.Tensor(x_NCTHW), place) for place in places]
    return np.nan_to_num(np.stack([row.ravel() for row in found])), found


@pytest.mark.parametrize("sub_sample", SUB_SAMPLE)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_a_row_is_that_of_the_matrix(pairwise, sub_sample):
    scale = sub_sample == "before_conv"
    block = drawn_block(8, pairwise=pairwise, nl_sub_sample=sub_sample, nl_scale=scale)
    x = drawn_clip(8)[:1]
    _, shares = expected_of(block, x, pairwise, sub_sample, scale, everywhere)
    matrix, rows = rows_of(block, x)
    np.testing.assert_allclose(matrix, shares[0][SOME], rtol=1e-5, atol=1e-6)
    assert rows[0].shape == ((2, 5, 4) if sub_sample == "none" else (2, 2, 2))
    negative = (shares < 0).any()
    assert negative == (pairwise == "dot_product")
    for row, expected in zip(rows, shares[0][SOME], strict=True):
        order = np.argsort(-np.abs(expected), kind="stable")[:5]
        found = attention.strongest(row, 5)
        assert [abs(one.weight) for one in found] == pytest.approx(
            [abs(expected[i]) for i in order if expected[i]], rel=1e-4
        )
        assert all(row[one.key] == np.float32(one.weight) for one in found)


@of_each_part
@pytest.mark.parametrize("pairwise", ["embedded_gaussian", "concatenation"])
def test_rows_of_blocks_that_see_a_part(pairwise, axes, group_frames, sub_sample, sees):
    settings = {"pairwise": pairwise, "nl_axes": axes, "nl_sub_sample": sub_sample}
    block = drawn_block(8, group_frames=group_frames, **settings)
    x = drawn_clip(8, frames=4)[:1]
    _, shares = expected_of(block, x, pairwise, sub_sample, sees=sees)
    matrix, rows = rows_of(block, x)
    np.testing.assert_allclose(matrix, shares[0][SOME], rtol=1e-5, atol=1e-6)
    seen = {same_frame: rows[0].size // 4, same_place: 4, same_pair_of_frames: rows[0].size // 2}.get(sees, 2)
    assert all(np.isfinite(row).sum() == seen for row in rows)
