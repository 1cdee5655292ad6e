"""References: small frozen records by which stages hand each other artifacts, never files or tables."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from nonlocal_core.config.sections import CacheConfig, ClipConfig, FeaturesConfig


class Frozen(BaseModel):
    """A frozen record that crosses a task boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(Frozen):
    """A finished artifact: the key of what was asked, the digest of what came out, and where it lies."""

    stage: ClassVar[str]
    key: str
    digest: str
    path: str
    """folder, relative to the workspace"""


class Provenance(BaseModel):
    """How an artifact was made; each stage adds what it read."""

    model_config = ConfigDict(frozen=True, extra="allow")

    created_at: str = ""
    host: str = ""
    python: str = ""
    version: str = ""
    code: str = ""
    seconds: float | None = None
    """None: not measured"""


class Manifest(Reference):
    """The indexed videos: a table with one row a video (`ROWS`), and the label ids (`LABELS`)."""

    stage: ClassVar[str] = "index"
    ROWS: ClassVar[str] = "manifest.parquet"
    LABELS: ClassVar[str] = "labels.json"
    videos_dir: str
    """where the videos lie today; in no key"""
    num_videos: int
    num_ok: int
    num_labels: int


class Usable(Frozen):
    """Digests of the videos of some splits that can be decoded."""

    digest: str
    timing_digest: str
    """of frame rates and time stamps, which clip.fps reads"""


class RecordCache(Reference):
    """A manifest's videos with label, split and whether they can be decoded; the frames lie in a store."""

    stage: ClassVar[str] = "cache"
    VIDEOS: ClassVar[str] = "videos.parquet"
    LABELS: ClassVar[str] = "labels.json"
    records: str
    """folder of the store, relative to the workspace"""
    settings: CacheConfig
    """how the frames are kept"""
    videos_dir: str
    """where the videos lie today; in no key"""
    manifest_digest: str
    split_digests: dict[str, str]
    """digest of the content and labels of each split, the same however they are cached"""
    num_videos: int
    num_ok: int
    num_frames: int
    num_bytes: int
    """size of its frames in the store"""
    timing_digest: str = ""
    """digest of frame rates and time stamps, which clip.fps reads; empty in caches of before"""
    usable: dict[str, Usable] = {}
    """by the names of splits, as in `train+val`; empty in caches of before, whose stages depend on all rows"""
    coverage_digests: dict[str, str] = {}
    """of all videos of each split, also of those that cannot be decoded"""

    def used(self, splits: Set[str], clip: ClipConfig) -> list[str]:
        """The digests of what clips of the usable videos of some splits depend on; `all` is every split."""
        names = [name for name in sorted(self.coverage_digests) if name in splits or "all" in splits]
        part = self.usable.get("+".join(names), self)
        return [part.digest, part.timing_digest] if clip.fps else [part.digest]

    def scored(self, split: str, clip: ClipConfig) -> list[str]:
        """The digests of what the scores of a split and their coverage depend on; `all` is every split."""
        _, *timing = self.used({split}, clip)
        return [self.coverage_digests.get(split, self.digest), *timing]


class Features(Reference):
    """What the trunk of a network gives for some views of each video; the numbers lie in a store."""

    stage: ClassVar[str] = "features"
    VIDEOS: ClassVar[str] = "videos.parquet"
    PLAN: ClassVar[str] = "plan.json"
    """file of unfinished features: what they need of their store"""
    activations: str
    """folder of the store, relative to the workspace"""
    trunk_digest: str
    """digest of the weights of the trunk"""
    last: str
    """last part of the trunk"""
    settings: FeaturesConfig
    """the views"""
    clip: ClipConfig
    shape: tuple[int, ...]
    """of one view: (C,), or (C, T, H, W)"""
    num_videos: int
    num_views: int
    """of each video"""
    num_bytes: int


class Checkpoint(Reference):
    """The weights of a training, which describe themselves, with its log and curves."""

    stage: ClassVar[str] = "train"
    WEIGHTS: ClassVar[str] = "weights.safetensors"
    LOG: ClassVar[str] = "log.jsonl"
    EPOCHS: ClassVar[str] = "epochs.jsonl"
    CURVES: ClassVar[str] = "curves.png"
    file: str
    """file name inside the folder"""
    num_steps: int
    num_clips: int
    final_loss: float


class Evaluation(Reference):
    """The scores of every video of a split, and the figures made from them."""

    stage: ClassVar[str] = "evaluate"
    VIEWS: ClassVar[str] = "views.parquet"
    SCORES: ClassVar[str] = "scores.parquet"
    METRICS: ClassVar[str] = "metrics.json"
    REPORT: ClassVar[str] = "report.md"
    split: str
    """train, val, test, or all"""
    protocol: str
    """split, views and crop, as text"""
    split_digest: str
    top1: float
    top5: float
    num_scored: int
    num_videos: int
    coverage: str = ""
    """the videos behind every figure: 7 of 10 videos scored, 3 quarantined: 1 empty, 2 unreadable"""
    loss: float | None = None
    mean_class_accuracy: float | None = None
    num_labels: int | None = None
    """labels that the network knows; None, as guessing, if an earlier version scored"""
    frames: str = ""
    """what was done to the pixels of a frame, as text; empty if an earlier version scored"""
    guessing: float | None = None
    """share of right answers of who always says the most frequent label of the scored videos"""
    engine: str = ""
    """what computed the scores, in words; empty if an earlier version scored"""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, fields: Any) -> Any:
        # Earlier versions wrote the split as the first word of the protocol only, and no coverage.
        if not isinstance(fields, dict):
            return fields
        scored = f"{fields.get('num_scored')} of {fields.get('num_videos')} videos scored"
        split = str(fields.get("protocol", "")).partition(",")[0]
        return {"split": split, **fields, "coverage": fields.get("coverage") or scored}

    @property
    def conditions(self) -> str:
        """What was asked for: views and frames, as text."""
        return f"{self.protocol}, frames {self.frames or 'not recorded by the earlier version that scored'}"


class Exported(Reference):
    """A network as the file that another engine runs, and how far that is from MindSpore; no stage reads it."""

    stage: ClassVar[str] = "engines"
    NETWORK: ClassVar[str] = "network.onnx"
    difference: float | None
    """greatest difference from MindSpore, relative to the greatest output; None with a fault"""
    fault: str = ""
    """why it is not used; then there is no file"""


class Entry(Reference):
    """A row of the registry."""

    stage: ClassVar[str] = "register"
    version: str
    is_champion: bool
    reason: str
    is_open: bool = False
    """whether it becomes the champion is left to a person"""
