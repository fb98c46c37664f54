"""Find port forwards of removed containers, which podman can leave behind.

If podman was killed during its work, the DNAT rules of its containers remain. A new container on
the same host port is then unreachable, because the first rule wins: "No route to host", or another
container answers (https://github.com/containers/podman/issues/27516, seen with netavark 1.4).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Lists them; netavark writes the container's id into the comment of each.
LISTING = ("iptables", "--wait", "--table", "nat", "--list-rules", "NETAVARK-HOSTPORT-DNAT")
# A rule exists before its container's monitor: if there is none, check again after this.
DOUBT_SECONDS = 3.0
_OWNER = re.compile(r'--comment "dnat name: \S+ id: (?P<id>[0-9a-f]{64})"')


def removals(listing: str, containers: Iterable[str]) -> list[list[str]]:
    """Return the commands that remove the rules of removed containers.

    Args:
        listing: what `LISTING` printed before `containers` was read.
        containers: the whole ids of all containers that podman knows, and those of `monitored`.
    """
    known = set(containers)
    return [
        ["iptables", "--wait", "--table", "nat", "--delete", *shlex.split(rule)[1:]]
        for rule in listing.splitlines()
        if (owner := _OWNER.search(rule)) and owner["id"] not in known
    ]


def monitored(processes: Path = Path("/proc")) -> set[str]:
    """Return the whole ids of the containers whose monitors (conmon) run.

    This includes containers of other stores (`--root`), which `podman ps` does not list and whose
    forwards must not be removed.
    """
    found: set[str] = set()
    for path in processes.glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if words[0].endswith("conmon") and "-c" in words[:-1]:
            found.add(words[words.index("-c") + 1])
    return found
