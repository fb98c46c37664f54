"""Who shares which calendar or address book, and what each user may do with a path. Pure.

A shared collection belongs to the stack. Each member finds it in their own home as `shared.NAME`;
no collection that a user creates can have such a name.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

PREFIX = "shared."
"""Of the names of shared collections in a user's home."""

KINDS = {"calendars": "VCALENDAR", "address-books": "VADDRESSBOOK"}
"""The kinds of shared collections, and Radicale's tag of each."""

_RIGHTS = ("read", "write", "none")


class SharesError(ValueError):
    """A text does not say who shares what."""


@dataclass(frozen=True)
class Share:
    """A shared collection.

    `members` maps a mailbox's first address, or the domain of all such, to `read`, `write` or
    `none`. What is said of an address counts before what is said of its domain.
    """

    name: str
    kind: str
    members: Mapping[str, str]

    def right_of(self, user: str) -> str:
        """Return `read`, `write`, or "" for a user who is no member."""
        right = self.members.get(user) or self.members.get(user.rpartition("@")[2], "none")
        return "" if right == "none" else right

    @property
    def link(self) -> str:
        """Its name in a member's home."""
        # A calendar and an address book may have the same name.
        return f"{PREFIX}{self.name}" if self.kind == "calendars" else f"{PREFIX}{self.name}.cards"

    @property
    def folder(self) -> str:
        """Its directory below that of all shared collections."""
        return f"{self.kind}/{self.name}"


def read_shares(text: str) -> tuple[Share, ...]:
    """Read `{"calendars": {NAME: {MEMBER: RIGHT}}, "address-books": {...}}`; "" means no shares.

    Raises:
        SharesError: it is anything else.
    """
    try:
        read: object = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise SharesError(f"is not JSON: {error}") from error
    kinds = _mapping(read, "it")
    shares: list[Share] = []
    for kind, named in kinds.items():
        if kind not in KINDS:
            raise SharesError(f"has {kind!r}, which is not one of {', '.join(KINDS)}")
        for name, members in _mapping(named, kind).items():
            rights = _mapping(members, name)
            if not name or name.startswith(".") or "/" in name:
                raise SharesError(f"{name!r} cannot name a collection")
            if not all(right in _RIGHTS for right in rights.values()):
                raise SharesError(f"{name} has rights that are not {' or '.join(_RIGHTS)}")
            shares.append(Share(name, kind, cast("dict[str, str]", rights)))
    return tuple(shares)


def _mapping(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise SharesError(f"{name} is not a mapping")
    return cast("dict[str, object]", value)


def shares_of(user: str, shares: tuple[Share, ...]) -> dict[str, Share]:
    """Return the shares that a user is a member of, by their names in the user's home."""
    return {share.link: share for share in shares if share.right_of(user)}


def permissions(user: str, path: str, shares: tuple[Share, ...]) -> str:
    """Return Radicale's permissions of `user` for a path that Radicale has sanitized.

    `R` and `W` are for the home, `r` and `w` for calendars and address books, and `d` forbids to
    delete one. An item has none of its own: its collection's count.
    https://radicale.org/v3.html#rights
    """
    parts = [part for part in path.split("/") if part]
    if user and not parts:
        return "R"
    if not user or parts[0] != user or len(parts) > 2:
        return ""
    if len(parts) == 1:
        return "RW"
    if not parts[1].startswith(PREFIX):
        return "rw"
    share = shares_of(user, shares).get(parts[1])
    return {"": "", "read": "r", "write": "rwd"}[share.right_of(user) if share else ""]
