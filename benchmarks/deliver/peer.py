"""Postfix's `smtp-source -L`: how fast Dovecot takes mail from a client that does nothing else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.aws_stub.objects import mail_of
from benchmarks.deliver.bed import HEAD, SENDER, named, user
from benchmarks.mailhost.engine import Container, Mount, image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.deliver.bed import Bed

SOCKET = "unix:/run/plexus/dovecot/lmtp.sock"


class Peer:
    """A container that holds smtp-source and the messages."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def run(self, count: int, size: int, mailboxes: int, sessions: int) -> float:
        """Measure seconds for `count` messages to all users, one session for each user's share."""
        source = f"/usr/sbin/smtp-source -L -d -f {SENDER} -F /mails/{size}"
        if mailboxes == 1:
            work = f"{source} -s {sessions} -m {count} -t {user(1)} {SOCKET}"
        else:
            users = " ".join(user(n) for n in range(1, mailboxes + 1))
            each = f"{source} -s 1 -m {count // mailboxes} -t {{}} {SOCKET}"
            work = f"printf '%s\\n' {users} | xargs -P {sessions} -I{{}} {each}"
        script = f"begun=$(date +%s%N); {work} && echo $(($(date +%s%N) - begun))"
        printed = self._container.execute("sh", "-c", script, timeout=1800)
        return int(printed.splitlines()[-1]) / 1e9


@contextmanager
def at_hand(bed: Bed, sizes: list[int]) -> Iterator[Peer]:
    """smtp-source beside the bed's Dovecot, with a mail of each size."""
    mails = bed.place.root / "mails"
    mails.mkdir(exist_ok=True)
    for size in sizes:
        mail = mail_of(size, HEAD.encode())
        content = b"".join(mail.blocks(0, mail.size))
        # smtp-source ends each line of the file with CRLF itself.
        (mails / str(size)).write_bytes(content.replace(b"\r\n", b"\n"))
    container = Container(
        named("peer"),
        image("postfix"),
        mounts=[
            Mount(bed.place.dovecot, "/run/plexus/dovecot"),
            Mount(mails, "/mails", read_only=True),
        ],
        options=["--network", "none", "--user", "0", "--entrypoint", "sleep"],
        arguments=["infinity"],
    )
    try:
        container.start()
        yield Peer(container)
    finally:
        container.remove()
