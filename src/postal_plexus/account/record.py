"""A user's own settings: the file `.passwords` in the mailbox's directory. Pure.

Its lines, in this order:

    plexus-passwords 1
    mailbox ADDRESS                     under which its mail is stored (the first one, if renamed)
    stack SHA256                        of the password hash in the stack file at that time
    main {SCHEME}HASH                   replaces the stack file's
    app NAME MADE {SCHEME}HASH          each; MADE in seconds since the epoch
    app-passwords-only                  the main password opens only the page, not the mail
    second-factor SECRET STEP           Base32, and the step of the last code used
    recovery SHA256                     one line for each unused code
    end

All lines but the first three and the last are optional. The operator stays in control: the stack
file defines the mailboxes, and if its password hash is not the one of `stack`, the record is void.
Any other text raises RecordError and permits no login: neither with its passwords nor with the
stack file's, which the user may have replaced. containers/dovecot/passwords.lua reads the file at
each login; only `keeper` writes it.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from postal_plexus.account import totp

FILE_NAME = ".passwords"
LARGEST = 16 * 1024
"""Octets of a file; what is larger is none."""

MOST_APPS = 30
_MAIN = "main"
_APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MAGIC = "plexus-passwords 1"
_HASH = re.compile(r"\{[A-Z0-9][A-Z0-9.-]{0,31}\}[!-9;-~]{1,300}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,11})")


class RecordError(ValueError):
    """A text is not a record, or not this mailbox's."""


class ChangeError(ValueError):
    """A change is not possible; the text is the reason for the user."""


@dataclass(frozen=True, slots=True)
class AppPassword:
    """The password of one device; `made` in seconds since the epoch."""

    name: str
    made: int
    hash: str

    def __repr__(self) -> str:
        return f"AppPassword(name={self.name!r})"  # no hash in a log


@dataclass(frozen=True, slots=True)
class Record:
    """A user's settings. `secret` is that of the second factor, `last_step` its last code's."""

    mailbox: str
    stack: str
    main: str | None = None
    apps: tuple[AppPassword, ...] = ()
    only_apps: bool = False
    secret: bytes | None = None
    last_step: int = 0
    recovery: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Record(mailbox={self.mailbox!r})"  # no hash and no secret in a log

    def is_void(self, stack_hash: str) -> bool:
        """Return whether the operator has set another password since."""
        return self.stack != fingerprint(stack_hash)

    def with_app(self, made: AppPassword, taken: frozenset[str]) -> "Record":
        """Add an app password; `taken` are the names in the stack file."""
        if not is_app_name(made.name):
            raise ChangeError("A name has a to z, 0 to 9 and -, at most 32 of them, such as phone.")
        if made.name in taken or made.name in {each.name for each in self.apps}:
            raise ChangeError(f"There is an app password {made.name} already.")
        if len(self.apps) >= MOST_APPS:
            raise ChangeError(f"There are {MOST_APPS} app passwords; revoke one first.")
        return replace(self, apps=(*self.apps, made))

    def without_app(self, name: str) -> "Record":
        """Revoke an app password."""
        left = tuple(each for each in self.apps if each.name != name)
        if len(left) == len(self.apps):
            raise ChangeError("There is no such app password, or the operator made it.")
        return replace(self, apps=left)

    def with_code(self, code: str, now: float) -> "Record | None":
        """Use up a code of the app or a recovery code. Return None if it is neither."""
        if self.secret is None:
            return self
        step = totp.step_of(self.secret, code, now, self.last_step)
        if step is not None:
            return replace(self, last_step=step)
        return self.with_recovery_code(code)

    def with_recovery_code(self, code: str) -> "Record | None":
        """Use up a recovery code. Return None if it is not one."""
        used = totp.recovery_hash(code)
        if used not in self.recovery:
            return None
        return replace(self, recovery=tuple(each for each in self.recovery if each != used))


def is_app_name(text: str) -> bool:
    """Return whether this is a valid name for an app password (as in `directory.entries`)."""
    return text != _MAIN and _APP_NAME.fullmatch(text) is not None


def fingerprint(stack_hash: str) -> str:
    """Return the fingerprint of the stack file's password hash for a record."""
    return hashlib.sha256(stack_hash.encode()).hexdigest()


def rendered(record: Record) -> str:
    """Return a record's text."""
    return "".join(f"{line}\n" for line in _lines(record))


def _lines(record: Record) -> Iterator[str]:
    yield _MAGIC
    yield f"mailbox {record.mailbox}"
    yield f"stack {record.stack}"
    if record.main is not None:
        yield f"main {record.main}"
    for each in record.apps:
        yield f"app {each.name} {each.made} {each.hash}"
    if record.only_apps:
        yield "app-passwords-only"
    if record.secret is not None:
        yield f"second-factor {totp.as_text(record.secret)} {record.last_step}"
    for each in record.recovery:
        yield f"recovery {each}"
    yield "end"


def parsed(text: str, mailbox: str) -> Record:
    """Parse the record of the mailbox whose mail is stored under that address.

    Raises:
        RecordError: the text is not a record, or another mailbox's.
    """
    lines = [line.split(" ") for line in text.split("\n")]
    match lines:
        case [magic, ["mailbox", whose], ["stack", stack], *more, ["end"], [""]]:
            if " ".join(magic) != _MAGIC:
                raise RecordError("it does not begin as a record of passwords")
        case _:
            raise RecordError("it is not whole")
    if whose != mailbox:
        raise RecordError("it is another mailbox's")
    record = Record(whose, _checked(_SHA256, stack))
    for line in more:
        record = _with_line(record, line)
    # Accept only the exact text that would be written: no repeated or misplaced lines.
    if rendered(record) != text or len({each.name for each in record.apps}) < len(record.apps):
        raise RecordError("a line is twice in it, or out of its place")
    return record


def _with_line(record: Record, line: list[str]) -> Record:
    match line:
        case ["main", its_hash]:
            return replace(record, main=_checked(_HASH, its_hash))
        case ["app", name, made, its_hash] if is_app_name(name):
            app = AppPassword(name, int(_checked(_NUMBER, made)), _checked(_HASH, its_hash))
            return replace(record, apps=(*record.apps, app))
        case ["app-passwords-only"]:
            return replace(record, only_apps=True)
        case ["second-factor", text, step]:
            secret = totp.from_text(text)
            if secret is None:
                raise RecordError("its second factor is no secret")
            return replace(record, secret=secret, last_step=int(_checked(_NUMBER, step)))
        case ["recovery", code]:
            return replace(record, recovery=(*record.recovery, _checked(_SHA256, code)))
        case _:
            raise RecordError("a line of it means nothing")


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise RecordError("a field of it is not what it should be")
    return text
