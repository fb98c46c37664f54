"""Start, query and stop a desk's daemon from another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any, cast

from awsdesk import lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from awsdesk.layout import DeskLayout
    from awsdesk.settings import DeskSettings

_START_SECONDS = 30.0
# Postfix may take 60 s to end; the daemon stops all containers at once.
_STOP_SECONDS = 150.0


class DaemonError(Exception):
    """The daemon did not start or did not end."""


def is_running(layout: DeskLayout) -> bool:
    """Return whether a daemon runs this desk."""
    return lock.holder(layout.lock) is not None


def health(desk: DeskSettings) -> dict[str, Any] | None:
    """Return the daemon's health, or None if it does not answer."""
    try:
        # Not through a proxy that the environment may name.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{desk.endpoint_url}/health", timeout=5) as answer:
            return cast("dict[str, Any]", json.load(answer))
    except (OSError, ValueError):
        return None


def start(layout: DeskLayout, desk: DeskSettings) -> None:
    """Start the daemon and wait until it answers.

    Raises:
        DaemonError: it ended, or did not answer in time; with its last log lines.
    """
    said = layout.logs / "daemon.out"
    with said.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "awsdesk.daemon", "--desk", str(layout.root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=layout.root,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if health(desk) is not None:
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    else:
        process.terminate()
    last_words = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise DaemonError("the desk's daemon did not start: " + " / ".join(last_words or ["no output"]))


def stop(layout: DeskLayout, tell: Callable[[str], None]) -> bool:
    """Stop the daemon, after its containers and saved state. Return whether one was running.

    Raises:
        DaemonError: it did not end in time.
    """
    holder = lock.holder(layout.lock)
    if holder is None:
        return False
    tell("stopping containers and saving state")
    os.kill(holder, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline:
        if lock.holder(layout.lock) is None:
            return True
        time.sleep(0.1)
    raise DaemonError(f"the daemon (process {holder}) did not end in {_STOP_SECONDS:.0f} s")
