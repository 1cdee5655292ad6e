"""What lies on disk: references, keys and digests, files and tables, and the workspace with its locks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, Manifest, RecordCache
    from nonlocal_core.artifacts.workspace import Workspace

__all__ = ["Checkpoint", "Entry", "Evaluation", "Manifest", "RecordCache", "Workspace"]


def __getattr__(name: str) -> Any:
    """A name of `__all__`, imported when it is asked for: a process that reads one file is not to wait for it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nonlocal_core.artifacts import references, workspace

    return getattr(workspace if name == "Workspace" else references, name)
