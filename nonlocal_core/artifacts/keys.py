"""Hashes: the key of what is asked for, the digest of what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from pydantic import BaseModel


def digest_of(*parts: object) -> str:
    """A short hash of the parts (not of their concatenation): 16 hexadecimal digits."""
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()


def key_of(stage: str, version: int, sections: Sequence[BaseModel], inputs: Sequence[str]) -> str:
    """The key of an artifact: a hash of stage, version, the settings that it reads, and its inputs' digests."""
    settings = [json.dumps(section.model_dump(mode="json"), sort_keys=True) for section in sections]
    return digest_of(stage, version, *settings, "inputs", *inputs)
