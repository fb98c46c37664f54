"""What one desk keeps between runs: its ports, its keys, its network.

`desk.up` creates them once in `desk.json` (0600), and the daemon reads them. A file that cannot be
read raises `SettingsError` with the remedy.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, cast

from awsdesk import files, naming

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The account id of AWS's own documentation.
ACCOUNT_ID = "111122223333"


class SettingsError(Exception):
    """The desk's settings file cannot be used."""


@dataclass(frozen=True)
class Ports:
    """The desk's ports, all on 127.0.0.1 and, where containers need them, on the network's gateway.

    0 stands for "not chosen yet".
    """

    aws: int = 0
    aws_tls: int = 0
    ses_inbound: int = 0
    ses_smtp: int = 0
    ses_smtps: int = 0
    dns: int = 0
    sites: int = 0
    # The ports of what the tasks publish, by the names that their system has for them.
    tasks: Mapping[str, int] = field(default_factory=dict[str, int])

    def named(self) -> dict[str, int]:
        """Return all ports by name."""
        own = {
            one.name: int(getattr(self, one.name)) for one in fields(self) if one.name != "tasks"
        }
        return {**own, **self.tasks}

    @classmethod
    def of(cls, named: Mapping[str, int]) -> Ports:
        """Make ports of their names; those that are not AWS's are of tasks."""
        own = {one.name for one in fields(cls)} - {"tasks"}
        tasks = {name: port for name, port in named.items() if name not in own}
        return cls(**{name: named[name] for name in own & named.keys()}, tasks=tasks)


# Above 1024, and similar to the real ones. A free port replaces one that is in use.
PREFERRED_PORTS = Ports(
    aws=4566,
    aws_tls=4567,
    ses_inbound=1025,
    ses_smtp=2587,
    ses_smtps=2465,
    dns=1053,
    sites=1443,
)


@dataclass(frozen=True)
class Network:
    """The bridge network of the desk's containers."""

    name: str
    subnet: str = ""
    gateway: str = ""


@dataclass(frozen=True)
class DeskSettings:
    """All of `desk.json`."""

    region: str
    root_key_id: str
    root_secret: str
    network: Network
    ports: Ports = field(default_factory=Ports)
    account_id: str = ACCOUNT_ID
    # How long a task's credentials are valid, in seconds. botocore renews them 15 minutes before
    # they expire: with 20 minutes the renewal happens on a desk too.
    credential_seconds: int = 1200
    # Whether outside senders publish an SPF record that names this machine, as ordinary
    # senders do: automatic replies go only to senders whom SES could authenticate.
    strangers_pass_spf: bool = False
    # The stack file deployed last; used again if no other is named. Empty: the default one.
    stack_file: str = ""
    # The name in `ports.tasks` of each port (in digits) that a task publishes on its host.
    published: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def endpoint_url(self) -> str:
        """The emulated AWS for programs on this machine."""
        return f"http://127.0.0.1:{self.ports.aws}"

    def port_of(self, host_port: int) -> int | None:
        """Return the desk's port for a port that a task publishes on its host."""
        return self.ports.tasks.get(self.published.get(str(host_port), ""))

    @property
    def ses_smtp_host(self) -> str:
        """The name of SES's SMTP endpoint."""
        return f"email-smtp.{self.region}.amazonaws.com"


def new(name: str, region: str = "us-east-1") -> DeskSettings:
    """Create the settings of a new desk, with its own root key."""
    return DeskSettings(
        region=region,
        root_key_id=f"AKIADESK{secrets.token_hex(6).upper()}",
        root_secret=secrets.token_urlsafe(30),
        network=Network(name=name),
    )


def load(path: Path) -> DeskSettings | None:
    """Read the settings, or None if there are none yet.

    Raises:
        SettingsError: the file is not what `save` writes.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        given = cast("dict[str, Any]", json.loads(text))
        given["ports"] = Ports.of(given["ports"])
        given["network"] = Network(**given["network"])
        return DeskSettings(**given)
    except (ValueError, TypeError, KeyError) as error:
        raise SettingsError(
            f"{path} is not a desk's settings ({error}); remove the desk with"
            f" `{naming.COMMAND} down --destroy` and start again"
        ) from error


def save(path: Path, settings: DeskSettings) -> None:
    """Write the settings for the next run."""
    document = {**asdict(settings), "ports": settings.ports.named()}
    files.replace(path, json.dumps(document, indent=2).encode() + b"\n")


def with_ports(settings: DeskSettings, ports: Ports) -> DeskSettings:
    """Return the settings with other ports."""
    return replace(settings, ports=ports)
