"""The task's environment, read once.

SettingsError names the variable and what it should contain.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping


class SettingsError(Exception):
    """A variable is missing or invalid."""


@dataclass(frozen=True)
class Settings:
    """`zones`: for each domain, the name servers of its zone.

    `name_server`: `address:port`, or None.
    """

    names: tuple[str, ...]
    zones: Mapping[str, tuple[str, ...]]
    directory_url: str
    email: str | None
    name_server: str | None
    tls: Path
    state: Path


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return all settings. Raise SettingsError."""
    names = tuple(environment.get("PLEXUS_CERTIFICATE_NAMES", "").split())
    if not names:
        raise SettingsError("PLEXUS_CERTIFICATE_NAMES must hold the host names, space between")
    url = environment.get("PLEXUS_ACME_DIRECTORY", "")
    if not url.startswith("https://"):
        raise SettingsError("PLEXUS_ACME_DIRECTORY must be the https URL of an ACME directory")
    return Settings(
        names=names,
        zones=_zones(environment.get("PLEXUS_ZONES", "")),
        directory_url=url,
        email=environment.get("PLEXUS_ACME_EMAIL") or None,
        name_server=environment.get("PLEXUS_NAME_SERVER") or None,
        tls=Path(environment.get("PLEXUS_TLS_PATH", "/etc/plexus/tls")),
        state=Path(environment.get("PLEXUS_STATE_PATH", "/var/lib/certbot")),
    )


def _zones(text: str) -> dict[str, tuple[str, ...]]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict) and found:
        entries = cast("dict[str, Any]", found)
        lists = {domain: servers for domain, servers in entries.items() if _is_names(servers)}
        if len(lists) == len(entries):
            return {domain: tuple(servers) for domain, servers in lists.items()}
    raise SettingsError('PLEXUS_ZONES must be JSON such as {"example.org": ["ns-1.example", ...]}')


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in cast("list[Any]", value))
