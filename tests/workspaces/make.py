"""Make a small workspace of this version, with its videos, for the tests of later ones.

python -m tests.workspaces.make    writes tests/workspaces/VERSION.tar.gz

Do this at each release, in a clean clone.  It is made in a folder below /tmp, whose path it keeps.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import av
import numpy as np

import nonlocal_core
from tests.nights import SETTINGS

FOLDER = Path(__file__).parent
AT = Path("/tmp/nonlocal-workspace")
HOST = "somewhere"
SIDE = 40
ASKED = {
    **SETTINGS,
    "index.val_fraction": 0.5,
    "runtime.attention_videos": 0,
    "train.init": "",
    "train.init_head": "keep",
}
"""settings of `tiny`"""


def draw(path: Path, number: int, backwards: bool) -> None:
    """A bar that moves over a plain ground; small in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    places = range(0, SIDE - 8, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=15)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for place in reversed(places) if backwards else places:
            frame = np.full((SIDE, SIDE, 3), 20 * number, np.uint8)
            frame[place : place + 8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def make() -> Path:
    """The file."""
    shutil.rmtree(AT, ignore_errors=True)
    for number in range(8):
        draw(AT / "videos" / ("rises" if number % 2 else "falls") / f"{number}.mp4", number, bool(number % 2))
    nonlocal_core.train(AT / "videos", "tiny", ASKED, AT / "workspace")
    file = FOLDER / f"{nonlocal_core.__version__}.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for folder in ("videos", "workspace"):
            archive.add(AT / folder, folder, filter=nobody)
    shutil.rmtree(AT)
    return file


def nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member that belongs to no user of this machine."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    # Provenance has the name of the host.
    if "--inside" not in sys.argv:
        inside = f"hostname {HOST} && exec {sys.executable} -m tests.workspaces.make --inside"
        sys.exit(subprocess.run(["unshare", "--uts", "sh", "-c", inside]).returncode)
    print(make())
