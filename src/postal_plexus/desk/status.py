"""The status of a desk: `plexus local status --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from awsdesk.sockets import LOOPBACK
from postal_plexus.config import web_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from awsdesk.settings import DeskSettings, Ports
    from postal_plexus.desk.accounts import Account
    from postal_plexus.desk.container_state import ContainerState
    from postal_plexus.desk.hosts import DeskHost


@dataclass(frozen=True)
class Endpoint:
    """The address of a service."""

    host: str
    port: int


@dataclass(frozen=True)
class Endpoints:
    """The addresses for people and their programs; the fields are names of ports."""

    ses_inbound: Endpoint
    ses_smtp: Endpoint
    ses_smtps: Endpoint
    imaps: Endpoint
    submissions: Endpoint
    submission: Endpoint
    sieve: Endpoint
    https: Endpoint
    dns: Endpoint
    sites: Endpoint

    @classmethod
    def of(cls, ports: Ports, loopback: str = LOOPBACK) -> Endpoints:
        """Return the endpoints for a desk's ports, as one of its hosts has them.

        What is not a host's own is at 127.0.0.1 only.
        """
        # An older version's desk lacks those that are new, until it is up again.
        named = ports.named()
        return cls(
            **{
                one.name: Endpoint(
                    loopback if one.name in ports.tasks else LOOPBACK, named.get(one.name, 0)
                )
                for one in fields(cls)
            }
        )


@dataclass(frozen=True)
class DeskStatus:
    """A desk: how to reach it, who has mail on it, its state."""

    directory: Path
    running: bool
    mail_host: str
    settings: DeskSettings | None
    accounts: tuple[Account, ...]
    containers: tuple[ContainerState, ...]
    ca_file: Path
    outbox: Path
    logs: Path
    # Why clients are locked out now, and how to lift it; empty if they are not.
    locked_out: str = ""
    # The page's address, with its token; empty if none is being served.
    page: str = ""
    # What the program says is served to browsers and calendar programs, by its names there.
    web_parts: Mapping[str, str] = field(default_factory=dict[str, str])
    hosts: tuple[DeskHost, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether everything that should run is running, and healthy."""
        return self.running and bool(self.containers) and all(c.is_well for c in self.containers)

    @property
    def web(self) -> dict[str, str]:
        """The addresses of what is on and runs, by a name that the desk's certificate has."""
        if not any(container.name == "web" for container in self.containers):
            return {}
        return web_parts.at_origin(self.web_parts, f"localhost:{self.endpoints.https.port}")

    @property
    def endpoints(self) -> Endpoints:
        """The addresses of the desk.

        Raises:
            LookupError: it was never up.
        """
        if self.settings is None:
            raise LookupError(f"{self.directory} is not a desk yet")
        return Endpoints.of(self.settings.ports)

    def document(self) -> dict[str, object]:
        """Return the JSON document."""
        return {
            "healthy": self.healthy,
            "running": self.running,
            "directory": str(self.directory),
            "endpoints": asdict(self.endpoints) if self.settings else {},
            "mail_host": self.mail_host,
            "hosts": [
                {
                    "name": one.name,
                    "cluster": one.cluster,
                    "address": one.instance.loopback,
                    "endpoints": asdict(Endpoints.of(self.settings.ports, one.instance.loopback)),
                }
                for one in self.hosts
                if self.settings
            ],
            "accounts": [{"address": a.address, "password": a.password} for a in self.accounts],
            "ca_file": str(self.ca_file),
            "outbox": str(self.outbox),
            "logs": str(self.logs),
            "locked_out": self.locked_out,
            "page": self.page,
            "web": self.web if self.settings else {},
            "containers": [
                {
                    "name": c.name,
                    "container": c.container,
                    "image": c.image,
                    "running": c.running,
                    "health": c.health,
                    "reason": c.reason,
                }
                for c in self.containers
            ],
            "aws": self.aws(),
        }

    def aws(self) -> dict[str, str]:
        """Return its AWS's endpoint and its owner's credentials; empty before the first up."""
        desk = self.settings
        if desk is None:
            return {}
        return {
            # With TLS, because the archive's bucket policy refuses anything else.
            "endpoint_url": f"https://{LOOPBACK}:{desk.ports.aws_tls}",
            "ca_bundle": str(self.ca_file),
            "region": desk.region,
            "access_key_id": desk.root_key_id,
            "secret_access_key": desk.root_secret,
        }
