"""Names by which the program and the operators' commands find the parts of a stack."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from postal_plexus.mail.delivered import PREFIX

INBOUND_PREFIX = "inbound/"
"""In the archive: SES writes received mail here, and `deliver` reads it."""
DELIVERIES_PREFIX = PREFIX
"""In the archive: `deliver` records here who has which message, and `plexus replay` reads it."""
MOVING_PREFIX = "moving/"
"""In the archive: the parts of an export, until its operator has read them."""

STACK_TAG = "postal-plexus:stack"
"""The tag on everything that can be tagged, with the stack's name."""

CALENDARS_ROOT = "/calendars"
"""The directory of the file system below which the calendars and address books are."""

MAIL_ROOT = "/mail"
"""In the file system: the directory that Dovecot's access point exposes."""


def part_name(stack: str, part: str) -> str:
    """Return the name of a part of a stack. Two stacks in one account never share one."""
    return f"plexus-{stack}-{part}"


def host_names(mail_host: str, hosts: int) -> tuple[str, ...]:
    """Return the names of a stack's hosts by their numbers, such as mail and mail-2.example.org."""
    label, _, domain = mail_host.partition(".")
    return (mail_host, *(f"{label}-{number}.{domain}" for number in range(2, hosts + 1)))


def patterns_of_hosts(stack: str, names: Iterable[str]) -> list[str]:
    """Return names or ARNs for a policy, those of several hosts as patterns, sorted.

    IAM limits a policy's size, and a stack may have sixteen hosts. A pattern `plexus-main-mail-*`
    stands for the names of all hosts, with what Pulumi puts behind a name. Where more follows
    (`plexus-main-deliver-*-task-???????`) it is for all hosts but the first.
    """
    numbered = re.compile(rf"(plexus-{re.escape(stack)}-[a-z]+(?:-[a-z]+)*)-\d{{1,2}}(?=[-:/]|$)")
    random = re.compile(r"-[0-9a-f]{7}(?=[:/]|$)")
    any_random = "-" + "?" * 7

    def pattern(name: str) -> str:
        found, hosts = numbered.subn(r"\1-*", name)
        return random.sub(any_random, found).replace(f"-*{any_random}", "-*") if hosts else name

    patterns = {pattern(name) for name in names}
    return sorted(
        each
        for each in patterns
        if not any(fnmatchcase(each, other) for other in patterns if other != each)
    )


def system_parameter(stack: str, host: int = 1) -> str:
    """Return the SSM parameter in which the program writes the names of the stack's parts.

    Each host but the first has one for what it has of its own.
    """
    return f"/postal-plexus/{stack}/system" + (f"-{host}" if host > 1 else "")


def hand_over_prefix(stack: str) -> str:
    """Return the prefix of the SSM parameters that pass an operator's secret to a task."""
    return f"/postal-plexus/{stack}/hand-over/"
