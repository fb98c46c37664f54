"""The stack's configuration, read once and checked whole: `Settings` is what the parts get.

`plexus check` and `plexus cost` read a stack file by it, the Pulumi program what Pulumi made of the
file. Fails with StackError, which holds every problem with key, entry and remedy.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from postal_plexus.autoconfig import ClientSetup, ClientSetupError, client_setups
from postal_plexus.config import regions
from postal_plexus.config.config_reader import ConfigReader
from postal_plexus.config.lists import read_stack
from postal_plexus.config.problems import Problem, StackError
from postal_plexus.directory.address import AddressError
from postal_plexus.directory.idn import kept_address, kept_domain
from postal_plexus.directory.model import Directory

# Texts stay texts, all else is JSON to Pulumi.
TEXT_KEYS = frozenset(
    {
        "accept",
        "activate-rule-set",
        "alarm-address",
        "client-hosts",
        "dmarc-fail",
        "dmarc-policy",
        "host-image",
        "instance-type",
        "mail-host",
        "mta-sts",
        "network",
        "patches",
        "virus",
    }
)

# Names of AWS resources derive from the stack's; the longest (an IAM role) has 64 characters, and
# ECR takes single hyphens between other characters only.
_STACK_NAME = re.compile(r"(?=.{1,20}\Z)[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_IMAGE_NAMES = ("certbot", "deliver", "dovecot", "postfix")
# In the place of certbot's image: something else brings the mail host's certificate.
NO_IMAGE = "none"
# A reference has no blanks, and ends in neither a separator nor a colon.
_IMAGE = re.compile(r"[a-z0-9](?:[\w./:@-]{0,498}\w)?")
_INSTANCE_TYPE = re.compile(r"[a-z]+(\d+)([a-z]*)\.[a-z0-9]+")
# RFC 1918; anything else belongs to somebody.
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_ZONE_ID = re.compile(r"Z[0-9A-Z]{1,31}")
_DMARC = ("none", "quarantine", "reject")

# What one user may send, and what a filter or an alias may send by itself, as the Postfix container
# reads it (submission_limits.py says more).
SUBMISSION_LIMITS = {
    "messages-hour": 100,
    "recipients-hour": 500,
    "messages-day": 500,
    "recipients-day": 2000,
    "automatic-messages-hour": 200,
    "automatic-recipients-hour": 400,
    "automatic-messages-day": 1000,
    "automatic-recipients-day": 2000,
}

# A mail that failed waits up to 14 days in the dead letters; its content must still be there.
_SHORTEST_ARCHIVE_DAYS = 15

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)

# AWS Backup keeps a recovery point for a hundred years at most; so long is long enough for S3 too.
# https://docs.aws.amazon.com/aws-backup/latest/devguide/API_Lifecycle.html
_LONGEST_DAYS = 36500

# Of anything that is counted: beyond it the number is a mistake.
_MOST = 10**6

# https://docs.aws.amazon.com/efs/latest/ug/API_LifecyclePolicy.html
_INFREQUENT_DAYS = (1, 7, 14, 30, 60, 90, 180, 270, 365)


@dataclass(frozen=True)
class Settings:
    """What to deploy; the defaults need no thought."""

    stack: str
    region: str
    directory: Directory
    mail_host: str
    clients: tuple[ClientSetup, ...]
    accept: str = "addresses"
    activate_rule_set: str = "auto"
    alarm_address: str = ""
    archive_days: int = 30
    backup_days: int = 35
    budget_usd: float = 15.0
    client_setup: bool = True
    clients_share_host: bool = False
    dmarc_fail: str = "junk"
    dmarc_policy: str = "none"
    dmarc_policies: Mapping[str, str] = field(default_factory=dict[str, str])
    existing_zones: Mapping[str, str] = field(default_factory=dict[str, str])
    host_image: str = "minimal"
    host_zone: int = 1
    images: Mapping[str, str] = field(default_factory=dict[str, str])
    indexes_gb: int = 1
    instance_type: str = "t4g.nano"
    log_days: int = 14
    mailboxes_gb_alarm: int = 50
    mailboxes_infrequent_days: int = 30
    mta_sts: str = "testing"
    network: str = "10.77.0.0/16"
    patches: str = "weekly"
    replace_after_days: int = 30
    scan: bool = True
    spot: bool = True
    ssm_access: bool = False
    submission_limits: Mapping[str, int] = field(default_factory=lambda: dict(SUBMISSION_LIMITS))
    txt_records: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    virus: str = "dead-letter"
    zones: int = 2

    def name(self, part: str) -> str:
        """The name of a part of this stack; two stacks in one account never share one."""
        return f"plexus-{self.stack}-{part}"

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains' names, as A-labels."""
        return tuple(domain.name for domain in self.directory.domains)

    @property
    def architecture(self) -> str:
        """`arm64` or `x86_64`: AWS's name for what the instance type runs."""
        return architecture(self.instance_type)

    def dmarc(self, domain: str) -> str:
        """A domain's DMARC policy."""
        return self.dmarc_policies.get(domain, self.dmarc_policy)


def architecture(instance_type: str) -> str:
    """What an instance type runs: Graviton's families have a `g` after the generation."""
    parts = _INSTANCE_TYPE.fullmatch(instance_type)
    is_arm = instance_type.startswith("a1.") or (parts is not None and "g" in parts.group(2))
    return "arm64" if is_arm else "x86_64"


def _is_private_network(block: str) -> bool:
    """Whether a VPC of sixteen subnets fits, in address space that is nobody's."""
    try:
        network = ipaddress.IPv4Network(block)
    except ValueError:
        return False
    return 16 <= network.prefixlen <= 24 and any(network.subnet_of(part) for part in _PRIVATE)


def decoded(key: str, value: object) -> object:
    """A value as Pulumi's program gets it: JSON in a text is read, but of keys that are texts.

    What should be JSON and is none stays a text, for `read_settings` to say what is wrong with it.
    """
    if key in TEXT_KEYS or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def read_settings(stack: str | None, region: object, config: Mapping[str, object]) -> Settings:
    """The settings of `stack`.

    Args:
        stack: the stack's name; None where it is not known and not to be checked.
        region: `aws:region`.
        config: every key of the namespace `postal-plexus`, without it.

    Raises:
        StackError: with all problems.
    """
    config = {key: decoded(key, value) for key, value in config.items()}
    reader = ConfigReader(config)
    if stack is not None and not _STACK_NAME.fullmatch(stack):
        remedy = (
            "Call it something of up to 20 small letters and digits, with single hyphens between."
        )
        what = "names of AWS resources are made of it"
        reader.problems.append(Problem(f"stack {stack!r}", "", what, remedy))
    fault = regions.fault_of(str(region)) if region else "is missing"
    if fault:
        remedy = f"Choose one of {', '.join(regions.usable())}."
        reader.problems.append(Problem("aws:region", str(region or ""), fault, remedy))
    try:
        directory = read_stack(config)
    except StackError as error:
        # What is said of domains cannot be checked without them.
        _rest(reader, None)
        raise StackError([*error.problems, *reader.problems]) from error
    domains = tuple(domain.name for domain in directory.domains)
    mail_host = _mail_host(reader, domains)
    shared = reader.choice("client-hosts", "own", ("own", "shared")) == "shared"
    try:
        clients = client_setups(domains, mail_host=mail_host, shared=shared)
    except ClientSetupError as error:
        reader.problem("client-hosts", str(error), "Choose shared.")
        clients = ()
    rest = _rest(reader, domains)
    if reader.problems:
        raise StackError(reader.problems)
    return Settings(
        stack=stack or "",
        region=str(region),
        directory=directory,
        mail_host=mail_host,
        clients=clients,
        clients_share_host=shared,
        **rest,
    )


def _mail_host(reader: ConfigReader, domains: tuple[str, ...]) -> str:
    def allowed(host: str) -> bool:
        return _kept(host).endswith(tuple(f".{domain}" for domain in domains))

    default = f"mail.{domains[0]}"
    remedy = f"Name a host in one of the domains, such as {default}."
    return _kept(reader.text("mail-host", default, allowed, remedy))


def _kept(domain: str) -> str:
    """A domain name as it is kept, "" for what is none."""
    try:
        return kept_domain(domain)
    except AddressError:
        return ""


def _is_outside(address: str, domains: Collection[str] | None) -> bool:
    """Whether this is an address, and none of ours."""
    try:
        return kept_address(address).domain not in (domains or ())
    except AddressError:
        return False


def _by_domain(
    reader: ConfigReader,
    key: str,
    domains: Collection[str] | None,
    allowed: Callable[[object], bool],
    remedy: str,
) -> dict[str, Any]:
    """A mapping from domains of the stack, whatever their script and case, to values."""
    given = reader.mapping(
        key,
        lambda name, value: (_kept(name) in domains if domains else True) and allowed(value),
        f"Map a domain of this stack to {remedy}",
    )
    return {_kept(name): value for name, value in given.items()}


def _are_texts(value: object) -> bool:
    """Whether these are TXT records that can stand beside ours: texts, and no second SPF."""
    texts = cast("list[object]", value) if isinstance(value, list) else [None]
    return all(
        isinstance(text, str) and text != "" and not text.lower().startswith("v=spf1")
        for text in texts
    )


def _rest(reader: ConfigReader, domains: tuple[str, ...] | None) -> dict[str, Any]:
    """The settings that depend on the domains' names at most; None where these are not known."""
    zones = reader.whole_number(
        "zones", 2, lambda number: 2 <= number <= 6, "Give 2 to 6 availability zones."
    )
    return {
        "accept": reader.choice("accept", "addresses", ("addresses", "domains")),
        "activate_rule_set": reader.choice("activate-rule-set", "auto", ("auto", "yes", "no")),
        "alarm_address": reader.text(
            "alarm-address",
            "",
            lambda address: _is_outside(address, domains),
            "Give an address outside this mail system: it must arrive when this one is down.",
        ),
        "archive_days": reader.whole_number(
            "archive-days",
            30,
            lambda days: _SHORTEST_ARCHIVE_DAYS <= days <= _LONGEST_DAYS,
            f"Give {_SHORTEST_ARCHIVE_DAYS} to {_LONGEST_DAYS} days: "
            "what failed is replayed from there.",
        ),
        "backup_days": reader.whole_number(
            "backup-days",
            35,
            lambda days: 0 <= days <= _LONGEST_DAYS,
            f"Give 1 to {_LONGEST_DAYS} days, or 0 for no backup.",
        ),
        "budget_usd": reader.number(
            "budget-usd",
            15.0,
            lambda usd: 0 <= usd <= _MOST,
            f"Give dollars a month up to {_MOST}, 0 for no budget.",
        ),
        "client_setup": reader.boolean("client-setup", default=True),
        "dmarc_fail": reader.choice("dmarc-fail", "junk", ("junk", "none")),
        "dmarc_policy": reader.choice("dmarc-policy", "none", _DMARC),
        "dmarc_policies": _by_domain(
            reader,
            "dmarc-policies",
            domains,
            lambda policy: policy in _DMARC,
            f"one of {', '.join(_DMARC)}.",
        ),
        "existing_zones": _by_domain(
            reader,
            "existing-zones",
            domains,
            lambda zone: isinstance(zone, str) and _ZONE_ID.fullmatch(zone) is not None,
            "the id of its Route 53 zone: Z, then capitals and digits.",
        ),
        "host_image": reader.choice("host-image", "minimal", ("minimal", "ecs-optimized")),
        "images": _images(reader),
        "host_zone": reader.whole_number(
            "host-zone",
            1,
            lambda number: 1 <= number <= zones,
            f"Give 1 to {zones}: there are so many zones.",
        ),
        "indexes_gb": reader.whole_number(
            "indexes-gb",
            1,
            # An EBS volume of type gp3 has 16 TiB at most.
            lambda size: 1 <= size <= 16000,
            "Give a size in GB, from 1; a volume can grow, but never shrink.",
        ),
        "instance_type": reader.text(
            "instance-type",
            "t4g.nano",
            lambda kind: _INSTANCE_TYPE.fullmatch(kind) is not None,
            "Name an EC2 instance type, such as t4g.nano.",
        ),
        "log_days": reader.whole_number(
            "log-days", 14, lambda days: days in _LOG_DAYS, f"Choose one of {_LOG_DAYS}."
        ),
        "mailboxes_gb_alarm": reader.whole_number(
            "mailboxes-gb-alarm", 50, lambda size: 1 <= size <= _MOST, f"Give 1 to {_MOST} GB."
        ),
        "mailboxes_infrequent_days": reader.whole_number(
            "mailboxes-infrequent-days",
            30,
            lambda days: days in (0, *_INFREQUENT_DAYS),
            f"Choose one of {_INFREQUENT_DAYS}, or 0 for never.",
        ),
        "mta_sts": reader.choice("mta-sts", "testing", ("none", "testing", "enforce")),
        "network": reader.text(
            "network",
            "10.77.0.0/16",
            _is_private_network,
            "Give private IPv4 space of /16 to /24, such as 10.77.0.0/16.",
        ),
        "patches": reader.choice("patches", "weekly", ("weekly", "none")),
        "replace_after_days": reader.whole_number(
            "replace-after-days",
            30,
            lambda days: days == 0 or 1 <= days <= 365,
            "Give 1 to 365 days, or 0 to keep an instance until it dies.",
        ),
        "scan": reader.boolean("scan", default=True),
        "spot": reader.boolean("spot", default=True),
        "ssm_access": reader.boolean("ssm-access", default=False),
        "submission_limits": SUBMISSION_LIMITS
        | reader.mapping(
            "submission-limits",
            lambda name, most: (
                name in SUBMISSION_LIMITS and type(most) is int and 1 <= most <= _MOST
            ),
            f"Give {', '.join(SUBMISSION_LIMITS)} as whole numbers from 1 to {_MOST}.",
        ),
        "txt_records": _by_domain(
            reader,
            "txt-records",
            domains,
            _are_texts,
            "a list of texts. Its SPF record (v=spf1) is made by itself; a second one breaks both.",
        ),
        "virus": reader.choice("virus", "dead-letter", ("dead-letter", "junk", "drop")),
        "zones": zones,
    }


def _is_image(name: str, image: object) -> bool:
    """Whether a container engine can take this for an image, or it is certbot's absence."""
    if not isinstance(image, str) or _IMAGE.fullmatch(image) is None:
        return False
    return name in _IMAGE_NAMES and (image != NO_IMAGE or name == "certbot")


def _images(reader: ConfigReader) -> dict[str, Any]:
    given = reader.mapping(
        "images",
        _is_image,
        f"Name images of {', '.join(_IMAGE_NAMES)}; without `images` all are built.",
    )
    if given and len(given) < len(_IMAGE_NAMES):
        missing = ", ".join(name for name in _IMAGE_NAMES if name not in given)
        remedy = f"Give all {len(_IMAGE_NAMES)}, or none to have them built."
        if missing == "certbot":
            remedy += f" If something else brings the certificate: certbot: {NO_IMAGE}."
        reader.problem("images", f"lacks {missing}", remedy)
    return {name: image for name, image in given.items() if image != NO_IMAGE}
