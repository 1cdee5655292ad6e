"""Rows as they come from probed files, before labels and splits."""

from __future__ import annotations

from typing import Any

import pandas as pd

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.manifest import splits


def row(video_id: str, label: str, sha256: str = "", status: str = "ok", split: str = "") -> dict[str, Any]:
    return {
        "video_id": video_id, "path": f"videos/{video_id}", "label": label, "split": split,
        "num_frames": 64, "fps": 25.0, "height": 64, "width": 64, "duration_s": 2.5,
        "codec": "h264", "rotation": 0, "variable_fps": False, "num_keyframes": 6, "longest_gap": 12,
        "first_pts_s": 0.0, "container_frames": 64, "seek_safe": True,
        "times_s": None, "pixel_aspect": float("nan"),
        "start_fraction": 0.0, "end_fraction": 1.0, "size_bytes": 64,
        "sha256": sha256 or (f"sha-{video_id}" if status == "ok" else ""),
        "status": status, "reason": "" if status == "ok" else "damaged: cut short",
    }  # fmt: skip


def dataset(num_videos: int = 10, labels: tuple[str, ...] = ("jump", "run")) -> list[dict[str, Any]]:
    return [row(f"{label}/{i}.mp4", label) for label in labels for i in range(num_videos)]


def completed(rows: list[dict[str, Any]], labels: list[str] | None = None, **settings: Any) -> pd.DataFrame:
    return splits.complete(pd.DataFrame(rows), IndexConfig(**settings), labels)


def split_of(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["video_id"], rows["split"], strict=True))
