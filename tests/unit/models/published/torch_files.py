"""Files as PyTorch, Caffe2 and the seed write them, written without any of them."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np

STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "float64": "DoubleStorage",
}


def tensor(key, numel, offset, size, stride, storage="FloatStorage"):
    """The pickle, in protocol 0, of one tensor as PyTorch writes it."""
    storage = f"(S'storage'\nctorch\n{storage}\nS'{key}'\nS'cpu'\nI{numel}\ntQ"
    sizes = "".join(f"I{n}\n" for n in size)
    strides = "".join(f"I{n}\n" for n in stride)
    args = f"({storage}I{offset}\n({sizes}t({strides}tI00\nccollections\nOrderedDict\n(tRt"
    return f"ctorch._utils\n_rebuild_tensor_v2\n{args}R"


def dictionary(entries):
    """The pickle of a dictionary from names to pickles."""
    return "(d" + "".join(f"S'{name}'\n{value}s" for name, value in entries.items())


def save(path, pickled, storages=(), compression=zipfile.ZIP_STORED):
    """A zip archive as PyTorch 1.6 and later write it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("some/data.pkl", pickled if isinstance(pickled, bytes) else f"{pickled}.")
        archive.writestr("some/byteorder", "little")
        for key, array in enumerate(storages):
            archive.writestr(f"some/data/{key}", array.tobytes())
    return path


def save_legacy(path, pickled, storages=(), little=True):
    """A file as PyTorch wrote them before 1.6: pickles, then the storages."""
    keys = [str(key) for key in range(len(storages))]
    parts = [
        pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        pickle.dumps(1001, 2),
        pickle.dumps({"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}, 2),
        f"{pickled}.".encode(),
        pickle.dumps(keys, 2),
        *(struct.pack("<q", array.size) + array.tobytes() for array in storages),
    ]
    path.write_bytes(b"".join(parts))
    return path


def text_pickle(text):
    escaped = text.replace("\\", "\\u005c").replace("\n", "\\u000a")
    return f"V{escaped}\n"


def state_pickle(state):
    entries = {}
    for key, (name, value) in enumerate(state.items()):
        stride = [step // value.itemsize for step in value.strides]
        entries[name] = tensor(key, value.size, 0, value.shape, stride, STORAGES[str(value.dtype)])
    return dictionary(entries)


def save_state(path: Path, state, under="state_dict", **texts):
    """A checkpoint with these arrays, and texts beside them."""
    plain = {name: text_pickle(text) for name, text in texts.items()}
    inside = dictionary({under: state_pickle(state), **plain}) if under else state_pickle(state)
    return save(path, inside, list(state.values()))


def save_blobs(path: Path, blobs):
    """What Python 2 makes of NumPy arrays in protocol 2: raw bytes as text."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def array(value):
        dtype = b"cnumpy\ndtype\n(" + text(value.dtype.str[1:].encode()) + number(0) + number(1) + b"tR"
        dtype += b"(" + number(3) + text(b"<") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        shape = b"(" + b"".join(number(size) for size in value.shape) + b"t"
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + number(0) + b"t" + text(b"b") + b"tR"
        return made + b"(" + number(1) + shape + dtype + b"\x89" + text(value.tobytes()) + b"tb"

    entries = b"".join(
        text(name.encode()) + array(np.ascontiguousarray(value)) + b"s" for name, value in blobs.items()
    )
    path.write_bytes(b"\x80\x02}" + text(b"blobs") + b"}" + entries + b"s.")
    return path


TORCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
CAFFE2_NORM = {"gamma": "s", "beta": "b", "moving_mean": "rm", "moving_variance": "riv"}
_PLACE = re.compile(r"res(\d)\.(nl)?(\d+)\.(\w+)(?:\.(conv|norm))?\.(\w+)")


def mmaction2_name(name):
    """What mmaction2 calls one of our parameters, written out once more."""
    if name.startswith(("stem", "head")):
        _, kind, leaf = name.split(".")
        if name.startswith("head"):
            return f"cls_head.fc_cls.{leaf}"
        return f"backbone.conv1.{'conv' if kind == 'conv' else 'bn'}.{TORCH_NORM.get(leaf, leaf)}"
    stage, nl, block, part, kind, leaf = _PLACE.fullmatch(name).groups()
    where = f"backbone.layer{int(stage) - 1}.{block}"
    if nl:
        inside = {"theta": "theta.conv", "phi": "phi.0.conv", "g": "g.0.conv", "out": "conv_out.conv"}
        return f"{where}.non_local_block.{inside.get(part, 'conv_out.bn')}.{TORCH_NORM.get(leaf, leaf)}"
    part = {"a": "conv1", "b": "conv2", "c": "conv3", "proj": "downsample"}[part]
    return f"{where}.{part}.{'conv' if kind == 'conv' else 'bn'}.{TORCH_NORM.get(leaf, leaf)}"


def seed_name(name):
    """What the seed calls one of our parameters."""
    if name.startswith(("stem", "head")):
        _, kind, leaf = name.split(".")
        if name.startswith("head"):
            return f"head.dense.{leaf}"
        return f"backbone.conv1.features.{'0' if kind == 'conv' else '1.bn2d'}.{leaf}"
    stage, nl, block, part, kind, leaf = _PLACE.fullmatch(name).groups()
    where = f"backbone.layer{int(stage) - 1}.{block}"
    if nl:
        inside = {"theta": "theta", "phi": "phi.0", "g": "g.0", "out": "w.0", "norm": "w.1.bn2d"}[part]
        return f"{where}.non_local_block.{inside}.{leaf}"
    part = {"a": "conv12.conv1", "b": "conv12.conv2", "c": "conv3", "proj": "down_sample"}[part]
    return f"{where}.{part}.features.{'0' if kind == 'conv' else '1.bn2d'}.{leaf}"


def torchvision_name(name):
    """What torchvision and timm call one of our parameters."""
    if name.startswith(("stem", "head")):
        _, kind, leaf = name.split(".")
        if name.startswith("head"):
            return f"fc.{leaf}"
        return f"{'conv1' if kind == 'conv' else 'bn1'}.{TORCH_NORM.get(leaf, leaf)}"
    stage, _, block, part, kind, leaf = _PLACE.fullmatch(name).groups()
    where, leaf = f"layer{int(stage) - 1}.{block}", TORCH_NORM.get(leaf, leaf)
    if part == "proj":
        return f"{where}.downsample.{'0' if kind == 'conv' else '1'}.{leaf}"
    return f"{where}.{'conv' if kind == 'conv' else 'bn'}{'abc'.index(part) + 1}.{leaf}"


def caffe2_name(name):
    """What video-nonlocal-net calls one of our parameters."""
    plain = {"weight": "w", "bias": "b"}
    if name.startswith("head"):
        return f"pred_{plain[name.rpartition('.')[2]]}"
    if name.startswith("stem"):
        leaf = name.rpartition(".")[2]
        return "conv1_w" if leaf == "weight" else f"res_conv1_bn_{CAFFE2_NORM[leaf]}"
    stage, nl, block, part, kind, leaf = _PLACE.fullmatch(name).groups()
    if nl:
        last = f"bn_{CAFFE2_NORM[leaf]}" if part == "norm" else f"{part}_{plain[leaf]}"
        return f"nonlocal_conv{stage}_{block}_{last}"
    branch = "branch1" if part == "proj" else f"branch2{part}"
    return f"res{stage}_{block}_{branch}_{'w' if kind == 'conv' else f'bn_{CAFFE2_NORM[leaf]}'}"
