"""What lies on disk: references, keys and digests, files and tables, and the workspace with its locks."""

from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace

__all__ = ["Checkpoint", "Entry", "Evaluation", "Manifest", "RecordCache", "Workspace"]
