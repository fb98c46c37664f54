"""Strangers (and thieves) in a container's network, driven from a test; what they do is in strangers.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from service.mail_host import PASSWORD, MailHost


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
