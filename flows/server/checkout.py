"""The check that prefect.yaml makes before each deployment: NONLOCAL_HOME is the folder of a checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def check() -> None:
    """Say what is wrong in one line and end the command, or do nothing."""
    home = os.environ.get("NONLOCAL_HOME", "")
    if not home or not (Path(home) / "flows").is_dir():
        cause = f"NONLOCAL_HOME={home} has no folder flows" if home else "NONLOCAL_HOME is not set"
        print(f"error: {cause}: export NONLOCAL_HOME=FOLDER, that of the checkout on the workers", file=sys.stderr)
        raise SystemExit(2)
