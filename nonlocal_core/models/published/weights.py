"""Import published weights into the network that they were trained in, or raise an error.

The network's settings come from the tensors' shapes and names, from the file's own config, from a profile and from
switches.  Two of these that disagree are an error, and so is a tensor that the network has no parameter for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from pydantic import ValidationError

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import ConfigError, InputError, few
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published import files, names
from nonlocal_core.models.published.pickled import Array
from nonlocal_core.models.published.profiles import Profile, Settings, check_name, check_order, profile_of
from nonlocal_core.models.published.switches import Choice, chosen
from nonlocal_core.models.published.tensors import HEAD, fitted, from_flax, is_flat, settings_of, with_statistics


class Imported(NamedTuple):
    """A network with the weights of a file."""

    net: I3D
    stored_names: dict[str, str]
    """the name in the file of each of our parameters that came from it"""
    skipped: list[str]
    """tensors of the file that no network needs"""
    sources: dict[str, str]
    """the source of each setting of the network that is not a default"""
    labels: tuple[str, ...]
    """the classes that the file names; empty if it names none"""
    clip: str
    """LENxINTERVAL; empty if neither the profile nor the file says it"""
    clip_fps: float
    """rate at which LEN and INTERVAL count (frames per second; 0: the video's own)"""
    num_filled: int
    """number of parameters that came from the file"""
    described: checkpoint.Description | None
    """what the file says of itself, if it is a checkpoint of this project"""


class Named(NamedTuple):
    """The tensors of a file by what becomes of them."""

    stored_names: dict[str, str]
    """the names in the file, by our names"""
    arrays: dict[str, Array]
    """the tensors by our names"""
    skipped: list[str]
    left: list[str]
    """names that stand for no parameter"""


def load_published(
    path: Path | str, profile: str, labels: Sequence[str] = (), own_order: bool = False, **switches: Any
) -> I3D:
    """The network of a published file in inference mode: normalised clips (N, 3, T, H, W) in, logits (N, K) out.

    `switches` are settings of the section `model`, and `head="new"` with `num_classes=K` for other classes.
    `labels`, if there are any, must fit the classes; `own_order` says that they are in the order of a training of
    one's own, which need not be that of the published files.

    Raises: ConfigError if a switch is missing, unknown or contradicts the file or the profile; InputError if the
        file cannot be read, its tensors are not those of the network, its classes are not `labels`, or two sources
        disagree.
    """
    imported = import_file(Path(path), profile, switches)
    if labels:
        check_labels(imported, profile, labels, own_order)
    return imported.net


def check_labels(imported: Imported, profile: str, labels: Sequence[str], own_order: bool = False) -> None:
    """Check that these labels can be the classes of an imported network.

    Raises: InputError if their number or their order is another one.
    """
    num_classes = imported.net.head.fc.weight.shape[0]
    if len(labels) != num_classes:
        raise InputError(
            f"the network has {num_classes} classes, and there are {len(labels)} labels: say head=new"
        )
    if imported.labels and imported.labels != tuple(labels):
        raise InputError(f"the file's own labels are others ({few(imported.labels)}): say head=new")
    if HEAD[0] in imported.stored_names and not imported.labels and not own_order:
        check_order(profile, labels)


def import_file(path: Path, profile: str, switches: Settings) -> Imported:
    """The network of a published file, and how it was put together; raises as `load_published`."""
    kind = profile_of(profile)
    choice = chosen(switches)
    file = files.read(path, kind.config)
    try:
        check_name(path, kind)
        _check_pairwise(path, kind, choice)
        return _import(file, kind, choice)
    except (InputError, ConfigError) as error:
        raise type(error)(f"{path} as {profile}: {error}") from None


def _import(file: files.Published, profile: Profile, choice: Choice) -> Imported:
    named = _named(file, profile)
    settings, sources = _settings(file, profile, choice, named)
    arrays, flat = with_statistics(named.arrays), is_flat(named.arrays)
    head = choice.head or ("" if flat else "keep")
    if not head:
        raise ConfigError("its classes may not be yours: say head=keep, or head=new and num_classes")
    if head == "new":
        arrays = {name: array for name, array in arrays.items() if name not in HEAD}
    num_classes = choice.num_classes if head == "new" else len(arrays.get(HEAD[0], ()))
    if num_classes < 1:
        raise ConfigError("it needs a new classifier: say head=new and num_classes")
    model = _model(settings)
    if checkpoint.is_too_large(model, num_classes if head == "keep" else 0, file.tensors):
        raise InputError("it is of a network that is larger than the file")
    net = I3D(model, num_classes)
    params = {param.name: param for param in net.get_parameters()}
    new = {name for name in params if (head == "new" and name in HEAD) or (flat and ".nl" in name)}
    _assign(params, arrays, named, new - arrays.keys())
    net.set_train(False)
    used = {name: stored for name, stored in named.stored_names.items() if name in arrays}
    labels, clip, clip_fps = _labels_and_clip(file, profile)
    labels = labels if head == "keep" and len(labels) == num_classes else ()
    described, num_filled = None if profile.schemes else _described(file), len(params) - len(new)
    return Imported(net, used, named.skipped, sources, labels, clip, clip_fps, num_filled, described)


def _check_pairwise(path: Path, profile: Profile, choice: Choice) -> None:
    """Raise InputError if a file's name says another pairwise function than the profile's usual one."""
    usual = profile.usual.get("pairwise")
    words = {"dot_product": "dot.?product", "concatenation": "concat", "embedded_gaussian": "embedded|softmax"}
    named = {name for name, word in words.items() if re.search(word, path.name, re.IGNORECASE)}
    if usual and named - {usual} and "pairwise" not in choice.switches:
        raise InputError(
            f"its name says {' and '.join(sorted(named))}, and this profile's blocks are usually {usual}:"
            " say pairwise=…"
        )


def _named(file: files.Published, profile: Profile) -> Named:
    """The tensors by our names.

    Raises: InputError if the names are those of another profile, or unknown.
    """
    skipped = [name for name in file.tensors if names.is_skipped(name)]
    wanted = [name for name in file.tensors if not names.is_skipped(name)]
    if not profile.schemes:
        if not file.description:
            raise InputError("it is no checkpoint of this project: it has no description")
        return Named({name: name for name in wanted}, {name: file.tensors[name] for name in wanted}, skipped, [])
    scheme = names.scheme_of(wanted)
    if scheme is None or scheme not in profile.schemes:
        origin = f"those of {scheme}" if scheme else f"nobody's that is known here ({few(wanted)})"
        raise InputError(f"its names are {origin}, not those of {' or '.join(profile.schemes)}")
    stored_names, left = names.match(wanted, scheme)
    arrays = {ours: from_flax(name, file.tensors[name]) for ours, name in stored_names.items()}
    return Named(stored_names, arrays, skipped, left)


def _settings(
    file: files.Published, profile: Profile, choice: Choice, named: Named
) -> tuple[Settings, dict[str, str]]:
    """Every setting that is not a default, and its source.

    Raises: InputError if two sources disagree; ConfigError if a switch contradicts them or is missing.
    """
    found_in: dict[str, Settings] = {"the profile": profile.fixed}
    if profile.schemes:
        found_in["the file's tensors"] = settings_of(named.arrays, named.stored_names.values())
    else:
        found_in["the file's description"] = _described(file).model.model_dump()
    found_in["the file's config"] = file.settings
    values: Settings = {}
    sources: dict[str, str] = {}
    for source, settings in found_in.items():
        for key, value in settings.items():
            if values.setdefault(key, value) != value:
                raise InputError(f"{key} is {value} by {source}, but {values[key]} by {sources[key]}")
            sources.setdefault(key, source)
    for key, value in choice.switches.items():
        if values.setdefault(key, value) != value:
            raise ConfigError(f"{key}={value} contradicts {sources[key]}, where it is {values[key]}")
        sources.setdefault(key, "a switch")
    for key, value in {**profile.usual, **(_inflated(values) if is_flat(named.arrays) else {})}.items():
        if key not in values:
            values[key], sources[key] = value, "the profile's usual value"
    has_blocks = any(values.get(f"nl_res{stage}") for stage in (2, 3, 4, 5))
    if profile.pairwise_choices and has_blocks and "pairwise" not in values:
        raise ConfigError(
            f"the file does not say what its blocks compute: say pairwise={'|'.join(profile.pairwise_choices)}"
        )
    if values.get("pairwise") in ("dot_product", "concatenation"):
        values["nl_scale"] = False  # these two are divided by the number of positions alone
    return values, sources


def _described(file: files.Published) -> checkpoint.Description:
    """What a checkpoint of this project says of itself.

    Raises: InputError if that is no description of a network.
    """
    try:
        return checkpoint.Description.model_validate_json(file.description)
    except (ValueError, ConfigError):
        raise InputError("its description is not that of a checkpoint of this project") from None


def _inflated(values: Settings) -> Settings:
    """The usual settings of a network with inflated kernels of images.

    Raises: ConfigError if no switch says what to inflate.
    """
    if "inflate" not in values:
        raise ConfigError("its kernels are those of images: say inflate=3x1x1, inflate=3x3x3 or inflate=none")
    blocks: Settings = {f"nl_res{stage}": () for stage in (2, 3, 4, 5)}
    return {**blocks, "stem_kernel_t": 1 if values["inflate"] == "none" else 5}


def _model(settings: Settings) -> ModelConfig:
    try:
        return ModelConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"this is no network of this project: {where}: {first['msg']}") from None


def _assign(params: dict[str, Any], arrays: dict[str, Array], named: Named, new: set[str]) -> None:
    """Put all tensors into the parameters or, if any does not fit, none.

    Raises: InputError that names the tensors that are missing, left over, of another shape or no numbers.
    """
    both = params.keys() & arrays.keys()
    values = {name: fitted(arrays[name], tuple(params[name].shape)) for name in both}
    differences = {
        "missing": sorted(params.keys() - arrays.keys() - new),
        "left over": sorted(
            [*named.left, *(named.stored_names.get(name, name) for name in arrays.keys() - params.keys())]
        ),
        "of another shape": [
            f"{named.stored_names.get(name, name)} {arrays[name].shape} for {name} {tuple(params[name].shape)}"
            for name in sorted(both)
            if values[name].shape != tuple(params[name].shape)
        ],
        "not finite": [
            named.stored_names.get(name, name) for name in sorted(both) if not np.isfinite(values[name]).all()
        ],
    }
    if any(differences.values()):
        listed = "; ".join(f"{len(odd)} {how}: {few(odd)}" for how, odd in differences.items() if odd)
        hint = " (split batch norms of a multigrid training: SlowFast joins them when it saves)"
        raise InputError(f"its tensors are not those of the network: {listed}{hint if 'split' in listed else ''}")
    for name, value in values.items():
        params[name].set_data(ms.Tensor(value))


def _labels_and_clip(file: files.Published, profile: Profile) -> tuple[tuple[str, ...], str, float]:
    """The labels in a file, and the clips (LENxINTERVAL, rate) that the file or its profile names."""
    if not profile.schemes:
        labels, clip = _described(file).labels, _described(file).clip
        return labels, f"{clip.clip_len}x{clip.frame_interval}", clip.fps
    return file.labels, file.clip or profile.clip, profile.clip_fps
