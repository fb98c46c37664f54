"""The EC2 hosts of a desk: which cluster's tasks run on which of them.

A desk has one host unless the deployed system names several, each with a cluster of its own. Host 1
is reached at 127.0.0.1, host 2 at 127.0.0.2, and so on, with the same ports. On the containers'
network, the private address of a host belongs to its container with a port that the desk has no
name for: such ports are for other hosts.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from awsdesk import files, naming, sockets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


GROUP_TAG = "aws:autoscaling:groupName"
"""The tag by which EC2 shows the group of an instance."""


@dataclass(frozen=True)
class Instance:
    """One host.

    Attributes:
        number: its number.
        private_address: empty where the desk has only this one.
        group: its Auto Scaling group; while every instance of that is terminated, nothing runs on
            the host. Empty if the desk was made before it had such groups.
    """

    number: int = 1
    private_address: str = ""
    group: str = ""

    @property
    def loopback(self) -> str:
        """The address of this machine where its ports are published."""
        return str(ipaddress.ip_address(sockets.LOOPBACK) + self.number - 1)

    def named(self, name: str) -> str:
        """Return a part's name among those of all hosts (`naming.of_host`)."""
        return naming.of_host(name, self.number)


def save(path: Path, by_cluster: Mapping[str, Instance]) -> None:
    """Write which cluster is on which host."""
    document = {cluster: asdict(each) for cluster, each in by_cluster.items()}
    files.replace(path, json.dumps(document, indent=2).encode() + b"\n")


def load(path: Path) -> list[Instance]:
    """Return all hosts; the only one if there is no file."""
    try:
        found = _by_cluster(path)
    except ValueError:
        found = None
    return [Instance()] if found is None else list(found.values())


def of_cluster(path: Path, cluster: str) -> Instance | None:
    """Return a cluster's host, or None if it has none yet.

    Without a file, every cluster is on the only host.
    """
    try:
        found = _by_cluster(path)
    except ValueError:
        return None
    return Instance() if found is None else found.get(cluster)


def _by_cluster(path: Path) -> dict[str, Instance] | None:
    """Read the hosts, or None if there is no file. Raise ValueError if it is no JSON."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return {cluster: Instance(**each) for cluster, each in document.items()}
