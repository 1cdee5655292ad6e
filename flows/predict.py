"""Videos in, their best labels out.

python flows/predict.py VIDEO_OR_DIR [key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows import command_line, help_pages
from nonlocal_core.prediction.results import Predictions, Request
from tasks.predict import predict as task
from tasks.signature import sign

PARAMETERS: dict[str, help_pages.Parameter] = {
    "workspace_dir": (Path, "workspace whose registry is used; default: workspace"),
    "checkpoint": (str, "champion (default), an entry such as v0001, a .safetensors file, or published weights"),
    "out": (Path, "FILE.parquet or FILE.json for all results"),
    "features": (Path, "FILE.parquet for the pooled features of every video, the numbers before the classifier"),
    "draw": (Path, "folder for a copy of every video with its labels drawn on it (H.264), and for its timeline"),
    "window_s": (float, "length of a sliding window (seconds); default: the whole video is one window"),
    "hop_s": (float, "from one window to the next (seconds); default: half a window"),
}


@flow(name="predict", flow_run_name="predict-{checkpoint}", on_running=[sign])
def predict(
    source: Path,
    overrides: dict[str, Any] | None = None,
    workspace_dir: Path = Path("workspace"),
    checkpoint: str = "champion",
    out: Path | None = None,
    features: Path | None = None,
    draw: Path | None = None,
    window_s: float | None = None,
    hop_s: float | None = None,
) -> Predictions:
    """Label videos.

    Args:
        source: a video, or a folder with videos anywhere below it
        overrides: settings of evaluate and runtime that differ from the entry's
        workspace_dir: workspace whose registry is used
        checkpoint: champion, an entry such as v0001, a .safetensors file, or the name of published weights
        out: FILE.parquet or FILE.json for all results
        features: FILE.parquet for the pooled features of every video
        draw: folder for a copy of every video with its labels drawn on it
        window_s: length of a sliding window (seconds); without it, the whole video is one window
        hop_s: from one window to the next (seconds); half a window if there is none
    """
    request = Request(
        source=source,
        workspace_dir=workspace_dir,
        checkpoint=checkpoint,
        overrides=overrides or {},
        window_s=window_s,
        hop_s=hop_s,
        draw_dir=draw,
        features=features,
    )
    return task(request, out)


if __name__ == "__main__":
    purpose = "Videos in, their best labels out."
    command_line.run_on("predict", purpose, predict, PARAMETERS, ("evaluate", "runtime"))
