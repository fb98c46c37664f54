"""Detect and lift the state in which ten wrong passwords have locked out all clients of a desk.

Dovecot's `passwords.lua` blocks an address after ten wrong passwords within a quarter of an hour.
The ports of a desk lead through the container network's gateway, so all its clients have that one
address: a mail program with a mistyped password would lock out everybody, and `make run` itself.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from awsdesk import instances

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from awsdesk.layout import DeskLayout

# As in auth.conf's `passdb lua`.
ADDRESS_GUESSES = 10
WINDOW_SECONDS = 900
_NOTES = "/var/lib/plexus/run/dovecot/guesses"


def note(layout: DeskLayout) -> str:
    """Return until when clients are locked out, and how to lift it; empty if they are not."""
    until = max((end for _, end in _blocked(layout)), default=0)
    if not until:
        return ""
    return (
        "ten wrong passwords have locked out all clients, which share one address on a desk, until"
        f" {datetime.fromtimestamp(until).astimezone():%H:%M:%S}; `plexus local up` lets them in"
    )


def lift(layout: DeskLayout) -> bool:
    """Let clients in again. Return whether they were locked out."""
    blocked = list(_blocked(layout))
    for path, _ in blocked:
        path.unlink(missing_ok=True)
    return bool(blocked)


def _blocked(layout: DeskLayout) -> Iterator[tuple[Path, int]]:
    """Return the notes of each blocked address, and the end of its block in epoch seconds."""
    since = int(time.time()) - WINDOW_SECONDS
    try:
        notes = [
            path
            for host in instances.load(layout.instances)
            for path in layout.host_path(_NOTES, host.number).glob("address-*")
        ]
        for path in notes:
            # A line is SECONDS CHECK.
            times = [int(line.split()[0]) for line in path.read_text("ascii").splitlines() if line]
            within = sorted(at for at in times if at > since)
            if len(within) >= ADDRESS_GUESSES:
                yield path, within[-ADDRESS_GUESSES] + WINDOW_SECONDS
    except (OSError, ValueError):
        # Not readable without root, or removed meanwhile: nothing is known.
        return
