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
    """Changed keys, each without its namespace, and the one line that comes of it.

    `told` is that line, or its beginning where the rest is a long list.
    """

    name: str
    changes: dict[str, Any]
    told: str

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


_PEOPLE = [_mailbox("ann@example.org"), _mailbox("ben@example.net")]
_LONG = "l" * 65
_THREE = ("deliver", "dovecot", "postfix")
_FOUR = ("certbot", *_THREE)

MISTAKES = (
    Mistake(
        "unknown key",
        {"spott": False},
        "postal-plexus:spott: is not a key of Postal Plexus. Did you mean spot?",
    ),
    Mistake(
        "unknown key that is like no other",
        {"colour": "blue"},
        "postal-plexus:colour: is not a key of Postal Plexus. Remove it; the keys are accept, ",
    ),
    Mistake(
        "a word for a number",
        {"archive-days": "thirty"},
        "postal-plexus:archive-days: is 'thirty'. "
        "Give 15 to 36500 days: what failed is replayed from there.",
    ),
    Mistake(
        "a number out of range",
        {"archive-days": 3},
        "postal-plexus:archive-days: is 3. "
        "Give 15 to 36500 days: what failed is replayed from there.",
    ),
    Mistake(
        "yes is a text to Pulumi",
        {"spot": "yes"},
        "postal-plexus:spot: is 'yes'. Write true or false.",
    ),
    Mistake(
        "a list for a mapping",
        {"existing-zones": ["example.net"]},
        "postal-plexus:existing-zones: is a list, not a mapping. Map a domain of this stack to the "
        "id of its Route 53 zone: Z, then capitals and digits.",
    ),
    Mistake(
        "a choice that is none",
        {"dmarc-policy": "quarantene"},
        "postal-plexus:dmarc-policy: is 'quarantene'. Did you mean quarantine?",
    ),
    Mistake(
        "a region that there is not",
        {"aws:region": "us-eest-1"},
        "aws:region: us-eest-1: SES does not receive mail there. Choose one of ap-northeast-1, ",
    ),
    Mistake(
        "a region without SMTP",
        {"aws:region": "eu-south-1"},
        "aws:region: eu-south-1: SES has no SMTP endpoint there, which Postfix sends through. "
        "Choose one of ap-northeast-1, ",
    ),
    Mistake(
        "no region", {"aws:region": None}, "aws:region: is missing. Choose one of ap-northeast-1, "
    ),
    Mistake(
        "a host elsewhere",
        {"mail-host": "mail.example.com"},
        "postal-plexus:mail-host: is 'mail.example.com'. "
        "Name a host in one of the domains, such as mail.example.org.",
    ),
    Mistake(
        "a host that is none",
        {"mail-host": "my mail.example.org"},
        "postal-plexus:mail-host: is 'my mail.example.org'. "
        "Name a host in one of the domains, such as mail.example.org.",
    ),
    Mistake(
        "alarms to ourselves",
        {"alarm-address": "Ann@EXAMPLE.org"},
        "postal-plexus:alarm-address: is 'Ann@EXAMPLE.org'. "
        "Give an address outside this mail system: it must arrive when this one is down.",
    ),
    Mistake(
        "a foreign domain's zone",
        {"existing-zones": {"example.com": "Z0123456789"}},
        "postal-plexus:existing-zones: has 'example.com': 'Z0123456789'. Map a domain of this "
        "stack to the id of its Route 53 zone: Z, then capitals and digits.",
    ),
    Mistake(
        "a second SPF record",
        {"txt-records": {"example.org": ["v=spf1 -all"]}},
        "postal-plexus:txt-records: has 'example.org': ['v=spf1 -all']. Map a domain of this stack "
        "to a list of texts. Its SPF record (v=spf1) is made by itself; a second one breaks both.",
    ),
    Mistake(
        "somebody's network",
        {"network": "172.38.0.0/16"},
        "postal-plexus:network: is '172.38.0.0/16'. "
        "Give private IPv4 space of /16 to /24, such as 10.77.0.0/16.",
    ),
    Mistake(
        "half the images",
        {"images": {"dovecot": "registry.example/dovecot:1"}},
        "postal-plexus:images: lacks certbot, deliver, postfix. "
        "Give all 4, or none to have them built.",
    ),
    Mistake(
        "no image that asks for certificates",
        {"images": {name: f"registry.example/{name}:1" for name in _THREE}},
        "postal-plexus:images: lacks certbot. Give all 4, or none to have them built. "
        "If something else brings the certificate: certbot: none.",
    ),
    Mistake(
        "an image that is none",
        {"images": {name: "none" if name == "dovecot" else f"r.example/{name}" for name in _FOUR}},
        "postal-plexus:images: has 'dovecot': 'none'. "
        "Name images of certbot, deliver, dovecot, postfix; without `images` all are built.",
    ),
    Mistake(
        "a blank in an image",
        {"images": {name: f"r.example/{name}{' ' * (name == 'deliver')}" for name in _FOUR}},
        "postal-plexus:images: has 'deliver': 'r.example/deliver '. Name images of ",
    ),
    Mistake(
        "more days than there are",
        {"backup-days": 10**9},
        "postal-plexus:backup-days: is 1000000000. Give 1 to 36500 days, or 0 for no backup.",
    ),
    Mistake(
        "a budget that is no number",
        {"budget-usd": float("nan")},
        "postal-plexus:budget-usd: is nan. Give dollars a month up to 1000000, 0 for no budget.",
    ),
    Mistake(
        "an alarm that never rings",
        {"mailboxes-gb-alarm": 10**12},
        "postal-plexus:mailboxes-gb-alarm: is 1000000000000. Give 1 to 1000000 GB.",
    ),
    Mistake(
        "an IPv4 address for a domain",
        {"domains": ["example.org", "example.net", "192.0.2.1"]},
        "postal-plexus:domains: entry 3 (192.0.2.1): it is no domain name, or is an IPv4 address. "
        "Write a domain of yours, such as example.org.",
    ),
    Mistake(
        "a pattern for an alias",
        {"aliases": [{"address": "*@example.org", "destinations": ["ann@example.org"]}]},
        "postal-plexus:aliases: entry 1 (*@example.org): its address is no pattern, and * means "
        "nothing in it. Write catch-all: ADDRESS at example.org in postal-plexus:domains: its "
        "owner gets all mail that no other address takes.",
    ),
    Mistake(
        "a mailbox beyond any disk",
        {"mailboxes": [*_PEOPLE, _mailbox("cara@example.org") | {"quota-gb": -1}]},
        "postal-plexus:mailboxes: entry 3 (cara@example.org): its quota-gb is -1. "
        "Give a number of GB from 0.1 to 10000, such as 50.",
    ),
    Mistake(
        "a limit of nothing",
        {"submission-limits": {"messages-hour": 0}},
        "postal-plexus:submission-limits: has 'messages-hour': 0. Give messages-hour, "
        "recipients-hour, messages-day, recipients-day, automatic-messages-hour, "
        "automatic-recipients-hour, automatic-messages-day, automatic-recipients-day "
        "as whole numbers from 1 to 1000000.",
    ),
    Mistake(
        "indexes beyond any volume",
        {"indexes-gb": 16001},
        "postal-plexus:indexes-gb: is 16001. "
        "Give 1 to 16000 GB: a volume can grow, but never shrink.",
    ),
    Mistake(
        "a host in a zone that there is not",
        {"host-zone": 3},
        "postal-plexus:host-zone: is 3. Give 1 to 2: the stack has so many zones.",
    ),
    Mistake(
        "zones that there are not, and a host in one of them",
        {"zones": 9, "host-zone": 3},
        "postal-plexus:zones: is 9. Give 2 to 6 availability zones.",
    ),
    Mistake(
        "a truth value for a number of days",
        {"log-days": True},
        "postal-plexus:log-days: is True. Choose one of (1, 3, 5, ",
    ),
    Mistake(
        "a number with a point for a number of days",
        {"log-days": 14.0},
        "postal-plexus:log-days: is 14.0. Choose one of (1, 3, 5, ",
    ),
    Mistake(
        "a misspelled limit",
        {"submission-limits": {"message-hour": 5}},
        "postal-plexus:submission-limits: has 'message-hour': 5. Did you mean messages-hour?",
    ),
    Mistake(
        "a misspelled policy",
        {"dmarc-policies": {"example.org": "quarantin"}},
        "postal-plexus:dmarc-policies: has 'example.org': 'quarantin'. Did you mean quarantine?",
    ),
    Mistake(
        "two images that are none",
        {"images": {name: "none" for name in _FOUR if name != "certbot"} | {"certbot": "r/x"}},
        "postal-plexus:images: has 'deliver': 'none', 'dovecot': 'none', 'postfix': 'none'. "
        "Name images of ",
    ),
    Mistake(
        "a domain twice, in another case",
        {"domains": ["example.org", "example.net", "Example.ORG"]},
        "postal-plexus:domains: entry 3 (Example.ORG): "
        "is there already, as entry 1 (example.org) of domains. Keep one of the two.",
    ),
    Mistake(
        "a domain twice, in another script",
        {"domains": ["example.org", "example.net", "bücher.example", "xn--bcher-kva.example"]},
        "postal-plexus:domains: entry 4 (xn--bcher-kva.example): "
        "is there already, as entry 3 (bücher.example) of domains. Keep one of the two.",
    ),
    Mistake(
        "a mailbox in a foreign domain",
        {"mailboxes": [*_PEOPLE, _mailbox("cara@example.com")]},
        "postal-plexus:mailboxes: entry 3 (cara@example.com): its domain example.com is not among "
        "postal-plexus:domains. Did you mean example.org?",
    ),
    Mistake(
        "a mailbox without a hash",
        {"mailboxes": [*_PEOPLE, _mailbox("cara@example.org", None)]},
        "postal-plexus:mailboxes: entry 3 (cara@example.org): has no password-hash. "
        "Make one with: plexus password cara@example.org",
    ),
    Mistake(
        "a name that is too long",
        {"mailboxes": [*_PEOPLE, _mailbox(f"{_LONG}@example.org")]},
        f"postal-plexus:mailboxes: entry 3 ({_LONG}@example.org): its address "
        f"'{_LONG}@example.org' has more than 64 characters before the @. "
        "Write one address: ann@example.org.",
    ),
    Mistake(
        "aliases in a circle",
        {
            "aliases": [
                {"address": "a@example.org", "destinations": ["b@example.org"]},
                {"address": "b@example.org", "destinations": ["a@example.org"]},
            ]
        },
        "postal-plexus:aliases: entry 1 (a@example.org): goes in a circle: "
        "a@example.org -> b@example.org -> a@example.org. Take one of these steps out of its alias.",
    ),
)
