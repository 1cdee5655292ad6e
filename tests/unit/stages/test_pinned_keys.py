"""Keys that workspaces on other people's disks have: what is finished there must be found finished."""

from __future__ import annotations

from nonlocal_core.artifacts.keys import key_of
from nonlocal_core.artifacts.references import Checkpoint, Manifest, RecordCache
from nonlocal_core.config.tree import resolve
from nonlocal_core.stages import cache, evaluate, index, register, train

# By version 0.1.0, but for cache and records.  Another value here needs a line in CHANGELOG.md that says what is
# made again, and why.
PINNED = {
    "index": "a546d2d12134cf45",
    "cache": "616af6415eef2435",
    "records": "3e677fb9823cb564",
    "train": "4f53a4f7308b07fb",
    "evaluate": "8ffd2b0f951acaf9",
    "register": "b924d55ee6a90f36",
}


def test_the_keys_of_tiny_stay():
    config = resolve("tiny", {})
    manifest = Manifest(key="", digest="manifest", path="", videos_dir="", num_videos=0, num_ok=0, num_labels=0)
    records = RecordCache(
        key="", digest="cache", path="", records="", settings=config.cache, videos_dir="", manifest_digest="",
        split_digests={}, num_videos=0, num_ok=0, num_frames=0, num_bytes=0,
    )  # fmt: skip
    checkpoint = Checkpoint(
        key="", digest="checkpoint", path="", file="", num_steps=0, num_clips=0, final_loss=0.0
    )
    protocol = evaluate.protocol(config)
    assert {
        "index": key_of("index", index.VERSION, [config.index], ["listing", ""]),
        "cache": cache.key(manifest, config),
        "records": key_of("records", cache.VERSION, [config.cache], []),
        "train": train.key_from("", records, config),
        "evaluate": evaluate.key(checkpoint, records, config),
        "register": key_of("register", register.VERSION, [], ["checkpoint", "evaluation", protocol]),
    } == PINNED
