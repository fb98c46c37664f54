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
    problems: list[str] = []

    def required(name: str) -> str:
        value = environ.get(name, "").strip()
        if not value:
            problems.append(f"{name} is not set")
        return value

    def url(name: str, value: str) -> str:
        if value:
            try:
                Endpoint.parse(value)
            except ValueError as error:
                problems.append(f"{name}: {error}")
        return value

    def number(name: str, default: float) -> float:
        value = environ.get(name, "").strip()
        try:
            amount = float(value) if value else default
        except ValueError:
            amount = -1.0
        if not 0.0 <= amount < 1e6:
            problems.append(f"{name}: {value!r} is not a number of at least 0")
        return amount

    directory = required("PLEXUS_DIRECTORY")
    bucket, _, key = directory.removeprefix("s3://").partition("/")
    if directory and not (directory.startswith("s3://") and bucket and key):
        problems.append(f"PLEXUS_DIRECTORY: {directory!r} is not s3://bucket/key")
    hostname = required("PLEXUS_HOSTNAME").lower()
    if hostname and not _HOSTNAME.fullmatch(hostname):
        problems.append(f"PLEXUS_HOSTNAME: {hostname!r} is not a host name with a domain")
    virus = environ.get("PLEXUS_VIRUS", "").strip() or VirusPolicy.DEAD_LETTER.value
    if virus not in {policy.value for policy in VirusPolicy}:
        problems.append(f"PLEXUS_VIRUS: {virus!r} is not dead-letter, junk or drop")
        virus = VirusPolicy.DEAD_LETTER.value
    dmarc_fail = environ.get("PLEXUS_DMARC_FAIL", "").strip() or "junk"
    if dmarc_fail not in {"junk", "none"}:
        problems.append(f"PLEXUS_DMARC_FAIL: {dmarc_fail!r} is not junk or none")
    log_subjects = environ.get("PLEXUS_LOG_SUBJECTS", "").strip() or "no"
    if log_subjects not in {"yes", "no"}:
        problems.append(f"PLEXUS_LOG_SUBJECTS: {log_subjects!r} is not yes or no")
    config = Config(
        region=required("AWS_REGION"),
        queue_url=url("PLEXUS_QUEUE_URL", required("PLEXUS_QUEUE_URL")),
        dead_letter_queue_url=url(
            "PLEXUS_DEAD_LETTER_QUEUE_URL", required("PLEXUS_DEAD_LETTER_QUEUE_URL")
        ),
        archive_bucket=required("PLEXUS_ARCHIVE_BUCKET"),
        directory_bucket=bucket,
        directory_key=key,
        hostname=hostname,
        events_queue_url=url(
            "PLEXUS_EVENTS_QUEUE_URL", environ.get("PLEXUS_EVENTS_QUEUE_URL", "").strip()
        ),
        configuration_set=environ.get("PLEXUS_CONFIGURATION_SET", "").strip(),
        virus=VirusPolicy(virus),
        dmarc_to_junk=dmarc_fail == "junk",
        log_subjects=log_subjects == "yes",
        over_quota_seconds=number("PLEXUS_OVER_QUOTA_HOURS", 20.0) * 3600.0,
        lmtp_socket=environ.get("PLEXUS_LMTP_SOCKET") or "/run/plexus/dovecot/lmtp.sock",
        doveadm_socket=environ.get("PLEXUS_QUESTION_SOCKET") or "/run/plexus/dovecot/question.sock",
        holds_path=environ.get("PLEXUS_HOLDS_PATH") or "/run/plexus/dovecot/holds",
        inject_socket=environ.get("PLEXUS_INJECT_SOCKET") or "/run/plexus/postfix/inject.sock",
        directory_path=environ.get("PLEXUS_DIRECTORY_PATH") or "/run/plexus/directory",
        state_path=environ.get("PLEXUS_STATE_PATH") or "/var/lib/plexus/deliver",
        heartbeat_path=environ.get("PLEXUS_HEARTBEAT") or "/tmp/heartbeat",  # noqa: S108
        unknown_seconds=number("PLEXUS_UNKNOWN_SECONDS", 30.0),
        lmtp_connections=max(1, int(number("PLEXUS_LMTP_CONNECTIONS", 3.0))),
        directory_seconds=number("PLEXUS_DIRECTORY_SECONDS", 30.0),
        shard=int(number("PLEXUS_SHARD", 0.0)),
    )
    if problems:
        raise ConfigError("; ".join(problems))
    return config
