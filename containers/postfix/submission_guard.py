# ruff: noqa: T201 (the engine keeps what a container prints)
"""The guard of all outgoing mail: a milter that every message passes before Postfix accepts it.

`postal_plexus.mail.outgoing` decides what may leave, in whose name and with which changes; this
module has libmilter's calls, the ledgers and the log. Four services use it, each with its own name
in {daemon_name} (master.cf, main.cf):

    submission    ports 465 and 587; the owner is the login
    forward       the socket of `deliver`; the owner is in the first field
    sieve         the socket that only Dovecot mounts; the owner is the name in EHLO (from msmtp)
    bounce        Postfix's own notices (non_smtpd_milters)

Each refusal has a log line, and each message that an alias or a filter sends has one with its queue
id. A redirect that may not leave goes to its owner's mailbox; one of a replayed message is dropped,
because it was sent before. If the tables cannot be read, or the spool cannot be written, messages
are deferred (451 4.3.0). Without this process Postfix defers everything (milter_default_action).

Headers of more than 256 KB together, or with very many fields, are refused (552 5.3.4), because
Postfix limits only single fields. So is a field of more than 59,000 octets, because a milter sees
only the first 60,000. Only one message is decided at a time, so this memory is needed only once.

A submission claims its limits (`submission_limits`) at DATA, when all recipients are known: 450
4.7.1 for the hour, 550 5.7.1 for the day, 550 5.5.3 for a message to more recipients than the
limit. Mail of filters and aliases claims separate limits at its end. They are set by
PLEXUS_SUBMISSION_LIMITS. Refusals become a metric (`refusal_alarm`).

    submission-guard            serve until SIGTERM
    submission-guard --check    exit 1, with the reason, if the environment is wrong

It runs permanently, so it does not use `pathlib`, `typing` and `dataclasses`, and imports `json`
only to report a refusal.
"""

import os
import threading
from contextlib import suppress

import Milter
from body_spool import BodySpool
from directory_tables import DirectoryTables
from refusal_alarm import Alarm
from repeats import MOST, Repeats
from submission_limits import Ledger, Limits

from postal_plexus.mail.outgoing import recoding, rejection, rules
from postal_plexus.mail.outgoing.fields import Change, Field

SOCKET = "/run/submission-guard/milter.sock"
FOLDER = "/var/spool/postfix/guard"
MAPS = "/var/spool/postfix/maps"
MOST_HEADER_OCTETS = 256 * 1024
MOST_FIELD_OCTETS = 59_000
MOST_FIELDS = {rules.SUBMISSION: 2_000}
"""No client writes as many; each takes some 250 octets here, however short it is."""
MOST_FIELDS_ELSEWHERE = 25_000
MOST_MAIL_OCTETS = 40 * 1024 * 1024
"""What SES takes: https://docs.aws.amazon.com/ses/latest/dg/quotas.html."""

HOST = os.environ.get("PLEXUS_HOSTNAME", "")
LIMITS = os.environ.get("PLEXUS_SUBMISSION_LIMITS", "")


class Guard(Milter.Base):
    """One session; libmilter calls it from a separate thread."""

    submitted: Ledger
    automatic: Ledger
    tables = DirectoryTables(MAPS)
    alarm = Alarm(HOST)
    repeats = Repeats()
    deciding = threading.Lock()

    def __init__(self) -> None:
        self.way = ""
        self.client = ""
        self.spool = BodySpool(FOLDER)
        self._begin("")

    def _begin(self, sender: str) -> None:
        self.sender = sender
        self.recipients: list[str] = []
        self.fields: list[Field] = []
        self.header_octets = 0
        self.header_is_larger = False
        self.longest = recoding.LongestLine()
        self.body_hash = 0
        self.spool_error = ""
        self.spool.close()

    @Milter.noreply
    def connect(self, _name: str, _family: int, _address: object) -> int:
        """Note which service this is."""
        self.way = self.getsymval("{daemon_name}") or ""
        return Milter.CONTINUE

    @Milter.noreply
    def hello(self, name: str) -> int:
        """On Dovecot's socket, note whose filter this is."""
        self.client = name
        return Milter.CONTINUE

    @Milter.noreply
    def envfrom(self, sender: str, *_parameters: str) -> int:
        """Begin a message; Postfix has checked login and envelope sender."""
        self._begin(_bare(sender))
        self.login = self.getsymval("{auth_authen}") or ""
        return Milter.CONTINUE

    @Milter.noreply
    def envrcpt(self, recipient: str, *_parameters: str) -> int:
        """Note a recipient that Postfix has accepted."""
        self.recipients.append(_bare(recipient))
        return Milter.CONTINUE

    def data(self) -> int:
        """Refuse a submission beyond the limits of its login."""
        if self.way != rules.SUBMISSION:
            return Milter.CONTINUE
        login = self.login.lower()
        refusal = self.submitted.claim(login, len(self.recipients))
        if refusal is None:
            return Milter.CONTINUE
        self.alarm.refused(login, refusal)
        return self._reply(refusal.code, refusal.status, refusal.text)

    @Milter.noreply
    @Milter.decode("bytes")
    def header(self, name: str, value: bytes) -> int:
        """Keep a field, up to the limits of number and octets."""
        self.header_octets += len(name) + len(value) + len(": \r\n")
        most = MOST_FIELDS.get(self.way, MOST_FIELDS_ELSEWHERE)
        if self.header_octets > MOST_HEADER_OCTETS or len(self.fields) >= most:
            self.header_is_larger = True
        else:
            self.fields.append(Field(name, value))
        return Milter.CONTINUE

    @Milter.noreply
    def body(self, chunk: bytes) -> int:
        """Keep the body as long as it may have to be re-encoded."""
        self.longest.feed(chunk)
        self.body_hash = hash((self.body_hash, chunk))
        if not self.spool_error:
            try:
                self.spool.feed(chunk)
            except OSError as error:
                self.spool_error = str(error)
        return Milter.CONTINUE

    def eom(self) -> int:
        """Decide, and change the message; only here is the content answered."""
        try:
            return self._decide()
        except OSError as error:
            print(f"submission-guard: cannot decide: {error}", flush=True)
            return self._reply(
                "451", "4.3.0", "What may leave cannot be checked now, try again later"
            )
        finally:
            self.spool.close()

    def abort(self) -> int:
        """Discard an aborted message."""
        self.spool.close()
        return Milter.CONTINUE

    def close(self) -> int:
        """Discard everything."""
        self.spool.close()
        return Milter.CONTINUE

    def _decide(self) -> int:
        owner = {rules.SUBMISSION: self.login, rules.SIEVE: self.client}.get(self.way, "")
        if self.way == rules.SIEVE and rules.is_sent_already(self.fields):
            print(
                f"submission-guard: dropped way=sieve owner={_shown(owner)}"
                f" recipients={len(self.recipients)}: a replay, sent on when it came first",
                flush=True,
            )
            return Milter.DISCARD
        mail = rules.Mail(self.way, owner, self.sender, tuple(self.recipients), self.fields)
        found = self._found(mail)
        if isinstance(found, rules.Refusal):
            print(
                f"submission-guard: refused way={self.way} owner={_shown(owner)}"
                f" queue={self._queue_id()} sender={_shown(self.sender)}"
                f" recipients={len(self.recipients)}"
                f" turned={'yes' if found.owner else 'no'}: {_shown(found.text)}",
                flush=True,
            )
            if not found.owner:
                return self._reply(found.code, found.status, found.text)
            found = rules.turned(found.owner, f"{found.status} {found.text}")
        elif self.way == rules.SIEVE and not self.sender and not rules.is_redirect(self.fields):
            if (refusal := self._reject(found)) is not None:
                return refusal
        elif found.outside and (refusal := self._recode(found)) is not None:
            return refusal
        if self.way in (rules.FORWARD, rules.SIEVE):
            # The incoming message of this one: `plexus trace` cannot know it otherwise.
            print(
                f"submission-guard: passed way={self.way} owner={_shown(found.owner)}"
                f" queue={self._queue_id()} receipt={_receipt(self.fields)}",
                flush=True,
            )
        self._apply(found)
        return Milter.CONTINUE

    def _queue_id(self) -> str:
        return self.getsymval("i") or "-"

    def _found(self, mail: rules.Mail) -> "rules.Edits | rules.Refusal":
        """Return the decision of the rules, then of the limits."""
        turn_to = mail.owner.lower() if rules.is_redirect(mail.fields) else ""
        if self.header_is_larger:
            most = MOST_FIELDS.get(self.way, MOST_FIELDS_ELSEWHERE)
            text = f"Headers have more than {MOST_HEADER_OCTETS} octets or {most} fields"
            return rules.Refusal("552", "5.3.4", text, turn_to)
        cut = next((each for each in mail.fields if len(each.value) > MOST_FIELD_OCTETS), None)
        if cut is not None:
            text = f"The header field {cut.name} is larger than {MOST_FIELD_OCTETS} octets"
            return rules.Refusal("552", "5.3.4", text, turn_to)
        with self.deciding:
            found = rules.decide(mail, self.tables.current())
        if isinstance(found, rules.Refusal) or mail.way not in (rules.FORWARD, rules.SIEVE):
            return found
        if self.repeats.is_loop(found.owner, self.body_hash):
            text = f"{found.owner} has sent on the same text {MOST} times within an hour: a loop"
            return rules.Refusal("550", "5.4.6", text, turn_to)
        full = self.automatic.claim(found.owner, len(mail.recipients))
        if full is not None:
            self.alarm.refused(found.owner, full)
            return rules.Refusal(full.code, full.status, full.text, turn_to)
        return found

    def _reject(self, edits: rules.Edits) -> int | None:
        """Send a filter's rejection if its sender may be told; else Dovecot keeps the message."""
        body = b"".join(self.spool.chunks())
        if not rejection.is_safe(body, outside=edits.outside):
            text = "The sender is not authenticated, so he is not told: the mail is kept"
            print(
                f"submission-guard: refused way=sieve owner={_shown(edits.owner)}"
                f" recipients={len(self.recipients)} turned=no: {text}",
                flush=True,
            )
            return self._reply("550", "5.7.1", text)
        self._buffer(rejection.without_marks(body))
        self._buffer(b"", flush=True)
        return None

    def _recode(self, edits: rules.Edits) -> int | None:
        """Re-encode a body with long lines; return the reply if that is not possible."""
        if self.longest.octets <= recoding.LONGEST_LINE:
            return None
        if self.spool_error:
            raise OSError(self.spool_error)
        about = b"".join(
            each.name.encode() + b": " + each.value + b"\r\n"
            for each in self.fields
            if each.key in ("content-type", "content-transfer-encoding")
        )
        survey = recoding.survey(about, self.spool.chunks())
        if not survey.needed:
            return None
        if survey.breaks_signature and self.way == rules.SUBMISSION:
            # A forwarded message arrives with a broken signature, which is better than not at all.
            text = (
                "A signed part has a line longer than 998 octets, and encoding it would break the "
                "signature: sign it in quoted-printable or base64"
            )
            return self._reply("554", "5.6.0", text)
        if survey.octets + self.header_octets > MOST_MAIL_OCTETS:
            text = "A line is longer than 998 octets, and in lines of less the mail is above 40 MB"
            return self._reply("552", "5.3.4", text)
        for part in recoding.recoded(about, self.spool.chunks(), survey):
            self._buffer(part)
        self._buffer(b"", flush=True)
        if survey.top_encoding:
            edits.changes = [
                each for each in edits.changes if each.name.lower() != "content-transfer-encoding"
            ]
            count = sum(each.key == "content-transfer-encoding" for each in self.fields)
            name = "Content-Transfer-Encoding"
            edits.changes += [Change(name, nth, None) for nth in range(count, 1, -1)]
            edits.changes.append(Change(name, 1 if count else 0, survey.top_encoding))
            if not any(each.key == "mime-version" for each in self.fields):
                edits.changes.append(Change("MIME-Version", 0, "1.0"))
        return None

    _waiting = b""

    def _buffer(self, part: bytes, *, flush: bool = False) -> None:
        """Pass the new body to Postfix in packets that libmilter accepts."""
        self._waiting += part
        while len(self._waiting) >= 60_000 or (flush and self._waiting):
            packet, self._waiting = self._waiting[:60_000], self._waiting[60_000:]
            self.replacebody(packet)

    def _apply(self, edits: rules.Edits) -> None:
        for change in edits.changes:
            if change.nth:
                self.chgheader(change.name, change.nth, change.value or "")
            else:
                self.addheader(change.name, change.value or "")
        for change in reversed(edits.on_top):
            self.addheader(change.name, change.value or "", 0)
        if edits.sender is not None:
            self.chgfrom(f"<{edits.sender}>")
        if edits.recipients is not None and edits.recipients != tuple(self.recipients):
            for each in self.recipients:
                self.delrcpt(f"<{each}>")
            for each in edits.recipients:
                self.addrcpt(f"<{each}>")

    def _reply(self, code: str, status: str, text: str) -> int:
        self.setreply(code, status, _shown(text).replace("%", "%%")[:300])
        return Milter.TEMPFAIL if code.startswith("4") else Milter.REJECT


def _bare(path: str) -> str:
    return path.removeprefix("<").removesuffix(">")


def _receipt(fields: "list[Field]") -> str:
    """Return the receipt that `deliver` has written on top; "-" for other messages."""
    found = next((each.value for each in fields if each.key == "x-plexus-receipt"), b"").strip()
    text = found[:256].decode("ascii", "replace")
    return text if text and all(each.isalnum() or each in "-_" for each in text) else "-"


def _shown(text: str) -> str:
    return "".join(each if each.isprintable() and each.isascii() else "?" for each in text)[:300]


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM, or check only."""
    try:
        submitted, automatic = Limits.parse(LIMITS)
    except ValueError as error:
        print(f"PLEXUS_SUBMISSION_LIMITS: {error}")
        return 1
    if arguments == ["--check"]:
        return 0

    def complain(line: str) -> None:
        print(line, flush=True)

    Guard.submitted = Ledger(submitted, os.path.join(FOLDER, "submissions"), complain=complain)
    Guard.automatic = Ledger(automatic, os.path.join(FOLDER, "automatic"), complain=complain)
    with suppress(FileNotFoundError):
        os.unlink(SOCKET)
    Milter.factory = Guard
    Milter.set_exception_policy(Milter.TEMPFAIL)
    os.umask(0o111)  # Postfix connects as its own user; the directory belongs to the container
    Milter.runmilter("submission-guard", SOCKET, timeout=300)
    return 0
