"""Our parameters under mmaction2's names: the other direction of `names`."""

from __future__ import annotations

import re

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import InputError
from nonlocal_core.models import names

_RULES: names.Rules = [
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
    """What mmaction2 calls one of our parameters.

    Raises: InputError if it has no such parameter.
    """
    renamed = names.apply(_RULES, name)
    if model.nl_sub_sample == "after_conv":  # phi and g stand in a sequence before their pool
        renamed = re.sub(r"\.non_local_block\.(phi|g)\.conv\.", r".non_local_block.\1.0.conv.", renamed)
    if names.ours(renamed, "mmaction2") != name:
        raise InputError(f"mmaction2 has no parameter like {name}")
    return renamed
