# ruff: noqa: T201 (the engine keeps what a container prints)
"""A milter that binds a submitted mail to the login of its sender, and limits how many there are.

Postfix binds the envelope sender (smtpd_sender_login_maps), but no table of Postfix sees a header
and a login together, and SES accepts any address of a verified domain; without this a user could
write as any colleague. Every address in From and in Sender must be one that the login owns, by the
same map as the envelope's (`address login,login`, subaddresses by `+`).

Refusals of headers, all permanent: more than one From, a From that cannot be read as addresses, an
address that is somebody else's (550 5.7.1). A mail without From passes: Postfix then writes the
envelope sender there, which it has checked. If the map cannot be read mails are deferred (451
4.3.0).
Without this process Postfix defers all submissions (milter_default_action).

Headers of more than 256 KB together are refused (552 5.3.4): Postfix bounds each one, not all.

Limits (`submission_limits`) are claimed at DATA, when all recipients are known: 450 4.7.1 for the
hour, 550 5.7.1 for the day, 550 5.5.3 for a mail to more than would ever be allowed. They come from
PLEXUS_SUBMISSION_LIMITS. Refusals become a line in CloudWatch's embedded metric format with the
metric SubmissionsOverLimit: at once, then at most one a minute for each login.

    submission-guard            serve until SIGTERM
    submission-guard --check    exit 1, with the reason, if the environment is wrong

It is there all the time, so it does without `pathlib` and `dataclasses`, and has `json` only when
there is a refusal to tell: 5 MB instead of 8.
"""

import os
import threading
import time
from contextlib import suppress
from email.utils import getaddresses

import Milter
from submission_limits import Ledger, Limits, Refusal

SOCKET = "/run/submission-guard/milter.sock"
JOURNAL = "/var/spool/postfix/guard/submissions"
METRIC_SECONDS = 60
MOST_HEADER_OCTETS = 256 * 1024
SENDER_LOGINS = "/var/spool/postfix/maps/sender-logins"
BOUND_HEADERS = ("from", "sender")


class SenderLogins:
    """Which logins may send as an address; read again when its file was replaced."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._logins: dict[str, frozenset[str]] = {}

    def may_send_as(self, login: str, address: str) -> bool:
        """Whether the login owns the address. Raises OSError if the map cannot be read."""
        self._follow()
        local_part, _, domain = address.lower().rpartition("@")
        if not domain.isascii():
            try:
                domain = domain.encode("idna").decode("ascii")
            except UnicodeError:
                return False
        mailbox = local_part.partition("+")[0]
        candidates = (f"{local_part}@{domain}", f"{mailbox}@{domain}", f"@{domain}")
        known = [self._logins[each] for each in candidates if each in self._logins]
        return bool(known) and login.lower() in known[0]

    def _follow(self) -> None:
        status = os.stat(self._path)
        version = (status.st_mtime_ns, status.st_ino)
        if version == self._version:
            return
        logins: dict[str, frozenset[str]] = {}
        with open(self._path, encoding="utf-8") as lines:
            for line in lines:
                if line.strip() and not line.startswith("#"):
                    address, _, owners = line.partition(" ")
                    logins[address.lower()] = frozenset(owners.lower().replace(",", " ").split())
        self._logins, self._version = logins, version


def addresses(value: str) -> tuple[str, ...]:
    """The addresses of a From or Sender header; empty if it cannot be read as addresses."""
    found = getaddresses([value], strict=True)
    if not all("@" in address for _, address in found):
        return ()
    return tuple(address for _, address in found)


class Alarm:
    """Tells CloudWatch of refusals, with the login and the window that was full."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def refused(self, login: str, refusal: Refusal) -> None:
        """Count a refusal, and write a line unless one was written within the minute."""
        now = time.time()
        with self._lock:
            count = self._untold.pop(login, 0) + 1
            if now - self._told_at.get(login, 0.0) < METRIC_SECONDS:
                self._untold[login] = count
                return
            self._told_at[login] = now
        import json

        metric = {"Name": "SubmissionsOverLimit", "Unit": "Count"}
        line = {
            "_aws": {
                "Timestamp": int(now * 1000),
                "CloudWatchMetrics": [
                    {"Namespace": "PostalPlexus", "Dimensions": [["Host"]], "Metrics": [metric]}
                ],
            },
            "Host": self._host,
            "SubmissionsOverLimit": count,
            "Login": login,
            "Limit": refusal.window,
            "Reply": refusal.text,
        }
        os.write(1, (json.dumps(line) + "\n").encode())


HOST = os.environ.get("PLEXUS_HOSTNAME", "")
LIMITS = os.environ.get("PLEXUS_SUBMISSION_LIMITS", "")


class Guard(Milter.Base):
    """One submission session; libmilter calls from a thread of its own."""

    ledger: Ledger
    senders = SenderLogins(SENDER_LOGINS)
    alarm = Alarm(HOST)

    def __init__(self) -> None:
        self.login = ""
        self.recipients = 0
        self.seen: list[str] = []

    @Milter.noreply
    def connect(self, _name: str, _family: int, _address: object) -> int:
        """Say nothing yet: nobody has logged in."""
        return Milter.CONTINUE

    @Milter.noreply
    def envfrom(self, _sender: str, *_parameters: str) -> int:
        """Begin a mail; Postfix has checked login and envelope sender."""
        self.login = self.getsymval("{auth_authen}") or ""
        self.recipients = 0
        self.header_octets = 0
        self.seen = []
        return Milter.CONTINUE

    @Milter.noreply
    def envrcpt(self, _recipient: str, *_parameters: str) -> int:
        """Count a recipient that Postfix has taken."""
        self.recipients += 1
        return Milter.CONTINUE

    def data(self) -> int:
        """Refuse a mail beyond the limits of its login."""
        login = self.login.lower()
        refusal = self.ledger.claim(login, self.recipients)
        if refusal is None:
            return Milter.CONTINUE
        self.alarm.refused(login, refusal)
        self.setreply(refusal.code, refusal.status, refusal.text)
        return Milter.TEMPFAIL if refusal.code.startswith("4") else Milter.REJECT

    def header(self, name: str, value: str) -> int:
        """Refuse an address of somebody else, and headers without end."""
        self.header_octets += len(name) + len(value)
        if self.header_octets > MOST_HEADER_OCTETS:
            self.setreply("552", "5.3.4", f"Headers are larger than {MOST_HEADER_OCTETS} octets")
            return Milter.REJECT
        name = name.strip().lower()
        if name not in BOUND_HEADERS:
            return Milter.CONTINUE
        try:
            fault = self._fault(name, value)
        except OSError as error:
            print(f"submission-guard: cannot read {SENDER_LOGINS}: {error}", flush=True)
            self.setreply("451", "4.3.0", "Sender addresses cannot be checked now, try again later")
            return Milter.TEMPFAIL
        return self._refuse(fault) if fault else Milter.CONTINUE

    def _fault(self, name: str, value: str) -> str | None:
        """What is wrong with a header that names who sends; None if nothing is."""
        if name in self.seen:
            return f"More than one {name.capitalize()} header"
        self.seen.append(name)
        claimed = addresses(value)
        if not claimed:
            return f"The {name.capitalize()} header is not a list of addresses"
        for each in claimed:
            if not self.senders.may_send_as(self.login, each):
                return f"{name.capitalize()} address is not yours: {each}"
        return None

    def _refuse(self, why: str) -> int:
        text = "".join(each if each.isprintable() and each.isascii() else "?" for each in why)
        self.setreply("550", "5.7.1", text.replace("%", "%%")[:200])
        return Milter.REJECT


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, or check only."""
    try:
        limits = Limits.parse(LIMITS)
    except ValueError as error:
        print(f"PLEXUS_SUBMISSION_LIMITS: {error}")
        return 1
    if arguments == ["--check"]:
        return 0
    Guard.ledger = Ledger(limits, JOURNAL, complain=lambda line: print(line, flush=True))
    with suppress(FileNotFoundError):
        os.unlink(SOCKET)
    Milter.factory = Guard
    Milter.set_exception_policy(Milter.TEMPFAIL)
    os.umask(0o111)  # Postfix connects as its own user; the directory is the container's own
    Milter.runmilter("submission-guard", SOCKET, timeout=300)
    return 0
