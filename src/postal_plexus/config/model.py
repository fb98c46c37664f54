"""The keys of a stack file: type, bounds, default, meaning and remedy of each, written only here.

`People` has the three lists that say who has mail; `Keys` has everything else, all of which may be
left out. A key is an attribute's name with `-` for `_`. `reading` turns what pydantic finds into
problems with a remedy, `settings` reads a whole file, and a test holds the tables of
docs/configuration.md against this module.

The validators of `Keys` get the stack's domains as their context; None where these are not known,
which leaves out what depends on them.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
)

from postal_plexus.directory.address import AddressError
from postal_plexus.directory.idn import kept_address, kept_domain

NO_IMAGE = "none"
"""In the place of certbot's image: something else brings the mail host's certificate."""

LARGEST_QUOTA_GB = 10_000
"""Ten terabytes: beyond it the number is a mistake, or the bill is."""

# AWS Backup keeps a recovery point for a hundred years at most; so long is long enough for S3 too.
# https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
_LONGEST_DAYS = 36500
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)
# https://docs.aws.amazon.com/efs/latest/ug/API_LifecyclePolicy.html
_INFREQUENT_DAYS = (1, 7, 14, 30, 60, 90, 180, 270, 365)
# Of anything that is counted: beyond it the number is a mistake.
_MOST = 10**6
# RFC 1918; anything else belongs to somebody.
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_INSTANCE_TYPE = re.compile(r"[a-z]+(\d+)([a-z]*)\.[a-z0-9]+")
_ZONE_ID = re.compile(r"Z[0-9A-Z]{1,31}")
# A reference has no blanks, and ends in neither a separator nor a colon.
_IMAGE = re.compile(r"[a-z0-9](?:[\w./:@-]{0,498}\w)?")
_IMAGE_NAMES = ("certbot", "deliver", "dovecot", "postfix")


class RefusedError(ValueError):
    """A validator's own words for what is wrong; "" leaves them to the key."""

    def __init__(self, what: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Model(BaseModel):
    """Keys as a file writes them, each of exactly its type."""

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
    """Declare one key: its default, what it is for, and what to do about a wrong value."""
    return Field(  # pyright: ignore[reportUnknownVariableType]  which is that of the attribute
        default,
        description=about,
        json_schema_extra={"remedy": remedy, "required": required},
        **bounds,
    )


def _number(
    default: float, about: str, least: int, most: int, unit: str, *, zero: str = "", why: str = ""
) -> Any:
    """Declare a number from `least` to `most`; `zero` says what 0 means besides."""
    remedy = f"Give {least} to {most} {unit}"
    remedy += f", or 0 {zero}." if zero else f": {why}." if why else "."
    return _key(default, about, remedy, ge=0 if zero else least, le=most)


def _limit(default: int, about: str) -> Any:
    return _key(default, about, ge=1, le=_MOST)


# ---------------------------------------------------------------------------------------------
# Who has mail

_Text = Annotated[str, StringConstraints(strip_whitespace=True)]
_FilledText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_TEXT = "Write a text; if need be between quotes."
_ADDRESSES = "[ann@example.org, ben@example.org]"


class DomainEntry(Model):
    """A domain: its name alone, or also who gets what nobody else does."""

    name: _Text = _key("", "the domain, in any script", _TEXT, required=True)
    catch_all: _Text | None = _key(
        None, "the mailbox or alias that gets mail to addresses that nobody has", _TEXT
    )


class MailboxEntry(Model):
    """A mailbox and its passwords."""

    address: _Text = _key("", "the address, which is also the login", _TEXT, required=True)
    password_hash: _Text = _key(
        "", "from `plexus password`", "Make one with: plexus password ADDRESS", required=True
    )
    app_passwords: Mapping[str, _FilledText] = _key(
        {},
        "passwords of single devices, a name and a hash each; from `plexus app-passwords make`",
        'Write a name and a hash a line: phone: "{ARGON2ID}...".',
    )
    send_as: list[_Text] = _key(
        [],
        "other addresses of the stack that the user may write as",
        f"Write a list: send-as: {_ADDRESSES}.",
    )
    quota_gb: Annotated[float, AllowInfNan(allow_inf_nan=False)] | None = _key(
        None,
        "how much mail there may be, in GB; 10 without it",
        f"Give a number of GB from 0.1 to {LARGEST_QUOTA_GB}, such as 50.",
        ge=0.1,
        le=LARGEST_QUOTA_GB,
    )
    stored_as: _Text | None = _key(
        None,
        "of a renamed mailbox, the address under which its mail lies; from `plexus mailbox rename`",
        "Write the address that the mailbox had first, or take it out if it never had another.",
    )


class AliasEntry(Model):
    """An address that hands its mail on."""

    address: _Text = _key("", "the address", _TEXT, required=True)
    destinations: list[_Text] = _key(
        [],
        "mailboxes and aliases here, or addresses elsewhere",
        f"Write a list: destinations: {_ADDRESSES}.",
        required=True,
    )


class People(Model):
    """The three lists that say who has mail."""

    domains: list[DomainEntry] = _key([], "the stack's mail domains", required=True)
    mailboxes: list[MailboxEntry] = _key([], "the users", required=True)
    aliases: list[AliasEntry] = _key([], "other addresses, each with whom it reaches")


# ---------------------------------------------------------------------------------------------
# Everything else


def _only(allowed: Callable[[Any], object]) -> AfterValidator:
    """Refuse what `allowed` says nothing true of."""

    def check(value: object) -> object:
        if not allowed(value):
            raise RefusedError
        return value

    return AfterValidator(check)


def _matches(pattern: re.Pattern[str]) -> AfterValidator:
    return _only(pattern.fullmatch)


def _one_of(choices: Collection[int]) -> AfterValidator:
    return _only(choices.__contains__)


def _kept(domain: str) -> str:
    """A domain name as it is kept, "" for what is none."""
    try:
        return kept_domain(domain)
    except AddressError:
        return ""


def _domain_of_the_stack(name: str, info: ValidationInfo) -> str:
    domains: Collection[str] | None = info.context
    kept = _kept(name)
    if not kept or (domains is not None and kept not in domains):
        raise RefusedError
    return kept


def _host_of_the_stack(host: str, info: ValidationInfo) -> str:
    domains: Collection[str] | None = info.context
    kept = _kept(host)
    if domains is not None and not kept.endswith(tuple(f".{domain}" for domain in domains)):
        such_as = next(iter(domains))
        remedy = f"Name a host in one of the domains, such as mail.{such_as}."
        raise RefusedError("", remedy)
    return kept


def _outside_the_stack(address: str, info: ValidationInfo) -> str:
    domains: Collection[str] | None = info.context
    try:
        is_ours = kept_address(address).domain in (domains or ())
    except AddressError as error:
        raise RefusedError from error
    if is_ours:
        raise RefusedError
    return address


def _is_private_network(block: str) -> bool:
    """Whether a VPC of sixteen subnets fits, in private address space."""
    try:
        network = ipaddress.IPv4Network(block)
    except ValueError:
        return False
    return 16 <= network.prefixlen <= 24 and any(network.subnet_of(part) for part in _PRIVATE)


def _is_other_text(text: str) -> bool:
    """Whether this TXT record can stand beside ours: it is no second SPF."""
    return text != "" and not text.lower().startswith("v=spf1")


def _all_images(images: dict[str, str]) -> dict[str, str]:
    """All images or none; certbot's alone may be NO_IMAGE, and then it is left out."""
    absent = [name for name, image in images.items() if image == NO_IMAGE and name != "certbot"]
    if absent:
        raise RefusedError(f"has {', '.join(f'{name!r}: {NO_IMAGE!r}' for name in absent)}")
    if images and len(images) < len(_IMAGE_NAMES):
        missing = ", ".join(name for name in _IMAGE_NAMES if name not in images)
        remedy = f"Give all {len(_IMAGE_NAMES)}, or none to have them built."
        if missing == "certbot":
            remedy += f" If something else brings the certificate: certbot: {NO_IMAGE}."
        raise RefusedError(f"lacks {missing}", remedy)
    return {name: image for name, image in images.items() if image != NO_IMAGE}


_StackDomain = Annotated[str, AfterValidator(_domain_of_the_stack)]
_DmarcPolicy = Literal["none", "quarantine", "reject"]


class SubmissionLimits(Model):
    """What may be sent, as the Postfix container reads it; its submission_limits.py says more."""

    messages_hour: int = _limit(100, "mails of one user in any hour")
    recipients_hour: int = _limit(500, "their recipients")
    messages_day: int = _limit(500, "mails of one user in any day")
    recipients_day: int = _limit(2000, "their recipients")
    automatic_messages_hour: int = _limit(
        200, "mails that a filter, or an alias that leads outside, sends in any hour"
    )
    automatic_recipients_hour: int = _limit(400, "their recipients")
    automatic_messages_day: int = _limit(1000, "the same in any day")
    automatic_recipients_day: int = _limit(2000, "their recipients")

    def by_key(self) -> dict[str, int]:
        """Key to number, in their order."""
        return self.model_dump(by_alias=True)


_LIMIT_KEYS = ", ".join(name.replace("_", "-") for name in SubmissionLimits.model_fields)


class Keys(Model):
    """Everything that may be left out of a stack file."""

    accept: Literal["addresses", "domains"] = _key(
        "addresses",
        "`addresses`: SES refuses unknown recipients at once; `domains`: it takes all, and unknown "
        "ones bounce",
    )
    activate_rule_set: Literal["auto", "yes", "no"] = _key(
        "auto",
        "SES has one active rule set. `auto`: ours, if there is no other; `yes`: ours in any case; "
        "`no`: not now",
    )
    alarm_address: Annotated[str, AfterValidator(_outside_the_stack)] = _key(
        "",
        "who is told when something is wrong; without it nobody hears of alarms",
        "Give an address outside this mail system: it must arrive when this one is down.",
    )
    # A mail that failed waits up to 14 days in the dead letters; its content must still be there.
    archive_days: int = _number(
        30,
        "how long received mail is kept beside the mailboxes, to be replayed",
        15,
        _LONGEST_DAYS,
        "days",
        why="what failed is replayed from there",
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
        "dollars a month at which you are told",
        f"Give dollars a month up to {_MOST}, 0 for no budget.",
        ge=0,
        le=_MOST,
    )
    client_hosts: Literal["own", "shared"] = _key(
        "own",
        "`own`: clients of each domain use mail.DOMAIN; `shared`: all use mail-host (needed beyond "
        "99 domains)",
    )
    client_setup: bool = _key(True, "the web sites from which clients read their settings")  # noqa: FBT003
    dmarc_fail: Literal["junk", "none"] = _key(
        "junk", "what becomes of mail that fails DMARC where its domain asks to refuse it"
    )
    dmarc_policy: _DmarcPolicy = _key(
        "none", "what receivers do with mail that pretends to come from you"
    )
    dmarc_policies: dict[_StackDomain, _DmarcPolicy] = _key(
        {},
        "domains with another dmarc-policy",
        "Map a domain of this stack to one of none, quarantine, reject.",
    )
    existing_zones: dict[_StackDomain, Annotated[str, _matches(_ZONE_ID)]] = _key(
        {},
        "domains that have a Route 53 zone, and its id; for the others one is made",
        "Map a domain of this stack to the id of its Route 53 zone: Z, then capitals and digits.",
    )
    host_image: Literal["minimal", "ecs-optimized"] = _key(
        "minimal", "`minimal`: a disk of 8 GB; `ecs-optimized`: AWS's image for ECS, with 30 GB"
    )
    zones: int = _number(
        2, "availability zones in which the mailboxes can be mounted", 2, 6, "availability zones"
    )
    host_zone: int = _number(
        1, "in which of the zones the host lives", 1, 6, "for one of the zones"
    )
    images: Annotated[
        dict[Literal["certbot", "deliver", "dovecot", "postfix"], Annotated[str, _matches(_IMAGE)]],
        AfterValidator(_all_images),
    ] = _key(
        {},
        "images to run instead of those that `pulumi up` builds; all or none",
        f"Name images of {', '.join(_IMAGE_NAMES)}; without `images` all are built.",
    )
    # An EBS volume of type gp3 has 16 TiB at most.
    indexes_gb: int = _number(
        1,
        "room for the mailboxes' indexes on the host's volume",
        1,
        16000,
        "GB",
        why="a volume can grow, but never shrink",
    )
    instance_type: Annotated[str, _matches(_INSTANCE_TYPE)] = _key(
        "t4g.nano", "the host", "Name an EC2 instance type, such as t4g.nano."
    )
    log_days: Annotated[int, _one_of(_LOG_DAYS)] = _key(
        14, "how long logs are kept", f"Choose one of {_LOG_DAYS}."
    )
    log_subjects: bool = _key(
        False,  # noqa: FBT003
        "whether the logs have the subjects of mails, so that `plexus trace` finds mails by them",
    )
    mail_host: Annotated[str, AfterValidator(_host_of_the_stack)] = _key(
        "",
        "the stack's own host name, in one of the domains; without it, mail. and the first of them",
        "Name a host in one of the domains.",
    )
    mailboxes_gb_alarm: int = _number(
        50, "size of all mailboxes at which you are told, in GB", 1, _MOST, "GB"
    )
    mailboxes_infrequent_days: Annotated[int, _one_of((0, *_INFREQUENT_DAYS))] = _key(
        30,
        "days without being opened after which a mail goes to cheaper storage",
        f"Choose one of {_INFREQUENT_DAYS}, or 0 for never.",
    )
    mta_sts: Literal["none", "testing", "enforce"] = _key(
        "testing", "what other servers shall do when TLS fails"
    )
    network: Annotated[str, _only(_is_private_network)] = _key(
        "10.77.0.0/16",
        "private address space for the network",
        "Give private IPv4 space of /16 to /24, such as 10.77.0.0/16.",
    )
    patches: Literal["weekly", "none"] = _key(
        "weekly", "`weekly`: images are built anew each Sunday; `none`: at each `pulumi up` only"
    )
    replace_after_days: int = _number(
        30,
        "age at which a host is replaced by one with the newest image",
        1,
        365,
        "days",
        zero="to keep an instance until it dies",
    )
    scan: bool = _key(True, "whether SES looks for spam and viruses")  # noqa: FBT003
    spot: bool = _key(True, "whether the host is a Spot instance, at less than half the price")  # noqa: FBT003
    ssm_access: bool = _key(False, "whether Session Manager opens a shell on the host")  # noqa: FBT003
    submission_limits: SubmissionLimits = _key(
        SubmissionLimits(),
        "the most that one user may send; each may be left out",
        f"Give {_LIMIT_KEYS} as whole numbers from 1 to {_MOST}.",
    )
    txt_records: dict[_StackDomain, list[Annotated[str, _only(_is_other_text)]]] = _key(
        {},
        "other TXT records of a domain's own name",
        "Map a domain of this stack to a list of texts. Its SPF record (v=spf1) is made by itself; "
        "a second one breaks both.",
    )
    virus: Literal["dead-letter", "junk", "drop"] = _key(
        "dead-letter",
        "what becomes of a mail with a virus. `dead-letter`: it is held, you and its reader are "
        "told; `junk`: the Junk folder; `drop`: nobody hears of it",
    )


def architecture(instance_type: str) -> str:
    """What an instance type runs: Graviton's families have a `g` after the generation."""
    parts = _INSTANCE_TYPE.fullmatch(instance_type)
    is_arm = instance_type.startswith("a1.") or (parts is not None and "g" in parts.group(2))
    return "arm64" if is_arm else "x86_64"


LISTS = tuple(field.alias or name for name, field in People.model_fields.items())
"""The keys of `People`, in the order in which their problems are told."""

ALL_KEYS = tuple(sorted((*LISTS, *(f.alias or name for name, f in Keys.model_fields.items()))))
"""Every key of the namespace."""

TEXT_KEYS = frozenset(f.alias for f in Keys.model_fields.values() if isinstance(f.default, str))
"""Those that are texts to Pulumi too; it keeps all others as JSON."""
