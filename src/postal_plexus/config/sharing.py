"""Who shares what: the keys `shared-calendars` and `shared-address-books`.

A member is a mailbox, or a domain for all of its mailboxes. Mailboxes are resolved here to their
first addresses, by which their calendars are stored. Domains are not, so that a new mailbox changes
nothing of the web container.
"""

import json
from collections.abc import Mapping

from postal_plexus.config.model import Keys
from postal_plexus.config.reading import Findings
from postal_plexus.directory.address import AddressError
from postal_plexus.directory.idn import kept_address, kept_domain
from postal_plexus.directory.model import Directory

# All of it is one variable of a task definition, which has 64 KB with everything else in it.
LARGEST = 24 * 1024

Shared = dict[str, dict[str, dict[str, str]]]
"""Kind -> name -> first address of a mailbox, or domain of such -> `read`, `write` or `none`."""


def read_shared(keys: Keys, directory: Directory, findings: Findings) -> Shared:
    """Return who shares what, with only what is shared in it. Note what cannot be."""
    shared: Shared = {}
    for key, kind, given in (
        ("shared-calendars", "calendars", keys.shared_calendars),
        ("shared-address-books", "address-books", keys.shared_address_books),
    ):
        if given and not keys.calendars:
            findings.add(key, "has no effect", "Set calendars: true, or remove it.")
        for name, members in given.items():
            rights = _rights(key, name, members, directory, findings)
            shared.setdefault(kind, {})[name] = rights
    if len(rendered(shared)) > LARGEST:
        what = (
            "has too many members, together with the other of shared-calendars and -address-books"
        )
        findings.add(
            "shared-calendars" if keys.shared_calendars else "shared-address-books",
            what,
            "Share fewer collections; all names and members have 24 KB.",
        )
    return shared


def rendered(shared: Mapping[str, object]) -> str:
    """Return the text for the web container (calendars.shares.read_shares)."""
    return json.dumps(shared, sort_keys=True, separators=(",", ":")) if shared else ""


def _rights(
    key: str, name: str, members: Mapping[str, str], directory: Directory, findings: Findings
) -> dict[str, str]:
    places = {
        mailbox.address: mailbox.stored_as or mailbox.address for mailbox in directory.mailboxes
    }
    domains = {domain.name for domain in directory.domains}
    of_domains: dict[str, str] = {}
    of_mailboxes: dict[str, str] = {}
    for member, right in members.items():
        kept = _kept(member)
        if kept in domains:
            of_domains[kept] = right
        elif kept in places:
            of_mailboxes[places[kept]] = right
        else:
            findings.add(
                key,
                f"has {member!r} in {name}, which is neither a mailbox nor a domain of the stack",
                "Name mailboxes, or a domain for all of its mailboxes; an alias has no calendars.",
            )
    # What is said of one mailbox counts before what is said of all.
    return of_domains | _renamed(places, of_domains) | of_mailboxes


def _renamed(places: Mapping[str, str], of_domains: Mapping[str, str]) -> dict[str, str]:
    """Return the rights of mailboxes that have another domain than their first address has."""
    found: dict[str, str] = {}
    for address, place in places.items():
        now, first = (of_domains.get(each.rpartition("@")[2]) for each in (address, place))
        if now != first:
            found[place] = now or "none"
    return found


def _kept(member: str) -> str:
    try:
        return str(kept_address(member)).lower() if "@" in member else kept_domain(member)
    except AddressError:
        return ""
