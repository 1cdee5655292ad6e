"""The process of one device in a training on several devices; msrun starts it.

It connects to the stage before it imports MindSpore, so that the stage notices its death, whatever the cause.
"""

from __future__ import annotations

import json
import os
import sys
from multiprocessing.connection import Client
from pathlib import Path

from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.process import cuda, lifeline, messages


def main() -> None:
    """Take part in the training that a job file describes, and send its outcome to the stage."""
    socket_path, job_file = sys.argv[1:]
    connection = Client(socket_path)
    is_scheduler, number = os.environ["MS_ROLE"] == "MS_SCHED", os.environ["RANK_ID"]
    name, log = (
        ("the scheduler", "scheduler.log") if is_scheduler else (f"device {number}", f"worker_{number}.log")
    )
    connection.send((name, os.getpid(), log))
    lifeline.die_with(connection.fileno())
    if name == "device 0":
        messages.relay(connection)
    try:
        messages.answer(connection, schedule if is_scheduler else train, Path(job_file))
    except KeyboardInterrupt:
        connection.send(("stopped", None))


def schedule(job_file: Path) -> None:
    """Run MindSpore's scheduler, which connects the devices, until all of them have ended."""
    from mindspore import communication

    communication.init()


def train(job_file: Path) -> None:
    """Train on this device; the first device writes the weights."""
    runtime = RuntimeConfig.model_validate(json.loads(job_file.read_text(encoding="utf-8"))["config"]["runtime"])
    cuda.load(runtime)  # before anything imports mindspore
    from mindspore import communication

    from nonlocal_core.artifacts.workspace import Workspace
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.kept_features import FeatureReader
    from nonlocal_core.data.records.reader import RecordReader
    from nonlocal_core.models import device
    from nonlocal_core.training import hosts, loop, parallel
    from nonlocal_core.training.collectives import Ranks
    from nonlocal_core.training.videos import Videos

    job = parallel.Job.model_validate_json(job_file.read_text(encoding="utf-8"))
    device.use(runtime)
    communication.init()
    workspace = Workspace(job.root)
    reader = RecordReader(workspace, job.cache)
    train_rows, val_rows = (loader.readable_rows(reader, split) for split in ("train", "val"))
    feature_reader = FeatureReader(workspace, job.features, reader.rows) if job.features else None
    videos = Videos(reader, train_rows, val_rows, feature_reader)
    num_workers = runtime.num_workers or max(1, (os.cpu_count() or 1) // hosts.devices_here(runtime))
    config = job.config.model_copy(update={"runtime": runtime.model_copy(update={"num_workers": num_workers})})
    ranks = Ranks(communication.get_rank(), communication.get_group_size())
    loop.run(videos, job.described, config, job.folder, job.init, ranks)
    parallel.wait_for_first_host(job, host=ranks.rank // hosts.devices_here(runtime))


if __name__ == "__main__":
    main()
