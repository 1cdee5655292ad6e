"""A file over HTTPS, which goes on where it was cut and is checked at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from nonlocal_core.artifacts.files import sha256_of
from nonlocal_core.errors import InputError, RemoteError
from nonlocal_core.pretrained.table import Download

TRIES = 5
"""in a row that may break without a single byte"""
TIMEOUT_S = 30.0
PAUSE_S = 1.0
"""before the second try; each later one waits twice as long"""
SAID_EVERY = 20 * 10**6
"""bytes from one line of progress to the next"""

log = logging.getLogger(__name__)


def fetch(source: Download, target: Path) -> None:
    """Fetch a file to `target`, which is there only once it is whole; a file that is there is checked alone.

    What arrived before a break lies in `TARGET.part`, and the next try asks for the rest.

    Raises: RemoteError if the server cannot be reached, or breaks off again and again; InputError if it does not
            have the file, or the content is not what was published.
    """
    part = target.with_name(f"{target.name}.part")
    if not target.exists():
        _fetch_part(source, part)
        _check(source, part)
        part.rename(target)
    else:
        _check(source, target)


def _check(source: Download, file: Path) -> None:
    digest = sha256_of(file)
    if not digest.startswith(source.sha256):
        file.unlink()
        raise InputError(
            f"{source.url} is not what was published: its SHA-256 begins with {digest[:8]}, and not with"
            f" {source.sha256[:8]}; what was fetched is removed"
        )
    checked = "as published" if source.sha256 else "its source publishes none to compare it with"
    log.info("%s: SHA-256 %s, %s", file.name.removesuffix(".part"), digest, checked)


def _fetch_part(source: Download, part: Path) -> None:
    """Fetch until the server says that this was all."""
    broken, pause_s = 0, PAUSE_S
    while True:
        size = part.stat().st_size if part.exists() else 0
        try:
            for _ in _append(source.url, part):
                broken, pause_s = 0, PAUSE_S
            return
        except httpx.HTTPError as error:
            broken += 1
            if broken >= TRIES or (size == 0 and isinstance(error, httpx.ConnectError)):
                raise RemoteError(_failure(source.url, part, error)) from None
            log.warning("%s: %s; trying again in %g s", source.url, type(error).__name__, pause_s)
        time.sleep(pause_s)
        pause_s *= 2


def _append(url: str, part: Path) -> Iterator[None]:
    """Write what is still missing behind what is there; says when some of it has come."""
    have = part.stat().st_size if part.exists() else 0
    headers = (
        {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
    )
    with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True) as answer:
        if urlsplit(url).scheme == "https" != answer.url.scheme:
            raise InputError(f"{url} leads to {answer.url}, which is not encrypted")
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return  # it was whole already
            part.unlink()
            raise httpx.RemoteProtocolError("what was fetched before is longer than the file")
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            if answer.status_code >= 500 or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise httpx.RemoteProtocolError(f"the server answers {answer.status_code}")
            raise InputError(f"{url} cannot be fetched: the server answers {answer.status_code}")
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
        have = have if resumed else 0
        total_mb = (have + int(answer.headers.get("Content-Length", 0))) / 1e6
        with part.open("ab" if resumed else "wb") as file:
            logged = have
            for block in answer.iter_raw():
                file.write(block)
                have += len(block)
                if have - logged >= SAID_EVERY:
                    logged = have
                    log.info("%.0f of %.0f MB", have / 1e6, total_mb)
                yield


def _failure(url: str, part: Path, error: httpx.HTTPError) -> str:
    host = urlsplit(url).hostname
    if isinstance(error, httpx.ConnectError):
        return (
            f"{host} cannot be reached ({error}): without internet, fetch {url} elsewhere and put it to"
            f" {part.with_suffix('')}, then run this again"
        )
    have = part.stat().st_size / 1e6 if part.exists() else 0.0
    return (
        f"{url} broke off {TRIES} times ({error or type(error).__name__}), with {have:.1f} MB here: run it again"
    )
