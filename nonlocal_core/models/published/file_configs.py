"""The configs inside checkpoints of SlowFast and mmaction2: settings of the network, read from text, never run."""

from __future__ import annotations

import ast
from typing import Any

import yaml

from nonlocal_core.errors import InputError
from nonlocal_core.models.published.profiles import Settings


def settings_and_clip(beside: dict[str, Any], kind: str) -> tuple[Settings, str]:
    """The settings and the clips (LENxINTERVAL) of the config beside a file's tensors; both empty if it has none.

    `kind` says whose config it may be: slowfast, mmaction2, or empty if nobody's.

    Raises: InputError if it cannot be read, or describes a network that cannot be imported.
    """
    meta = beside.get("meta")
    if kind == "slowfast":
        texts, read = [beside.get("cfg")], _slowfast
    elif kind == "mmaction2" and isinstance(meta, dict):
        texts, read = [meta.get("cfg"), meta.get("config")], _mmaction2  # those of mmaction2 1.x and 0.x
    else:
        return {}, ""
    text = next((text for text in texts if isinstance(text, str) and text), "")
    try:
        return read(text) if text else ({}, "")
    except InputError:
        raise
    except Exception as error:  # anything may be missing from it
        raise InputError(f"the config inside it cannot be understood: {error!r:.200}") from None


def _mmaction2(text: str) -> tuple[Settings, str]:
    """The settings and the clips of a config of mmaction2.

    Raises: InputError if it is not a recogniser with a ResNet3d.
    Source: mmaction2 1.2.0, ResNet3d; mmcv 2.1, NonLocal3d, for what the config does not say.
    """
    assigned = {
        target.id: node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if not assigned:
        return {}, ""
    model = _plain(assigned["model"])
    backbone = model["backbone"]
    if backbone.get("type") != "ResNet3d":
        raise InputError(
            f"its config says backbone.type={backbone.get('type')}, and only ResNet3d can be imported"
        )
    settings: Settings = {
        "stem_stride_t": backbone.get("conv1_stride_t", 1),
        "pool1_stride_t": backbone.get("pool1_stride_t", 1),
    }
    if not backbone.get("with_pool2", True):
        raise InputError("its config says backbone.with_pool2=False, and only True can be imported")
    block = backbone.get("non_local_cfg") or {}
    if block and any(any(part) if isinstance(part, tuple | list) else part for part in backbone["non_local"]):
        settings["pairwise"] = block.get("mode", "embedded_gaussian")
        # mmcv reads use_scale in one of its modes only
        settings["nl_scale"] = settings["pairwise"] == "embedded_gaussian" and block.get("use_scale", True)
    normalisation = model.get("data_preprocessor") or (
        _plain(assigned["img_norm_cfg"]) if "img_norm_cfg" in assigned else {}
    )
    for name, setting in (("mean", "input_mean"), ("std", "input_std")):
        if name in normalisation:
            settings[setting] = tuple(float(value) for value in normalisation[name])
    return settings, _clip(assigned)


def _clip(assigned: dict[str, ast.expr]) -> str:
    for step in _plain(assigned["train_pipeline"]) if "train_pipeline" in assigned else ():
        if step.get("type") == "SampleFrames":
            return f"{step['clip_len']}x{step.get('frame_interval', 1)}"
    return ""


def _plain(node: ast.expr) -> Any:
    """The value of an expression of dict(key=...), literals, and containers of them."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {word.arg: _plain(word.value) for word in node.keywords}
    if isinstance(node, ast.Dict):
        return {_plain(key): _plain(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(part) for part in node.elts]
    return ast.literal_eval(node)


def _slowfast(text: str) -> tuple[Settings, str]:
    """The settings and the clips of a config of SlowFast.

    Raises: InputError if it describes a network that cannot be imported.
    Source: SlowFast, ResNet in slowfast/models/video_model_builder.py.
    """
    config = yaml.safe_load(text)
    required = {
        "MODEL.MODEL_NAME": "ResNet",
        "RESNET.TRANS_FUNC": "bottleneck_transform",
        "RESNET.NUM_GROUPS": 1,
        "RESNET.STRIDE_1X1": False,
        "RESNET.SPATIAL_STRIDES": [[1], [2], [2], [2]],
        "RESNET.SPATIAL_DILATIONS": [[1], [1], [1], [1]],
        "DATA.REVERSE_INPUT_CHANNEL": False,
        "MULTIGRID.SHORT_CYCLE": False,
        "DETECTION.ENABLE": False,
    }
    for name, value in required.items():
        section, key = name.split(".")
        actual = config.get(section, {}).get(key, value)  # older files lack the newer keys
        if actual != value:
            raise InputError(f"its config says {name}={actual}, and only {value} can be imported")
    data, resnet = config["DATA"], config["RESNET"]
    pool2 = _chosen("MODEL.ARCH", config["MODEL"]["ARCH"], {"i3d": 2, "c2d": 2, "i3d_nopool": 1, "c2d_nopool": 1})
    side = data["TRAIN_CROP_SIZE"] // 32
    settings = {
        "width": resnet["WIDTH_PER_GROUP"],
        "stage_blocks": _chosen("RESNET.DEPTH", resnet["DEPTH"], {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}),
        "input_mean": tuple(255 * value for value in data["MEAN"]),
        "input_std": tuple(255 * value for value in data["STD"]),
        "pool2_kernel_t": pool2,
        "pool2_stride_t": pool2,
        "head_window": (data["NUM_FRAMES"] // pool2, side, side),
        **_slowfast_blocks(config["NONLOCAL"], data["NUM_FRAMES"], pool2),
    }
    return settings, f"{data['NUM_FRAMES']}x{data['SAMPLING_RATE']}"


def _slowfast_blocks(config: dict[str, Any], num_frames: int, pool2: int) -> Settings:
    """The settings of the non-local blocks: where they are and, if there are any, what they compute."""
    located = [tuple(sorted(blocks)) for (blocks,) in config["LOCATION"]]
    settings: Settings = {f"nl_res{stage}": blocks for stage, blocks in enumerate(located, 2)}
    if not any(located):
        return settings
    pools = {str(pool) for blocks, pool in zip(located, config["POOL"], strict=True) if blocks}
    sub_samples = {str([[1, 2, 2]] * 2): "before_conv", str([[1, 1, 1]] * 2): "none"}
    if len(pools) > 1:
        raise InputError(f"its config says NONLOCAL.POOL={config['POOL']}: only one pool for all can be imported")
    frames = [num_frames, *[num_frames // pool2] * 3]
    groups = [group for (group,) in config["GROUP"]]
    forms = {"dot_product": "dot_product", "softmax": "embedded_gaussian"}
    return settings | {
        "pairwise": _chosen("NONLOCAL.INSTANTIATION", config["INSTANTIATION"], forms),
        "nl_sub_sample": _chosen("NONLOCAL.POOL", pools.pop(), sub_samples),
        "nl_group_frames": tuple(
            num // group if blocks and group > 1 else 0
            for blocks, num, group in zip(located, frames, groups, strict=True)
        ),
    }


def _chosen(name: str, value: Any, choices: dict[Any, Any]) -> Any:
    if value not in choices:
        raise InputError(
            f"its config says {name}={value}, and only {', '.join(map(str, choices))} can be imported"
        )
    return choices[value]
