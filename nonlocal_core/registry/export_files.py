"""What other programs need beside exported weights: the labels, the network, and how a video becomes its input.

config.json                labels by their ids, and every setting of the network
preprocessor_config.json   frames, clips, sizes, colours and views
label_map.txt              a label a line, in the order of their ids
preprocess.py              the same as a program of NumPy and OpenCV, which needs nothing of this project
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nonlocal_core.artifacts.files import write_atomically, write_json
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.escaping import one_line
from nonlocal_core.models.checkpoint import Description

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
LABEL_MAP, PROGRAM = "label_map.txt", "preprocess.py"

PREPROCESS = '''\
"""The input of the network from the frames of a video; needs NumPy and OpenCV.

    logits = network(views(frames))          # frames: (T, H, W, 3) uint8, RGB, square pixels, all of the video
    scores = softmax(logits).mean(axis=0)    # of the video: the mean over its views
"""
import json
from pathlib import Path

import cv2
import numpy as np

SETTINGS = json.loads((Path(__file__).parent / "preprocessor_config.json").read_text())


def views(frames, s=SETTINGS):
    """All views of a video, float32, (views, 3, num_frames, crop_size, crop_size)."""
    num, count = len(frames), s["num_clips"]
    last = max(0, num - (s["num_frames"] - 1) * s["frame_interval"] - 1)
    starts = [last // 2] if count == 1 else [(2 * last * i + count - 1) // (2 * (count - 1)) for i in range(count)]
    indices = np.add.outer(starts, np.arange(s["num_frames"]) * s["frame_interval"])
    indices = indices % num if s["short_videos"] == "loop" else np.minimum(indices, num - 1)
    small = {i: resized(frames[i], s) for i in np.unique(indices)}
    clips = [np.stack([small[i] for i in row]) for row in indices]
    size, (height, width) = s["crop_size"], clips[0].shape[1:3]
    spare = [height - size, width - size]
    middle = [(pixels + (s["crops"] == "slowfast")) // 2 for pixels in spare]
    corners = [middle]
    if s["num_crops"] == 3:
        longer = int(width >= height)
        last = [2 * pixels for pixels in middle] if s["crops"] == "even" else spare
        ends = [[(0, last[axis])[end] if axis == longer else middle[axis] for axis in (0, 1)] for end in (0, 1)]
        corners = [ends[0], middle, ends[1]]
    crops = np.stack([clip[:, top:top + size, left:left + size] for clip in clips for top, left in corners])
    mean, std = np.float32(s["image_mean"]), np.float32(s["image_std"])
    return np.ascontiguousarray(((crops.astype(np.float32) - mean) / std).transpose(0, 4, 1, 2, 3))


def resized(frame, s):
    """A frame with the shorter side of the settings, as a JPEG would show it if the network learned from JPEGs."""
    height, width = frame.shape[:2]
    scale = s["shortest_edge"] / min(height, width)
    new = int(scale * width + 0.5), int(scale * height + 0.5)
    if new != (width, height):
        shrinks = new[0] * new[1] < width * height
        name = {"auto": "area" if shrinks else "bicubic"}.get(s["interpolation"], s["interpolation"])
        methods = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
        frame = cv2.resize(frame, new, interpolation=methods.get(name, cv2.INTER_AREA))
    if s["jpeg_quality"]:
        _, jpeg = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, s["jpeg_quality"]])
        frame = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1]
    return frame
'''


def write(folder: Path, described: Description, evaluate: EvaluateConfig) -> list[str]:
    """Write the files into a folder; gives their names."""
    labels = [one_line(label) for label in described.labels]
    write_json(folder / CONFIG, config(described))
    settings = preprocessor(described, evaluate)
    write_json(folder / PREPROCESSOR, settings)
    write_atomically(folder / LABEL_MAP, "".join(f"{label}\n" for label in labels).encode())
    names = [CONFIG, PREPROCESSOR, LABEL_MAP]
    if settings["sampling"] == "interval" and settings["clip_starts"] == "spread" and not settings["fps"]:
        write_atomically(folder / PROGRAM, PREPROCESS.encode())
        names.append(PROGRAM)
    return names


def config(described: Description) -> dict[str, Any]:
    """The network and its labels, by the names that other libraries use."""
    labels = described.labels
    return {
        "architectures": ["I3D"],
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "num_labels": len(labels),
        "model": described.model.model_dump(mode="json"),
    }


def preprocessor(described: Description, evaluate: EvaluateConfig) -> dict[str, Any]:
    """How the frames of a video become the input of the network."""
    clip, cache, model = described.clip, described.cache, described.model
    return {
        "num_frames": clip.clip_len,
        "frame_interval": clip.frame_interval,
        "sampling": clip.sampling,
        "fps": clip.fps,
        "short_videos": clip.short_videos,
        "num_clips": evaluate.num_clips,
        "clip_starts": evaluate.offsets,
        "shortest_edge": cache.short_side,
        "interpolation": cache.interpolation,
        "jpeg_quality": cache.jpeg_quality if cache.codec == "jpeg" else 0,
        "crop_size": evaluate.crop_size,
        "num_crops": evaluate.num_crops,
        "crops": evaluate.crops,
        "image_mean": list(model.input_mean),
        "image_std": list(model.input_std),
        "value_range": [0, 255],
        "channel_order": "RGB",
    }
