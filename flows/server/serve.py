"""Prefect's server, the work pools, the deployments and a worker for each pool, run on this machine.

python -m flows.server.serve start PORT    until Ctrl-C
python -m flows.server.serve stop PORT     or this
"""

from __future__ import annotations

import copy
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.workers.process import ProcessWorker

from flows.server import dead_runs, login, nights, service_logs
from nonlocal_core import command
from nonlocal_core.errors import ChildError, ConfigError
from nonlocal_core.escaping import one_line
from nonlocal_core.process.child import how_it_ended
from nonlocal_core.process.lifeline import children, end_with_us

HOME = Path(__file__).parents[2]
POOLS = ("cpu", "gpu")
PREFECT = Path(sys.executable).with_name("prefect")
START_S = 120.0
LOGIN = "login"
STOP_S = 60.0
"""seconds that the runs of a worker get to save their work"""
END_S = 15.0
TOO_SOON_S = 10.0
"""a process that ends sooner after its start is not started again"""


class Service(NamedTuple):
    """A background process with its own log."""

    name: str
    process: subprocess.Popen[bytes]
    started_s: float
    log: Path


def serve(port: int, folder: Path) -> None:
    """Run a server and its services until this process is told to end.  Their logs go to the folder.

    Raises: ConfigError if the port is taken; ChildError if something does not start or keep running.
    """
    url = f"http://127.0.0.1:{port}"
    os.environ |= {"PREFECT_API_URL": f"{url}/api", "NONLOCAL_HOME": str(HOME), "DO_NOT_TRACK": "1"}
    os.environ |= login.environment(url, login.kept_in(folder / LOGIN))
    refresh_global_settings_context()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigError(f"something else uses port {port}: make serve PORT={port + 1}") from None
    services: list[Service] = []
    try:
        print("starting Prefect's server, some 20 s at first ...", flush=True)
        services.append(_server(folder, port))
        _wait_for(url, services[0])
        _make_pools()
        _deploy()
        services += [_worker(folder, pool) for pool in POOLS]
        print(_what_to_type(port, folder), flush=True)
        # A request that waits a minute for a dead server would keep it from being started again.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 2}):
            _keep_running(services, port)
    finally:
        for service in reversed(services):  # the server last: it hears how the runs end
            _end(service)


def pool_template() -> dict[str, Any]:
    """The template of a work pool whose runs can name neither a command nor variables of the environment."""
    template = copy.deepcopy(ProcessWorker.get_default_base_job_template())
    for name in ("command", "env"):
        del template["job_configuration"][name], template["variables"]["properties"][name]
    return template


def _what_to_type(port: int, folder: Path) -> str:
    prefect, url = os.path.relpath(PREFECT), f"http://127.0.0.1:{port}"
    file = os.path.relpath(folder / LOGIN)
    return f"""
  UI        {url}, which asks for the login in {file}
  a night   in another terminal:
              export PREFECT_API_URL={url}/api PREFECT_API_AUTH_STRING=$(cat {file})
              {prefect} deployment run nightly-train    (everywhere: full/nightly-train)
  logs      {os.path.relpath(folder)}/*.log
  end       Ctrl-C here, or make stop PORT={port}"""


def _start(folder: Path, name: str, *words: str) -> Service:
    # Only the command line needs plug-ins.  Ctrl-C must reach this process alone, which ends the others in order.
    environment = {**os.environ, "PREFECT_PLUGINS_ENABLED": "false"}
    process = subprocess.Popen(
        [PREFECT, *words],
        cwd=HOME,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    end_with_us(process.pid)
    assert process.stdout
    service_logs.keep(process.stdout, folder / f"{name}.log")
    return Service(name, process, time.monotonic(), folder / f"{name}.log")


def _server(folder: Path, port: int) -> Service:
    return _start(folder, "server", "server", "start", "--host", "127.0.0.1", "--port", str(port))


def _worker(folder: Path, pool: str) -> Service:
    return _start(
        folder, f"worker-{pool}", "worker", "start", "--pool", pool, "--name", f"{pool}-{socket.gethostname()}"
    )


def _make_pools() -> None:
    """Make the work pools, or give them our template again; on the GPU, one run after the other."""
    with get_client(sync_client=True) as client:
        for pool in POOLS:
            limit = 1 if pool == "gpu" else None
            request = WorkPoolCreate(
                name=pool, type="process", base_job_template=pool_template(), concurrency_limit=limit
            )
            client.create_work_pool(request, overwrite=True)


def _deploy() -> None:
    words = ("--no-prompt", "deploy", "--all")
    deploy = subprocess.run([PREFECT, *words], cwd=HOME, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if deploy.returncode:
        raise ChildError(f"`prefect {' '.join(words)}` failed:\n{(deploy.stdout + deploy.stderr)[-2000:]}")


def _wait_for(url: str, server: Service) -> None:
    while True:
        try:
            urllib.request.urlopen(f"{url}/api/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
        if server.process.poll() is not None or time.monotonic() - server.started_s > START_S:
            raise ChildError(f"Prefect's server did not start: {server.log} says why")


def _keep_running(services: list[Service], port: int) -> None:
    """Start again each service that has died, and mark the runs of a dead worker as crashed."""
    runs: dict[str, set[int]] = {}
    watch, night_watch, looked_s = dead_runs.Watch(), nights.Watch(), 0.0
    while True:
        time.sleep(0.5)
        for number, service in enumerate(services):  # the server first: workers are of no use without it
            if service.process.poll() is None:
                runs[service.name] = set(children(service.process.pid)) or runs.get(service.name, set())
                continue
            if time.monotonic() - service.started_s < TOO_SOON_S:
                raise ChildError(f"{service.name} has ended: {service.log} says why")
            print(f"{service.name} has died; it is started again", flush=True)
            if service.name == "server":
                services[number] = _server(service.log.parent, port)
                _wait_for(f"http://127.0.0.1:{port}", services[number])
            else:
                died = f"{service.name}, which {how_it_ended(service.process.returncode)}"
                dead_runs.say(dead_runs.mark(runs[service.name], died))
                services[number] = _worker(service.log.parent, service.name.removeprefix("worker-"))
        if time.monotonic() - looked_s > dead_runs.EVERY_S:
            dead_runs.say(watch.look())
            for line in night_watch.look():
                print(one_line(line), flush=True)
            looked_s = time.monotonic()


def _end(service: Service) -> None:
    """End a service, but first its runs, which save their work: a worker would wait for them."""
    runs = children(service.process.pid)
    for run in runs:
        os.kill(run, signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_S
    while set(runs) & set(children(service.process.pid)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    service.process.terminate()
    try:
        service.process.wait(END_S)
    except subprocess.TimeoutExpired:
        os.killpg(service.process.pid, signal.SIGKILL)
        service.process.wait()


def stop(folder: Path) -> None:
    """End the server of a folder, and wait until it has ended."""
    with (folder / "pid").open("a+", encoding="utf-8") as file:
        if _try_lock(file.fileno()):
            print("nothing is running")
            return
        file.seek(0)
        os.kill(int(file.read()), signal.SIGTERM)
        fcntl.flock(file, fcntl.LOCK_EX)
        print("ended")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _told_to_end(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def start(port: int, folder: Path) -> None:
    """Serve until this process is told to end, unless the folder's server runs already.

    Raises: as `serve`.
    """
    with (folder / "pid").open("a+", encoding="utf-8") as file:  # the lock on it dies with this process
        if not _try_lock(file.fileno()):
            print(f"it runs already:\n{_what_to_type(port, folder)}")
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        serve(port, folder)


def main(words: list[str]) -> int:
    """The command, and its exit code."""
    parser = command.parser("flows.server.serve", __doc__)
    parser.add_argument("words", nargs="*", metavar="start|stop PORT")
    words = parser.parse_args(words).words
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell lets what runs in the background ignore Ctrl-C
        signal.signal(number, _told_to_end)
    try:
        if len(words) != 2 or words[0] not in ("start", "stop") or not words[1].isdigit():
            raise ConfigError("say `make serve` or `make stop`, or python -m flows.server.serve start|stop PORT")
        folder = HOME / ".serve" / words[1]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if words[0] == "stop":
            stop(folder)
        else:
            start(int(words[1]), folder)
    except KeyboardInterrupt:
        print("ended")
    except Exception as error:
        return command.failed(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
