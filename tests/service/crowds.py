"""Crowds of clients, driven from a test: users in IDLE, and strangers in a container's network."""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from service.mail_host import PASSWORD, MailHost


@contextlib.contextmanager
def idle_sessions(host: MailHost, users: Iterable[str]) -> Iterator[list[imaplib.IMAP4_SSL]]:
    """Keep a session for each of the users, which waits in IDLE on INBOX."""
    with contextlib.ExitStack() as sessions:
        clients: list[imaplib.IMAP4_SSL] = []
        for user in users:
            client = host.imap(user)
            sessions.callback(client.shutdown)
            client.select()
            client.send(b"idle IDLE\r\n")
            assert client.readline().startswith(b"+")
            clients.append(client)
        yield clients


class Strangers:
    """Connections from chosen addresses to a container's port; see strangers.py."""

    def __init__(self, host: MailHost, port: int, how: str, sources: list[str]) -> None:
        name = "dovecot" if port in {993, 4190} else "postfix"
        script = Path(__file__).with_name("strangers.py")
        self._process = subprocess.Popen(
            [
                *host.containers[name].in_its_network,
                *(sys.executable, str(script), str(port), how, *sources),
            ],
            env=os.environ | {"PASSWORD": PASSWORD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.tried = int(self._read())

    def still_open(self) -> dict[str, int]:
        """Return the connections that are open now, by their source."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def __enter__(self) -> Strangers:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
