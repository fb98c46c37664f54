"""The process that serves a desk's page: started by `up`, stopped by `down`.

Its address contains a token. It is stored in a file that only the desk's owner can read, so that
the next `up` uses the same one and open pages keep working. The desk works without the page: if it
cannot start, this is only reported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from awsdesk import files, lock, sockets
from awsdesk.sockets import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from awsdesk.layout import DeskLayout

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class PageKey:
    """The keys of the page, stored until `down`."""

    address: str
    token: str
    port: int


def kept(layout: DeskLayout) -> PageKey | None:
    """Return the stored keys, or None if there are none or they are broken."""
    try:
        return PageKey(**json.loads(layout.page.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def keep(layout: DeskLayout, key: PageKey) -> None:
    """Store the keys, for their owner alone. Raise OSError."""
    files.replace(layout.page, json.dumps(asdict(key)).encode() + b"\n")


def address(layout: DeskLayout) -> str:
    """Return the page's address; empty if none is being served."""
    found = kept(layout)
    return found.address if found and lock.holder(layout.page_lock) is not None else ""


class Starting:
    """A page that has been started and may not answer yet."""

    def __init__(self, layout: DeskLayout, process: subprocess.Popen[bytes]) -> None:
        self._layout = layout
        self._process = process

    def await_address(self, tell: Callable[[str], None]) -> None:
        """Wait until it is served; report if it is not."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            found = kept(self._layout)
            holds = lock.holder(self._layout.page_lock) == self._process.pid
            if holds and found and not sockets.is_free(LOOPBACK, found.port):
                return
            time.sleep(0.05)
        tell(f"the page does not start: see {_log(self._layout)}; the desk works without")


def start(layout: DeskLayout, *, any_port: bool) -> Starting:
    """Start the page of a deployed desk, replacing one that runs."""
    _end(layout)
    words = [sys.executable, "-m", "postal_plexus.cli", "console", "--desk", str(layout.root)]
    if any_port and kept(layout) is None:
        words += ["--port", "0"]
    with _log(layout).open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own module
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it prints the token
            stderr=errors,
            cwd=layout.root,
            start_new_session=True,
        )
    return Starting(layout, process)


def stop(layout: DeskLayout) -> None:
    """Stop the page, and delete its token."""
    _end(layout)
    layout.page.unlink(missing_ok=True)


def _end(layout: DeskLayout) -> None:
    holder = lock.holder(layout.page_lock)
    if holder is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(holder, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while lock.holder(layout.page_lock) is not None:
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, signal.SIGKILL)
            return
        time.sleep(0.05)


def _log(layout: DeskLayout) -> Path:
    return layout.logs / "page.log"
