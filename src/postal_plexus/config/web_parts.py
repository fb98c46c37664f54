"""The optional parts that the web container serves: addresses and titles. Pure."""

from collections.abc import Iterable, Mapping

LABELS: Mapping[str, str] = {
    "webmail": "Webmail",
    "account": "Account page",
    "calendars": "Calendars",
}
"""The parts in the order in which they are shown -> their titles."""

_PATHS = {"webmail": "/", "account": "/account/", "calendars": "/dav/"}
FOR_PROGRAMS = frozenset({"calendars"})
"""Parts that answer no browser: their address is entered in a program."""


def addresses(parts: Iterable[str], mail_host: str, webmail_name: str = "") -> dict[str, str]:
    """Return the address of each part that is on, by its name, in the order of LABELS.

    Args:
        parts: the parts that are on.
        mail_host: the mail host's name, under which all parts are found.
        webmail_name: webmail's own name in the mail host's domain; "" without one.
    """
    on = set(parts)
    hosts = {"webmail": webmail_name or mail_host}
    return {
        part: f"https://{hosts.get(part, mail_host)}{_PATHS[part]}" for part in LABELS if part in on
    }


def at_origin(found: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return the same addresses at another host and port, such as `localhost:8443`."""
    paths = {part: address.split("/", 3)[3] for part, address in found.items()}
    return {part: f"https://{origin}/{path}" for part, path in paths.items()}
