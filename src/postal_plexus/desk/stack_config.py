"""The configuration that the desk deploys: a stack file with the desk's passwords and images.

A stack file for real AWS can be used unchanged: encrypted secrets are not needed, because every
mailbox gets another password here anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from postal_plexus.config.checks import NO_IMAGE
from postal_plexus.config.file import read_stack_file
from postal_plexus.desk import accounts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postal_plexus.desk.accounts import Account

DEFAULT_STACK_FILE = Path(__file__).with_name("stack.yaml")
# The resources that the desk emulates have no owner elsewhere.
_NOT_ON_A_DESK = ("aws:profile",)


@dataclass(frozen=True)
class StackConfig:
    """What is deployed, in which region, for whom."""

    settings: Mapping[str, object]
    region: str
    accounts: list[Account]


def read(stack_file: Path, accounts_file: Path, images: Mapping[str, str]) -> StackConfig:
    """Read a stack file and adapt it to the desk.

    Raises:
        OSError: the file cannot be read.
        StackError: what is wrong in it, by key and entry.
    """
    read_file = read_stack_file(stack_file.read_text(encoding="utf-8"))
    directory = read_file.directory()
    made = accounts.for_mailboxes(
        accounts_file, [str(mailbox.address) for mailbox in directory.mailboxes]
    )
    hashes = {one.address: one.password_hash for one in made}
    settings = {k: v for k, v in read_file.settings.items() if k not in _NOT_ON_A_DESK}
    entries = cast("list[dict[str, Any]]", settings["postal-plexus:mailboxes"])
    settings["postal-plexus:mailboxes"] = [
        {**entry, "password-hash": hashes[str(mailbox.address)]}
        for entry, mailbox in zip(entries, directory.mailboxes, strict=True)
    ]
    # The desk's own authority issues the certificate.
    settings["postal-plexus:images"] = {"certbot": NO_IMAGE, **images}
    region = str(settings.get("aws:region") or "us-east-1")
    settings["aws:region"] = region
    return StackConfig(settings, region, made)
