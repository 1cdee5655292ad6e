"""The presets against the tables that they are named after, written out here a second time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import resolve

TABLES = {
    "2a": ["71.8 / 89.7", "72.5 / 90.2", "72.7 / 90.5", "72.9 / 90.3", "72.8 / 90.5"],
    "2b": ["72.7 / 90.3", "72.9 / 90.4", "72.7 / 90.5", "72.3 / 90.1"],
    "2c": [
        *("71.8 / 89.7", "72.7 / 90.5", "73.8 / 91.0", "74.3 / 91.2"),
        *("73.1 / 91.0", "74.3 / 91.3", "75.1 / 91.7", "75.1 / 91.6"),
    ],
    "2d": ["72.9 / 90.8", "73.1 / 90.5", "73.8 / 91.0", "74.4 / 91.3", "74.4 / 90.5", "75.1 / 91.7"],
    "2e": ["73.1 / 91.0", "74.1 / 91.2", "74.4 / 91.1", "75.1 / 91.7"],
    "2f": ["71.8 / 89.7", "73.3 / 90.7", "74.9 / 91.6", "73.1 / 91.0", "74.4 / 91.1", "76.0 / 92.1"],
    "2g": ["73.8 / 91.2", "74.9 / 91.7", "76.5 / 92.6", "75.3 / 91.8", "76.4 / 92.7", "77.7 / 93.3"],
    "video-nonlocal-net": [
        *("72.0 / 90.0", "73.9 / 91.0", "73.6 / 90.8", "74.9 / 91.6", "75.2 / 92.0", "76.5 / 92.7"),
        *("71.9 / 90.0", "74.4 / 91.4", "73.4 / 90.9", "74.7 / 91.6", "75.5 / 92.0", "76.5 / 92.6"),
    ],
    "PySlowFast": ["67.2 / 87.8", "73.5 / 90.8", "74.0 / 91.1"],
    "pytorchvideo": ["71.46 / 89.68", "73.27 / 90.70"],
    "mmaction2": ["74.80 / 92.07", "74.73 / 91.80", "73.97 / 91.33", "73.47 / 91.27", "76.21 / 92.48"],
    "gluon-cv": ["74.87", "75.17", "75.93", "75.1", "75.81", "75.93"],
    "gluon-cv's log": ["66.59 / 85.98", "67.81 / 86.73", "67.41 / 86.62", "67.57 / 86.43", "67.79 / 86.47"],
    "the seed": ["72.48 / 90.72"],
}
# Stride of the stem; pool1 (kernel in time, its stride, padding in space); of the blocks: sub-sampling, scale,
# bias of out, norm of the network and of the block, its first gamma, theta's and out's weights; head, mean of red.
CAFFE2 = ("before_conv", True, True, "batch", "batch", 0, "normal", "normal", "fully_conv", 114.75)
FROZEN = ("before_conv", True, True, "frozen", "none", 0, "normal", "zeros", "fully_conv", 114.75)
SLOWFAST = ("before_conv", True, True, "batch", "batch", 0, "msra", "msra", "fully_conv", 114.75)
NETWORKS = {
    "nl_i3d_r50_32x2": (
        2,
        (1, 2, 1),
        "after_conv",
        False,
        False,
        "batch",
        "batch",
        0,
        "normal",
        "msra",
        "pooled",
        123.675,
    ),
    "nl_i3d_r50_32x6": (
        1,
        (1, 1, 1),
        "after_conv",
        False,
        False,
        "batch",
        "batch",
        1,
        "normal",
        "msra",
        "pooled",
        123.675,
    ),
    "nl5_i3d_r50_32x2_caffe2": (2, (2, 2, 0), *CAFFE2),
    "nl5_i3d_r50_8x8_caffe2": (1, (1, 1, 0), *CAFFE2),
    "nl5_i3d_r50_128x1_caffe2": (2, (2, 2, 0), *FROZEN),
    "nl5_i3d_r50_32x4_caffe2": (1, (1, 1, 0), *FROZEN),
    "nl5_i3d_r50_8x8_slowfast": (1, (1, 1, 1), *SLOWFAST),
    "nl5_i3d_r50_32x2_gluon": (
        2,
        (1, 2, 1),
        "none",
        True,
        True,
        "batch",
        "batch",
        1,
        "normal",
        "msra",
        "pooled",
        123.675,
    ),
}
PLACES = {
    "nl1_c2d_r50_32x2_caffe2": ((), (), (4,), ()),
    "nl1_c2d_r50_32x2_caffe2_res2": ((1,), (), (), ()),
    "nl1_c2d_r50_32x2_caffe2_res3": ((), (2,), (), ()),
    "nl1_c2d_r50_32x2_caffe2_res5": ((), (), (), (1,)),
    "nl1_c2d_r101_32x2_caffe2": ((), (), (21,), ()),
    "nl5_i3d_r101_32x2_caffe2": ((), (1, 3), (6, 13, 20), ()),
    "nl10_c2d_r50_32x2_caffe2": ((), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5), ()),
    "nl10_i3d_r101_32x2_gluon": ((), (0, 1, 2, 3), (2, 6, 10, 14, 18, 22), ()),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_published_row_has_a_preset_and_no_preset_another(table):
    rows = [row for preset in PRESETS.values() for row in preset.published]
    found = {row.figures for row in rows if table in (*row.tables, row.source.partition(",")[0])}
    assert found == set(TABLES[table])


def test_the_page_of_networks_names_presets_that_are_there():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "networks.md").read_text()
    named = set(re.findall(r"`((?:nl\d*_)?(?:c2d|i3d)_r\d+\w+)`", page))
    assert len(named) > 30
    assert named <= set(PRESETS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_built_as_its_authors_do(name):
    model = resolve(name, {}).model
    assert (
        model.stem_stride_t,
        (model.pool1_kernel_t, model.pool1_stride_t, model.pool1_pad),
        model.nl_sub_sample,
        model.nl_scale,
        model.nl_out_bias,
        model.norm,
        model.nl_norm,
        0 if model.nl_zero_gamma else 1,
        model.nl_init,
        model.nl_out_init,
        model.head,
        model.input_mean[0],
    ) == NETWORKS[name]
    assert (model.pool2_kernel_t, model.pool2_stride_t) == (2, 2)
    assert model.nl_group_frames == ((0, 4, 0, 0) if model.norm == "frozen" else (0, 0, 0, 0))


@pytest.mark.parametrize("name", PLACES)
def test_blocks_stand_where_the_source_puts_them(name):
    model = resolve(name, {}).model
    assert (model.nl_res2, model.nl_res3, model.nl_res4, model.nl_res5) == PLACES[name]


def differences(one, other):
    """The settings in which two presets differ."""
    one, other = (resolve(name, {}).model_dump() for name in (one, other))
    return {
        f"{section}.{key}"
        for section, leaves in one.items()
        for key, value in leaves.items()
        if value != other[section][key]
    }


@pytest.mark.parametrize(
    ("one", "other", "settings"),
    [
        ("nl1_c2d_r50_32x2_caffe2", "nl1_c2d_r50_32x2_caffe2_dot_product", {"model.pairwise", "model.nl_scale"}),
        ("nl5_c2d_r50_32x2_caffe2", "nl5_c2d_r50_32x2_caffe2_space", {"model.nl_axes"}),
        ("nl5_c2d_r101_32x2_caffe2", "nl5_c2d_r101_32x2_caffe2_time", {"model.nl_axes", "model.nl_sub_sample"}),
        ("i3d_r101_32x2_caffe2", "i3d_r101_32x2_caffe2_3x3x3", {"model.inflate"}),
        ("i3d_r101_32x2_caffe2", "c2d_r101_32x2_caffe2", {"model.inflate", "model.stem_kernel_t"}),
        ("i3d_r50_32x2_caffe2", "nl5_i3d_r50_32x2_caffe2", {"model.nl_res3", "model.nl_res4"}),
        ("nl_i3d_r50_32x2", "nl_i3d_r50_32x2_gaussian", {"model.pairwise"}),
        ("nl_i3d_r50_32x2", "i3d_r50_32x2", {"model.nl_res3", "model.nl_res4"}),
    ],
)
def test_rows_of_one_table_differ_in_what_the_table_compares(one, other, settings):
    assert differences(one, other) == settings
