"""A client of Dovecot's authentication socket."""

from __future__ import annotations

import base64
import socket

from service.mail_host import MailHost


class AuthClient:
    """Postfix's side of auth.sock, which names the client's address; requests may run side by side."""

    def __init__(self, host: MailHost) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(120)
        self._socket.connect(str(host.root / "run/dovecot/auth.sock"))
        self._file = self._socket.makefile("r", encoding="utf-8")
        self._socket.sendall(b"VERSION\t1\t2\nCPID\t4711\n")
        self._number = 0

    def ask(self, address: str, *attempts: tuple[str, str]) -> list[str]:
        """Return the outcome of each (user, password): "ok", "wrong" or "later"."""
        return self.ask_from(*[(address, *attempt) for attempt in attempts])

    def ask_from(self, *attempts: tuple[str, str, str]) -> list[str]:
        """Return the outcome of each (address, user, password)."""
        numbers = [self._send(*attempt) for attempt in attempts]
        outcomes: dict[str, str] = {}
        while not outcomes.keys() >= set(numbers):
            word, *fields = self._file.readline().rstrip("\n").split("\t")
            if word == "OK":
                outcomes[fields[0]] = "ok"
            elif word == "FAIL":
                outcomes[fields[0]] = "later" if "code=temp_fail" in fields else "wrong"
        return [outcomes[number] for number in numbers]

    def _send(self, address: str, user: str, password: str) -> str:
        self._number += 1
        secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        line = f"AUTH\t{self._number}\tPLAIN\tservice=smtp\tsecured\trip={address}\t"
        self._socket.sendall(f"{line}resp={secret}\n".encode())
        return str(self._number)

    def __enter__(self) -> AuthClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()
