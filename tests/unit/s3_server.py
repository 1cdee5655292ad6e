"""A local S3 server that says what it was asked for, and a door to it that can be shut."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pyarrow import fs


class S3(NamedTuple):
    """A server that runs."""

    port: int
    log: Path
    bucket: str

    def uri(self, folder: str, port: int | None = None) -> str:
        """The URI of a folder of the bucket, through another port if there is a door."""
        where = f"endpoint_override=127.0.0.1:{port or self.port}&scheme=http&region=us-east-1"
        return f"s3://{self.bucket}/{folder}?{where}"

    @property
    def storage(self) -> fs.S3FileSystem:
        endpoint = f"127.0.0.1:{self.port}"
        return fs.S3FileSystem(
            access_key="test", secret_key="test", endpoint_override=endpoint, scheme="http", region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip

    def upload(self, source: Path, folder: str) -> None:
        """Put all that lies below a folder, or one file, into the bucket."""
        fs.copy_files(str(source), f"{self.bucket}/{folder}", destination_filesystem=self.storage)

    def read(self, path: str) -> bytes:
        return self.storage.open_input_stream(f"{self.bucket}/{path}").read()

    def write(self, path: str, content: bytes) -> None:
        with self.storage.open_output_stream(f"{self.bucket}/{path}") as file:
            file.write(content)

    def files(self, folder: str = "") -> dict[str, int]:
        """The sizes of all objects by their keys."""
        found = self.storage.get_file_info(fs.FileSelector(f"{self.bucket}/{folder}".rstrip("/"), recursive=True))
        return {info.path.partition("/")[2]: info.size for info in found if info.is_file}

    def require_keys(self, *, yes: bool) -> None:
        """Refuse, or accept again, whoever has no key that the server knows."""
        address = f"http://127.0.0.1:{self.port}/moto-api/reset-auth"
        count = b"0" if yes else b"inf"  # requests that need no key
        urllib.request.urlopen(urllib.request.Request(address, count, {"Content-Type": "text/plain"})).close()

    @contextmanager
    def asked(self) -> Iterator[list[str]]:
        """Requests for objects of this bucket that come meanwhile, such as `GET folder/name`; known at its end."""
        start, found = self.log.stat().st_size, list[str]()
        yield found
        time.sleep(0.05)
        lines = self.log.read_bytes()[start:].decode()
        found += [f"{verb} {path}" for verb, path in re.findall(rf'"(\w+) /{self.bucket}/([^? ]+)[? ]', lines)]


@contextmanager
def serve(folder: Path, bucket: str) -> Iterator[S3]:
    """A server in a process of its own."""
    log = folder / "s3.log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "moto.server", "-p", "0"]
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        started = time.monotonic()
        while not (port := re.search(r"127\.0\.0\.1:(\d+)", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() - started < 60, log.read_text()
            time.sleep(0.05)
        s3 = S3(int(port[1]), log, bucket)
        s3.storage.create_dir(bucket)
        yield s3
    finally:
        server.kill()
        server.wait()


class Door:
    """A port through which the server can be reached, more or less fast, until somebody asks for `shut_at`."""

    def __init__(self, s3: S3) -> None:
        self.s3, self.shut_at, self.delay_s = s3, b"nothing", 0.0
        self._open: set[socket.socket] = set()
        self.port = 0
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self.s3.port))
                self._open |= {near, far}
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self.delay_s)
                if self.shut_at in data:
                    self.shut()
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
