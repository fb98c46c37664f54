"""Ask Dovecot on a socket of its `auth` service whether a password is right.

The protocol is Dovecot's "Authentication Protocol", version 1.2. passwords.lua sees the service's
name as the protocol, and the client's address, for which it counts wrong passwords.
"""

import base64
import os
import socket
from dataclasses import dataclass
from enum import Enum

# A wrong password takes 2 s, behind those that wait before it.
_ANSWER_SECONDS = 25.0


class Outcome(Enum):
    """What Dovecot says of a password."""

    RIGHT = "right"
    WRONG = "wrong"
    LATER = "later"


@dataclass(frozen=True)
class Verdict:
    """`address` is the mailbox's present address, `storage` the first one that it had."""

    outcome: Outcome
    address: str
    storage: str = ""


def verify(path: str, service: str, typed: str, password: str, remote: str) -> Verdict:
    """Return the verdict on a password of the user that `typed` means.

    Args:
        path: the socket.
        service: for what the password is asked, such as `account`.
        typed: the user's name, as the client sent it.
        password: as the client sent it.
        remote: the client's network address.

    Raises:
        OSError: Dovecot does not answer.
    """
    if "\0" in typed or "\0" in password:
        return Verdict(Outcome.WRONG, typed)
    secret = base64.b64encode(f"\0{typed}\0{password}".encode()).decode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        connection.connect(path)
        ask = f"AUTH\t1\tPLAIN\tservice={service}\tsecured\trip={remote}\tresp={secret}\n"
        connection.sendall(f"VERSION\t1\t2\nCPID\t{os.getpid()}\n{ask}".encode())
        with connection.makefile("r", encoding="utf-8", errors="replace") as file:
            while line := file.readline(65536):
                word, *fields = line.rstrip("\n").split("\t")
                if word == "OK":
                    named = {name: value for name, _, value in (f.partition("=") for f in fields)}
                    address = named.get("user", typed)
                    return Verdict(Outcome.RIGHT, address, named.get("storage", address))
                if word == "FAIL":
                    later = "code=temp_fail" in fields
                    return Verdict(Outcome.LATER if later else Outcome.WRONG, typed)
    raise ConnectionError("Dovecot broke off")
