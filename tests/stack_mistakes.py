"""What people get wrong in a stack file, and what they are told: the same by `plexus check` and by
the Pulumi program.

A mistake changes the template's configuration; None takes a key away.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).parents[1] / "pulumi" / "Pulumi.prod.yaml"
_CONFIG: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text())["config"]
HASH = _CONFIG["postal-plexus:mailboxes"][0]["password-hash"]


@dataclass(frozen=True)
class Mistake:
    """Changed keys, each without its namespace, and what the one line that comes of it must say.

    It begins with `place` (the key, and the entry under it) and mentions the value and the kind of
    remedy; how it is worded is not held.
    """

    name: str
    changes: dict[str, Any]
    place: str
    mentioned: tuple[str, ...]

    def is_told_by(self, line: str) -> bool:
        """Whether an error's line tells it."""
        return line.startswith(f"{self.place}: ") and all(each in line for each in self.mentioned)

    def config(self) -> dict[str, Any]:
        """The template's configuration with the mistake in it."""
        changed = {
            key if ":" in key else f"postal-plexus:{key}": value
            for key, value in self.changes.items()
        }
        merged = {**_CONFIG, **changed}
        return {key: value for key, value in merged.items() if value is not None}


def _mailbox(address: str, password_hash: str | None = HASH) -> dict[str, Any]:
    return {"address": address} | ({"password-hash": password_hash} if password_hash else {})


_DOMAINS: list[Any] = _CONFIG["postal-plexus:domains"]
_PEOPLE = [_mailbox("ann@example.org"), _mailbox("ben@example.net")]
_LONG = "l" * 65
_THREE = ("deliver", "dovecot", "postfix")
_FOUR = ("certbot", *_THREE)

MISTAKES = (
    Mistake(
        "more hosts than there can be",
        {"hosts": 17},
        "postal-plexus:hosts",
        ("is 17", "Give 1 to 16"),
    ),
    Mistake(
        "a mailbox on a host that there is not",
        {"mailboxes": [_mailbox("ann@example.org") | {"host": 2}, _mailbox("ben@example.net")]},
        "postal-plexus:mailboxes: entry 1 (ann@example.org)",
        ("its host is 2", "only one", "raise postal-plexus:hosts"),
    ),
    Mistake(
        "a domain on a host beyond the last",
        {"hosts": 2, "domains": ["example.org", {"name": "example.net", "host": 3}]},
        "postal-plexus:domains: entry 2 (example.net)",
        ("its host is 3", "there are 2", "Give 1 to 2"),
    ),
    Mistake(
        "a host by its name",
        {
            "hosts": 2,
            "mailboxes": [_mailbox("ann@example.org") | {"host": "b"}, _mailbox("ben@example.net")],
        },
        "postal-plexus:mailboxes: entry 1 (ann@example.org)",
        ("host is a text", "such as 2"),
    ),
    Mistake(
        "host 0",
        {
            "hosts": 2,
            "mailboxes": [_mailbox("ann@example.org") | {"host": 0}, _mailbox("ben@example.net")],
        },
        "postal-plexus:mailboxes: entry 1 (ann@example.org)",
        ("host is 0", "such as 2"),
    ),
    Mistake(
        "webmail with several hosts",
        {"hosts": 2, "webmail": True},
        "postal-plexus:webmail",
        ("serves only one host", "there are 2"),
    ),
    Mistake(
        "calendars with several hosts",
        {"hosts": 2, "calendars": True},
        "postal-plexus:calendars",
        ("serves only one host", "there are 2"),
    ),
    Mistake(
        "a host whose name is a domain of the stack",
        {"hosts": 2, "mail-host": "mx.example.org", "domains": [*_DOMAINS, "mx-2.example.org"]},
        "postal-plexus:mail-host",
        ("mx-2.example.org", "Name another host"),
    ),
    Mistake(
        "unknown key",
        {"spott": False},
        "postal-plexus:spott",
        ("Did you mean spot?",),
    ),
    Mistake(
        "unknown key that is like no other",
        {"colour": "blue"},
        "postal-plexus:colour",
        ("the keys are accept, ",),
    ),
    Mistake(
        "a word for a number",
        {"archive-days": "thirty"},
        "postal-plexus:archive-days",
        ("'thirty'", "Give 15 to 36500"),
    ),
    Mistake(
        "a number out of range",
        {"archive-days": 3},
        "postal-plexus:archive-days",
        ("is 3", "Give 15 to 36500"),
    ),
    Mistake(
        "yes is a text to Pulumi",
        {"spot": "yes"},
        "postal-plexus:spot",
        ("'yes'", "Write true or false"),
    ),
    Mistake(
        "names of a webmail that is off",
        {"webmail-names": True},
        "postal-plexus:webmail-names",
        ("webmail is off", "Turn webmail on"),
    ),
    Mistake(
        "a domain that has webmail's name",
        {"webmail": True, "webmail-names": True, "domains": [*_DOMAINS, "webmail.example.org"]},
        "postal-plexus:webmail-names",
        ("webmail.example.org", "a domain of this stack", "Turn it off"),
    ),
    Mistake(
        "a list for a mapping",
        {"existing-zones": ["example.net"]},
        "postal-plexus:existing-zones",
        ("a list", "Map a domain of this"),
    ),
    Mistake(
        "mail to nobody",
        {"doctor": "weekly", "alarm-address": None},
        "postal-plexus:doctor",
        ("nobody to mail to", "Give an alarm-address"),
    ),
    Mistake(
        "a choice that is none",
        {"dmarc-policy": "quarantene"},
        "postal-plexus:dmarc-policy",
        ("'quarantene'", "Did you mean quarantine?"),
    ),
    Mistake(
        "a region that there is not",
        {"aws:region": "us-eest-1"},
        "aws:region",
        ("us-eest-1", "Choose one of ap-northeast-1"),
    ),
    Mistake(
        "a region without SMTP",
        {"aws:region": "eu-south-1"},
        "aws:region",
        ("eu-south-1", "SMTP", "Choose one of ap-northeast-1"),
    ),
    Mistake(
        "no region",
        {"aws:region": None},
        "aws:region",
        ("is missing", "Choose one of ap-northeast-1"),
    ),
    Mistake(
        "a host elsewhere",
        {"mail-host": "mail.example.com"},
        "postal-plexus:mail-host",
        ("'mail.example.com'", "Name a host in one of the domains"),
    ),
    Mistake(
        "a host that is none",
        {"mail-host": "my mail.example.org"},
        "postal-plexus:mail-host",
        ("'my mail.example.org'", "Name a host in one of the domains"),
    ),
    Mistake(
        "alarms to ourselves",
        {"alarm-address": "Ann@EXAMPLE.org"},
        "postal-plexus:alarm-address",
        ("'Ann@EXAMPLE.org'", "an address outside this mail system"),
    ),
    Mistake(
        "a foreign domain's zone",
        {"existing-zones": {"example.com": "Z0123456789"}},
        "postal-plexus:existing-zones",
        ("'example.com': 'Z0123456789'", "Map a domain of this"),
    ),
    Mistake(
        "a second SPF record",
        {"txt-records": {"example.org": ["v=spf1 -all"]}},
        "postal-plexus:txt-records",
        ("'example.org': ['v=spf1 -all']", "Map a domain of this"),
    ),
    Mistake(
        "somebody's network",
        {"network": "172.38.0.0/16"},
        "postal-plexus:network",
        ("'172.38.0.0/16'", "private IPv4 range"),
    ),
    Mistake(
        "half the images",
        {"images": {"dovecot": "registry.example/dovecot:1"}},
        "postal-plexus:images",
        ("certbot, deliver, postfix", "all 4"),
    ),
    Mistake(
        "no image that asks for certificates",
        {"images": {name: f"registry.example/{name}:1" for name in _THREE}},
        "postal-plexus:images",
        ("certbot", "all 4", "certbot: none"),
    ),
    Mistake(
        "an image that is none",
        {"images": {name: "none" if name == "dovecot" else f"r.example/{name}" for name in _FOUR}},
        "postal-plexus:images",
        ("'dovecot': 'none'", "Name the images of"),
    ),
    Mistake(
        "webmail without its image",
        {"images": {name: f"r.example/{name}" for name in _FOUR}, "webmail": True},
        "postal-plexus:images",
        ("lacks web", "leave webmail, account-page and calendars off"),
    ),
    Mistake(
        "a blank in an image",
        {"images": {name: f"r.example/{name}{' ' * (name == 'deliver')}" for name in _FOUR}},
        "postal-plexus:images",
        ("'deliver': 'r.example/deliver '", "Name the images of"),
    ),
    Mistake(
        "more days than there are",
        {"backup-days": 10**9},
        "postal-plexus:backup-days",
        ("is 1000000000", "Give 1 to 36500"),
    ),
    Mistake(
        "a budget that is no number",
        {"budget-usd": float("nan")},
        "postal-plexus:budget-usd",
        ("is nan", "dollars a month up to 1000000"),
    ),
    Mistake(
        "an alarm that never rings",
        {"mailboxes-gb-alarm": 10**12},
        "postal-plexus:mailboxes-gb-alarm",
        ("is 1000000000000", "Give 1 to 1000000"),
    ),
    Mistake(
        "an IPv4 address for a domain",
        {"domains": ["example.org", "example.net", "192.0.2.1"]},
        "postal-plexus:domains: entry 3 (192.0.2.1)",
        ("IPv4 address", "a domain of yours"),
    ),
    Mistake(
        "a pattern for an alias",
        {"aliases": [{"address": "*@example.org", "destinations": ["ann@example.org"]}]},
        "postal-plexus:aliases: entry 1 (*@example.org)",
        ("pattern", "catch-all: ADDRESS for example.org"),
    ),
    Mistake(
        "a mailbox beyond any disk",
        {"mailboxes": [*_PEOPLE, _mailbox("cara@example.org") | {"quota-gb": -1}]},
        "postal-plexus:mailboxes: entry 3 (cara@example.org)",
        ("quota-gb", "Give a number of GB from 0.1 to 10000"),
    ),
    Mistake(
        "a limit of nothing",
        {"submission-limits": {"messages-hour": 0}},
        "postal-plexus:submission-limits",
        ("'messages-hour': 0", "whole numbers from 1 to 1000000"),
    ),
    Mistake(
        "indexes beyond any volume",
        {"indexes-gb": 16001},
        "postal-plexus:indexes-gb",
        ("is 16001", "Give 1 to 16000"),
    ),
    Mistake(
        "a host in a zone that there is not",
        {"host-zone": 3},
        "postal-plexus:host-zone",
        ("is 3", "Give 1 to 2"),
    ),
    Mistake(
        "zones that there are not, and a host in one of them",
        {"zones": 9, "host-zone": 3},
        "postal-plexus:zones",
        ("is 9", "Give 2 to 6"),
    ),
    Mistake(
        "a truth value for a number of days",
        {"log-days": True},
        "postal-plexus:log-days",
        ("is True", "Choose one of 1"),
    ),
    Mistake(
        "a number with a point for a number of days",
        {"log-days": 14.0},
        "postal-plexus:log-days",
        ("is 14.0", "Choose one of 1"),
    ),
    Mistake(
        "a misspelled limit",
        {"submission-limits": {"message-hour": 5}},
        "postal-plexus:submission-limits",
        ("'message-hour': 5", "Did you mean messages-hour?"),
    ),
    Mistake(
        "a misspelled policy",
        {"dmarc-policies": {"example.org": "quarantin"}},
        "postal-plexus:dmarc-policies",
        ("'example.org': 'quarantin'", "Did you mean quarantine?"),
    ),
    Mistake(
        "two images that are none",
        {"images": {name: "none" for name in _FOUR if name != "certbot"} | {"certbot": "r/x"}},
        "postal-plexus:images",
        ("'deliver': 'none', 'dovecot': 'none', 'postfix': 'none'", "Name the images of"),
    ),
    Mistake(
        "a domain twice, in another case",
        {"domains": ["example.org", "example.net", "Example.ORG"]},
        "postal-plexus:domains: entry 3 (Example.ORG)",
        ("entry 1 (example.org) of domains", "Keep one"),
    ),
    Mistake(
        "a domain twice, in another script",
        {"domains": ["example.org", "example.net", "bücher.example", "xn--bcher-kva.example"]},
        "postal-plexus:domains: entry 4 (xn--bcher-kva.example)",
        ("entry 3 (bücher.example) of domains", "Keep one"),
    ),
    Mistake(
        "a mailbox in a foreign domain",
        {"mailboxes": [*_PEOPLE, _mailbox("cara@example.com")]},
        "postal-plexus:mailboxes: entry 3 (cara@example.com)",
        ("example.com", "Did you mean example.org?"),
    ),
    Mistake(
        "a mailbox without a hash",
        {"mailboxes": [*_PEOPLE, _mailbox("cara@example.org", None)]},
        "postal-plexus:mailboxes: entry 3 (cara@example.org)",
        ("password-hash", "plexus password cara@example.org"),
    ),
    Mistake(
        "a name that is too long",
        {"mailboxes": [*_PEOPLE, _mailbox(f"{_LONG}@example.org")]},
        f"postal-plexus:mailboxes: entry 3 ({_LONG}@example.org)",
        ("64", "Write one address"),
    ),
    Mistake(
        "aliases in a circle",
        {
            "aliases": [
                {"address": "a@example.org", "destinations": ["b@example.org"]},
                {"address": "b@example.org", "destinations": ["a@example.org"]},
            ]
        },
        "postal-plexus:aliases: entry 1 (a@example.org)",
        ("a@example.org -> b@example.org -> a@example.org", "Remove one"),
    ),
)
