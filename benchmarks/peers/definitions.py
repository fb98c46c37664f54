"""The peers: Debian's packages, and what each promises. Pure; `start/` has how each is set up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

BASE = "docker.io/library/debian:trixie-slim"
COMMON = ("busybox", "ca-certificates", "netbase", "openssl")
OURS = "ours"
SAME = "postfix-dovecot-same"
IDLE_CLIENTS = 50


@dataclass(frozen=True, slots=True)
class Peer:
    """One system: its name (of its start script, too), title, packages and mail store."""

    name: str
    title: str
    packages: tuple[str, ...]
    versions: tuple[str, ...]  # the packages whose versions are reported
    store: str  # maildir, sdbox or cyrus
    safe: str  # what an acknowledged message survives by default
    beyond: str  # what it has that this project has not

    @property
    def recipe(self) -> str:
        """Its Containerfile."""
        wanted = " ".join(sorted({*COMMON, *self.packages}))
        return (
            f"FROM {BASE}\n"
            # No service is started by its package.
            "RUN printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d"
            " && chmod 755 /usr/sbin/policy-rc.d && apt-get update"
            " && DEBIAN_FRONTEND=noninteractive apt-get upgrade --yes --no-install-recommends"
            " && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
            f" {wanted} && rm -rf /var/lib/apt/lists/*\n"
        )

    @property
    def image(self) -> str:
        """The image's name, by its content."""
        digest = hashlib.sha256(self.recipe.encode()).hexdigest()[:12]
        return f"localhost/bench-peer/{self.name}:{digest}"


_DOVECOT = ("dovecot-imapd", "dovecot-lmtpd")
# Which files each syncs was seen with strace (20 messages, all of a system's processes).
_MAILDIR_SYNCED = "message, directory and list of UIDs in the Maildir"

PEERS = (
    Peer(
        "postfix-dovecot",
        "Postfix + Dovecot",
        ("postfix", *_DOVECOT),
        ("postfix", "dovecot-imapd"),
        "maildir",
        f"a power cut: the queue file is synced, then {_MAILDIR_SYNCED}",
        "POP3, SQL and LDAP accounts, milters; no account at a cloud provider",
    ),
    # Not a default: what our Dovecot does beyond it, so that systems with the same features stand
    # side by side.
    Peer(
        SAME,
        "Postfix + Dovecot, same features",
        ("postfix", *_DOVECOT, "dovecot-sieve", "dovecot-flatcurve"),
        ("postfix", "dovecot-imapd"),
        "sdbox",
        "a power cut: the queue file is synced, then message, directory and index log",
        "POP3, SQL and LDAP accounts, milters; no account at a cloud provider",
    ),
    Peer(
        "exim-dovecot",
        "Exim + Dovecot",
        ("exim4-daemon-light", *_DOVECOT),
        ("exim4-daemon-light", "dovecot-imapd"),
        "maildir",
        f"a power cut: both queue files and their directory are synced, then {_MAILDIR_SYNCED}",
        "a policy language in the SMTP dialogue; no account at a cloud provider",
    ),
    Peer(
        "opensmtpd-dovecot",
        "OpenSMTPD + Dovecot",
        ("opensmtpd", *_DOVECOT),
        ("opensmtpd", "dovecot-imapd"),
        "maildir",
        f"a crash of its own, but no power cut: the queue is not synced; then {_MAILDIR_SYNCED}",
        "a configuration of twenty lines; no account at a cloud provider",
    ),
    Peer(
        "postfix-cyrus",
        "Postfix + Cyrus",
        ("postfix", "cyrus-imapd", "libsasl2-modules", "sasl2-bin"),
        ("postfix", "cyrus-imapd"),
        "cyrus",
        "a power cut: the queue file is synced, then message, index, cache and quota",
        "replication to a second server, JMAP, NNTP, POP3; no account at a cloud provider",
    ),
    Peer(
        "courier",
        "Courier",
        ("courier-mta", "courier-imap", "courier-authdaemon"),
        ("courier-mta", "courier-imap"),
        "maildir",
        "a power cut, as far as the file system keeps names: queue files and message are synced,"
        " their directories are not",
        "one program from SMTP to POP3 and mailing lists; no account at a cloud provider",
    ),
)
NAMESERVER = Peer("nameserver", "dnsmasq", ("dnsmasq-base",), ("dnsmasq-base",), "maildir", "", "")
TITLES = {OURS: "Postal Plexus"} | {peer.name: peer.title for peer in PEERS}
