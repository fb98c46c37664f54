"""Notify a user by mail of a change, so that a change by somebody else is noticed.

Dovecot's delivery agent stores the message, even in a full mailbox.
"""

import subprocess
from email.message import EmailMessage
from email.utils import formatdate

from postal_plexus.maintenance.programs import ProgramError

_AGENT = "/usr/lib/dovecot/dovecot-lda"


def text(address: str, what: str, remote: str, now: float) -> bytes:
    """Return the message."""
    mail = EmailMessage()
    mail["From"] = f"postmaster@{address.rpartition('@')[2]}"
    mail["To"] = address
    mail["Subject"] = "Your mail account was changed"
    mail["Date"] = formatdate(now)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(
        f"{what}\n\nFrom the network address {remote}.\n\n"
        "If it was not you, somebody knows your password: tell the operator of your mail at"
        " once, who can set a new one.\n"
    )
    return mail.as_bytes()


def send(address: str, mail: bytes) -> None:
    """Deliver the message.

    Raises:
        ProgramError: Dovecot does not accept it.
    """
    words = [
        _AGENT,
        "-d",
        address,
        "-o",
        "quota_enforce=no",
        "-o",
        "log_path=/dev/stderr",
        "-f",
        "",
    ]
    try:
        done = subprocess.run(  # noqa: S603  an address that Dovecot knows
            words, input=mail, capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramError(f"{_AGENT}: {error}") from error
    if done.returncode:
        raise ProgramError(f"{_AGENT}: exit status {done.returncode}")
