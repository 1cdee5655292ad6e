"""A webhook and a mail server of this machine, which keep what they are told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, TCPServer
from typing import ClassVar


@contextlib.contextmanager
def _running(server: TCPServer) -> Iterator[int]:
    """The port of a server, for as long as it runs."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


class Hook(BaseHTTPRequestHandler):
    """A webhook."""

    told: ClassVar[list[str]] = []

    @classmethod
    @contextlib.contextmanager
    def receiving(cls) -> Iterator[tuple[str, list[str]]]:
        """Its address, and the texts that it has been sent so far."""
        cls.told.clear()
        with _running(ThreadingHTTPServer(("127.0.0.1", 0), cls)) as port:
            yield f"http://127.0.0.1:{port}/hook", cls.told

    def do_POST(self) -> None:
        self.told.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print no line for each request."""


class Mailbox(StreamRequestHandler):
    """A mail server."""

    told: ClassVar[list[str]] = []

    @classmethod
    @contextlib.contextmanager
    def receiving(cls) -> Iterator[tuple[str, list[str]]]:
        """The address of a mailbox, and the texts that it has been sent so far."""
        cls.told.clear()
        with _running(TCPServer(("127.0.0.1", 0), cls)) as port:
            yield f"mailto://127.0.0.1:{port}?from=night@example.org&to=me@example.org", cls.told

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while (word := self.rfile.readline().strip().upper()) != b"QUIT":
            self.wfile.write(b"354 go on\r\n" if word == b"DATA" else b"250 done\r\n")
            if word == b"DATA":
                lines = [
                    line.removeprefix(b".") for line in iter(self.rfile.readline, b".\r\n")
                ]  # RFC 5321, 4.5.2
                part = message_from_bytes(b"".join(lines)).get_payload(0)
                assert isinstance(part, Message)
                self.told.append(bytes(part.get_payload(decode=True)).decode())
                self.wfile.write(b"250 done\r\n")
        self.wfile.write(b"221 bye\r\n")
