"""Names of parameters: from those of other implementations to ours, and from ours to mmaction2's.

Each implementation has a list of replacements, applied in order.  A foreign name must become one of ours, and
must change on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import InputError

Rules = list[tuple[str, str]]

_STAGES: Rules = [(rf"^(backbone\.)?layer{stage - 1}\.", f"res{stage}.") for stage in (2, 3, 4, 5)]
_TORCH_NORM: Rules = [
    (r"\.norm\.weight$", ".norm.gamma"),
    (r"\.norm\.bias$", ".norm.beta"),
    (r"\.norm\.running_mean$", ".norm.moving_mean"),
    (r"\.norm\.running_var$", ".norm.moving_variance"),
]
_CAFFE2_BLOCK = r"^res([2-5])_(\d+)_branch"
_MIXED = [(3, letter) for letter in "bc"] + [(4, letter) for letter in "bcdef"] + [(5, letter) for letter in "bc"]
"""the mixed blocks of Inception-v1"""
_SLOWFAST_BLOCK = r"^s([2-5])\.pathway0_res(\d+)\.branch"

SCHEMES: dict[str, Rules] = {
    "mmaction2": [
        (r"^cls_head\.fc_cls\.", "head.fc."),
        (r"^backbone\.conv1\.", "stem."),
        *_STAGES,
        (r"(\d+)\.non_local_block\.", r"nl\1."),
        (r"\.conv_out\.bn\.", ".norm."),
        (r"\.conv_out\.conv\.", ".out."),
        (r"\.(theta|phi|g)(\.0)?\.conv\.", r".\1."),
        (r"\.concat_project\.conv\.", ".f."),
        (r"\.conv1\.", ".a."),
        (r"\.conv2\.", ".b."),
        (r"\.conv3\.", ".c."),
        (r"\.downsample\.", ".proj."),
        (r"\.bn\.", ".norm."),
        *_TORCH_NORM,
    ],
    "pyslowfast": [
        (r"^head\.projection\.", "head.fc."),
        (r"^s1\.pathway0_stem\.", "stem."),
        (r"^s([2-5])\.pathway0_nonlocal(\d+)\.(?:conv_)?", r"res\1.nl\2."),
        (rf"{_SLOWFAST_BLOCK}2\.([abc])_bn\.", r"res\1.\2.\3.norm."),
        (rf"{_SLOWFAST_BLOCK}2\.([abc])\.", r"res\1.\2.\3.conv."),
        (rf"{_SLOWFAST_BLOCK}1_bn\.", r"res\1.\2.proj.norm."),
        (rf"{_SLOWFAST_BLOCK}1\.", r"res\1.\2.proj.conv."),
        (r"\.bn\.", ".norm."),
        *_TORCH_NORM,
    ],
    "caffe2": [
        (r"^pred_", "head.fc."),
        (r"^conv1_", "stem.conv."),
        (r"^res_conv1_bn_", "stem.norm."),
        (r"^nonlocal_conv([2-5])_(\d+)_(theta|phi|g|out)_", r"res\1.nl\2.\3."),
        (r"^nonlocal_conv([2-5])_(\d+)_bn_", r"res\1.nl\2.norm."),
        (rf"{_CAFFE2_BLOCK}2([abc])_bn_", r"res\1.\2.\3.norm."),
        (rf"{_CAFFE2_BLOCK}2([abc])_", r"res\1.\2.\3.conv."),
        (rf"{_CAFFE2_BLOCK}1_bn_", r"res\1.\2.proj.norm."),
        (rf"{_CAFFE2_BLOCK}1_", r"res\1.\2.proj.conv."),
        (r"\.norm\.s$", ".norm.gamma"),
        (r"\.norm\.b$", ".norm.beta"),
        (r"\.norm\.rm$", ".norm.moving_mean"),
        (r"\.norm\.riv$", ".norm.moving_variance"),  # the variance, whatever the i stood for
        (r"\.w$", ".weight"),
        (r"\.b$", ".bias"),
    ],
    "torchvision": [
        (r"^fc\.", "head.fc."),
        (r"^conv1\.", "stem.conv."),
        (r"^bn1\.", "stem.norm."),
        *_STAGES,
        (r"\.conv1\.", ".a.conv."),
        (r"\.conv2\.", ".b.conv."),
        (r"\.conv3\.", ".c.conv."),
        (r"\.bn1\.", ".a.norm."),
        (r"\.bn2\.", ".b.norm."),
        (r"\.bn3\.", ".c.norm."),
        (r"\.downsample\.0\.", ".proj.conv."),
        (r"\.downsample\.1\.", ".proj.norm."),
        *_TORCH_NORM,
    ],
    "flax": [
        (r"^(params|batch_stats)/", ""),
        (r"^Logits/Conv3d_0c_1x1/Conv_0/kernel$", "head.fc.weight"),
        (r"^Logits/Conv3d_0c_1x1/Conv_0/bias$", "head.fc.bias"),
        (r"^Conv3d_1a_7x7/", "stem."),
        (r"^Conv3d_2b_1x1/", "res2.0."),
        (r"^Conv3d_2c_3x3/", "res2.1."),
        *((rf"^Mixed_{stage}{letter}/", f"res{stage}.{'bcdef'.index(letter)}.") for stage, letter in _MIXED),
        (r"\.Branch_([12])/Conv3d_0a_1x1/", r".b\1_reduce."),
        (r"\.Branch_([0-3])/Conv3d_0[ab]_[13]x[13]/", r".b\1."),
        (r"\.Conv_0/kernel$", ".conv.weight"),
        (r"\.BatchNorm_0/bias$", ".norm.beta"),
        (r"\.BatchNorm_0/mean$", ".norm.moving_mean"),
        (r"\.BatchNorm_0/var$", ".norm.moving_variance"),
    ],
    "seed": [
        (r"^head\.dense\.", "head.fc."),
        (r"^backbone\.conv1\.", "stem."),
        *_STAGES,
        (r"(\d+)\.non_local_block\.", r"nl\1."),
        (r"\.(phi|g)\.0\.", r".\1."),
        (r"\.w\.0\.", ".out."),
        (r"\.w\.1\.bn2d\.", ".norm."),
        (r"\.conv12\.conv1\.", ".a."),
        (r"\.conv12\.conv2\.", ".b."),
        (r"\.conv3\.", ".c."),
        (r"\.down_sample\.", ".proj."),
        (r"\.features\.0\.", ".conv."),
        (r"\.features\.1\.bn2d\.", ".norm."),
    ],
}
_NORM = r"norm\.(gamma|beta|moving_mean|moving_variance)"
_OURS = re.compile(
    rf"(stem|res2\.[01]|res[2-5]\.\d+\.(a|b|c|proj|b[0-3]|b[12]_reduce))\.(conv\.weight|{_NORM})"
    rf"|res[2-5]\.nl\d+\.((theta|phi|g|out)\.(weight|bias)|f\.weight|{_NORM})|head\.fc\.(weight|bias)"
)
_SKIPPED = re.compile(
    r"num_batches_tracked$|_momentum$|^(lr|model_iter|momentum|learning_rate|global_step|epoch_num|step_num)$"
    r"|^(moments|accum|stat)\.|^optimizer/"
)
"""counters, learning rates and the optimizer's state, which no network needs"""


def is_skipped(name: str) -> bool:
    """Whether a tensor belongs to the optimizer, or is a counter."""
    return _SKIPPED.search(name) is not None


def apply(rules: Rules, name: str) -> str:
    """A name after all replacements of some rules, in their order."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def our_name(name: str, scheme: str) -> str | None:
    """Our name of a parameter of another implementation; None if it has no such parameter."""
    # Data-parallel training leaves `module.`, and torch.compile `_orig_mod.`, also of a part.
    plain = name.replace("_orig_mod.", "").removeprefix("module.")
    renamed = apply(SCHEMES[scheme], plain)
    return renamed if renamed != plain and _OURS.fullmatch(renamed) else None


def scheme_of(names: Iterable[str]) -> str | None:
    """The implementation that most of these names come from; None if none of them is known."""
    listed = list(names)
    counts = {scheme: sum(our_name(name, scheme) is not None for name in listed) for scheme in SCHEMES}
    best = max(counts, key=lambda scheme: counts[scheme])
    return best if counts[best] else None


def match(names: Iterable[str], scheme: str) -> tuple[dict[str, str], list[str]]:
    """The other implementation's name of each of our parameters, and the names that stand for none.

    Raises: InputError if two of their names stand for one of ours.
    """
    names_by_ours: dict[str, str] = {}
    left: list[str] = []
    for name in names:
        renamed = our_name(name, scheme)
        if renamed is None:
            left.append(name)
        elif renamed in names_by_ours:
            raise InputError(f"{names_by_ours[renamed]} and {name} both stand for {renamed}")
        else:
            names_by_ours[renamed] = name
    return names_by_ours, left


_TO_MMACTION2: Rules = [
    (r"^head\.fc\.", "cls_head.fc_cls."),
    (r"^stem\.", "backbone.conv1."),
    *((rf"^res{stage}\.", f"backbone.layer{stage - 1}.") for stage in (2, 3, 4, 5)),
    (r"\.nl(\d+)\.norm\.", r".\1.non_local_block.conv_out.norm."),
    (r"\.nl(\d+)\.out\.", r".\1.non_local_block.conv_out.conv."),
    (r"\.nl(\d+)\.(theta|phi|g)\.", r".\1.non_local_block.\2.conv."),
    (r"\.nl(\d+)\.f\.", r".\1.non_local_block.concat_project.conv."),
    (r"\.a\.", ".conv1."),
    (r"\.b\.", ".conv2."),
    (r"\.c\.", ".conv3."),
    (r"\.proj\.", ".downsample."),
    (r"\.norm\.gamma$", ".bn.weight"),
    (r"\.norm\.beta$", ".bn.bias"),
    (r"\.norm\.moving_mean$", ".bn.running_mean"),
    (r"\.norm\.moving_variance$", ".bn.running_var"),
]


def mmaction2_name(name: str, model: ModelConfig) -> str:
    """The name of one of our parameters in mmaction2.

    Raises: InputError if it has no such parameter.
    """
    renamed = apply(_TO_MMACTION2, name)
    if model.nl_sub_sample == "after_conv":  # phi and g are in a sequence with their pool
        renamed = re.sub(r"\.non_local_block\.(phi|g)\.conv\.", r".non_local_block.\1.0.conv.", renamed)
    if our_name(renamed, "mmaction2") != name:
        raise InputError(f"mmaction2 has no parameter like {name}")
    return renamed
