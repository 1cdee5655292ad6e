"""Everything but cache.jump=decord works where decord is not, as on any machine but Linux on x86-64."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import json, sys
from pathlib import Path
from small import small_config
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import ConfigError
from nonlocal_core.prediction.predict import predict
from nonlocal_core.prediction.results import Request
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index
videos_dir, root, registered = map(Path, sys.argv[1:])
workspace, config = Workspace(root), small_config(cache__codec="none")
manifest = index(videos_dir, config, workspace)
reader = RecordReader(workspace, cache(manifest, config, workspace))
rows = loader.readable_rows(reader, "train")
batches = list(loader.train_batches(reader, rows, config, 0, 0))
views = list(loader.video_views(reader, loader.readable_rows(reader, "val"), config.clip, config.evaluate, 2))
said = predict(Request(source=videos_dir, workspace_dir=registered, overrides={"runtime.device": "CPU"}))
try:
    cache(manifest, small_config(cache__codec="none", cache__jump="decord"), workspace)
except ConfigError as error:
    refused = str(error)
print(json.dumps([int(reader.rows["num_bytes"].sum()), len(batches), len(views), len(said.videos), refused]))
"""


def test_nothing_but_its_own_setting_needs_decord(toy, registered, tmp_path):
    # It is read by every Python process, the workers too.
    (tmp_path / "sitecustomize.py").write_text('import sys\nsys.modules["decord"] = None\n')
    paths = [str(tmp_path), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    arguments = [toy.videos_dir, tmp_path / "workspace", registered.workspace.root]
    ran = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    refused = "cache.jump=decord, and decord is not installed: leave it out, and PyAV jumps"
    assert ran.stdout.splitlines()[-1] == f'[0, 4, 4, 12, "{refused}"]'
