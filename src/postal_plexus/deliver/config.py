"""The service's configuration: the environment, read once, validated, and passed down.

Nothing else in this package reads the environment, except for AWS's own variables (credentials,
endpoints, the file of certificate authorities), which `aws` takes from the same mapping. Mistakes
raise `ConfigError`, which names every variable that is missing or wrong; the service then exits
with 78.

    AWS_REGION                    required
    PLEXUS_QUEUE_URL              required: SES's notifications
    PLEXUS_DEAD_LETTER_QUEUE_URL  required
    PLEXUS_ARCHIVE_BUCKET         required: the only bucket from which content is read
    PLEXUS_DIRECTORY              required: s3://bucket/key of the directory object
    PLEXUS_HOSTNAME               required: the mail host's name, and our authserv-id
    PLEXUS_METRICS_HOST           the name under which what is counted each minute is reported, in a
                                  stack of several hosts the first's (default: PLEXUS_HOSTNAME)
    PLEXUS_EVENTS_QUEUE_URL       SES's bounce, complaint and delay events; without it no notices
    PLEXUS_CONFIGURATION_SET      the configuration set of those events; used only in the log
    PLEXUS_VIRUS                  dead-letter (default), junk or drop
    PLEXUS_DMARC_FAIL             junk (default) or none: what happens to a message that fails DMARC
                                  if its domain's policy is quarantine or reject
    PLEXUS_LOG_SUBJECTS           yes or no (default): whether subjects are logged
    PLEXUS_OVER_QUOTA_HOURS       how long to retry for a full mailbox (default 20; a bounce is
                                  possible until 24 hours after the receipt)
    PLEXUS_LMTP_SOCKET            /run/plexus/dovecot/lmtp.sock
    PLEXUS_QUESTION_SOCKET        /run/plexus/dovecot/question.sock
    PLEXUS_HOLDS_PATH             /run/plexus/dovecot/holds
    PLEXUS_INJECT_SOCKET          /run/plexus/postfix/inject.sock
    PLEXUS_DIRECTORY_PATH         /run/plexus/directory
    PLEXUS_STATE_PATH             /var/lib/plexus/deliver
    PLEXUS_HEARTBEAT              /tmp/heartbeat
    PLEXUS_UNKNOWN_SECONDS        30: how old an unknown outcome must be before Dovecot is asked
    PLEXUS_LMTP_CONNECTIONS       3: Dovecot has a process for each, and Postfix needs some too
    PLEXUS_SHARD                  the number of this host in a stack of several; 0 (default) for one
    PLEXUS_DIRECTORY_SECONDS      30: between two checks of the directory object
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from postal_plexus.deliver.aws.http import Endpoint
from postal_plexus.deliver.policy import VirusPolicy

_HOSTNAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+"
)


class ConfigError(ValueError):
    """The environment is not what the service needs. The text lists everything that is wrong."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. Times are in seconds."""

    region: str
    queue_url: str
    dead_letter_queue_url: str
    archive_bucket: str
    directory_bucket: str
    directory_key: str
    hostname: str
    metrics_host: str
    events_queue_url: str
    configuration_set: str
    virus: VirusPolicy
    dmarc_to_junk: bool
    log_subjects: bool
    over_quota_seconds: float
    lmtp_socket: str
    doveadm_socket: str
    holds_path: str
    inject_socket: str
    directory_path: str
    state_path: str
    heartbeat_path: str
    unknown_seconds: float
    lmtp_connections: int
    directory_seconds: float
    shard: int


def read_config(environ: Mapping[str, str]) -> Config:
    """Return the configuration in the environment. Raise ConfigError."""
    given = _Variables(environ)
    bucket, key = given.object("PLEXUS_DIRECTORY")
    config = Config(
        region=given.required("AWS_REGION"),
        queue_url=given.url("PLEXUS_QUEUE_URL", given.required("PLEXUS_QUEUE_URL")),
        dead_letter_queue_url=given.url(
            "PLEXUS_DEAD_LETTER_QUEUE_URL", given.required("PLEXUS_DEAD_LETTER_QUEUE_URL")
        ),
        archive_bucket=given.required("PLEXUS_ARCHIVE_BUCKET"),
        directory_bucket=bucket,
        directory_key=key,
        hostname=given.hostname("PLEXUS_HOSTNAME"),
        metrics_host=given.text("PLEXUS_METRICS_HOST"),
        events_queue_url=given.url(
            "PLEXUS_EVENTS_QUEUE_URL", given.text("PLEXUS_EVENTS_QUEUE_URL")
        ),
        configuration_set=given.text("PLEXUS_CONFIGURATION_SET"),
        virus=VirusPolicy(given.choice("PLEXUS_VIRUS", *(one.value for one in VirusPolicy))),
        dmarc_to_junk=given.choice("PLEXUS_DMARC_FAIL", "junk", "none") == "junk",
        log_subjects=given.choice("PLEXUS_LOG_SUBJECTS", "no", "yes") == "yes",
        over_quota_seconds=given.number("PLEXUS_OVER_QUOTA_HOURS", 20.0) * 3600.0,
        lmtp_socket=environ.get("PLEXUS_LMTP_SOCKET") or "/run/plexus/dovecot/lmtp.sock",
        doveadm_socket=environ.get("PLEXUS_QUESTION_SOCKET") or "/run/plexus/dovecot/question.sock",
        holds_path=environ.get("PLEXUS_HOLDS_PATH") or "/run/plexus/dovecot/holds",
        inject_socket=environ.get("PLEXUS_INJECT_SOCKET") or "/run/plexus/postfix/inject.sock",
        directory_path=environ.get("PLEXUS_DIRECTORY_PATH") or "/run/plexus/directory",
        state_path=environ.get("PLEXUS_STATE_PATH") or "/var/lib/plexus/deliver",
        heartbeat_path=environ.get("PLEXUS_HEARTBEAT") or "/tmp/heartbeat",  # noqa: S108
        unknown_seconds=given.number("PLEXUS_UNKNOWN_SECONDS", 30.0),
        lmtp_connections=max(1, int(given.number("PLEXUS_LMTP_CONNECTIONS", 3.0))),
        directory_seconds=given.number("PLEXUS_DIRECTORY_SECONDS", 30.0),
        shard=int(given.number("PLEXUS_SHARD", 0.0)),
    )
    if given.problems:
        raise ConfigError("; ".join(given.problems))
    return config


class _Variables:
    """The environment's variables, and what is wrong with those that were read.

    A method returns something of the right type also for a wrong value, so that all are told.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            self.problems.append(f"{name} is not set")
        return value

    def url(self, name: str, value: str) -> str:
        if value:
            try:
                Endpoint.parse(value)
            except ValueError as error:
                self.problems.append(f"{name}: {error}")
        return value

    def object(self, name: str) -> tuple[str, str]:
        """Return bucket and key of an object in S3."""
        value = self.required(name)
        bucket, _, key = value.removeprefix("s3://").partition("/")
        if value and not (value.startswith("s3://") and bucket and key):
            self.problems.append(f"{name}: {value!r} is not s3://bucket/key")
        return bucket, key

    def hostname(self, name: str) -> str:
        value = self.required(name).lower()
        if value and not _HOSTNAME.fullmatch(value):
            self.problems.append(f"{name}: {value!r} is not a host name with a domain")
        return value

    def choice(self, name: str, default: str, *others: str) -> str:
        value = self.text(name) or default
        if value in (default, *others):
            return value
        allowed = ", ".join((default, *others[:-1]))
        self.problems.append(f"{name}: {value!r} is not {allowed} or {others[-1]}")
        return default

    def number(self, name: str, default: float) -> float:
        value = self.text(name)
        try:
            amount = float(value) if value else default
        except ValueError:
            amount = -1.0
        if not 0.0 <= amount < 1e6:
            self.problems.append(f"{name}: {value!r} is not a number of at least 0")
        return amount
