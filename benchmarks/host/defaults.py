"""The configurations of Dovecot and Postfix with what was tuned for a small host taken back. Pure.

What decides how things behave stays: only processes, connections and waits are the programs' own
defaults again, so that our figures stand beside the same work done by default.
"""

from __future__ import annotations

import re

DOVECOT = frozenset(
    {
        "client_limit",
        "default_process_limit",
        "default_vsz_limit",
        "idle_kill_interval",
        "imap_hibernate_timeout",
        "process_limit",
        "process_min_avail",
        "restart_request_count",
    }
)
POSTFIX = frozenset(
    {
        "default_destination_concurrency_limit",
        "default_process_limit",
        "in_flow_delay",
        "initial_destination_concurrency",
        "max_idle",
        "max_use",
        "qmgr_message_active_limit",
        "qmgr_message_recipient_limit",
        "smtp_tls_connection_reuse",
        "smtpd_client_connection_count_limit",
    }
)
_SETTING = re.compile(r"\s*(\w+)\s*=")
# name type private unpriv chroot wakeup MAXPROC command: the limits that are a number above one.
_SERVICE = re.compile(
    r"^(\S+\s+(?:inet|unix)\s+\S+\s+\S+\s+\S+\s+\S+\s+)(?:[2-9]|\d{2,})(\s)", re.MULTILINE
)


def without(configuration: str, names: frozenset[str]) -> str:
    """Return the text without the lines that set one of these names."""
    kept = [
        line
        for line in configuration.splitlines(keepends=True)
        if not ((found := _SETTING.match(line)) and found[1] in names)
    ]
    return "".join(kept)


def dovecot(configuration: str) -> str:
    """dovecot.conf as it would be without care for memory."""
    return without(configuration, DOVECOT)


def postfix(main: str, master: str) -> tuple[str, str]:
    """main.cf and master.cf as they would be without care for memory."""
    return without(main, POSTFIX), _SERVICE.sub(r"\g<1>-\2", master)
