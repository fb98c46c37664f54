"""The stack's configuration, read once and checked whole: `Settings` is what the parts get.

Failures: `SettingsError` carries every problem found, each with key, entry and remedy.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployment import regions
from deployment.config_reader import ConfigReader
from postal_plexus.clients import ClientSetup, ClientSetupError, client_setups
from postal_plexus.directory.model import Directory
from postal_plexus.directory.problems import StackError
from postal_plexus.directory.stack import read_stack

DIRECTORY_KEYS = ("domains", "mailboxes", "aliases")

# The other keys of the namespace; texts stay texts, all else is JSON to Pulumi.
TEXT_KEYS = (
    "accept",
    "activate-rule-set",
    "alarm-address",
    "client-hosts",
    "dmarc-policy",
    "host-image",
    "instance-type",
    "mail-host",
    "mta-sts",
    "network",
)
JSON_KEYS = (
    "archive-days",
    "backup-days",
    "budget-usd",
    "client-setup",
    "dmarc-policies",
    "existing-zones",
    "images",
    "log-days",
    "mailboxes-gb-alarm",
    "mailboxes-infrequent-days",
    "replace-after-days",
    "scan",
    "spot",
    "ssm-access",
    "submission-limits",
    "txt-records",
    "zones",
)

# Names of AWS resources derive from the stack's; the longest (an IAM role) has 64 characters.
_STACK_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
_IMAGE_NAMES = ("certbot", "deliver", "dovecot", "postfix")
_NEEDED_IMAGES = frozenset({"deliver", "dovecot", "postfix"})
_INSTANCE_TYPE = re.compile(r"[a-z]+(\d+)([a-z]*)\.[a-z0-9]+")
# RFC 1918; anything else belongs to somebody.
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_DMARC = ("none", "quarantine", "reject")

# What one user may send, as the Postfix container reads it (submission_limits.py says more).
SUBMISSION_LIMITS = {
    "messages-hour": 100,
    "recipients-hour": 500,
    "messages-day": 500,
    "recipients-day": 2000,
}

# A mail that failed waits up to 14 days in the dead letters; its content must still be there.
_SHORTEST_ARCHIVE_DAYS = 15

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)

# https://docs.aws.amazon.com/efs/latest/ug/API_LifecyclePolicy.html
_INFREQUENT_DAYS = (1, 7, 14, 30, 60, 90, 180, 270, 365)


class SettingsError(Exception):
    """The configuration cannot be deployed; one line a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
    dmarc_policy: str = "none"
    dmarc_policies: Mapping[str, str] = field(default_factory=dict)
    existing_zones: Mapping[str, str] = field(default_factory=dict)
    host_image: str = "minimal"
    images: Mapping[str, str] = field(default_factory=dict)
    instance_type: str = "t4g.nano"
    log_days: int = 14
    mailboxes_gb_alarm: int = 50
    mailboxes_infrequent_days: int = 30
    mta_sts: str = "testing"
    network: str = "10.77.0.0/16"
    replace_after_days: int = 30
    scan: bool = True
    spot: bool = True
    ssm_access: bool = False
    submission_limits: Mapping[str, int] = field(default_factory=lambda: dict(SUBMISSION_LIMITS))
    txt_records: Mapping[str, list[str]] = field(default_factory=dict)
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


def read_settings(stack: str, region: str | None, get: Callable[[str], Any]) -> Settings:
    """The settings of `stack`.

    Args:
        stack: the stack's name.
        region: `aws:region`.
        get: the value of a key in the namespace `postal-plexus`, None when it is not there.

    Raises:
        SettingsError: with all problems.
    """
    reader = ConfigReader(get)
    if not _STACK_NAME.fullmatch(stack):
        reader.problems.append(
            f"stack {stack!r}: names of AWS resources are made of it. Call it something of up to "
            "20 small letters, digits and hyphens."
        )
    fault = regions.fault_of(region) if region else "is missing"
    if fault:
        reader.problems.append(
            f"aws:region: {region or ''}: {fault}. Choose one of {', '.join(regions.usable())}."
        )
    config = {key: value for key in DIRECTORY_KEYS if (value := get(key)) is not None}
    try:
        directory = read_stack(config)
    except StackError as error:
        raise SettingsError([*map(str, error.problems), *reader.problems]) from error
    domains = tuple(domain.name for domain in directory.domains)
    mail_host = reader.text(
        "mail-host",
        f"mail.{domains[0]}",
        lambda host: any(host.endswith(f".{domain}") for domain in domains),
        f"Name a host in one of the domains, such as mail.{domains[0]}.",
    )
    shared = reader.choice("client-hosts", "own", ("own", "shared")) == "shared"
    try:
        clients = client_setups(domains, mail_host=mail_host, shared=shared)
    except ClientSetupError as error:
        reader.problem("client-hosts", str(error), "Choose shared.")
        clients = ()
    settings = _rest(reader, domains)
    given = frozenset(settings["images"])
    if given and not given >= _NEEDED_IMAGES:
        missing = ", ".join(sorted(_NEEDED_IMAGES - given))
        reader.problem("images", f"lacks {missing}", "Give all images, or none to have them built.")
    if reader.problems:
        raise SettingsError(reader.problems)
    return Settings(
        stack=stack,
        region=str(region),
        directory=directory,
        mail_host=mail_host,
        clients=clients,
        clients_share_host=shared,
        **settings,
    )


def _rest(reader: ConfigReader, domains: tuple[str, ...]) -> dict[str, Any]:
    """The settings that depend on the domains' names at most."""
    return {
        "accept": reader.choice("accept", "addresses", ("addresses", "domains")),
        "activate_rule_set": reader.choice("activate-rule-set", "auto", ("auto", "yes", "no")),
        "alarm_address": reader.text(
            "alarm-address",
            "",
            lambda address: (
                address.count("@") == 1 and address.rpartition("@")[2].lower() not in domains
            ),
            "Give an address outside this mail system: it must arrive when this one is down.",
        ),
        "archive_days": reader.whole_number(
            "archive-days",
            30,
            lambda days: days >= _SHORTEST_ARCHIVE_DAYS,
            f"Give at least {_SHORTEST_ARCHIVE_DAYS} days, so that what failed can be replayed.",
        ),
        "backup_days": reader.whole_number(
            "backup-days", 35, lambda days: days >= 0, "Give a number of days, 0 for no backup."
        ),
        "budget_usd": reader.number(
            "budget-usd", 15.0, lambda usd: usd >= 0, "Give dollars a month, 0 for no budget."
        ),
        "client_setup": reader.boolean("client-setup", default=True),
        "dmarc_policy": reader.choice("dmarc-policy", "none", _DMARC),
        "dmarc_policies": reader.mapping(
            "dmarc-policies",
            lambda name, policy: name in domains and policy in _DMARC,
            f"Map a domain of this stack to one of {', '.join(_DMARC)}.",
        ),
        "existing_zones": reader.mapping(
            "existing-zones",
            lambda name, zone: name in domains and isinstance(zone, str) and zone.startswith("Z"),
            "Map a domain of this stack to the id of its Route 53 zone, which begins with Z.",
        ),
        "host_image": reader.choice("host-image", "minimal", ("minimal", "ecs-optimized")),
        "images": reader.mapping(
            "images",
            lambda name, image: name in _IMAGE_NAMES and isinstance(image, str) and image != "",
            f"Name images of {', '.join(_IMAGE_NAMES)}.",
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
            "mailboxes-gb-alarm", 50, lambda size: size > 0, "Give a size in GB."
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
        | dict(
            reader.mapping(
                "submission-limits",
                lambda name, most: (
                    name in SUBMISSION_LIMITS and type(most) is int and 1 <= most <= 10**6
                ),
                f"Give {', '.join(SUBMISSION_LIMITS)} as whole numbers from 1.",
            )
        ),
        "txt_records": reader.mapping(
            "txt-records",
            lambda name, values: (
                name in domains
                and isinstance(values, list)
                and all(isinstance(value, str) and value for value in values)
            ),
            "Map a domain of this stack to a list of texts.",
        ),
        "zones": reader.whole_number(
            "zones", 2, lambda number: 2 <= number <= 6, "Give 2 to 6 availability zones."
        ),
    }
