"""Training on several devices: one process a device, started by MindSpore's own `msrun`.

The stage stays in its own process and watches; each device's process is connected to it.  What the first device
logs is shown.  An error or the death of any device ends them all, and they die with the stage, however it ends.

    python -m nonlocal_core.training.parallel FOLDER HOST    the devices of another host; the stage logs when
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from nonlocal_core import command
from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Features, Frozen, RecordCache
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import ChildError
from nonlocal_core.models.checkpoint import Description
from nonlocal_core.models.device import find
from nonlocal_core.process import device_locks, messages
from nonlocal_core.process.signals import stop_between_steps
from nonlocal_core.training import hosts
from nonlocal_core.training.collectives import Ranks

log = logging.getLogger(__name__)

JOB_FILE = "devices.json"
START_S = 900.0
"""seconds that the processes of all devices get to start; msrun gives up after 600"""
LAST_WORDS_S = 60.0
"""seconds that a device waits at most for the first host to end: what it sent last may still be on its way"""
GRACE_S = 3.0
"""seconds to wait after a failure for a clearer error of another device: after one death all others fail too"""


class Job(Frozen):
    """The training that the devices share; its paths are the same on every host."""

    root: Path
    """the workspace"""
    cache: RecordCache
    described: Description
    config: Config
    folder: Path
    init: Path | None
    features: Features | None = None


class _Device(NamedTuple):
    """A process that msrun started: that of a device, or its scheduler."""

    name: str
    process_id: int
    log: str
    """file in the log folder"""


def train(job: Job, host: int = 0) -> None:
    """Train on the devices of a host, with other hosts if there are any; the weights go to the job's folder.

    Raises: what the training raises; ConfigError if the hosts do not fit; ChildError if a device's process dies.
    """
    runtime = job.config.runtime
    num_processes = hosts.devices_here(runtime) + (host == 0)  # and msrun's scheduler
    Ranks(num_ranks=runtime.num_devices).config(job.config)
    device_locks.reserve(find(runtime), hosts.devices_here(runtime), runtime)
    if host == 0:
        write_atomically(job.folder / JOB_FILE, job.model_dump_json().encode())
    for number, name in enumerate(hosts.names(runtime)[1:] if host == 0 else (), 1):
        log.info("on %s: python -m nonlocal_core.training.parallel %s %d", name, job.folder, number)
    with tempfile.TemporaryDirectory(prefix="devices") as log_dir, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{log_dir}/socket")
        listener.listen(num_processes)
        listener.settimeout(1.0)
        process = _start(job, host, Path(log_dir))
        devices: dict[Connection, _Device] = {}
        try:
            with stop_between_steps() as stop:
                _meet(listener, process, num_processes, devices, stop)
                _watch(devices, Path(log_dir), stop)
        finally:
            _end(process, devices)
    if host == 0:
        (job.folder / JOB_FILE).unlink()


def _start(job: Job, host: int, log_dir: Path) -> subprocess.Popen[bytes]:
    runtime = job.config.runtime
    address, _, port = hosts.names(runtime)[0].rpartition(":")
    command = [
        "msrun",
        f"--worker_num={runtime.num_devices}",
        f"--local_worker_num={hosts.devices_here(runtime)}",
        f"--master_addr={address}",
        f"--master_port={int(port) or _free_port()}",
        f"--node_rank={host}",
        f"--log_dir={log_dir}",
        "--join=True",
        *("python", "-m", "nonlocal_core.training.worker", str(log_dir / "socket"), str(job.folder / JOB_FILE)),
    ]
    environment = {
        # On CPUs a device waits 30 s for the others, which may be drawing, writing or compiling.
        "MS_CPU_COMM_OP_TIMEOUT": "86400",
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    with (log_dir / "msrun.log").open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _meet(
    listener: socket.socket,
    process: subprocess.Popen[bytes],
    num_processes: int,
    devices: dict[Connection, _Device],
    stop: threading.Event,
) -> None:
    """Wait until every process has connected."""
    deadline_s = time.monotonic() + START_S
    while len(devices) < num_processes:
        if stop.is_set():
            raise KeyboardInterrupt
        if process.poll() is not None or time.monotonic() > deadline_s:
            output = _last_lines(Path(listener.getsockname()).parent, "msrun.log")
            raise ChildError(f"the processes of the devices did not start: run again{output}")
        with suppress(TimeoutError):
            connection = Connection(listener.accept()[0].detach())
            devices[connection] = _Device(*connection.recv())


def _watch(devices: dict[Connection, _Device], log_dir: Path, stop: threading.Event) -> None:
    """Pass on what the devices log, until all have ended or one has failed."""
    alive = list(devices)
    working = {connection for connection, device in devices.items() if device.name.startswith("device")}
    deaths: list[ChildError] = []
    raised: list[ChildError] = []
    failed_s = signalled_s = float("inf")
    while working:
        if stop.is_set() and signalled_s == float("inf"):
            signalled_s = time.monotonic()
            _tell_first(devices)
        if time.monotonic() - failed_s > GRACE_S:
            raise (deaths + raised)[0]
        for connection in wait(alive, 0.2):
            assert isinstance(connection, Connection)
            outcome = messages.receive(connection)
            if outcome is None:
                alive.remove(connection)
                if connection in working or devices[connection].name == "the scheduler":
                    deaths.append(_death(devices[connection], log_dir))
                    failed_s = min(failed_s, time.monotonic())
            elif outcome[0] == "stopped":
                raise KeyboardInterrupt
            elif outcome[0] != "log":
                working.discard(connection)
                try:
                    messages.result_of(*outcome)
                    alive.remove(connection)
                except ChildError as error:
                    raised.append(error)
                    failed_s = min(failed_s, time.monotonic())


def wait_for_first_host(job: Job, host: int) -> None:
    """Wait until the first host has all that this device sent it; it deletes the job's file at its end.

    A device of another host that ends at once takes with it what it has not sent yet. The first one waits for that
    without end.
    """
    deadline_s = time.monotonic() + LAST_WORDS_S
    while host and (job.folder / JOB_FILE).exists() and time.monotonic() < deadline_s:
        time.sleep(0.2)


def _tell_first(devices: dict[Connection, _Device]) -> None:
    """Have the first device finish its step, save it and stop; if it is on another host, stop at once."""
    for device in devices.values():
        if device.name == "device 0":
            os.kill(device.process_id, signal.SIGINT)
            return
    raise KeyboardInterrupt


def _death(device: _Device, log_dir: Path) -> ChildError:
    output = _last_lines(log_dir, device.log)
    return ChildError(f"the process of {device.name} died: run again, the training continues where it was{output}")


def _last_lines(log_dir: Path, name: str) -> str:
    file = log_dir / name
    return messages.last_words(file.read_text(encoding="utf-8", errors="replace") if file.exists() else "")


def _end(process: subprocess.Popen[bytes], devices: dict[Connection, _Device]) -> None:
    """Kill the processes that still run; one that has not connected yet ends when it cannot connect."""
    for connection, device in devices.items():
        with suppress(ProcessLookupError):
            os.kill(device.process_id, signal.SIGKILL)
        connection.close()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> None:
    """Run the devices of another host, which take part in the training of a folder."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        folder, host = Path(sys.argv[1]), int(sys.argv[2])
        job = Job.model_validate_json((folder / JOB_FILE).read_text(encoding="utf-8"))
    except (IndexError, ValueError, FileNotFoundError):
        sys.exit(
            "usage: python -m nonlocal_core.training.parallel FOLDER HOST, as the stage on the first host says"
        )
    try:
        train(job, host)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(command.failed(error))


if __name__ == "__main__":
    main()
