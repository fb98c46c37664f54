"""`deliver` as a process, between a stub of AWS and scripted servers on unix sockets.

The LMTP server keeps what it accepts in mailboxes; `Dovecot.said` lets a test decide each reply. The
question socket answers from the same mailboxes, as Dovecot's doveadm server does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.aws_stub.notification import Accepted, in_sns_envelope, notification
from benchmarks.aws_stub.process import Stub

from postal_plexus.directory import Alias, Directory, Domain, Mailbox

ROOT = Path(__file__).resolve().parents[3]
BUCKET = "archive"
DIRECTORY = Directory(
    (Domain("example.org"), Domain("example.net", "ann@example.org")),
    tuple(Mailbox(f"{name}@example.org", "{PLAIN}x") for name in ("ann", "ben", "cat")),
    (
        Alias("team@example.org", ("ann@example.org", "ben@example.org")),
        Alias("out@example.org", ("ann@example.org", "friend@else.example")),
        Alias("postmaster@example.org", ("ann@example.org",)),
    ),
)


class Dovecot:
    """An LMTP server (or SMTP, as Postfix) and the question, on unix sockets, in threads."""

    def __init__(self, path: Path, question: Path | None = None, *, chunking: bool = True) -> None:
        self.path = path
        self.question = question
        self.chunking = chunking
        self.mailboxes: defaultdict[str, list[bytes]] = defaultdict(list)
        self.senders: list[str] = []
        self.asked = 0
        # While it is not set, the question is not answered.
        self.answers = threading.Event()
        self.answers.set()
        # (recipient, how many messages it was offered before) -> reply; None: stored, and silence.
        self.said: Callable[[str, int], str | None] = lambda _name, _before: "250 2.0.0 Saved"
        self.offered: defaultdict[str, int] = defaultdict(int)
        self.silent = threading.Event()
        self._listeners: list[socket.socket] = []
        self._connections: set[socket.socket] = set()

    def start(self) -> None:
        """Listen."""
        self._listen(self.path, self._serve)
        if self.question is not None:
            self._listen(self.question, self._answer)

    def stop(self) -> None:
        """Close everything at once, as a kill does."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._listeners = []
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for path in (self.path, self.question):
            if path is not None:
                path.unlink(missing_ok=True)

    def _listen(self, path: Path, serve: Callable[[socket.socket], None]) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(16)
        self._listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=run, args=(connection,), daemon=True).start()

        def run(connection: socket.socket) -> None:
            self._connections.add(connection)
            with connection, contextlib.suppress(OSError, EOFError):
                serve(connection)
            self._connections.discard(connection)

        threading.Thread(target=accept, daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:  # noqa: PLR0912  (a branch a command)
        file = connection.makefile("rb")
        say = lambda text: connection.sendall(text.encode() + b"\r\n")  # noqa: E731
        say("220 fake")
        sender, smtp = "", False
        accepted: list[str] = []
        content = bytearray()
        while line := file.readline():
            verb = line[:4].upper()
            if verb in (b"LHLO", b"EHLO"):
                smtp = verb == b"EHLO"
                say("250-fake\r\n250-CHUNKING\r\n250 8BITMIME" if self.chunking else "250 fake")
            elif verb == b"RSET":
                accepted, content = [], bytearray()
                say("250 ok")
            elif verb == b"MAIL":
                sender = line[line.index(b"<") + 1 : line.index(b">")].decode()
                accepted, content = [], bytearray()
                say("250 2.1.0 ok")
            elif verb == b"RCPT":
                accepted.append(line[line.index(b"<") + 1 : line.index(b">")].decode())
                say("250 2.1.5 ok")
            elif verb == b"BDAT":
                words = line.split()
                chunk = file.read(int(words[1]))
                if len(chunk) < int(words[1]):
                    return
                content += chunk
                if words[2:] == [b"LAST"]:
                    self._store(say, sender, accepted, bytes(content), smtp=smtp)
                else:
                    say("250 2.0.0 chunk")
            elif verb == b"DATA":
                say("354 go")
                while (part := file.readline()) != b".\r\n":
                    if not part:
                        return
                    content += part.removeprefix(b".")
                self._store(say, sender, accepted, bytes(content), smtp=smtp)
            else:
                say("221 bye")
                return

    def _store(
        self,
        say: Callable[[str], None],
        sender: str,
        names: list[str],
        content: bytes,
        *,
        smtp: bool,
    ) -> None:
        self.senders.append(sender)
        for name in names[:1] if smtp else names:
            before = self.offered[name]
            self.offered[name] += 1
            reply = self.said(name, before)
            if reply is None or reply.startswith("2"):
                self.mailboxes[name].append(content)
            if reply is None:
                self.silent.set()
                time.sleep(3600)
            say(reply)

    def _answer(self, connection: socket.socket) -> None:
        file = connection.makefile("rb")
        assert file.readline() == b"VERSION\tdoveadm-server\t1\t0\n"
        connection.sendall(b"+\n")
        words = file.readline().decode().rstrip("\n").split("\t")
        assert ["search", "mailbox", "*", "header", "X-Plexus-Receipt"] == words[2:7]
        self.asked += 1
        self.answers.wait(20)
        wanted = f"X-Plexus-Receipt: {words[7]}\r\n".encode()
        hits = sum(wanted in mail for mail in self.mailboxes[words[1]])
        connection.sendall(b"guid\t1\t\n" * hits + b"\n+\n")


class Bed:
    """The stub, the sockets, the directories, and the process."""

    def __init__(self, root: Path, stub: Stub, *, chunking: bool = True) -> None:
        self.root = root
        self.stub = stub
        # Paths of sockets are short (108 octets); pytest's are not.
        self.sockets = Path(f"/tmp/dlv-{os.getpid()}-{time.monotonic_ns() % 10**9}")
        self.sockets.mkdir()
        self.dovecot = Dovecot(
            self.sockets / "lmtp.sock", self.sockets / "question.sock", chunking=chunking
        )
        self.postfix = Dovecot(self.sockets / "inject.sock")
        self.holds = root / "holds"
        self.process: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, str] = {}
        self.put_directory(DIRECTORY.to_json())

    @property
    def log_path(self) -> Path:
        """Standard output of all starts."""
        return self.root / "log"

    def put_directory(self, octets: bytes) -> None:
        """Put the directory object."""
        self.stub.put_object(f"{BUCKET}/directory.json", octets)

    def start(self) -> None:
        """Start `deliver`, as ECS would."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "postal_plexus.deliver"],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "src"),
                "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": self.stub.url,
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.stub.url}/_credentials",
                "PLEXUS_QUEUE_URL": self.stub.queue_url("mail"),
                "PLEXUS_DEAD_LETTER_QUEUE_URL": self.stub.queue_url("dead-letters"),
                "PLEXUS_EVENTS_QUEUE_URL": self.stub.queue_url("events"),
                "PLEXUS_ARCHIVE_BUCKET": BUCKET,
                "PLEXUS_DIRECTORY": f"s3://{BUCKET}/directory.json",
                "PLEXUS_HOSTNAME": "mail.example.org",
                "PLEXUS_LMTP_SOCKET": str(self.dovecot.path),
                "PLEXUS_QUESTION_SOCKET": str(self.dovecot.question),
                "PLEXUS_INJECT_SOCKET": str(self.postfix.path),
                "PLEXUS_HOLDS_PATH": str(self.holds),
                "PLEXUS_DIRECTORY_PATH": str(self.root),
                "PLEXUS_STATE_PATH": str(self.root / "state"),
                "PLEXUS_HEARTBEAT": str(self.root / "heartbeat"),
                "PLEXUS_DIRECTORY_SECONDS": "0.3",
                "PLEXUS_UNKNOWN_SECONDS": "0.5",
                **self.settings,
            },
            stdout=self.log_path.open("ab"),
            stderr=subprocess.STDOUT,
        )

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, times: int = 1) -> tuple[int, float]:
        """SIGTERM; exit status and seconds."""
        assert self.process is not None
        began = time.monotonic()
        for _ in range(times):
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30), time.monotonic() - began

    def send(self, receipt: str, *recipients: str, content: bytes = b"Subject: a\r\n\r\nhi\r\n",
             sender: str = "a@b.c", times: int = 1, raw: bool = False,
             stored: bool = True, **verdicts: str) -> None:  # fmt: skip
        """SES accepts a mail: object and notification(s)."""
        if stored:
            self.stub.put_object(f"{BUCKET}/mail/{receipt}", content)
        now = datetime.now(UTC)
        mail = Accepted(receipt, sender, recipients, BUCKET, f"mail/{receipt}", verdicts=verdicts)
        body = notification(mail, now)
        self.put(*[body if raw else in_sns_envelope(body, f"sns-{n}", now) for n in range(times)])

    def put(self, *bodies: str, queue: str = "mail") -> None:
        """Entries, as they are."""
        self.stub.post("send", queue=queue, entries=[{"body": body} for body in bodies])

    def log(self, event: str) -> list[dict[str, Any]]:
        """Return all log lines of that event."""
        lines = self.log_path.read_bytes().splitlines() if self.log_path.exists() else []
        found = (
            json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")
        )
        return [line for line in found if line.get("event") == event]

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return what lies in the dead-letter queue."""
        letters = self.stub.get("dump")["queues"]["dead-letters"]
        for letter in letters:
            named = letter["attributes"].items()
            letter["attributes"] = {name: value["StringValue"] for name, value in named}
        return letters

    def await_deleted(self, count: int, queue: str = "mail") -> None:
        """Until that many entries were deleted."""
        self.stub.get(f"wait?queue={queue}&deleted={count}", timeout=40)


@contextlib.contextmanager
def laid(root: Path, *, chunking: bool = True) -> Iterator[Bed]:
    """Provide a bed with everything running but `deliver`; all of it ends with the block."""
    # Waits of SQS beyond a second pass a hundred times faster.
    arguments = ("--hurry", "100", "--patient", "1", "--state", str(root / "stub"))
    with Stub(*arguments, queues=("mail", "dead-letters", "events")) as stub:
        bed = Bed(root, stub, chunking=chunking)
        bed.dovecot.start()
        bed.postfix.start()
        try:
            yield bed
        finally:
            if bed.process is not None and bed.process.poll() is None:
                bed.kill()
            bed.dovecot.stop()
            bed.postfix.stop()
            bed.sockets.rmdir()


def without_trace(mail: bytes) -> bytes:
    """Return the content below our trace headers."""
    ours = (
        rb"X-Plexus-(?:Receipt|Verdicts|Policy|Sender)|Authentication-Results|X-Original-To"
        rb"|X-Auto-Response-Suppress"
    )
    match = re.match(rb"(?:(?:%b): [^\r]*\r\n)+" % ours, mail)
    assert match, mail[:300]
    return mail[match.end() :]
