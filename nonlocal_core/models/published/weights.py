"""Weights that others published, in the network that they were trained in, or not at all.

What the tensors show is read from them; what a file's own config says is believed; the rest comes from a profile
and from switches.  Two of these that disagree, and a tensor without a place, are errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from pydantic import TypeAdapter, ValidationError

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published import files, names
from nonlocal_core.models.published.file_configs import settings_and_clip
from nonlocal_core.models.published.pickles import Array
from nonlocal_core.models.published.profiles import PROFILES, Profile, Settings, check_order, profile_of
from nonlocal_core.models.published.tensors import HEAD, fitted, is_flat, settings_of, with_statistics


class Imported(NamedTuple):
    """A network with the weights of a file."""

    net: I3D
    theirs: dict[str, str]
    """their name of each of our parameters that came from the file"""
    skipped: list[str]
    """tensors of the file that no network needs"""
    sources: dict[str, str]
    """where each setting of the network is from, if it is not a default"""
    labels: tuple[str, ...]
    """the classes that the file names; empty if it names none"""
    clip: str
    """LENxINTERVAL, if the profile or the file says it"""
    num_filled: int
    """parameters that are not new"""


class Choice(NamedTuple):
    """What a person said of a file."""

    switches: Settings
    """settings of the section `model`"""
    head: str
    """keep, new, or empty where nothing was said"""
    num_classes: int
    """of a new head"""


class Named(NamedTuple):
    """The tensors of a file, sorted."""

    theirs: dict[str, str]
    """their names by ours"""
    arrays: dict[str, Array]
    """the tensors by our names"""
    skipped: list[str]
    left: list[str]
    """what has no place"""


def load_published(path: Path | str, profile: str, labels: Sequence[str] = (), **switches: Any) -> I3D:
    """The network of a published file in inference mode: normalised clips (N, 3, T, H, W) in, logits (N, K) out.

    `switches` are settings of the section `model`, and `head="new"` with `num_classes=K` for other classes.
    `labels`, if there are any, are what the classes are wanted to be.

    Raises: ConfigError if a switch is missing, unknown or contradicts the file or the profile; InputError if the
        file cannot be read, its tensors are not those of the network, its classes are not `labels`, or two sources
        disagree.
    """
    imported = import_file(Path(path), profile, switches)
    if labels:
        check_labels(imported, profile, labels)
    return imported.net


def check_labels(imported: Imported, profile: str, labels: Sequence[str]) -> None:
    """Nothing, if these can be the classes of an imported network.

    Raises: InputError if there are more or fewer, or if they are in another order.
    """
    num_classes = imported.net.head.fc.weight.shape[0]
    if len(labels) != num_classes:
        raise InputError(
            f"the network has {num_classes} classes, and there are {len(labels)} labels: say head=new"
        )
    if imported.labels and imported.labels != tuple(labels):
        raise InputError(f"the file's own labels are others ({_few(list(imported.labels))}): say head=new")
    if HEAD[0] in imported.theirs:
        check_order(profile, labels)


def import_file(path: Path, profile: str, switches: Settings) -> Imported:
    """The network of a published file, and how it was put together; raises as `load_published`."""
    known = profile_of(profile)
    choice = _choice(switches)
    file = files.read(path)
    try:
        _check_name(path, known)
        _check_pairwise(path, known, choice)
        return _import(file, known, choice)
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
    net = I3D(_model(settings), num_classes)
    params = {param.name: param for param in net.get_parameters()}
    new = {name for name in params if (head == "new" and name in HEAD) or (flat and ".nl" in name)}
    _assign(params, arrays, named, new - arrays.keys())
    net.set_train(False)
    used = {mine: theirs for mine, theirs in named.theirs.items() if mine in arrays}
    labels, clip = _said(file, profile)
    return Imported(
        net, used, named.skipped, sources, labels if head == "keep" else (), clip, len(params) - len(new)
    )


def _check_name(path: Path, profile: Profile) -> None:
    """Raise InputError if a file's name says that it is for other clips: nothing in the file would show it."""
    clips = {known.clip for known in PROFILES.values() if known.clip}
    said = {clip for clip in clips if re.search(rf"(?<!\d){clip}(?!\d)", path.name)}
    if profile.clip and said and profile.clip not in said:
        raise InputError(
            f"its name says {' and '.join(sorted(said))}, and this profile is for clips of {profile.clip}:"
            " take the other profile, or rename the file"
        )


def _check_pairwise(path: Path, profile: Profile, choice: Choice) -> None:
    """Raise InputError if a file's name says another pairwise function than the profile's usual one."""
    usual = profile.usual.get("pairwise")
    words = {"dot_product": "dot.?product", "concatenation": "concat", "embedded_gaussian": "embedded|softmax"}
    said = {name for name, word in words.items() if re.search(word, path.name, re.IGNORECASE)}
    if usual and said - {usual} and "pairwise" not in choice.switches:
        raise InputError(
            f"its name says {' and '.join(sorted(said))}, and this profile's blocks are usually {usual}:"
            " say pairwise=…"
        )


def _choice(switches: Settings) -> Choice:
    """What was said, as typed values.

    Raises: ConfigError for a switch that does not exist or does not fit.
    """
    given = dict(switches)
    head = given.pop("head") if given.get("head") in ("keep", "new") else ""
    num_classes = int(given.pop("num_classes", 0))
    if (head == "new") != (num_classes > 0):
        raise ConfigError("head=new and num_classes=K go together")
    for key, value in given.items():
        if key not in ModelConfig.model_fields:
            known = ", ".join(["head=keep", "head=new", "num_classes", *ModelConfig.model_fields])
            raise ConfigError(f"there is no switch {key!r}: there are {known}")
        try:
            given[key] = TypeAdapter(ModelConfig.model_fields[key].rebuild_annotation()).validate_python(value)
        except ValidationError as error:
            raise ConfigError(f"{key}={value} does not fit: {error.errors()[0]['msg']}") from None
    return Choice(given, head, num_classes)


def _named(file: files.Published, profile: Profile) -> Named:
    """The tensors by our names.

    Raises: InputError if the names are another profile's or nobody's.
    """
    skipped = [name for name in file.tensors if names.is_skipped(name)]
    wanted = [name for name in file.tensors if not names.is_skipped(name)]
    if not profile.schemes:
        if "description" not in file.beside:
            raise InputError("it is no checkpoint of this project: it has no description")
        return Named({name: name for name in wanted}, {name: file.tensors[name] for name in wanted}, skipped, [])
    scheme = names.scheme_of(wanted)
    if scheme is None or scheme not in profile.schemes:
        found = f"those of {scheme}" if scheme else f"nobody's that is known here ({_few(wanted)})"
        raise InputError(f"its names are {found}, not those of {' or '.join(profile.schemes)}")
    theirs, left = names.mapped(wanted, scheme)
    return Named(theirs, {mine: file.tensors[name] for mine, name in theirs.items()}, skipped, left)


def _settings(
    file: files.Published, profile: Profile, choice: Choice, named: Named
) -> tuple[Settings, dict[str, str]]:
    """Every setting that is not a default, and where it is from.

    Raises: InputError if two sources disagree; ConfigError if a switch contradicts them or is missing.
    """
    told: dict[str, Settings] = {"the profile": profile.fixed}
    if profile.schemes:
        told["the file's tensors"] = settings_of(named.arrays, named.theirs.values())
    else:
        said = json.loads(file.beside["description"])
        told["the file's description"] = ModelConfig.model_validate(said["model"]).model_dump()
    told["the file's config"], _ = settings_and_clip(file)
    values: Settings = {}
    sources: dict[str, str] = {}
    for source, settings in told.items():
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
    if profile.asked and has_blocks and "pairwise" not in values:
        raise ConfigError(f"the file does not say what its blocks compute: say pairwise={'|'.join(profile.asked)}")
    if values.get("pairwise") in ("dot_product", "concatenation"):
        values["nl_scale"] = False  # these two are divided by the number of positions alone
    return values, sources


def _inflated(values: Settings) -> Settings:
    """The usual settings of a network that kernels of images are inflated to.

    Raises: ConfigError if it was not said what to inflate.
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
    """Put all tensors into the parameters or, when something differs, none.

    Raises: InputError that names the tensors that are missing, left over, of another shape or no numbers.
    """
    both = params.keys() & arrays.keys()
    values = {name: fitted(arrays[name], tuple(params[name].shape)) for name in both}
    differences = {
        "missing": sorted(params.keys() - arrays.keys() - new),
        "left over": sorted(
            [*named.left, *(named.theirs.get(name, name) for name in arrays.keys() - params.keys())]
        ),
        "of another shape": [
            f"{named.theirs.get(name, name)} {arrays[name].shape} for {name} {tuple(params[name].shape)}"
            for name in sorted(both)
            if values[name].shape != tuple(params[name].shape)
        ],
        "not finite": [
            named.theirs.get(name, name) for name in sorted(both) if not np.isfinite(values[name]).all()
        ],
    }
    if any(differences.values()):
        told = "; ".join(f"{len(found)} {how}: {_few(found)}" for how, found in differences.items() if found)
        split = (
            "split" in told and " (split batch norms of a multigrid training: SlowFast joins them when it saves)"
        )
        raise InputError(f"its tensors are not those of the network: {told}{split or ''}")
    for name, value in values.items():
        params[name].set_data(ms.Tensor(value))


def _said(file: files.Published, profile: Profile) -> tuple[tuple[str, ...], str]:
    """The labels and the clips, LENxINTERVAL, that a file or its profile names."""
    if not profile.schemes:
        said = json.loads(file.beside["description"])
        return tuple(said["labels"]), f"{said['clip']['clip_len']}x{said['clip']['frame_interval']}"
    return (), settings_and_clip(file)[1] or profile.clip


def _few(found: list[str]) -> str:
    return ", ".join(found[:5]) + (" and others" if len(found) > 5 else "")
