"""The page's side of account.sock: one request per connection."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from postal_plexus.account import totp
from postal_plexus.account.web.keeper_client import ask
from service.mail_host import PASSWORD, MailHost

BROWSER = "192.0.2.99"


@dataclass
class Page:
    """A browser's user; `token` is that of the last login."""

    host: MailHost
    address: str
    password: str = PASSWORD
    token: str = ""

    def ask(self, verb: str, **values: str) -> dict[str, Any]:
        """Return the keeper's answer to a request with session, password and browser's address."""
        given = {"token": self.token, "password": self.password, "remote": BROWSER} | values
        return dict(ask({"verb": verb} | given, self.socket))

    @property
    def socket(self) -> str:
        return str(self.host.root / "run/web/account.sock")

    def send(self, octets: bytes) -> bytes:
        """Return the response to these octets."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.socket)
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as file:
                return file.read()

    def login(self, **values: str) -> dict[str, Any]:
        """Log in; return the answer."""
        answer = self.ask("login", address=self.address, **values)
        self.token = answer.get("token", "")
        return answer

    def view(self) -> dict[str, Any]:
        """Return the page's content."""
        answer = self.ask("view")
        assert answer["ok"], answer
        return answer

    def begin_factor(self, now: float) -> tuple[bytes, list[str]]:
        """Set up a second factor; return its secret and the recovery codes."""
        secret = totp.from_text(self.ask("offer-factor")["secret"])
        assert secret is not None
        code = totp.code_at(secret, int(now) // 30)
        answer = self.ask("begin-factor", secret=totp.as_text(secret), code=code)
        assert answer["ok"], answer
        return secret, answer["codes"]
