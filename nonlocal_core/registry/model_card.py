"""The page beside exported weights: input, labels, accuracy, lineage, and how to load them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.model import ModelConfig, looks_over_time
from nonlocal_core.escaping import in_markdown
from nonlocal_core.evaluation import headline
from nonlocal_core.models.checkpoint import Description
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.lineage import in_words, lineage

_FRONT_MATTER = """\
---
pipeline_tag: video-classification
library_name: mindspore
tags: [action-recognition, i3d, non-local]
---"""
_MINDSPORE = """\
```python
import mindspore as ms
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.models.i3d import I3D

net = I3D(ModelConfig.model_validate_json('''{model}'''), num_classes={num_classes})
ms.load_param_into_net(net, ms.load_checkpoint("{file}"))
net.set_train(False)
logits = net(clip)  # clip: ms.Tensor, float32, (1, 3, {shape})
```
"""
_PYTORCH = """\
```python
from mmaction.models import I3DHead, ResNet3d
from safetensors.torch import load_file

backbone = ResNet3d({backbone})
head = I3DHead(num_classes={num_classes}, in_channels={channels})
tensors = load_file("{file}")
for name, part in (("backbone.", backbone), ("cls_head.", head)):
    part.load_state_dict({{key[len(name):]: value for key, value in tensors.items() if key.startswith(name)}})
    part.eval()
logits = head(backbone(clip))  # clip: torch.Tensor, float32, (1, 3, {shape})
```
"""
_MINDIR = """\
```python
import mindspore as ms

net = ms.nn.GraphCell(ms.load("{file}"))
logits = net(clip)  # clip: ms.Tensor, float32, (1, 3, {shape})
```
"""
_ONNX = """\
```python
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(logits,) = session.run(None, {{session.get_inputs()[0].name: clip}})  # clip: NumPy, float32, (1, 3, {shape})
```
"""
_LOADING = {
    "ckpt": ("MindSpore", _MINDSPORE),
    "safetensors": ("PyTorch, with mmaction2", _PYTORCH),
    "mindir": ("MindSpore, without this project", _MINDIR),
    "onnx": ("ONNX", _ONNX),
}


def text(
    workspace: Workspace,
    version: str,
    facts: Facts,
    described: Description,
    files: dict[str, str],
    clip_THW: Sequence[int],
) -> str:
    """The card of an entry as Markdown; `files` has the file of each format."""
    scored, labels, model = facts.evaluation, facts.label_names, described.model
    shape = ", ".join(map(str, clip_THW))
    places = {
        "model": model.model_dump_json(),
        "num_classes": len(labels),
        "channels": model.num_features,
        "shape": shape,
        "backbone": _backbone(model),
    }
    parts = [
        _FRONT_MATTER,
        f"# Non-local I3D, entry {version}",
        "An action recogniser: a clip of a video in, a score for each label out.",
        "## Figures",
        "\n".join(f"- {name} {text}" for name, text in headline.of(scored).items())
        + f"\n- split {scored.split}: {in_markdown(scored.coverage)}\n- protocol: {in_markdown(facts.conditions)}",
        "## Input",
        f"{_input(described, shape)}\n- the head of these files: {model.head}",
        f"## Labels ({len(labels)})",
        "\n".join(f"{number}. {in_markdown(label)}" for number, label in enumerate(labels)),
        "## Training data and lineage",
        in_words(lineage(workspace, version), hidden=("videos_dir", "file", "host")),  # of no use elsewhere
        "## Licence",
        "TO BE FILLED IN by who publishes these weights. The licences of the training videos, and of the weights"
        " that the training started from, bind you too.",
        "## How to load it",
        *(
            f"### {_LOADING[name][0]}\n\n{_LOADING[name][1].format(file=file, **places).rstrip()}"
            for name, file in files.items()
        ),
    ]
    return "\n\n".join(parts).rstrip() + "\n"


def _input(described: Description, shape: str) -> str:
    model, clip = described.model, described.clip
    rate = f" at {clip.fps:g} frames/s" if clip.fps else ""
    return (
        f"- RGB, float32, (1, 3, {shape}): {shape.partition(',')[0]} frames of a video, one every"
        f" {clip.frame_interval} ({clip.sampling}){rate}, resized to a shorter side of"
        f" {described.cache.short_side} pixels and cropped\n"
        f"- normalised: minus {_list(model.input_mean)}, divided by {_list(model.input_std)} (0…255)\n"
        "- of several clips and crops of a video, average the soft-max of the logits"
    )


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _backbone(model: ModelConfig) -> str:
    """The arguments of mmaction2's ResNet3d, as Python text."""
    stages = list(zip((2, 3, 4, 5), model.stage_blocks, strict=True))

    def each(is_set: Callable[[int, int], bool]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(int(is_set(stage, block)) for block in range(blocks)) for stage, blocks in stages)

    arguments: dict[str, Any] = {
        "depth": 50 if model.block == "bottleneck" else 34,
        "stage_blocks": tuple(model.stage_blocks),
        "pretrained": None,
        "pretrained2d": False,
        "base_channels": model.width,
        "conv1_kernel": (model.stem_kernel_t, 7, 7),
        "conv1_stride_t": model.stem_stride_t,
        "pool1_stride_t": model.pool1_stride_t,
        "inflate": each(lambda stage, block: looks_over_time(model, stage, block)),
        "inflate_style": model.inflate if model.inflate != "none" else "3x3x3",
        "non_local": each(lambda stage, block: block in model.nl_blocks(stage)),
        "non_local_cfg": {
            "mode": model.pairwise,
            "use_scale": model.nl_scale,
            "sub_sample": model.nl_sub_sample == "after_conv",
            "norm_cfg": {"type": "BN3d"},
        },
        "zero_init_residual": False,
    }
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
