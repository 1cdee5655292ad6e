"""The table of costs against networks that really run, and against what others published."""

from __future__ import annotations

import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from nonlocal_core import describe
from nonlocal_core.config.tree import resolve
from nonlocal_core.models import cost
from nonlocal_core.models.convolution import Convolution
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.nonlocal_block import NonlocalBlock


def totals(preset, classes=400, **overrides):
    """(parameters, multiply-adds, multiply-adds as done) of all parts."""
    config = resolve(preset, {name.replace("__", "."): value for name, value in overrides.items()})
    parts = cost.parts(config, classes)
    return tuple(sum(column) for column in zip(*(part[2:] for part in parts), strict=True))


@pytest.mark.parametrize(
    ("preset", "model", "classes", "parameters"),
    [
        ("i3d_r50_32x2", {}, 400, 28_043_472),
        ("i3d_r50_32x2_heavy", {}, 400, 33_024_208),  # 33.0 M, mmaction2
        ("nl_i3d_r50_32x2", {}, 400, 35_397_840),
        ("nl_i3d_r50_32x2_embedded_gaussian", {}, 400, 35_397_840),
        ("nl_i3d_r50_32x2_gaussian", {}, 400, 31_723_728),
        ("nl_i3d_r50_32x2", {"model__nl_out_bias": True}, 400, 35_397_840 + 4096),
        ("c2d_r50_8x8_slowfast", {}, 400, 24_327_632),
        # as C2D, the networks of images, with the classes of ImageNet
        ("c2d_r50_32x2", {"model__block": "basic", "model__stage_blocks": (2, 2, 2, 2)}, 1000, 11_689_512),
        ("c2d_r50_32x2", {"model__block": "basic"}, 1000, 21_797_672),
        ("c2d_r50_32x2", {}, 1000, 25_557_032),
        ("c2d_r101_32x2_caffe2", {}, 1000, 44_549_160),
    ],
)
def test_parameters_are_the_published_ones(preset, model, classes, parameters):
    """mmaction2's metafile, pytorchvideo's 24.33 M, torchvision's ResNet-18, -34, -50 and -101."""
    assert totals(preset, classes, **model)[0] == parameters


class Counted(nn.Cell):
    """Stands beside a network that runs, and counts what its cells make."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.convolutions = self.normalised = 0
        self.blocks = []
        for _, cell in net.cells_and_names():
            if isinstance(cell, nn.Conv3d | Convolution | nn.BatchNorm2d | NonlocalBlock):
                cell.register_forward_hook(self.count)

    def count(self, cell, inputs, output):
        if isinstance(cell, nn.Conv3d | Convolution):
            self.convolutions += cell.weight.size * int(np.prod(output.shape[2:]))
        elif isinstance(cell, nn.BatchNorm2d):
            self.normalised += int(np.prod(output.shape[1:]))
        else:
            before = self.convolutions
            self.blocks.append([embedded.shape for embedded in cell.embed(inputs[0])])
            self.convolutions = before  # it was counted when the block ran


def run(config, frames, side, classes=400):
    """What one clip costs in a network that runs on it, operation by operation."""
    net = I3D(config.model, classes)
    net.set_train(False)
    counted = Counted(net)
    net(ms.Tensor(np.zeros((1, 3, frames, side, side), np.float32)))
    return counted


@pytest.mark.parametrize(
    ("preset", "published", "of_a_norm"),
    [
        # mmaction2, by the counter of mmengine: two for each value of a batch norm
        ("i3d_r50_32x2", 43.5, 2),
        ("nl_i3d_r50_32x2", 59.3, 2),
        ("i3d_r50_32x2_heavy", 166.3, 2),
        ("nl_i3d_r50_32x2_gaussian", 56.5, 2),
        # pytorchvideo, by fvcore: five
        ("i3d_r50_8x8_slowfast", 37.53, 5),
        ("c2d_r50_8x8_slowfast", 25.89, 5),
    ],
)
def test_multiply_adds_are_the_published_ones_at_256_pixels(preset, published, of_a_norm):
    """Published counts have the batch norms in them: those of the thinnest network on a clip of 64 pixels.

    Every map of 256 pixels has 16 times as many positions.
    """
    thin = run(resolve(preset, {"model.width": 1}), resolve(preset, {}).clip.clip_len, 64)
    plain = totals(preset)[1] + of_a_norm * 64 * 16 * thin.normalised
    decimals = len(str(published).partition(".")[2])
    assert round(plain / 1e9, decimals) == pytest.approx(published, abs=0.6 * 10**-decimals)


def test_costs_relative_to_c2d_are_those_of_table_2e():
    """In R101 at 224 pixels: parameters, multiply-adds."""
    networks = (
        "c2d_r101_32x2_caffe2",
        "i3d_r101_32x2_caffe2_3x3x3",
        "i3d_r101_32x2_caffe2",
        "nl5_c2d_r101_32x2_caffe2",
    )
    costs = [totals(name, evaluate__crop_size=224)[:2] for name in networks]
    ratios = [
        tuple(round(cost / base, 1) for cost, base in zip(cost, costs[0], strict=True)) for cost in costs[1:]
    ]
    assert ratios == [(1.5, 1.8), (1.2, 1.5), (1.2, 1.2)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model.block": "basic", "model.inflate": "3x3x3", "model.nl_res2": (0,), "model.nl_axes": "space"},
        {"model.nl_axes": "time", "model.nl_sub_sample": "none", "model.pairwise": "gaussian"},
        {"model.nl_group_frames": (0, 2, 0, 0), "model.nl_sub_sample": "before_conv", "model.pool1_pad": 0},
        {"model.head": "fully_conv", "model.head_window": (4, 2, 2), "model.pool1_kernel_t": 3},
    ],
)
def test_what_is_counted_is_what_a_running_network_does(settings):
    config = resolve("tiny", {"model.pool2_kernel_t": 3, "evaluate.crop_size": 64, **settings})
    counted = run(config, config.clip.clip_len, 64)
    parts = cost.parts(config, 400)
    pairs = sum(
        groups * queries * (keys * compared + keys * gathered)
        for (groups, compared, queries), (_, _, keys), (_, gathered, _) in counted.blocks
    )
    places = 1 if config.model.head == "pooled" else (parts[-2].shape[2] - 1) * (parts[-2].shape[3] - 1)
    head = places * config.model.num_features * 400
    assert counted.blocks
    assert sum(part.plain for part in parts) == counted.convolutions + pairs + head


@pytest.mark.parametrize(
    ("frames", "rows", "channels", "plain", "used"),
    [(16, 28, 256, 20.1, 1.03), (4, 28, 256, 1.26, 0.26), (4, 14, 512, 0.16, 0.16)],
)
def test_the_order_of_a_dot_product_is_the_cheaper_one(frames, rows, channels, plain, used):
    """theta (phi g) for large maps; for few positions of many channels it would be dearer."""
    queries = frames * rows * rows
    found = cost._response("dot_product", queries, queries // 4, channels, channels)
    assert [round(count / 1e9, 2) for count in found] == pytest.approx([plain, used], abs=0.05)


def test_concatenation_multiplies_sums_instead_of_pairs():
    """a and b of every position, b g of every key, a times its sum of g."""
    assert cost._response("concatenation", 100, 25, 8, 6) == (100 * 25 * (16 + 6), 125 * 8 + 25 * 6 + 100 * 6)


def test_shapes_are_table_1_of_the_paper():
    parts = cost.parts(resolve("nl_i3d_r50_32x2", {"evaluate.crop_size": 224}), 400)
    assert [(part.name, part.shape) for part in parts] == [
        ("stem", (64, 16, 112, 112)),
        ("pool1", (64, 8, 56, 56)),
        ("res2", (256, 8, 56, 56)),
        ("pool2", (256, 4, 56, 56)),
        ("res3", (512, 4, 28, 28)),
        ("res4", (1024, 4, 14, 14)),
        ("res5", (2048, 4, 7, 7)),
        ("head", (400,)),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("tiny", "nl_i3d_r50_128x1", "nl_i3d_r50_32x6", "c2d_r50_32x2_caffe2", "nl1_c2d_r50_32x2_caffe2_res2"),
        *(
            "nl1_c2d_r50_32x2_caffe2_concatenation",
            "nl1_c2d_r50_32x2_caffe2_res5",
            "nl5_c2d_r50_32x2_caffe2_space",
        ),
        *("nl5_c2d_r50_32x2_caffe2_time", "i3d_r101_32x2_caffe2_3x3x3", "nl5_i3d_r101_128x1_caffe2"),
        *("nl5_i3d_r50_32x4_caffe2", "c2d_r50_8x8_slowfast_nopool", "nl10_i3d_r101_32x2_gluon"),
    ],
)
def test_presets_of_every_kind_build(name):
    config = resolve(name, {})
    parts = cost.parts(config, 400)
    assert parts[-2].shape[0] == config.model.num_features
    assert all(part.parameters > 0 for part in parts if "pool" not in part.name)
    assert all(part.plain >= part.used > 0 for part in parts if "pool" not in part.name)


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "nonlocal_core.describe", *words], capture_output=True, text=True, check=False
    )


def test_the_command_prints_the_table_or_one_clear_line():
    result = command("tiny", "model.width=4", "--classes", "5")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "tiny: one view of 8 frames of 64 x 64 pixels, 5 classes"
    assert [line.split()[0] for line in lines[2:]] == ["part", *cost.PARTS, "head", "total"]
    assert lines[4].split()[1:8] == ["4", "x", "8", "x", "16", "x", "16"]
    assert lines[-2].split()[2] == str(5 * 128 + 5)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["tinny"], 2, "error: there is no preset 'tinny': did you mean tiny?"),
        (["tiny", "model.width"], 2, "error: 'model.width' is not of the form key=value; a preset comes first"),
        (["tiny", "--classes", "0"], 2, "error: --classes 0: a network has at least one class"),
    ],
)
def test_what_does_not_fit_is_one_line(words, code, said, capsys):
    assert describe.main(words) == code
    assert capsys.readouterr().err == f"{said}\n"


def test_only_the_preset_has_to_be_named(capsys):
    with pytest.raises(SystemExit):
        describe.main([])
    assert capsys.readouterr().err.endswith("error: the following arguments are required: PRESET\n")
