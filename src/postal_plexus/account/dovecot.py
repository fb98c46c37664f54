"""The running Dovecot, asked by the keeper: whether a password is right, who is connected, an end.

Passwords are asked on a socket of the keeper's alone, as of the service `account` and with the
browser's address; passwords.lua then takes the main password only, and counts a wrong one as every
other. The protocol is Dovecot's "Authentication Protocol", version 1.2.
"""

import base64
import os
import socket
from dataclasses import asdict, dataclass
from enum import Enum

from postal_plexus.maintenance import mailboxes

_ANSWER_SECONDS = 25.0


class Outcome(Enum):
    """What Dovecot says of a password."""

    RIGHT = "right"
    WRONG = "wrong"
    LATER = "later"


@dataclass(frozen=True)
class Dovecot:
    """Its sockets: for passwords, and for a few commands of doveadm."""

    auth: str = "/run/dovecot/auth-account"
    doveadm: str = "/run/dovecot/doveadm-account"

    def verify(self, typed: str, password: str, remote: str) -> tuple[Outcome, str]:
        """Say whether the main password is right, and the address that `typed` means.

        Raises:
            OSError: Dovecot does not answer.
        """
        if "\0" in typed or "\0" in password:
            return Outcome.WRONG, typed
        secret = base64.b64encode(f"\0{typed}\0{password}".encode()).decode()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.connect(self.auth)
            ask = f"AUTH\t1\tPLAIN\tservice=account\tsecured\trip={remote}\tresp={secret}\n"
            connection.sendall(f"VERSION\t1\t2\nCPID\t{os.getpid()}\n{ask}".encode())
            with connection.makefile("r", encoding="utf-8", errors="replace") as file:
                while line := file.readline(65536):
                    word, *fields = line.rstrip("\n").split("\t")
                    if word == "OK":
                        named = [each for each in fields if each.startswith("user=")]
                        return Outcome.RIGHT, named[0].removeprefix("user=") if named else typed
                    if word == "FAIL":
                        later = "code=temp_fail" in fields
                        return (Outcome.LATER if later else Outcome.WRONG), typed
        raise ConnectionError("Dovecot broke off")

    def quota(self, address: str) -> dict[str, object]:
        """Give what a mailbox holds, and may hold (maintenance.mailboxes.quota)."""
        return {"address": address, **asdict(mailboxes.quota(address, self.doveadm))}

    def sessions(self, address: str) -> list[dict[str, object]]:
        """Give who is connected as that user."""
        answer = mailboxes.ask("", "who", address, path=self.doveadm)
        found = mailboxes.sessions_of(list(mailboxes.rows(answer, 5)))
        return [each for each in found if each["address"] == address]

    def kick(self, address: str) -> None:
        """End all connections of a user; devices with a right password come back by themselves."""
        mailboxes.ask("", "kick", address, path=self.doveadm)
