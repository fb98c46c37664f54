"""One run of the task, from checking the certificate to the line that the alarm watches.

It logs one JSON object per line. `certificate.status` ends every run and has `days_left`, also
after a failure; it is 0 while there is only a self-signed certificate.

Exit status: 0 in order, or another run is in progress; 1 a certificate was due and could not be
obtained; 2 the environment is invalid.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from postal_plexus.certificates import policy
from postal_plexus.certificates.certbot import Certbot, CertbotError
from postal_plexus.certificates.certificate import CertificateError, read, validity
from postal_plexus.certificates.delegation import delegated, resolver
from postal_plexus.certificates.settings import Settings, SettingsError, read_settings
from postal_plexus.certificates.tls_directory import TlsDirectory

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from postal_plexus.certificates.policy import Validity


def log(event: str, **fields: object) -> None:
    """Print one line of JSON."""
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "event": event, **fields}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(environment: Mapping[str, str] | None = None) -> int:
    """Run once. Return the exit status."""
    try:
        settings = read_settings(os.environ if environment is None else environment)
    except SettingsError as error:
        log("certificate.misconfigured", reason=str(error))
        return 2
    with _alone(settings) as alone:
        if not alone:
            log("certificate.busy", reason="another run holds the lock")
            return 0
        return _run(settings)


def _run(settings: Settings) -> int:
    tls = TlsDirectory(settings.tls)
    certbot = Certbot(settings.directory_url, settings.state, settings.email)
    failed = False
    try:
        _install_newer(certbot, tls)
        _obtain(settings, certbot, tls)
    except (CertbotError, CertificateError, OSError) as error:
        log("certificate.failed", reason=str(error))
        failed = True
    _report(settings, _validity(tls))
    return 1 if failed else 0


def _obtain(settings: Settings, certbot: Certbot, tls: TlsDirectory) -> None:
    """Request what is due, and put it in use."""
    now = datetime.now(UTC)
    current = _validity(tls)
    ready = delegated(settings.names, settings.zones, resolver(settings.name_server))
    waiting = [name for name in settings.names if name not in ready]
    if waiting:
        log("certificate.not_delegated", names=waiting)
    due = policy.order(settings.names, ready, current, now)
    if due is None:
        return
    log("certificate.due", names=due.names, reason=due.reason)
    try:
        certbot.issue(due.names)
    except CertbotError as error:
        seen = tuple(name for name in due.names if name in ready)
        if len(due.names) == 1 or not seen or not policy.accepts_subset(current, now):
            raise
        # certbot gives up if a zone no longer exists, so its names are removed here. Names that the
        # authority itself rejects can be dropped by certbot.
        log("certificate.partial", names=seen, reason=str(error))
        certbot.issue(seen, subset=True)
    _install_newer(certbot, tls)


def _install_newer(certbot: Certbot, tls: TlsDirectory) -> None:
    """Put certbot's last certificate in use if it is not.

    This is the case after each issue; on a new host whose directory is empty or has Dovecot's
    self-signed pair; and after a run that was killed in between.
    """
    issued = read(certbot.chain)
    if issued is None or validity(issued).left(datetime.now(UTC)) <= timedelta(0):
        return
    installed = tls.certificate()
    if (
        installed is not None
        and not validity(installed).self_signed
        and installed.not_valid_before_utc >= issued.not_valid_before_utc
    ):
        return
    tls.install(certbot.chain.read_bytes(), certbot.key.read_bytes(), issued)
    found = validity(issued)
    log(
        "certificate.installed",
        names=sorted(found.names),
        serial=f"{issued.serial_number:x}",
        not_after=found.not_after.isoformat(),
    )


def _report(settings: Settings, current: Validity | None) -> None:
    days = 0.0
    covered: frozenset[str] = frozenset()
    if current is not None and not current.self_signed:
        days = max(current.left(datetime.now(UTC)) / timedelta(days=1), 0.0)
        covered = current.names
    missing = [name for name in settings.names if name not in covered]
    log("certificate.status", days_left=round(days, 2), missing=missing)


def _validity(tls: TlsDirectory) -> Validity | None:
    found = tls.certificate()
    return None if found is None else validity(found)


@contextmanager
def _alone(settings: Settings) -> Generator[bool]:
    """Whether this is the only run: the schedule and the start of a host may coincide."""
    descriptor = os.open(settings.state / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
