"""Videos in, their best labels out.

python flows/predict.py VIDEO_OR_DIR [key=value ...]
"""

from __future__ import annotations

if __name__ == "__main__":  # says its first line before the imports below, and imports this file again
    from flows.command_line import main

    main("predict")

from pathlib import Path
from typing import Any

from prefect import flow

from nonlocal_core.prediction.results import Predictions, Request
from tasks.predict import predict as task
from tasks.signature import sign


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
