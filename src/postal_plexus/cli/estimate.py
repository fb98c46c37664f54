"""The monthly cost of a stack: a line for each thing that AWS bills, with prices from a dated file.

Pure: takes a stack and its traffic, returns lines. Free offers for a new account's first year are
not counted; what is always free (a million queue requests, ten alarms) is.

Raises UnknownPriceError for an instance type that prices.json does not have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from postal_plexus.config.state_volume import state_gb

# What the program creates, see pulumi/deployment.
_ROOT_GB = {"minimal": 8, "ecs-optimized": 30}
# Alarms, without those of receipt rules: there are two for each rule.
_ALARM_METRICS = 20
# Those of each other host.
_ALARM_METRICS_A_HOST = 12
# Our own metrics: eight from deliver, the certificate's days, and faults in the log. They are
# billed by the hour. Two more, submissions over the limit and a host short of resources, exist only
# during a few hours of a year. Each other host has its certificate's days; `deliver` counts
# under one name.
CUSTOM_METRICS, CUSTOM_METRICS_A_HOST = 10, 1
# EFS moves files that nobody has opened. A fifth of the older mail is assumed to be in use.
_IN_USE = 0.2
_RECIPIENTS_A_RULE = 500
# Spot uses the next two sizes of a family when the cheapest is not available.
_SIZES = ("nano", "micro", "small", "medium", "large", "xlarge")
_SPOT_BIGGER = 2
# The compressed size of one version of each image, and how many versions ECR keeps
# (pulumi/deployment/images.py).
_IMAGES_GB = 0.4
_WEB_IMAGE_GB = 0.13
IMAGE_VERSIONS = 5
# deliver polls its two queues every 20 s, even when nothing arrives. Each message takes three
# requests, also a sent one, because SES reports its delivery: SNS sends, deliver receives and
# deletes. Under load up to ten messages share a request, so this is the most.
_IDLE_REQUESTS = 2 * 3 * 60 * 24 * 30
_REQUESTS_A_MAIL = 3
_LOGS_GB_IDLE = 0.05
_LOG_KB_A_MAIL = 2
# Five Sundays of 25 minutes, five Mondays of 2. These are estimates, not measured on AWS.
_PATCH_MINUTES = 125
_DOCTOR_MINUTES = 10
_KB_A_GB = 1024 * 1024
# Messages whose indexes fit into a GB (the stack file's template says so to operators, too).
_MESSAGES_AN_INDEX_GB = 150_000
# A telephone and a computer fetch most of what arrives.
_FETCHES_A_MAIL = 1.5
_PLANS = {"none": "no plan", "essentials": "Essentials"}


class UnknownPriceError(Exception):
    """The price file has no price for what was requested."""


@dataclass(frozen=True)
class Stack:
    """The parts of the configuration that cost money."""

    domains: int
    mailboxes: int
    addresses: int
    instance_type: str = "t4g.nano"
    spot: bool = True
    host_image: str = "minimal"
    archive_days: int = 30
    backup_days: int = 35
    mailboxes_infrequent_days: int = 30
    web: bool = False
    indexes_gb: int = 1
    doctor: bool = False
    patches: bool = True
    hosts: int = 1


@dataclass(frozen=True)
class Traffic:
    """A month's mail: GB in all mailboxes, messages received and sent, and their size.

    `ses_plan`: the account's plan for sending, a key of the price file's `ses_plans`.
    """

    gb: float
    mails_in: int
    mails_out: int
    mail_kb: int
    ses_plan: str = "essentials"


@dataclass(frozen=True)
class Line:
    """One line of the bill, in dollars a month."""

    what: str
    why: str
    usd: float


def traffic_of(mailboxes: int) -> Traffic:
    """Return the assumed traffic: 1 GB for each mailbox, 20 messages received a day and 5 sent."""
    return Traffic(gb=mailboxes, mails_in=600 * mailboxes, mails_out=150 * mailboxes, mail_kb=75)


def indexes_gb(traffic: Traffic, hosts: int) -> int:
    """Return the `indexes-gb` that each host needs for the stack's messages."""
    messages = traffic.gb * _KB_A_GB / max(1, traffic.mail_kb)
    return max(1, math.ceil(messages / _MESSAGES_AN_INDEX_GB / hosts))


def estimate(stack: Stack, traffic: Traffic, prices: Mapping[str, Any]) -> list[Line]:
    """Return the lines of a month's bill.

    Raises:
        UnknownPriceError: for an instance type without a price.
    """
    return [
        *_host(stack, prices),
        *_storage(stack, traffic, prices),
        Line("DNS zones", f"{stack.domains} domains", stack.domains * prices["zone_month"]),
        *_mail(stack, traffic, prices),
        *_watch(stack, prices),
        *([_patches(prices)] if stack.patches else []),
        *([_doctor(stack, prices)] if stack.doctor else []),
    ]


def _host(stack: Stack, prices: Mapping[str, Any]) -> list[Line]:
    offered: Mapping[str, float] | None = prices["instance_month"].get(stack.instance_type)
    if offered is None:
        known = ", ".join(prices["instance_month"])
        raise UnknownPriceError(f"no price is known for {stack.instance_type}, only for {known}")
    kind = "spot" if stack.spot else "on_demand"
    root = _ROOT_GB[stack.host_image]
    kept = (_IMAGES_GB + _WEB_IMAGE_GB * stack.web) * IMAGE_VERSIONS
    state = state_gb(stack.indexes_gb)
    hosts, each = stack.hosts, f"{stack.hosts} x " if stack.hosts > 1 else ""
    gp3 = hosts * prices["gp3_gb_month"]
    return [
        Line(
            "instance" if hosts == 1 else "instances",
            f"{each}{stack.instance_type}, {kind.replace('_', ' ')}",
            hosts * offered[kind],
        ),
        Line(
            "public IPv4 address" if hosts == 1 else "public IPv4 addresses",
            "the one address" if hosts == 1 else "one for each host",
            hosts * prices["ipv4_month"],
        ),
        Line("root disk", f"{each}{root} GB gp3, {stack.host_image} image", root * gp3),
        Line("state disk", f"{each}{state} GB gp3", state * gp3),
        Line(
            "images",
            f"{kept:g} GB in ECR, {IMAGE_VERSIONS} versions",
            kept * prices["ecr_gb_month"],
        ),
    ]


def _storage(stack: Stack, traffic: Traffic, prices: Mapping[str, Any]) -> list[Line]:
    lines = _mailboxes(stack, traffic, prices)
    if stack.backup_days:
        why = f"{traffic.gb:g} GB, daily, {stack.backup_days} days"
        lines.append(Line("backup", why, traffic.gb * prices["backup_efs_gb_month"]))
    kept = traffic.mails_in * traffic.mail_kb / _KB_A_GB * stack.archive_days / 30
    # SES writes the message, and `deliver` the record of who has it (rarely one object for each).
    puts = 2 * traffic.mails_in / 1000 * prices["s3_thousand_puts"]
    why = f"{kept:.2f} GB S3, {stack.archive_days} days"
    lines.append(Line("archive", why, kept * prices["s3_gb_month"] + puts))
    return lines


def _mailboxes(stack: Stack, traffic: Traffic, prices: Mapping[str, Any]) -> list[Line]:
    """Return the cost of standard storage, and the maximum cost of Infrequent Access.

    It bills at least `efs_ia_least_kb` for each file. However the sizes are distributed, messages
    of m KB on average are billed as m + `efs_ia_least_kb` at most.
    """
    cold = 0.0
    if stack.mailboxes_infrequent_days:
        recent = (
            traffic.mails_in * traffic.mail_kb / _KB_A_GB * stack.mailboxes_infrequent_days / 30
        )
        cold = max(0.0, traffic.gb - recent) * (1 - _IN_USE)
    warm = traffic.gb - cold
    lines = [
        Line("mailboxes", f"{warm:.1f} GB EFS Standard", warm * prices["efs_standard_gb_month"])
    ]
    if cold:
        billed = cold * (1 + prices["efs_ia_least_kb"] / max(1, traffic.mail_kb))
        why = f"{cold:.1f} GB Infrequent Access, as {billed:.1f}"
        lines.append(Line("mailboxes, unopened", why, billed * prices["efs_ia_gb_month"]))
    return lines


def _mail(stack: Stack, traffic: Traffic, prices: Mapping[str, Any]) -> list[Line]:
    # Only complete chunks are billed.
    chunks = traffic.mails_in * (traffic.mail_kb // prices["ses_in_chunk_kb"])
    received = (
        traffic.mails_in / 1000 * prices["ses_in_thousand"]
        + chunks / 1000 * prices["ses_in_thousand_chunks"]
    )
    out_gb = traffic.mails_out * traffic.mail_kb / _KB_A_GB
    sent = (
        traffic.mails_out / 1000 * prices["ses_plans"][traffic.ses_plan]
        + out_gb * prices["ses_out_gb"]
    )
    # Each host receives a copy of each notification (docs/shards.md).
    requests = stack.hosts * (
        _IDLE_REQUESTS + _REQUESTS_A_MAIL * (traffic.mails_in + traffic.mails_out)
    )
    billed = max(0, requests - prices["sqs_free_requests"]) / 1_000_000
    published = traffic.mails_in + traffic.mails_out
    published_billed = max(0, published - prices["sns_free_publications"]) / 1_000_000
    logs = (
        stack.hosts * _LOGS_GB_IDLE
        + (traffic.mails_in + traffic.mails_out) * _LOG_KB_A_MAIL / _KB_A_GB
    )
    logs_billed = max(0.0, logs - prices["logs_free_gb"])
    fetched = traffic.mails_in * _FETCHES_A_MAIL * traffic.mail_kb / _KB_A_GB
    fetched_billed = max(0.0, fetched - prices["data_out_free_gb"])
    return [
        Line("mail received", f"{traffic.mails_in} messages of {traffic.mail_kb} KB", received),
        Line(
            "mail sent",
            f"{traffic.mails_out} messages of {traffic.mail_kb} KB, {_PLANS[traffic.ses_plan]}",
            sent,
        ),
        Line("data to clients", f"{fetched:.1f} GB", fetched_billed * prices["data_out_gb"]),
        Line(
            "notifications",
            f"{published:,} published",
            published_billed * prices["sns_million_publications"],
        ),
        Line("queue", f"{requests:,} requests", billed * prices["sqs_million_requests"]),
        Line("logs", f"{logs:.2f} GB", logs_billed * prices["logs_gb"]),
    ]


def _watch(stack: Stack, prices: Mapping[str, Any]) -> list[Line]:
    rules = max(1, -(-stack.addresses // _RECIPIENTS_A_RULE))
    watched = alarm_metrics(rules, doctor=stack.doctor, web=stack.web, hosts=stack.hosts)
    billed = max(0, watched - prices["alarm_free_metrics"])
    made = CUSTOM_METRICS + CUSTOM_METRICS_A_HOST * (stack.hosts - 1)
    own = max(0, made - prices["metric_free"])
    return [
        Line("alarms", f"on {watched} metrics", billed * prices["alarm_metric_month"]),
        Line("metrics", f"{made} of our own", own * prices["metric_month"]),
    ]


def _patches(prices: Mapping[str, Any]) -> Line:
    billed = max(0, _PATCH_MINUTES - prices["codebuild_free_minutes"])
    why = f"{_PATCH_MINUTES} minutes of CodeBuild at most"
    return Line("weekly patches", why, billed * prices["codebuild_minute"])


def _doctor(stack: Stack, prices: Mapping[str, Any]) -> Line:
    left = max(0, prices["codebuild_free_minutes"] - _PATCH_MINUTES * stack.patches)
    billed = max(0, _DOCTOR_MINUTES - left)
    why = f"{_DOCTOR_MINUTES} minutes of CodeBuild at most"
    return Line("weekly doctor", why, billed * prices["codebuild_minute"])


def alarm_metrics(rules: int, *, doctor: bool = False, web: bool = False, hosts: int = 1) -> int:
    """Return how many metrics the alarms of a stack with this number of receipt rules read."""
    return _ALARM_METRICS + _ALARM_METRICS_A_HOST * (hosts - 1) + 2 * rules + doctor + web


def bigger_sizes(stack: Stack, prices: Mapping[str, Any]) -> dict[str, float]:
    """Return the additional monthly cost of the larger sizes that Spot may have to use.

    Empty without Spot. The sizes are those of pulumi/deployment/host.py for which a price is known.
    """
    known: Mapping[str, Mapping[str, float]] = prices["instance_month"]
    if not stack.spot or stack.instance_type not in known:
        return {}
    family, _, size = stack.instance_type.partition(".")
    bigger = _SIZES[_SIZES.index(size) + 1 :][:_SPOT_BIGGER] if size in _SIZES else ()
    own = known[stack.instance_type]["spot"]
    return {
        name: round(known[name]["spot"] - own, 2)
        for name in (f"{family}.{each}" for each in bigger)
        if name in known
    }


def total(lines: list[Line]) -> float:
    """Return the sum in dollars, to the cent."""
    return round(sum(line.usd for line in lines), 2)


def others(mailboxes: int, prices: Mapping[str, Any]) -> dict[str, float]:
    """Return what the same users would cost elsewhere."""
    return {name: round(usd * mailboxes, 2) for name, usd in prices["others_user_month"].items()}
