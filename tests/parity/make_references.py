"""Makes the references that no published implementation made for us; needs PyTorch, which the tests do not.

    python tests/parity/make_references.py FOLDER SLOWFAST_CHECKPOINT

The networks of video-nonlocal-net and SlowFast and an image ResNet, written down once more as plain functions of
named tensors in float64.  A tensor is drawn when it is first asked for; statistics are those of what passes.
SLOWFAST_CHECKPOINT is a file whose config SlowFast wrote itself.
"""

from __future__ import annotations

import math
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import yaml


class Net(NamedTuple):
    """The switches of a network, by the words of the implementations."""

    blocks: tuple[int, ...] = (1, 2, 2, 1)
    nl: tuple[tuple[int, ...], ...] = ((), (1,), (0, 1), ())
    width: int = 4
    classes: int = 7
    stem_kernel: int = 5
    stem_stride: int = 1
    pool1: tuple[int, int, int] = (1, 1, 0)  # kernel and stride in time, padding in space
    pool2: int = 2
    affine: bool = False
    groups: tuple[int, ...] = (0, 0, 0, 0)  # frames
    dot_product: bool = False
    wide: bool = True  # 3x1x1
    window: tuple[int, int, int] | None = (4, 2, 2)


class Blobs(OrderedDict[str, Any]):
    """Tensors by Caffe2's names."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def draw(self, name: str, shape: tuple[int, ...], scale: float, centre: float = 0.0) -> torch.Tensor:
        if name not in self:
            self[name] = torch.tensor((centre + self.rng.normal(0.0, scale, shape)).astype(np.float32)).double()
        return self[name]

    def conv(self, x, name, out, kernel, stride=(1, 1, 1), pad=None, bias=False, gain=2.0):
        shape = (out, x.shape[1], *kernel)
        weight = self.draw(f"{name}_w", shape, math.sqrt(gain / math.prod(shape[1:])))
        shift = self.draw(f"{name}_b", (out,), 0.2) if bias else None
        return F.conv3d(x, weight, shift, stride, pad or tuple(k // 2 for k in kernel))

    def norm(self, x, name, affine, scale=1.0):
        axes, view = (0, 2, 3, 4), (1, -1, 1, 1, 1)
        spread = 1.0 if not affine else 1.0 / math.sqrt(x.var().item())
        s = self.draw(f"{name}_s", (x.shape[1],), 0.2 * scale * spread, scale * spread).view(view)
        b = self.draw(f"{name}_b", (x.shape[1],), 0.2).view(view)
        if affine:
            return x * s + b
        if f"{name}_rm" not in self:
            self[f"{name}_rm"] = (x.mean(axes) + 0.05).float().double()
            self[f"{name}_riv"] = (x.var(axes) * 1.1 + 0.01).float().double()
        return (x - self[f"{name}_rm"].view(view)) / torch.sqrt(self[f"{name}_riv"].view(view) + 1e-5) * s + b


def nonlocal_block(blobs, x, name, net, group):
    n, c, t, h, w = x.shape
    whole = x
    if group:
        x = x.reshape(n, c, t // group, group, h, w).transpose(1, 2).reshape(n * t // group, c, group, h, w)
    pooled = F.max_pool3d(x, (1, 2, 2), (1, 2, 2))
    theta = blobs.conv(x, f"{name}_theta", c // 2, (1, 1, 1), bias=True, gain=1.0).flatten(2)
    phi = blobs.conv(pooled, f"{name}_phi", c // 2, (1, 1, 1), bias=True, gain=1.0).flatten(2)
    g = blobs.conv(pooled, f"{name}_g", c // 2, (1, 1, 1), bias=True, gain=1.0).flatten(2)
    affinity = torch.einsum("ncp,ncq->npq", theta, phi)
    affinity = affinity / phi.shape[2] if net.dot_product else torch.softmax(affinity * (c // 2) ** -0.5, 2)
    y = torch.einsum("npq,ncq->ncp", affinity, g).reshape(x.shape[0], c // 2, *x.shape[2:])
    y = blobs.conv(y, f"{name}_out", c, (1, 1, 1), bias=True)
    if group:
        y = y.reshape(n, t // group, c, group, h, w).transpose(1, 2).reshape(n, c, t, h, w)
    return whole + (y if net.affine else blobs.norm(y, f"{name}_bn", False, 0.5))


def features(blobs, x, net):
    k = net.stem_kernel
    x = blobs.conv(x, "conv1", net.width, (k, 7, 7), (net.stem_stride, 2, 2))
    x = torch.relu(blobs.norm(x, "res_conv1_bn", net.affine))
    kernel, stride, pad = net.pool1
    x = F.max_pool3d(x, (kernel, 3, 3), (stride, 2, 2), (0, pad, pad))
    for stage, (count, located, group) in enumerate(zip(net.blocks, net.nl, net.groups, strict=True), 2):
        inner = net.width * 2 ** (stage - 2)
        for block in range(count):
            name = f"res{stage}_{block}_branch"
            wide = net.wide and (stage == 2 or block % 2 == (stage == 5))
            step = 2 if block == 0 and stage > 2 else 1
            y = blobs.conv(x, f"{name}2a", inner, (3 if wide else 1, 1, 1))
            y = torch.relu(blobs.norm(y, f"{name}2a_bn", net.affine))
            y = blobs.conv(y, f"{name}2b", inner, (1, 3, 3), (1, step, step))
            y = torch.relu(blobs.norm(y, f"{name}2b_bn", net.affine))
            y = blobs.norm(blobs.conv(y, f"{name}2c", 4 * inner, (1, 1, 1)), f"{name}2c_bn", net.affine, 0.5)
            if block == 0:
                x = blobs.conv(x, f"{name}1", 4 * inner, (1, 1, 1), (1, step, step), gain=1.0)
                x = blobs.norm(x, f"{name}1_bn", net.affine)
            x = torch.relu(x + y)
            if block in located:
                x = nonlocal_block(blobs, x, f"nonlocal_conv{stage}_{block}", net, group)
        if stage == 2 and net.pool2 > 1:
            x = F.max_pool3d(x, (net.pool2, 1, 1), (net.pool2, 1, 1))
    return x


def run(blobs, clip, net):
    """Logits where the window fits once, and the mean of the probabilities."""
    x = features(blobs, torch.tensor(clip / 32).double(), net)
    x = F.avg_pool3d(x, net.window, 1) if net.window else x.mean((2, 3, 4), keepdim=True)
    weight = blobs.draw("pred_w", (net.classes, x.shape[1]), 0.2)
    bias = blobs.draw("pred_b", (net.classes,), 0.2)
    logits = F.conv3d(x, weight[:, :, None, None, None], bias)
    made = {"clip": clip, "probs": torch.softmax(logits, 1).mean((2, 3, 4)).numpy()}
    return made | ({"logits": logits[:, :, 0, 0, 0].numpy()} if logits[0, 0].numel() == 1 else {})


def clip_of(seed, frames, side, count=1):
    """A normalised clip times 32, in whole numbers: it is small on disk."""
    return (
        np.random.default_rng(seed)
        .normal(0.0, 32.0, (count, 3, frames, side, side))
        .clip(-127, 127)
        .astype(np.int8)
    )


def make_caffe2(folder, seed, name, net, frames, side):
    blobs = Blobs(seed)
    run(blobs, clip_of(100 + seed, frames, side, 8), net)  # draws
    np.savez_compressed(folder / f"{name}.npz", **run(blobs, clip_of(seed, frames, side), net))
    if frames == 8:
        np.savez_compressed(folder / f"{name}_windows.npz", **run(blobs, clip_of(seed, frames, side + 32), net))
    arrays = {key: value.float().numpy() for key, value in blobs.items()}
    arrays |= {f"{key}_momentum": np.zeros_like(value) for key, value in list(arrays.items())[:2]}
    arrays |= {"lr": np.array([0.01], np.float32), "model_iter": np.array([400000])}
    (folder / f"{name}.pkl").write_bytes(pickle.dumps({"blobs": arrays}, protocol=2))


def slowfast_name(name):
    part = name.split("_")
    norm = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
    plain = {"w": "weight", "b": "bias"}
    if name.startswith("pred"):
        return f"head.projection.{plain[part[1]]}"
    if name.startswith("conv1"):
        return "s1.pathway0_stem.conv.weight"
    if name.startswith("res_conv1"):
        return f"s1.pathway0_stem.bn.{norm[part[3]]}"
    if name.startswith("nonlocal"):
        where = f"s{part[1][4]}.pathway0_nonlocal{part[2]}"
        return f"{where}.bn.{norm[part[4]]}" if part[3] == "bn" else f"{where}.conv_{part[3]}.{plain[part[4]]}"
    where = f"s{part[0][3]}.pathway0_res{part[1]}.branch{part[2][6]}" + (f".{part[2][7]}" if part[2][7:] else "")
    return f"{where}_bn.{norm[part[4]]}" if part[3] == "bn" else f"{where}.weight"


def make_slowfast(folder, seed, name, net, frames, side, text):
    blobs = Blobs(seed)
    run(blobs, clip_of(100 + seed, frames, side, 8), net)
    np.savez_compressed(folder / f"{name}.npz", **run(blobs, clip_of(seed, frames, side), net))
    config = yaml.safe_load(text)
    config["RESNET"]["WIDTH_PER_GROUP"] = net.width
    config["MODEL"]["NUM_CLASSES"] = net.classes
    config["NONLOCAL"]["INSTANTIATION"] = "dot_product" if net.dot_product else "softmax"
    config["NONLOCAL"]["LOCATION"] = [[list(blocks)] for blocks in net.nl]
    config["DATA"] |= {"NUM_FRAMES": frames, "TRAIN_CROP_SIZE": 32 * net.window[1]}
    state = OrderedDict((slowfast_name(key), value.float()) for key, value in blobs.items())
    state["s1.pathway0_stem.bn.num_batches_tracked"] = torch.tensor(3)
    saved = {
        "epoch": 1,
        "model_state": state,
        "optimizer_state": {"param_groups": []},
        "cfg": yaml.safe_dump(config),
    }
    torch.save(saved, folder / f"{name}.pyth")


def torchvision_name(name):
    part = name.split("_")
    norm = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
    if name.startswith("pred"):
        return f"fc.{'weight' if part[1] == 'w' else 'bias'}"
    if name.startswith("conv1"):
        return "conv1.weight"
    if name.startswith("res_conv1"):
        return f"bn1.{norm[part[3]]}"
    where, number = f"layer{int(part[0][3]) - 1}.{part[1]}", "abc".find(part[2][7:] or "x") + 1
    if part[3] == "bn":
        return f"{where}.bn{number}.{norm[part[4]]}" if number else f"{where}.downsample.1.{norm[part[4]]}"
    return f"{where}.conv{number}.weight" if number else f"{where}.downsample.0.weight"


def make_image_net(folder, seed, name, net):
    blobs = Blobs(seed)
    run(blobs, clip_of(100 + seed, 1, 64, 8), net)
    image = clip_of(seed, 1, 64)
    made = run(blobs, image, net)
    mean = features(blobs, torch.tensor(image / 32).double(), net).mean((2, 3, 4)).numpy()
    np.savez(folder / f"{name}.npz", image=image[:, :, 0], features=mean, logits=made["logits"])
    state = OrderedDict()
    for key, value in blobs.items():
        flat = value.float()[:, :, 0] if value.ndim == 5 else value.float()
        state[torchvision_name(key)] = flat.contiguous()
    torch.save(state, folder / f"{name}.pth", _use_new_zipfile_serialization=False)


def main():
    folder, published = Path(sys.argv[1]), sys.argv[2]
    text = torch.load(published, weights_only=True)["cfg"]
    by_2: dict[str, Any] = {"stem_stride": 2, "pool1": (2, 2, 0)}
    make_caffe2(folder, 1, "caffe2_8x8", Net(), 8, 64)
    make_caffe2(folder, 2, "caffe2_32x2", Net(**by_2), 32, 48)
    long: dict[str, Any] = {"affine": True, "groups": (0, 4, 0, 0)}
    make_caffe2(folder, 3, "caffe2_affine_32x4", Net(**long, window=(8, 2, 2)), 16, 48)
    make_caffe2(folder, 4, "caffe2_affine_128x1", Net(**by_2, **long, window=(8, 1, 1)), 64, 32)
    located = ((), (1, 3), (1, 3, 5), ())
    make_slowfast(folder, 5, "pyslowfast_softmax", Net((3, 4, 6, 3), located, pool1=(1, 1, 1)), 8, 64, text)
    image = Net((1, 2, 1, 1), ((),) * 4, 4, 7, 1, 1, (1, 1, 1), 1, wide=False, window=None)
    make_image_net(folder, 6, "torchvision_resnet", image)


if __name__ == "__main__":
    main()
