"""An AWS that only refuses: any call is answered with one error, in the form of its protocol.

It listens on a port of its own; `shut` gives the address of one where nobody does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

URL = "https://sqs.us-east-1.amazonaws.com/123456789012/plexus-main"
PARTS: dict[str, Any] = {
    "mail_host": "127.0.0.1",
    "region": "us-east-1",
    "bucket": "plexus-main-archive-1",
    "queue_url": f"{URL}-mail-1",
    "events_queue_url": f"{URL}-events-1",
    "dead_letter_queue_url": f"{URL}-dead-letters-1",
    "directory_object": "s3://plexus-main-archive-1/directory/directory.json",
    "rule_set": "plexus-main-rules",
    "configuration_set": "plexus-main-sending",
    "cluster": "plexus-main-cluster-1",
    "host_group": "plexus-main-host-1",
    "services": {each: f"plexus-main-{each}-1" for each in ("deliver", "dovecot", "postfix")},
    "log_groups": {
        each: f"plexus-main-{each}-1" for each in ("deliver", "dovecot", "maintenance", "postfix")
    },
    "file_system": "fs-1",
    "access_point": "fsap-1",
    "maintenance": {
        "calendars": "plexus-main-maintenance-calendars",
        "dovecot": "plexus-main-maintenance-dovecot",
        "postfix": "plexus-main-maintenance-postfix",
        "restore": "plexus-main-maintenance-restore",
    },
    "backup_vault": "plexus-main-vault-1",
    "backup_role": "arn:aws:iam::123456789012:role/plexus-main-backup-1",
}


@dataclass
class Refusal:
    """`code`: AWS's word; `knows_the_stack`: the stack's parts are told, all else is refused.

    With `interrupts` a call is answered by Control-C. `asked` gets the calls. `hosts`: how many the
    stack has.
    """

    code: str = "AccessDenied"
    knows_the_stack: bool = False
    interrupts: bool = False
    hosts: int = 1
    asked: list[str] = field(default_factory=list[str])


class _Handler(BaseHTTPRequestHandler):
    refusal: Refusal

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""

    def do_GET(self) -> None:
        """Refuse the request."""
        self._refuse()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def _refuse(self) -> None:
        said = self.refusal
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        target = self.headers.get("X-Amz-Target", "")
        said.asked.append(target or f"{self.command} {self.path} {body[:80]!r}")
        if said.knows_the_stack and target.endswith("GetParameter"):
            parts = PARTS | ({"hosts": said.hosts} if said.hosts > 1 else {})
            self._answer(200, json.dumps({"Parameter": {"Value": json.dumps(parts)}}))
            return
        if said.interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        service = self.headers.get("Authorization", "").partition("/aws4_request")[0]
        message = "this AWS refuses everything"
        if service.endswith("/s3"):
            self._answer(
                403, f"<Error><Code>{said.code}</Code><Message>{message}</Message></Error>"
            )
        elif "form-urlencoded" in self.headers.get("Content-Type", ""):
            error = f"<Code>{said.code}</Code><Message>{message}</Message>"
            self._answer(403, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>")
        else:
            self._answer(400, json.dumps({"__type": said.code, "message": message}))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        if text.startswith("{") and status != 200:
            self.send_header("x-amzn-ErrorType", self.refusal.code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        try:
            self.wfile.write(text.encode())
        except OSError:
            self.close_connection = True  # Control-C has ended the client


@contextmanager
def serving(refusal: Refusal) -> Iterator[str]:
    """Serve within the block; yield the URL."""
    handler = type("Handler", (_Handler,), {"refusal": refusal})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def shut() -> str:
    """Return the URL of a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
