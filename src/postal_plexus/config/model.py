"""The keys of a stack file: type, bounds, default, meaning and remedy of each, written only here.

`People` has the three lists of who has mail; `Keys` has everything else, all of it optional. A
key's name is its attribute's name with `-` for `_`. `reading` turns pydantic's errors into problems
with a remedy, `settings` reads a whole file, and a test compares the tables of
docs/configuration.md with this module.

The validators are in `checks`; their context is the stack's domains, or None if they are not known.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from postal_plexus.config.checks import (
    IMAGE_NAMES,
    all_images,
    domain_of_the_stack,
    host_of_the_stack,
    is_other_text,
    is_private_network,
    matches,
    one_of,
    only,
    outside_the_stack,
)
from postal_plexus.directory.entries import MOST_HOSTS

LARGEST_QUOTA_GB = 10_000
"""Ten terabytes. A larger number is a mistake, or would make the bill one."""

# AWS Backup keeps a recovery point for at most a hundred years; the same limit serves for S3.
# https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
_LONGEST_DAYS = 36500
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)
# https://docs.aws.amazon.com/efs/latest/ug/API_LifecyclePolicy.html
_INFREQUENT_DAYS = (1, 7, 14, 30, 60, 90, 180, 270, 365)
# The limit for any other number; a larger one is a mistake.
_MOST = 10**6
_INSTANCE_TYPE = re.compile(r"[a-z]+(\d+)([a-z]*)\.[a-z0-9]+")
_ZONE_ID = re.compile(r"Z[0-9A-Z]{1,31}")
# An image reference has no spaces and does not end in a separator or a colon.
_IMAGE = re.compile(r"[a-z0-9](?:[\w./:@-]{0,498}\w)?")
WEB_IMAGE = "web"
"""Needed only where the web container is."""


class Model(BaseModel):
    """Base of the models: keys as the file spells them, strictly typed."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )


def _key(
    default: Any, about: str, remedy: str = "", *, required: bool = False, **bounds: Any
) -> Any:
    """Declare a key: its default, what it is for, and the remedy for a wrong value."""
    return Field(  # pyright: ignore[reportUnknownVariableType]  which is that of the attribute
        default,
        description=about,
        json_schema_extra={"remedy": remedy, "required": required},
        **bounds,
    )


def _number(
    default: float, about: str, least: int, most: int, unit: str, *, zero: str = "", why: str = ""
) -> Any:
    """Declare a number from `least` to `most`; if `zero` is given, 0 is allowed and means that."""
    remedy = f"Give {least} to {most} {unit}"
    remedy += f", or 0 {zero}." if zero else f": {why}." if why else "."
    return _key(default, about, remedy, ge=0 if zero else least, le=most)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _limit(default: int, about: str) -> Any:
    return _key(default, about, ge=1, le=_MOST)


# ---------------------------------------------------------------------------------------------
# Who has mail

_Text = Annotated[str, StringConstraints(strip_whitespace=True)]
_FilledText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_TEXT = "Write a text, in quotes if necessary."
_ADDRESSES = "[ann@example.org, ben@example.org]"


def _host(about: str) -> Any:
    remedy = "Give a host's number, such as 2; postal-plexus:hosts says how many there are."
    return _key(None, about, remedy, ge=1, le=MOST_HOSTS)


class DomainEntry(Model):
    """A domain: its name, and optionally its catch-all."""

    name: _Text = _key("", "the domain, in any script", _TEXT, required=True)
    catch_all: _Text | None = _key(
        None, "the mailbox or alias that gets mail for addresses that do not exist", _TEXT
    )
    host: int | None = _host(
        "number of the host for its mailboxes and its `mail.`; the default is 1"
    )


class MailboxEntry(Model):
    """A mailbox and its passwords."""

    address: _Text = _key("", "the address, which is also the login", _TEXT, required=True)
    password_hash: _Text = _key(
        "", "from `plexus password`", "Make one with: plexus password ADDRESS", required=True
    )
    app_passwords: Mapping[str, _FilledText] = _key(
        {},
        "passwords of single devices: names and hashes, from `plexus app-passwords make`",
        'Write one name and hash per line: phone: "{ARGON2ID}...".',
    )
    send_as: list[_Text] = _key(
        [],
        "other addresses of the stack from which the user may send",
        f"Write a list: send-as: {_ADDRESSES}.",
    )
    quota_gb: Annotated[float, AllowInfNan(allow_inf_nan=False)] | None = _key(
        None,
        "size limit of the mailbox, in GB; the default is 10",
        f"Give a number of GB from 0.1 to {LARGEST_QUOTA_GB}, such as 50.",
        ge=0.1,
        le=LARGEST_QUOTA_GB,
    )
    stored_as: _Text | None = _key(
        None,
        "the first address of a renamed mailbox, where its mail is stored; from `plexus mailbox "
        "rename`",
        "Write the mailbox's first address, or remove the key if it never had another address.",
    )
    host: int | None = _host("number of the mailbox's host; the default is its domain's")


class AliasEntry(Model):
    """An address whose mail goes to other addresses."""

    address: _Text = _key("", "the address", _TEXT, required=True)
    destinations: list[_Text] = _key(
        [],
        "mailboxes and aliases here, or addresses elsewhere",
        f"Write a list: destinations: {_ADDRESSES}.",
        required=True,
    )


class People(Model):
    """The three lists of who has mail."""

    domains: list[DomainEntry] = _key([], "the stack's mail domains", required=True)
    mailboxes: list[MailboxEntry] = _key([], "the users", required=True)
    aliases: list[AliasEntry] = _key([], "other addresses, and who gets their mail")


# ---------------------------------------------------------------------------------------------
# Everything else

_SharedName = Annotated[str, matches(re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"))]
_Shared = dict[_SharedName, dict[str, Literal["read", "write"]]]
_SHARE = "Write family: {ann@example.org: write, ben@example.org: read}; a name has a-z, 0-9 and -."
_StackDomain = Annotated[str, AfterValidator(domain_of_the_stack)]
_DmarcPolicy = Literal["none", "quarantine", "reject"]


class SubmissionLimits(Model):
    """Limits of what may be sent, enforced by submission_limits.py in the Postfix container."""

    messages_hour: int = _limit(100, "messages that one user may send in any hour")
    recipients_hour: int = _limit(500, "their recipients")
    messages_day: int = _limit(500, "messages that one user may send in any day")
    recipients_day: int = _limit(2000, "their recipients")
    automatic_messages_hour: int = _limit(
        200,
        "messages that a user's filter, or an alias to an outside address, may send in any hour",
    )
    automatic_recipients_hour: int = _limit(400, "their recipients")
    automatic_messages_day: int = _limit(1000, "the same in any day")
    automatic_recipients_day: int = _limit(2000, "their recipients")

    def by_key(self) -> dict[str, int]:
        """Return each key with its number, in the order of declaration."""
        return self.model_dump(by_alias=True)


_LIMIT_KEYS = ", ".join(name.replace("_", "-") for name in SubmissionLimits.model_fields)


class Keys(Model):
    """The optional keys of a stack file."""

    accept: Literal["addresses", "domains"] = _key(
        "addresses",
        "`addresses`: SES refuses unknown recipients; `domains`: SES accepts all, and unknown "
        "ones bounce",
    )
    activate_rule_set: Literal["auto", "yes", "no"] = _key(
        "auto",
        "whether to activate this stack's receipt rule set, of which SES has only one active. "
        "`auto`: if no other is active; `yes`: always; `no`: not now",
    )
    alarm_address: Annotated[str, AfterValidator(outside_the_stack)] = _key(
        "",
        "the address that gets alarms; without it nobody is notified",
        "Use an address outside this mail system: alarms must arrive when this system is down.",
    )
    # A dead letter waits up to 14 days; its content must still be in the archive.
    archive_days: int = _number(
        30,
        "how long received mail is kept in the archive, from which it can be replayed",
        15,
        _LONGEST_DAYS,
        "days",
        why="failed messages are replayed from the archive",
    )
    backup_days: int = _number(
        35,
        "how long the daily backups of the mailboxes are kept",
        1,
        _LONGEST_DAYS,
        "days",
        zero="for no backup",
    )
    budget_usd: Annotated[float, AllowInfNan(allow_inf_nan=False)] = _key(
        15.0,
        "monthly cost in dollars at which you are notified",
        f"Give dollars a month up to {_MOST}, or 0 for no budget.",
        ge=0,
        le=_MOST,
    )
    client_hosts: Literal["own", "shared"] = _key(
        "own",
        "`own`: clients of each domain use mail.DOMAIN; `shared`: all use mail-host (needed beyond "
        "99 domains)",
    )
    client_setup: bool = _key(True, "whether to publish the sites that set up mail clients")  # noqa: FBT003
    dmarc_fail: Literal["junk", "none"] = _key(
        "junk",
        "what happens to mail that fails DMARC if its domain's policy is quarantine or reject. "
        "`junk`: it goes to Junk; `none`: nothing",
    )
    dmarc_policy: _DmarcPolicy = _key(
        "none", "what receivers should do with mail that fails DMARC for your domains"
    )
    dmarc_policies: dict[_StackDomain, _DmarcPolicy] = _key(
        {},
        "exceptions from dmarc-policy, by domain",
        "Map a domain of this stack to one of none, quarantine, reject.",
    )
    doctor: Literal["weekly", "none"] = _key(
        "none",
        "`weekly`: `plexus doctor` runs in AWS each Monday and mails what is not in order to "
        "`alarm-address`",
    )
    existing_zones: dict[_StackDomain, Annotated[str, matches(_ZONE_ID)]] = _key(
        {},
        "domains that already have a Route 53 zone, and its id; the others get a new zone",
        "Map a domain of this stack to the id of its Route 53 zone: Z, then capital letters and "
        "digits.",
    )
    host_image: Literal["minimal", "ecs-optimized"] = _key(
        "minimal",
        "the host's machine image. `minimal`: a disk of 8 GB; `ecs-optimized`: AWS's image for "
        "ECS, with 30 GB",
    )
    hosts: int = _number(
        1,
        "number of mail hosts; each mailbox lives on one. Begin with one: shards.md",
        1,
        MOST_HOSTS,
        "hosts",
    )
    zones: int = _number(
        2,
        "number of availability zones in which the mailboxes can be mounted",
        2,
        6,
        "availability zones",
    )
    host_zone: int = _number(
        1, "the zone in which the host runs, by number", 1, 6, "for one of the zones"
    )
    images: Annotated[
        dict[
            Literal["certbot", "deliver", "dovecot", "postfix", "web"],
            Annotated[str, matches(_IMAGE)],
        ],
        AfterValidator(all_images),
    ] = _key(
        {},
        "images to run instead of those that `pulumi up` builds; all or none; `web` only for"
        " webmail, account page or calendars",
        f"Name the images of {', '.join(IMAGE_NAMES)}; without `images` all are built.",
    )
    # An EBS volume of type gp3 has 16 TiB at most.
    indexes_gb: int = _number(
        1,
        "space for the mailboxes' indexes on the host's volume",
        1,
        16000,
        "GB",
        why="a volume can grow, but not shrink",
    )
    instance_type: Annotated[str, matches(_INSTANCE_TYPE)] = _key(
        "t4g.nano", "the host's EC2 instance type", "Name an EC2 instance type, such as t4g.nano."
    )
    log_days: Annotated[int, one_of(_LOG_DAYS)] = _key(
        14, "how many days logs are kept", f"Choose one of {_listed(_LOG_DAYS)}."
    )
    log_subjects: bool = _key(
        False,  # noqa: FBT003
        "whether the logs contain subjects, so that `plexus trace` can search for them",
    )
    mail_host: Annotated[str, AfterValidator(host_of_the_stack)] = _key(
        "",
        "the stack's host name, in one of the domains; the default is `mail.` and the first domain",
        "Name a host in one of the domains.",
    )
    mailboxes_gb_alarm: int = _number(
        50, "total size of the mailboxes in GB at which you are notified", 1, _MOST, "GB"
    )
    mailboxes_infrequent_days: Annotated[int, one_of((0, *_INFREQUENT_DAYS))] = _key(
        30,
        "days without access after which a message moves to cheaper storage",
        f"Choose one of {_listed(_INFREQUENT_DAYS)}, or 0 for never.",
    )
    mta_sts: Literal["none", "testing", "enforce"] = _key(
        "testing", "what other servers should do when TLS to this system fails"
    )
    network: Annotated[str, only(is_private_network)] = _key(
        "10.77.0.0/16",
        "the network's private address range",
        "Give a private IPv4 range of /16 to /24, such as 10.77.0.0/16.",
    )
    patches: Literal["weekly", "none"] = _key(
        "weekly",
        "when images get security fixes. `weekly`: each Sunday, and at each `pulumi up`; `none`: "
        "only at each `pulumi up`",
    )
    replace_after_days: int = _number(
        30,
        "age in days at which the host is replaced by one with the newest machine image",
        1,
        365,
        "days",
        zero="to keep an instance until it fails",
    )
    scan: bool = _key(True, "whether SES scans for spam and viruses")  # noqa: FBT003
    spot: bool = _key(True, "whether the host is a Spot instance, at less than half the price")  # noqa: FBT003
    ssm_access: bool = _key(False, "whether Session Manager may open a shell on the host")  # noqa: FBT003
    submission_limits: SubmissionLimits = _key(
        SubmissionLimits(),
        "how much one user may send",
        f"Give {_LIMIT_KEYS} as whole numbers from 1 to {_MOST}.",
    )
    txt_records: dict[_StackDomain, list[Annotated[str, only(is_other_text)]]] = _key(
        {},
        "additional TXT records of the domain itself",
        "Map a domain of this stack to a list of texts. The stack writes its SPF record (v=spf1); "
        "a second one would break both.",
    )
    virus: Literal["dead-letter", "junk", "drop"] = _key(
        "dead-letter",
        "what happens to a message with a virus. `dead-letter`: it is held, and you and the "
        "recipient are notified; `junk`: it goes to Junk; `drop`: it is deleted silently",
    )
    webmail: bool = _key(
        False,  # noqa: FBT003
        "whether to serve webmail at https:// and the mail host's name, in one more container",
    )
    webmail_names: bool = _key(
        False,  # noqa: FBT003
        "whether webmail is also found at `webmail.DOMAIN` of each domain (with `client-hosts: "
        "shared`, of the mail host's domain). Each name takes one of the certificate's 100",
    )
    account_page: bool = _key(
        False,  # noqa: FBT003
        "whether to serve the page on which users change their passwords themselves, at "
        "https://, the mail host's name and `/account/`, in the same container as webmail",
    )
    calendars: bool = _key(
        False,  # noqa: FBT003
        "whether to serve calendars and contacts at https://, the mail host's name and `/dav/`",
    )
    shared_calendars: _Shared = _key(
        {},
        "names of shared calendars, with `read` or `write` for mailboxes or whole domains",
        _SHARE,
    )
    shared_address_books: _Shared = _key({}, "the same for address books", _SHARE)


def architecture(instance_type: str) -> str:
    """Return an instance type's architecture: Graviton families have a `g` after the generation."""
    parts = _INSTANCE_TYPE.fullmatch(instance_type)
    is_arm = instance_type.startswith("a1.") or (parts is not None and "g" in parts.group(2))
    return "arm64" if is_arm else "x86_64"


LISTS = tuple(field.alias or name for name, field in People.model_fields.items())
"""The keys of `People`, in the order in which their problems are reported."""

ALL_KEYS = tuple(sorted((*LISTS, *(f.alias or name for name, f in Keys.model_fields.items()))))
"""Every key of the namespace."""

TEXT_KEYS = frozenset(f.alias for f in Keys.model_fields.values() if isinstance(f.default, str))
"""The keys that Pulumi stores as plain text; it stores all others as JSON."""
