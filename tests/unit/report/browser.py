"""A headless Chromium that opens one file and says what it did, over its debugging pipe: nothing to install."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chrome-headless-shell",
)


def find() -> str | None:
    """The browser that CHROMIUM names, or one on the path."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab: what it logged, what it asked for, and what its scripts say."""

    def __init__(self, into: int, out: int) -> None:
        self.into, self.out, self.buffer, self.number = into, out, b"", 0
        self.session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command; what happens meanwhile is kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.into, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def wait_for(self, method: str) -> None:
        """Wait until an event has come."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.out, 1 << 16)
            assert part, "the browser is gone"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Make the window so large, and the system's colours light or dark."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, file: Path) -> None:
        """Write a picture of the whole page."""
        found = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def problems(self) -> list[str]:
        """Errors and warnings of scripts, styles, policies and loading."""
        found = []
        for event in self.events:
            name, params = event.get("method", ""), event.get("params", {})
            if name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            if name in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Network.loadingFailed"):
                found.append(json.dumps(params))
        return found

    def requests(self) -> list[str]:
        """The addresses that were asked for, without pictures that the page holds itself."""
        asked = [event["params"]["request"]["url"] for event in self.events if _is_request(event)]
        return [url for url in asked if not url.startswith("data:")]


def _is_request(event: dict[str, Any]) -> bool:
    return event.get("method") == "Network.requestWillBeSent"


@contextlib.contextmanager
def opened(file: Path, profile: Path) -> Iterator[Page]:
    """A page that shows a file."""
    program = find()
    assert program is not None
    theirs_in, into = os.pipe()
    out, theirs_out = os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
    process = subprocess.Popen(
        ["bash", "-c", f'eval "exec \\"\\$@\\" 3<&{theirs_in} 4>&{theirs_out}"', "browser", program, *flags,
         f"--user-data-dir={profile}", "about:blank"],
        pass_fds=[theirs_in, theirs_out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    page = Page(into, out)
    try:
        target = page.send("Target.createTarget", url="about:blank")["targetId"]
        attached = page.send("Target.attachToTarget", targetId=target, flatten=True)
        page.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.resize(1400)
        page.send("Page.navigate", url=file.as_uri())
        page.wait_for("Page.loadEventFired")
        yield page
    finally:
        process.kill()
        process.wait()
        os.close(into)
        os.close(out)
