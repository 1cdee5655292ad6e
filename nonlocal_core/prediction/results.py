"""A request for labels, and the labels that a network predicts: as text, as parquet and as JSON."""

from __future__ import annotations

import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field, field_validator

from nonlocal_core import registry
from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.references import Frozen
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.escaping import one_line

TOP = 5
"""labels of a video"""
SHOWN_VIDEOS = 40
SHOWN_SPANS = 12
"""stretches of a video with the same first label that are printed"""
SUFFIXES = (".parquet", ".json")
SECTIONS = ("evaluate", "runtime")
"""settings that a prediction may change; the others come with the network"""


class Request(Frozen):
    """What to predict, and how."""

    source: Path
    """a video, or a folder with videos anywhere below it"""
    workspace_dir: Path
    checkpoint: str = "champion"
    """champion, another entry, a checkpoint file, or the name of published weights"""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """of the sections evaluate and runtime"""
    window_s: float | None = None
    """length of a sliding window (seconds); None: a video is one"""
    hop_s: float | None = None
    """from one window to the next (seconds); None: half a window"""
    draw_dir: Path | None = None
    """where videos are written with their labels on them"""
    features: Path | None = None
    """where the pooled features of videos and windows are written"""

    @field_validator("workspace_dir", "draw_dir", "features")
    @classmethod
    def _at_home(cls, path: Path | None) -> Path | None:
        return path and path.expanduser()  # in `out=~/a.json` no shell does that


def check(request: Request) -> None:
    """Check a request before any video is read, and make the folder of its features.

    Raises: ConfigError that names a setting that does not fit; InputError if there is no such video or folder,
            no registry, or the features cannot be written.
    """
    if not request.source.exists():
        raise InputError(f"there is no video or folder {request.source}")
    for key in request.overrides:
        section = key.split(".")[0]
        if section not in Config.model_fields:
            raise ConfigError(f"there is no parameter {key!r}: --help lists them")
        if section not in SECTIONS:
            raise ConfigError(f"{key} comes with the network: a prediction takes evaluate.… and runtime.… alone")
    if request.window_s is None and request.hop_s is not None:
        raise ConfigError("hop_s needs windows: name their length with window_s=SECONDS")
    if request.draw_dir is not None:
        _check_draw(request.source, request.draw_dir)
    if request.features is not None and request.features.suffix != ".parquet":
        raise ConfigError(f"features={request.features}: name a file that ends with .parquet")
    for name, value in (("window_s", request.window_s), ("hop_s", request.hop_s)):
        if value is not None and not value > 0:
            raise ConfigError(f"{name}={value:g}: name seconds above 0")
    registry.check_folder(request.workspace_dir, request.checkpoint)
    if request.features is not None:
        _check_file("features", request.features)


def _check_draw(source: Path, draw_dir: Path) -> None:
    """Check that what is drawn takes the place of no video, and that no later run takes it for one."""
    folder = source if source.is_dir() else source.parent
    videos, drawn = folder.resolve(), draw_dir.resolve()
    if drawn == videos:
        raise ConfigError(f"draw={draw_dir} is where the videos lie: name another folder")
    if source.is_dir() and drawn.is_relative_to(videos):
        raise ConfigError(
            f"draw={draw_dir} lies in {source}, where the next run would take what is drawn for videos: name"
            " a folder beside it"
        )
    if source.is_dir() and videos.is_relative_to(drawn):
        raise ConfigError(
            f"draw={draw_dir} holds {source}: what is drawn could take the place of other videos: name another"
            " folder"
        )
    if draw_dir.is_file():
        raise ConfigError(f"draw={draw_dir} is a file: name a folder")


def _check_file(name: str, path: Path) -> None:
    """Check that a file can be written, and make its folder: before hours are spent on what goes into it."""
    try:
        if path.is_dir():
            raise ConfigError(f"{name}={path} is a folder: name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.NamedTemporaryFile(prefix=f"{path.name}.tmp", dir=path.parent).close()
    except OSError as error:
        raise InputError(f"{name}={path} cannot be written: {error.strerror}") from None


class Guess(Frozen):
    """A label and its score (0…1)."""

    label: str
    score: float


class Window(Frozen):
    """The best labels of a part of a video."""

    start_s: float
    end_s: float
    guesses: tuple[Guess, ...]


class Prediction(Frozen):
    """The labels of one video, or why there are none."""

    video: str
    """path, relative to the folder that was asked for"""
    status: str
    """ok, or why there are no labels: unreadable, empty, no_time, …"""
    reason: str = ""
    guesses: tuple[Guess, ...] = ()
    """the best labels of the whole video, the best first"""
    windows: tuple[Window, ...] = ()
    """in the order of time, where windows were asked for"""
    drawn: str = ""
    """the video with its label on it, where that was asked for"""


class Predictions(Frozen):
    """The labels of some videos by one network."""

    entry: str
    protocol: str
    """clips and crops of what is averaged"""
    engine: str = ""
    """what computed the scores, in words; empty if no video could be read"""
    videos: tuple[Prediction, ...]
    out: str = ""
    """the file that the predictions were written to"""

    def __str__(self) -> str:
        """A table for a person."""
        good = [video for video in self.videos if video.status == "ok"]
        wide = max((len(video.video) for video in self.videos[:SHOWN_VIDEOS]), default=0)
        lines = ["", f"  network   {self.entry}, {self.protocol}"]
        lines += [f"  engine    {self.engine}"] if self.engine else []
        lines += [f"  videos    {len(good)} of {len(self.videos)} predicted", ""]
        for video in self.videos[:SHOWN_VIDEOS]:
            text = "  ".join(f"{guess.label} {guess.score:.1%}" for guess in video.guesses)
            if video.status != "ok":
                text = f"{video.status}: {video.reason}"
            lines.append(f"  {video.video:<{wide}}  {text}")
            lines += [f"  {'':<{wide}}  {span}" for span in _spans(video.windows)]
        if len(self.videos) > SHOWN_VIDEOS:
            hint = "" if self.out else ": out=FILE.parquet or FILE.json keeps all of them"
            lines.append(f"  … and {len(self.videos) - SHOWN_VIDEOS} more{hint}")
        lines += ["", f"  written   {self.out}"] if self.out else []
        return "\n".join(map(one_line, [*lines, ""]))


def check_out(path: Path | None) -> None:
    """Check that predictions can be written to a file, in the format that its name ends with; make its folder.

    Raises: ConfigError that lists the possible endings; InputError if the file cannot be written.
    """
    if path is None:
        return
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"out={path}: name a file that ends with {' or '.join(SUFFIXES)}")
    _check_file("out", path)


def write(predictions: Predictions, path: Path) -> None:
    """Write all predictions, as the ending of the name says.

    JSON has a video an object.  Parquet has a row a video and, below it, a row a window: only those have times.

    Raises: InputError if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            write_json(path, predictions.model_dump(mode="json"))
            return
        tables.write(_table(predictions), path)
    except OSError as error:
        raise InputError(f"out={path} cannot be written: {error.strerror}") from None


def write_features(path: Path, rows: list[dict[str, object]], entry: str, protocol: str) -> None:
    """Write features as parquet: a row a video and, below it, a row a window: only those have times.

    Raises: InputError if the file cannot be written.
    """
    _write_features(path, pa.Table.from_pylist(rows, _features_schema(entry, protocol)))


def join_features(path: Path, files: list[Path], entry: str, protocol: str) -> None:
    """Write the features of several files into one, in their order.

    Raises: InputError if the file cannot be written; DamagedError if one does not match its checksums.
    """
    schema = _features_schema(entry, protocol)
    parts = [tables.read(file, schema, "delete its folder and run again") for file in files]
    _write_features(path, pa.concat_tables(parts))


def _features_schema(entry: str, protocol: str) -> pa.Schema:
    columns: list[tuple[str, pa.DataType]] = [
        *(("video", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())),
        ("features", pa.list_(pa.float32())),
    ]
    metadata: dict[bytes | str, bytes | str] = {"entry": entry, "protocol": protocol}
    return pa.schema(columns, metadata=metadata)


def _write_features(path: Path, table: pa.Table) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tables.write(table, path)
    except OSError as error:
        raise InputError(f"features={path} cannot be written: {error.strerror}") from None


def _table(predictions: Predictions) -> pa.Table:
    rows: list[dict[str, object]] = []
    for video in predictions.videos:
        same = {"video": video.video, "status": video.status, "reason": video.reason}
        rows.append({**same, **_columns(video.guesses)})
        rows += [
            {**same, "start_s": window.start_s, "end_s": window.end_s, **_columns(window.guesses)}
            for window in video.windows
        ]
    texts: list[tuple[str, pa.DataType]] = [(name, pa.string()) for name in ("video", "status", "reason")]
    times: list[tuple[str, pa.DataType]] = [(name, pa.float64()) for name in ("start_s", "end_s")]
    best: list[tuple[str, pa.DataType]] = [("labels", pa.list_(pa.string())), ("scores", pa.list_(pa.float64()))]
    metadata: dict[bytes | str, bytes | str] = {
        name: getattr(predictions, name) for name in ("entry", "protocol", "engine")
    }
    return pa.Table.from_pylist(rows, pa.schema([*texts, *times, *best], metadata=metadata))


def _columns(guesses: tuple[Guess, ...]) -> dict[str, list[str] | list[float]]:
    return {"labels": [guess.label for guess in guesses], "scores": [guess.score for guess in guesses]}


def _spans(windows: tuple[Window, ...]) -> list[str]:
    """Stretches of windows with the same first label, as lines."""
    spans = []
    for label, group in groupby(windows, key=lambda window: window.guesses[0].label):
        same = list(group)
        best = max(window.guesses[0].score for window in same)
        spans.append(f"{same[0].start_s:7.1f} … {same[-1].end_s:.1f} s  {label}, up to {best:.1%}")
    if len(spans) > SHOWN_SPANS:
        return [*spans[:SHOWN_SPANS], f"        … and {len(spans) - SHOWN_SPANS} more stretches"]
    return spans
