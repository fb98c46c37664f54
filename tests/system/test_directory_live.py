"""A changed directory takes effect everywhere within a minute, without disconnecting anybody."""

from __future__ import annotations

import contextlib
import imaplib
import ssl
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from system.desk import ROOT, Desk
from wire import await_true

STACK = ROOT / "src/postal_plexus/desk/stack.yaml"
NEW_MAILBOX = """    - address: new@example.org
      password-hash: "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$YWJjZGVmZ2g$YWJjZGVmZ2hpamtsbW5vcA"
"""
NEW_ALIAS = """    - address: team@example.org
      destinations: [ben@example.org, new@example.org]
"""


@contextlib.contextmanager
def idle_clients(desk: Desk, number: int) -> Iterator[Callable[[], bool]]:
    """IMAP connections in IDLE; the result says whether all of them are there and answer."""
    context = ssl.create_default_context(cafile=desk.ca_file)
    with contextlib.ExitStack() as stack:
        clients: list[imaplib.IMAP4_SSL] = []
        for count in range(number):
            address = (desk.ann, desk.ben)[count % 2]
            client = imaplib.IMAP4_SSL(*desk.endpoint("imaps"), ssl_context=context, timeout=60)
            stack.callback(client.shutdown)
            client.login(address, desk.password(address))
            client.select(readonly=True)
            client.send(b"i1 IDLE\r\n")
            while not client.readline().startswith(b"+"):
                pass
            clients.append(client)

        def all_answer() -> bool:
            for client in clients:
                client.send(b"DONE\r\n")
                while not (line := client.readline()).startswith(b"i1 "):
                    assert line, "a connection was cut off"
                    assert not line.startswith(b"* BYE"), line
            return True

        yield all_answer


def test_a_changed_stack_file_reaches_the_containers_while_clients_stay(
    desk: Desk, tmp_path: Path
) -> None:
    """A new mailbox and alias: IMAP, submission and SES know them within 60 s; 20 clients stay."""
    before = desk.started()
    changed = tmp_path / "stack.yaml"
    text = STACK.read_text().replace(
        "  postal-plexus:aliases:\n", f"{NEW_MAILBOX}  postal-plexus:aliases:\n{NEW_ALIAS}"
    )
    changed.write_text(text)
    mark = uuid.uuid4().hex
    with idle_clients(desk, 20) as all_answer, desk.submission(desk.ann) as session:
        desk.plexus("up", "--ports", "ephemeral", "--stack-file", str(changed))
        desk.is_healthy()

        def has_mailbox() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):
                desk.engine("exec", desk.container("dovecot"), "doveadm", "user", "new@example.org")
                return True
            return False

        def is_known() -> bool:
            with desk.submission(desk.ann) as client:
                client.mail(desk.ann)
                return client.rcpt("team@example.org")[0] == 250

        await_true("the new mailbox", has_mailbox, 60)
        with desk.mailbox("new@example.org"):
            pass
        await_true("Postfix to know the new alias", is_known, 60)
        assert {} == desk.receive(
            "world@elsewhere.example",
            ["team@example.org"],
            b"X-Mark: " + mark.encode() + b"\r\nSubject: team\r\n\r\n",
        )
        for address in (desk.ben, "new@example.org"):
            with desk.mailbox(address) as mailbox:
                assert 1 == len(mailbox.await_mail("HEADER", "X-Mark", mark))
        assert 250 == session.noop()[0]
        assert all_answer()
    assert before == desk.started()


def test_a_broken_directory_is_refused_and_told(desk: Desk) -> None:
    """It gives a log line and a metric, the last good one stays in use, and a good one replaces it."""
    good = desk.directory_object()
    with idle_clients(desk, 20) as all_answer:
        desk.put_directory_object(b'{"version": 1, "mailboxes": []}')
        await_true(
            "the refusal and its metric",
            lambda: {"directory refused", "DirectoryRefused"} <= refusals(desk),
            60,
        )
        mark = uuid.uuid4().hex
        desk.submit(desk.ann, desk.ben, mark)
        with desk.mailbox(desk.ben) as mailbox:
            assert 1 == len(mailbox.await_mail("SUBJECT", mark))
        assert all_answer()
    desk.put_directory_object(good)


def refusals(desk: Desk) -> set[str]:
    """What `deliver` has said about a broken directory: the event, the metric."""
    found: set[str] = set()
    for entry in desk.log_lines("deliver"):
        found |= {entry.get("event", "")} | (entry.keys() & {"DirectoryRefused"})
    return found
