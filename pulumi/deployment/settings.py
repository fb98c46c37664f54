"""The stack's configuration, read once and checked whole: `Settings` is what the parts get.

Failures: `SettingsError` carries every problem found, each with key, entry and remedy.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from postal_plexus.directory.model import Directory
from postal_plexus.directory.problems import StackError
from postal_plexus.directory.stack import read_stack

# Names of AWS resources derive from the stack's; the longest (an IAM role) has 64 characters.
_STACK_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
_IMAGE_NAMES = ("deliver", "dovecot", "postfix")

# Mail that failed waits up to 14 days in the dead letters; its content must still be there.
_SHORTEST_ARCHIVE_DAYS = 15

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)


class SettingsError(Exception):
    """The configuration cannot be deployed; one line a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """What to deploy."""

    stack: str
    region: str
    directory: Directory
    mail_host: str
    archive_days: int = 30
    log_days: int = 14
    dmarc_policy: str = "none"
    activate_rule_set: str = "auto"
    scan: bool = True
    images: Mapping[str, str] = field(default_factory=dict)
    existing_zones: Mapping[str, str] = field(default_factory=dict)

    def name(self, part: str) -> str:
        """The name of a part of this stack; two stacks in one account never share one."""
        return f"plexus-{self.stack}-{part}"


class _Reader:
    """Typed access to the configuration that collects problems."""

    def __init__(self, get: Callable[[str], Any]) -> None:
        self._get = get
        self.problems: list[str] = []

    def problem(self, key: str, what: str, remedy: str) -> None:
        self.problems.append(f"postal-plexus:{key}: {what}; {remedy}")

    def whole_number(
        self, key: str, default: int, allowed: Callable[[int], bool], remedy: str
    ) -> int:
        value = self._get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not allowed(value):
            self.problem(key, f"{value!r} is not possible", remedy)
            return default
        return value

    def choice(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        value = self._get(key)
        if value is None:
            return default
        if value not in choices:
            self.problem(key, f"{value!r} is not possible", f"choose one of {', '.join(choices)}")
            return default
        return value

    def boolean(self, key: str, *, default: bool) -> bool:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"{value!r} is not possible", "write true or false")
            return default
        return value

    def mapping(self, key: str, allowed: Callable[[str], bool], remedy: str) -> dict[str, str]:
        value = self._get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(key, "is not a mapping", remedy)
            return {}
        for name, text in value.items():
            if not allowed(name) or not isinstance(text, str) or not text:
                self.problem(key, f"{name!r}: {text!r} is not possible", remedy)
        return value


def read_settings(stack: str, region: str | None, get: Callable[[str], Any]) -> Settings:
    """The settings of `stack`.

    Args:
        stack: the stack's name.
        region: `aws:region`.
        get: the value of a key in the namespace `postal-plexus`, None when it is not there.

    Raises:
        SettingsError: with all problems.
    """
    reader = _Reader(get)
    if not _STACK_NAME.fullmatch(stack):
        reader.problems.append(
            f"stack {stack!r}: names of AWS resources are made of it; call it something of up to "
            "20 small letters, digits and hyphens"
        )
    if not region:
        reader.problems.append("aws:region: is missing; choose a region where SES receives mail")
    config = {
        key: value for key in ("domains", "mailboxes", "aliases") if (value := get(key)) is not None
    }
    directory: Directory | None = None
    try:
        directory = read_stack(config)
    except StackError as error:
        reader.problems.extend(str(problem) for problem in error.problems)
    domains = tuple(domain.name for domain in directory.domains) if directory else ()
    mail_host = get("mail-host") or (f"mail.{domains[0]}" if domains else "")
    if domains and not any(str(mail_host).endswith(f".{domain}") for domain in domains):
        reader.problem(
            "mail-host",
            f"{mail_host!r} is in none of the domains",
            f"name a host in one of them, such as mail.{domains[0]}",
        )
    settings = {
        "archive_days": reader.whole_number(
            "archive-days",
            30,
            lambda days: days >= _SHORTEST_ARCHIVE_DAYS,
            f"give at least {_SHORTEST_ARCHIVE_DAYS} days, so that what failed can be replayed",
        ),
        "log_days": reader.whole_number(
            "log-days", 14, lambda days: days in _LOG_DAYS, f"choose one of {_LOG_DAYS}"
        ),
        "dmarc_policy": reader.choice("dmarc-policy", "none", ("none", "quarantine", "reject")),
        "activate_rule_set": reader.choice("activate-rule-set", "auto", ("auto", "yes", "no")),
        "scan": reader.boolean("scan", default=True),
        "images": reader.mapping(
            "images", lambda name: name in _IMAGE_NAMES, f"name images of {', '.join(_IMAGE_NAMES)}"
        ),
        "existing_zones": reader.mapping(
            "existing-zones",
            lambda name: name in domains,
            "map a domain of this stack to the id of its Route 53 zone",
        ),
    }
    if reader.problems or directory is None:
        raise SettingsError(reader.problems)
    return Settings(
        stack=stack, region=str(region), directory=directory, mail_host=mail_host, **settings
    )
