"""The keeper with a scripted Dovecot: failures and races. test_account.py uses the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from postal_plexus.account.dovecot import Dovecot, Outcome
from postal_plexus.account.keeper import Keeper, Places
from postal_plexus.account.record import Record, fingerprint, rendered
from postal_plexus.maintenance.programs import ProgramError
from unit.account.test_account_files import no_room

ANN = "ann@example.org"
PASSWORD = "the first passphrase"


class Scripted(Dovecot):
    """Takes one password; its doveadm is away. `meanwhile` is what happens right after it was asked."""

    right = PASSWORD

    @staticmethod
    def meanwhile() -> None: ...

    def verify(self, typed: str, password: str, remote: str) -> tuple[Outcome, str]:
        assert remote == "192.0.2.1"
        outcome = Outcome.RIGHT if password == self.right else Outcome.WRONG
        self.meanwhile()
        return outcome, typed

    def kick(self, address: str) -> None:
        raise ProgramError(f"no doveadm for {address}")


class Desk:
    """A keeper on directories of a test's own."""

    def __init__(self, root: Path) -> None:
        for name in ("sessions", "codes", "store"):
            (root / name).mkdir()
        self.places = Places(
            root / "table", root / "store", root / "sessions", root / "codes", root / "lock"
        )
        self.reset("{X}first")
        self.dovecot = Scripted()
        self.log: list[str] = []
        self.mails: list[bytes] = []
        self.keeper = Keeper(
            places=self.places,
            dovecot=self.dovecot,
            hashed=lambda password: f"{{X}}{password.replace(' ', '')}",
            tell=lambda _, mail: self.mails.append(mail),
            log=self.log.append,
            note=self.log.append,
        )
        self.token = ""
        self.token = self.ask("login", address=ANN)["token"]

    def reset(self, its_hash: str) -> None:
        """Set a password as the operator."""
        self.places.table.write_text(f"{ANN}:{its_hash}::::::\n")

    def ask(self, verb: str, **values: str) -> dict[str, object]:
        given = {"token": self.token, "password": PASSWORD, "remote": "192.0.2.1"} | values
        return self.keeper.answer(json.dumps({"verb": verb} | given).encode() + b"\n")

    @property
    def file(self) -> Path:
        return self.places.store / "example.org/ann/.passwords"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Start a keeper with a session of ann."""
    return Desk(tmp_path)


def test_a_change_stands_where_the_rest_fails(desk: Desk) -> None:
    """Without doveadm the password is changed, and the log says what was not done."""
    assert desk.ask("change-password", new="the second passphrase") == {"ok": True}
    assert "main {X}thesecondpassphrase\n" in desk.file.read_text()
    assert "ann@example.org could not be ended" in "".join(desk.log)
    assert b"The main password was changed." in desk.mails[0]
    assert "passphrase" not in "".join(desk.log)


def test_a_full_disk_changes_nothing(desk: Desk) -> None:
    """The user gets an error, and the record is unchanged."""
    desk.ask("make-app", name="phone")
    before = desk.file.read_bytes()
    with no_room(100):
        answer = desk.ask("make-app", name="laptop")
    assert (False, "failed") == (answer["ok"], answer["problem"])
    assert before == desk.file.read_bytes()
    assert len(desk.mails) == 1
    assert desk.ask("make-app", name="laptop")["ok"]


@pytest.mark.parametrize("verb", ["change-password", "make-app", "only-apps", "end-factor"])
def test_the_operators_reset_in_the_same_moment_wins(desk: Desk, verb: str) -> None:
    """A change proved with the old password is not stored if the operator resets it meanwhile."""
    desk.dovecot.meanwhile = lambda: desk.reset("{X}operators")
    answer = desk.ask(verb, new="the thief's passphrase", name="thiefs", on="yes")
    assert answer["problem"] == "session"
    assert not desk.file.exists()


def test_a_login_in_the_moment_of_a_reset_opens_nothing(desk: Desk) -> None:
    """A password that was reset between the check and the session opens nothing."""
    desk.dovecot.meanwhile = lambda: setattr(desk.dovecot, "right", "the operator's")
    assert desk.ask("login", address=ANN)["problem"] == "password"


def test_a_void_record_is_begun_anew(desk: Desk) -> None:
    """After a reset, app passwords, second factor and 'app passwords only' do not return."""
    desk.ask("make-app", name="phone")
    desk.reset("{X}operators")
    assert desk.ask("view")["problem"] == "session"
    desk.token = str(desk.ask("login", address=ANN)["token"])
    assert [] == desk.ask("view")["apps"]
    desk.ask("make-app", name="new")
    text = desk.file.read_text()
    assert "phone" not in text
    assert f"stack {fingerprint('{X}operators')}\n" in text


def test_anothers_record_is_no_record(desk: Desk) -> None:
    """It is refused; the answer does not reveal the reason, but the log does."""
    desk.file.parent.mkdir(parents=True)
    desk.file.write_text(rendered(Record("ben@example.org", "0" * 64)))
    answer = desk.ask("view")
    assert answer["problem"] == "broken"
    assert "another mailbox's" in desk.log[-1]
