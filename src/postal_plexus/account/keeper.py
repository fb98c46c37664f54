"""The keeper of users' own settings: answer one request of the page, in Dovecot's container.

Dovecot starts it for each connection to account.sock, one at a time (dovecot.conf), as the user who
owns the mail. The page is not trusted. It names a session by its token, which is checked here.
Whatever gives access to a mailbox requires the main password, and a code if there is a second
factor, in the request itself. So an attacker who controls the page gets what users enter there, and
nothing of users who do not visit it.

Every request ends with one answer (`messages`). An unreadable record affects only its user; a
failed write leaves the previous record unchanged.
"""

import fcntl
import ipaddress
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from postal_plexus.account import files, hashing, messages, notice, strength, totp, vacation
from postal_plexus.account.dovecot import Dovecot, Outcome
from postal_plexus.account.entry import Entry, entry_of
from postal_plexus.account.guesses import Guesses
from postal_plexus.account.record import (
    FILE_NAME,
    LARGEST,
    AppPassword,
    ChangeError,
    Record,
    RecordError,
    fingerprint,
    parsed,
    rendered,
)
from postal_plexus.account.sessions import Session, Sessions
from postal_plexus.maintenance.programs import ProgramError

Answer = dict[str, object]
Request = Mapping[str, str]

_LONGEST_SECONDS = 60
_INFO = "\x01\x02"
"""The prefix of a line for Dovecot's log that is not an error (lib/failures.h)."""

_WRONG = "The address or the password is wrong."
_ENDED = "Your session has ended. Log in again."
_LATER = "Too many wrong passwords were tried. Wait a quarter of an hour, then try again."


class ProblemError(Exception):
    """A request is refused: one of `messages.PROBLEMS`, and the text for the user."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Places:
    """Where the keeper's files are."""

    table: Path = Path("/run/plexus/directory/dovecot-passwd")
    store: Path = Path("/srv/mail")
    sessions: Path = Path("/run/account-sessions")
    codes: Path = Path("/run/plexus/dovecot/codes")
    lock: Path = Path("/run/plexus/dovecot/codes/.lock")


@dataclass(frozen=True)
class User:
    """The user of a request, with the current directory entry and record."""

    entry: Entry
    record: Record

    @property
    def key(self) -> str:
        """The key of the user's sessions: the fingerprint of the current main password."""
        return fingerprint(self.record.main or self.entry.stack_hash)


def _log_error(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _log_info(line: str) -> None:
    sys.stderr.write(f"{_INFO}{os.getpid()} {line}\n")


@dataclass(frozen=True)
class Keeper:
    """The service that answers requests."""

    places: Places = field(default_factory=Places)
    dovecot: Dovecot = field(default_factory=Dovecot)
    now: Callable[[], float] = time.time
    hashed: Callable[[str], str] = hashing.hashed
    tell: Callable[[str, bytes], None] = notice.send
    log: Callable[[str], None] = _log_error
    note: Callable[[str], None] = _log_info

    @property
    def _sessions(self) -> Sessions:
        return Sessions(self.places.sessions)

    def answer(self, line: bytes) -> Answer:
        """Return the answer to one line."""
        try:
            request = messages.request(line)
            act = self._verbs()[request["verb"]]
            return {"ok": True, **act({**request, "remote": _network_address(request["remote"])})}
        except (messages.MessageError, KeyError) as error:
            return _problem("failed", f"The page asked what cannot be: {error}.")
        except ProblemError as error:
            return _problem(error.kind, str(error))
        except (ChangeError, vacation.VacationError) as error:
            return _problem("refused", str(error))
        except RecordError as error:
            self.log(f"a record of passwords cannot be used: {error}")
            return _problem(
                "broken", "What you have set cannot be read. Ask the operator of your mail."
            )
        except (OSError, ProgramError) as error:
            self.log(f"{error}")
            return _problem("failed", "That could not be done now. Try again later.")

    def _verbs(self) -> Mapping[str, Callable[[Request], Answer]]:
        return {
            "login": self._login,
            "logout": self._logout,
            "view": self._view,
            "change-password": self._change_password,
            "make-app": self._make_app,
            "revoke-app": self._revoke_app,
            "only-apps": self._only_apps,
            "offer-factor": self._offer_factor,
            "begin-factor": self._begin_factor,
            "end-factor": self._end_factor,
            "vacation": self._vacation,
        }

    # --- authentication ---

    def _login(self, request: Request) -> Answer:
        address = self._verified(request["address"], request)
        user = self._with_code(address, request)
        # Again, now that the session's key is known: the operator may have set another password in
        # the meantime.
        self._verified(address, request)
        return {"token": self._sessions.begin(address, user.key), "address": address}

    def _logout(self, request: Request) -> Answer:
        self._sessions.end(request["token"])
        return {}

    def _verified(self, typed: str, request: Request) -> str:
        """Return the address whose main password is in the request."""
        outcome, address = self.dovecot.verify(typed, request["password"], request["remote"])
        if outcome is Outcome.LATER:
            raise ProblemError("later", _LATER)
        if outcome is Outcome.WRONG:
            raise ProblemError("password", _WRONG)
        return address

    def _session(self, request: Request) -> tuple[Session, User]:
        session = self._sessions.find(request["token"])
        if session is not None:
            user = self._user(session.address)
            if secrets.compare_digest(user.key, session.key):
                return session, user
            self._sessions.end(request["token"])
        raise ProblemError("session", _ENDED)

    def _proved(self, request: Request) -> User:
        """Return the user of a session, who has entered the password (and a code) again."""
        session, _ = self._session(request)
        address = self._verified(session.address, request)
        if address != session.address:
            raise ProblemError("password", _WRONG)
        user = self._with_code(address, request)
        if user.key != session.key:
            # The operator has set another password since Dovecot checked this one.
            raise ProblemError("session", _ENDED)
        return user

    def _with_code(self, address: str, request: Request) -> User:
        """Use up the request's code; a user without a second factor needs none."""
        with self._alone():
            user = self._user(address)
            if user.record.secret is None:
                return user
            code, guesses, now = request.get("code", ""), Guesses(self.places.codes), self.now()
            if not code:
                why = "Type a code of your authenticator app, or a recovery code."
                raise ProblemError("code", why)
            if guesses.are_too_many(address, now):
                used = user.record.with_recovery_code(code)
                why = "Too many wrong codes within a day: only a recovery code is taken."
                wrong = ProblemError("later", why)
            else:
                used = user.record.with_code(code, now)
                why = "The code is wrong, or was used already: wait for the next one."
                wrong = ProblemError("password", why)
            if used is None:
                guesses.note(address, now)
                raise wrong
            return self._save(user, used)

    def _user(self, address: str) -> User:
        entry = entry_of(self.places.table.read_text(encoding="utf-8"), address)
        if entry is None:
            raise ProblemError("session", "There is no such mailbox any more.")
        text = files.read(self._home(entry) / FILE_NAME, LARGEST)
        record = None if text is None else parsed(text, entry.storage)
        if record is None or record.is_void(entry.stack_hash):
            record = Record(entry.storage, fingerprint(entry.stack_hash))
        return User(entry, record)

    def _home(self, entry: Entry) -> Path:
        return self.places.store / entry.home

    # --- changes ---

    def _change(self, proved: User, change: Callable[[User], Record]) -> User:
        """Apply a change to the current record and store it, under the lock of all keepers."""
        with self._alone():
            user = self._user(proved.entry.address)
            if user.key != proved.key:
                # The operator, or the user elsewhere, has just set another password.
                raise ProblemError("session", _ENDED)
            return self._save(user, change(user))

    def _save(self, user: User, record: Record) -> User:
        if record != user.record:
            files.write(self._home(user.entry) / FILE_NAME, rendered(record).encode("latin-1"))
        return replace(user, record=record)

    def _changed(self, user: User, what: str, request: Request, *, kick: bool = False) -> None:
        """Log a change, end the user's connections if requested, and notify the user by mail.

        The change is already stored; a failure here is logged, and the rest is done anyway.
        """
        address = user.entry.address
        self.note(f"{address}: {what} From {request['remote']}.")
        if kick:
            with self._noting(f"connections of {address} could not be ended"):
                self.dovecot.kick(address)
        with self._noting(f"{address} could not be told of a change"):
            self.tell(address, notice.text(address, what, request["remote"], self.now()))

    @contextmanager
    def _noting(self, what: str) -> Generator[None, None, None]:
        try:
            yield
        except (OSError, ProgramError) as error:
            self.log(f"{what}: {error}")

    def _change_password(self, request: Request) -> Answer:
        new = request["new"]
        user = self._proved(request)
        fault = strength.fault_of(new, user.entry.address)
        if fault is None and new == request["password"]:
            fault = "is the one that you have"
        if fault is not None:
            raise ProblemError("refused", f"The new password {fault}.")
        user = self._change(user, lambda user: replace(user.record, main=self.hashed(new)))
        self._sessions.keep(request["token"], user.entry.address, user.key)
        self._changed(user, "The main password was changed.", request, kick=True)
        return {}

    def _make_app(self, request: Request) -> Answer:
        user = self._proved(request)
        password, name = strength.generated(), request["name"].strip().lower()

        def made(user: User) -> Record:
            app = AppPassword(name, int(self.now()), "")
            # Check whether it is permitted before the expensive hash.
            user.record.with_app(app, user.entry.apps)
            app = replace(app, hash=self.hashed(password))
            return user.record.with_app(app, user.entry.apps)

        user = self._change(user, made)
        self._changed(user, f"An app password {name} was made.", request)
        return {"password": password, "name": name}

    def _revoke_app(self, request: Request) -> Answer:
        _, user = self._session(request)
        name = request["name"]
        user = self._change(user, lambda user: user.record.without_app(name))
        # Dovecot does not distinguish connections by password, so all of them end.
        self._changed(user, f"The app password {name} was revoked.", request, kick=True)
        return {}

    def _only_apps(self, request: Request) -> Answer:
        user = self._proved(request)
        on = request["on"] == "yes"
        user = self._change(user, lambda user: replace(user.record, only_apps=on))
        what = "opens no mail any more: app passwords do" if on else "opens mail again"
        self._changed(user, f"The main password {what}.", request, kick=on)
        return {}

    def _offer_factor(self, request: Request) -> Answer:
        _, user = self._session(request)
        if user.record.secret is not None:
            raise ChangeError("There is a second factor already; end it first.")
        secret = secrets.token_bytes(totp.SECRET_OCTETS)
        address = user.entry.address
        issuer = f"Mail {address.rpartition('@')[2]}"
        return {"secret": totp.as_text(secret), "uri": totp.uri(secret, address, issuer)}

    def _begin_factor(self, request: Request) -> Answer:
        secret = totp.from_text(request["secret"])
        if secret is None:
            raise messages.MessageError("no secret")
        _, user = self._session(request)
        if user.record.secret is not None:
            raise ChangeError("There is a second factor already; end it first.")
        # The code is that of the new secret; there is no other yet.
        user = self._proved(request)
        step = totp.step_of(secret, request["code"], self.now(), 0)
        if step is None:
            raise ProblemError(
                "refused", "The code is wrong. Is the clock of your telephone right?"
            )
        codes = [totp.recovery_code(secrets.token_bytes(10)) for _ in range(totp.RECOVERY_CODES)]
        hashes = tuple(totp.recovery_hash(code) for code in codes)
        user = self._change(
            user,
            lambda user: replace(user.record, secret=secret, last_step=step, recovery=hashes),
        )
        self._changed(user, "A second factor was set up.", request)
        return {"codes": codes}

    def _end_factor(self, request: Request) -> Answer:
        user = self._proved(request)
        user = self._change(
            user,
            lambda user: replace(user.record, secret=None, last_step=0, recovery=()),
        )
        self._changed(user, "The second factor was ended.", request)
        return {}

    def _vacation(self, request: Request) -> Answer:
        _, user = self._session(request)
        path = self._home(user.entry) / vacation.FILE_NAME
        if request["on"] != "yes":
            files.remove(path)
            return {}
        fields = (request[name] for name in ("subject", "text", "first", "last"))
        files.write(path, vacation.script(vacation.vacation(*fields)).encode())
        return {}

    # --- views ---

    def _view(self, request: Request) -> Answer:
        _, user = self._session(request)
        entry, record = user.entry, user.record
        answer: Answer = {
            "address": entry.address,
            "own": record.main is not None,
            "apps": [{"name": each.name, "made": each.made} for each in record.apps],
            "operators": sorted(entry.apps),
            "only_apps": record.only_apps,
            "factor": record.secret is not None,
            "recovery": len(record.recovery),
            "logins": self._logins(entry.address),
            "vacation": self._answer_while_away(entry),
            "quota": None,
            "sessions": [],
        }
        with self._noting("Dovecot's doveadm does not answer"):
            answer["quota"] = self.dovecot.quota(entry.address)
            answer["sessions"] = self.dovecot.sessions(entry.address)
        return answer

    def _logins(self, address: str) -> list[list[str]]:
        """Return TIME, PASSWORD, PROTOCOL, ADDRESS of each login, newest first."""
        text = files.read(self.places.store / "last-logins" / address, 1 << 20) or ""
        lines = [line.split(" ") for line in text.splitlines()]
        return sorted((line for line in lines if len(line) == 4), reverse=True)[:100]

    def _answer_while_away(self, entry: Entry) -> Answer | None:
        octets = files.read(self._home(entry) / vacation.FILE_NAME, vacation.LARGEST)
        found = None if octets is None else vacation.read(octets)
        if found is None:
            return None
        first, last = found.first.isoformat(), found.last.isoformat()
        return {"subject": found.subject, "text": found.text, "first": first, "last": last}

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Hold the lock for changes; other keepers wait."""
        with self.places.lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _problem(kind: str, text: str) -> Answer:
    return {"ok": False, "problem": kind, "text": text}


def _network_address(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise messages.MessageError("no address of a browser") from error
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:  # which may contain anything
            raise messages.MessageError("no address of a browser")
        return str(found.ipv4_mapped or found)
    return str(found)


def serve() -> None:
    """Answer the single request of a connection, which is the standard input and output."""
    # A silent client makes others wait no longer than this.
    signal.alarm(_LONGEST_SECONDS)
    line = sys.stdin.buffer.readline(messages.LONGEST + 1)
    sys.stdout.buffer.write(messages.written(Keeper().answer(line)))
    sys.stdout.buffer.flush()
