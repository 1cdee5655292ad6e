"""The login of a Prefect server that runs on this machine, and what keeps other pages and users away from it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from nonlocal_core.errors import ConfigError


def new() -> str:
    """A login, USER:PASSWORD."""
    return f"nonlocal:{secrets.token_urlsafe(24)}"


def kept_in(file: Path) -> str:
    """The login in a file that only this user can read; it is made if there is none."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    with open(descriptor, "r+", encoding="utf-8") as opened:
        login = opened.read().strip()
        if not login:  # an empty one, which a process leaves that is killed here, would let everybody in
            login = new()
            opened.seek(0)
            opened.write(login)
    return login


def environment(url: str, login: str) -> dict[str, str]:
    """Variables of a server that answers only its own page and those who know the login, and of its clients."""
    return {
        "PREFECT_SERVER_API_AUTH_STRING": login,
        "PREFECT_API_AUTH_STRING": login,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{url},{url.replace('127.0.0.1', 'localhost')}",
    }


def check() -> None:
    """Check that the server which PREFECT_API_URL names takes our login.

    Raises: ConfigError if it asks for another one.
    """
    try:
        with get_client(sync_client=True) as client:
            client.api_version()
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 401:
            raise
        raise ConfigError(
            f"the Prefect server at {PREFECT_API_URL.value()} asks for a login: export PREFECT_API_AUTH_STRING="
            "USER:PASSWORD; that of make serve lies in .serve/PORT/login"
        ) from None
