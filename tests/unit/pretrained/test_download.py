"""Downloads from a real server on this machine, which breaks off, lies and refuses as it is told."""

from __future__ import annotations

import hashlib
import logging
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from nonlocal_core.errors import InputError, RemoteError
from nonlocal_core.pretrained import download
from nonlocal_core.pretrained.table import Download

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """What the server does, and what it was asked for."""

    content: bytes = CONTENT
    ranges: bool = True
    break_after: int = 0
    """bytes of an answer after which it breaks off; 0: never"""
    breaks: int = 0
    """answers that break off"""
    status: int = 0
    location: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server():
    behaviour = Behaviour()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range", "")
            behaviour.asked.append(wanted)
            if behaviour.status:
                self.send_response(behaviour.status)
                self.send_header("Content-Length", "0")
                if behaviour.location:
                    self.send_header("Location", behaviour.location)
                self.end_headers()
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and behaviour.ranges else 0
            whole = len(behaviour.content)
            if start >= whole:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{whole}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = behaviour.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour.breaks > 0:
                behaviour.breaks -= 1
                self.wfile.write(body[: behaviour.break_after])
                self.wfile.flush()
                self.connection.close()
                return
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield behaviour, f"http://127.0.0.1:{http.server_port}/weights.pth"
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(download, "PAUSE_S", 0.0)


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:8]])
def test_a_file_is_fetched_once_and_checked(server, tmp_path, digest):
    behaviour, url = server
    target = tmp_path / "weights.pth"
    download.fetch(Download(url, digest), target)
    assert target.read_bytes() == CONTENT
    download.fetch(Download(url, digest), target)
    assert behaviour.asked == [""]
    assert [file.name for file in tmp_path.iterdir()] == ["weights.pth"]


def test_a_broken_connection_goes_on_where_it_broke(server, tmp_path):
    behaviour, url = server
    behaviour.breaks, behaviour.break_after = 3, 70_000
    download.fetch(Download(url, DIGEST), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in behaviour.asked[1:]]
    assert len(starts) == 3
    assert 0 < starts[0] < starts[1] < starts[2]


def test_the_next_command_goes_on_where_the_last_one_gave_up(server, tmp_path):
    behaviour, url = server
    target = tmp_path / "weights.pth"
    behaviour.breaks, behaviour.break_after = 100, 0
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    with pytest.raises(RemoteError, match=r"broke off 5 times .*with 0\.0 MB here: run it again"):
        download.fetch(Download(url, DIGEST), target)
    assert behaviour.asked == ["bytes=1000-"] * 5
    behaviour.breaks = 0
    download.fetch(Download(url, DIGEST), target)
    assert target.read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_begins_again(server, tmp_path):
    behaviour, url = server
    behaviour.ranges = False
    (tmp_path / "weights.pth.part").write_bytes(b"something else")
    download.fetch(Download(url, DIGEST), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


def test_a_file_that_was_whole_before_the_last_command_ended(server, tmp_path):
    behaviour, url = server
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    download.fetch(Download(url, DIGEST), tmp_path / "weights.pth")
    assert behaviour.asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_that_is_too_long_is_fetched_anew(server, tmp_path):
    _, url = server
    (tmp_path / "weights.pth.part").write_bytes(CONTENT + b"more")
    download.fetch(Download(url, DIGEST), tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("when", ["fetched", "put there by hand", "half of another file"])
def test_another_content_is_refused_and_removed(server, tmp_path, when):
    behaviour, url = server
    target = tmp_path / "weights.pth"
    if when == "put there by hand":
        target.write_bytes(b"another")
    elif when == "half of another file":
        (tmp_path / "weights.pth.part").write_bytes(b"another")
    else:
        behaviour.content = CONTENT[:-1] + b"x"
    with pytest.raises(
        InputError, match=rf"not what was published: .*and not with {DIGEST[:8]}; what was fetched is"
    ):
        download.fetch(Download(url, DIGEST), target)
    assert not list(tmp_path.iterdir())


def test_without_a_published_digest_the_digest_is_told(server, tmp_path, caplog):
    _, url = server
    with caplog.at_level(logging.INFO):
        download.fetch(Download(url), tmp_path / "weights.pth")
    assert f"weights.pth: SHA-256 {DIGEST}, its source publishes none to compare it with" in caplog.text


def test_a_file_that_is_not_there(server, tmp_path):
    behaviour, url = server
    behaviour.status = 404
    with pytest.raises(InputError, match=r"cannot be fetched: the server answers 404$"):
        download.fetch(Download(url, DIGEST), tmp_path / "weights.pth")
    assert behaviour.asked == [""]


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    behaviour, url = server
    behaviour.status = 503
    with pytest.raises(RemoteError, match="the server answers 503"):
        download.fetch(Download(url, DIGEST), tmp_path / "weights.pth")
    assert len(behaviour.asked) == download.TRIES


def test_without_internet_it_is_one_line_with_what_to_do(tmp_path):
    target = tmp_path / "weights.pth"
    for address in ("http://127.0.0.1:9/weights.pth", "https://nowhere.invalid/weights.pth"):
        with pytest.raises(RemoteError) as caught:
            download.fetch(Download(address, DIGEST), target)
        assert "cannot be reached" in str(caught.value)
        assert f"fetch {address} elsewhere and put it to {target}, then run this again" in str(caught.value)
    target.write_bytes(CONTENT)
    download.fetch(Download("https://nowhere.invalid/weights.pth", DIGEST), target)
