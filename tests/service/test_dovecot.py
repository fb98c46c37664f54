"""The dovecot image, driven by real clients, with the mounts and limits of its task definition."""

from __future__ import annotations

import imaplib
import os
import shutil
import smtplib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from corpus import SES_LIMIT, edge_mails, mail_of, wire
from mail_sockets import only_tls_11
from service.container_engine import Container
from service.mail_host import HOSTNAME, ODD_ADDRESS, STACK, MailHost
from wire import await_true

pytestmark = pytest.mark.timeout(600)

VMAIL = 5000
FOLDERS = {"Drafts", "Sent", "Archive", "Junk", "Trash"}


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running and a directory."""
    idle_host.start("dovecot")
    return idle_host


def deliver(host: MailHost, recipient: str, content: bytes) -> None:
    """Deliver by LMTP."""
    with host.lmtp() as lmtp:
        assert lmtp.sendmail("sender@elsewhere.example", [recipient], content) == {}


def answer(host: MailHost, recipient: str) -> int:
    """Return the code with which a mail is taken or deferred; 0 where no process is free for it."""
    try:
        deliver(host, recipient, b"Subject: one of many\r\n\r\n")
    except smtplib.SMTPServerDisconnected:
        return 0
    except smtplib.SMTPDataError as deferred:
        return deferred.smtp_code
    return 250


def logs_in(host: MailHost, address: str) -> bool:
    """Return whether the address can log in with the password of all."""
    try:
        with host.imap(address):
            return True
    except imaplib.IMAP4.error:
        return False


def is_known(host: MailHost, address: str) -> bool:
    """Return whether Dovecot finds a user."""
    try:
        host.containers["dovecot"].exec("doveadm", "user", address)
    except AssertionError:
        return False
    return True


def newest(client: imaplib.IMAP4_SSL, folder: str = "INBOX") -> bytes:
    """Return the newest mail of a folder, whole."""
    client.select(folder, readonly=True)
    return client.fetch("*", "(BODY.PEEK[])")[1][0][1]


def test_folders_exist_marked_and_subscribed(host: MailHost) -> None:
    """A new user finds the five usual folders, each with its special use, subscribed."""
    with host.imap("ben@example.org") as client:
        listed = [line.decode() for line in client.list()[1]]
        marked = {
            line.rpartition(" ")[2]
            for line in listed
            if f"\\{line.rpartition(' ')[2]}" in line.partition(")")[0]
        }
        subscribed = {line.decode().rpartition(" ")[2] for line in client.lsub()[1]}
    assert marked == FOLDERS
    assert subscribed == FOLDERS


def test_delivered_mail_is_read_back_byte_for_byte(host: MailHost) -> None:
    """IMAP returns what LMTP received, below the trace headers that Dovecot adds."""
    with host.imap("ann@example.org") as client:
        for name, content in edge_mails().items():
            stuffed = wire(content)
            with host.lmtp() as lmtp:
                lmtp.ehlo_or_helo_if_needed()
                lmtp.mail("sender@elsewhere.example")
                lmtp.rcpt("ann@example.org")
                lmtp.putcmd("data")
                assert lmtp.getreply()[0] == 354
                dotted = b"\r\n".join(
                    b"." + line if line.startswith(b".") else line
                    for line in stuffed.split(b"\r\n")
                )
                lmtp.send(dotted + b".\r\n")
                assert lmtp.getreply()[0] == 250
            got = newest(client)
            assert got.startswith(b"Return-Path: <sender@elsewhere.example>\r\n")
            assert got.endswith(stuffed), name


@pytest.mark.parametrize("recipient", ["ANN@Example.org", "ann+list@example.org"])
def test_recipient_forms_reach_the_mailbox(host: MailHost, recipient: str) -> None:
    """Upper case and a subaddress mean the same mailbox."""
    deliver(host, recipient, f"Subject: to {recipient}\r\n\r\n".encode())
    with host.imap("ann@example.org") as client:
        assert f"Subject: to {recipient}".encode() in newest(client)


def test_unusual_local_parts_have_mailboxes(host: MailHost) -> None:
    """A name with all of RFC 5321's characters gets mail and can read it."""
    deliver(host, ODD_ADDRESS, b"Subject: odd\r\n\r\n")
    with host.imap(ODD_ADDRESS) as client:
        assert b"Subject: odd" in newest(client)


def test_unknown_recipient_is_refused_for_itself(host: MailHost) -> None:
    """An unknown user gets 550 5.1.1, a known one beside it gets the mail."""
    with host.lmtp() as lmtp:
        refused = lmtp.sendmail(
            "s@elsewhere.example",
            ["nobody@example.org", "ann@example.org"],
            b"Subject: mixed\r\n\r\n",
        )
    assert {each: refusal[0] for each, refusal in refused.items()} == {"nobody@example.org": 550}


def test_largest_mail_passes_within_the_memory_limit(host: MailHost) -> None:
    """Three messages of 40 MB are delivered and read in 96 MB of memory, and nothing is killed."""
    content = mail_of(SES_LIMIT)
    for _ in range(3):
        deliver(host, "ben@example.org", content)
    with host.imap("ben@example.org") as client:
        got = newest(client)
        client.select("INBOX")
        client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
        client.expunge()
    assert got.endswith(content[-SES_LIMIT // 2 :])
    container = host.containers["dovecot"]
    assert container.inspect("{{.State.OOMKilled}}") == "false"
    assert "killed with signal" not in container.logs()


def test_wrong_password_is_refused_slowly(host: MailHost) -> None:
    """A wrong password gets AUTHENTICATIONFAILED after more than a second."""
    start = time.monotonic()
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        host.imap("ann@example.org", "guess")
    assert time.monotonic() - start > 1


def test_nothing_listens_without_tls(host: MailHost) -> None:
    """Only IMAP by TLS and ManageSieve listen, and the TLS port takes no TLS 1.1."""
    container = host.containers["dovecot"]
    sockets = container.exec("cat", "/proc/net/tcp").splitlines()[1:]
    listening = {int(line.split()[1].partition(":")[2], 16) for line in sockets if " 0A " in line}
    assert listening == {993, 4190}
    with (
        socket.create_connection(("127.0.0.1", container.port(993)), timeout=10) as plain,
        pytest.raises(ssl.SSLError),
    ):
        only_tls_11().wrap_socket(plain)


def test_greeting_names_no_software(host: MailHost) -> None:
    """Neither greeting says Dovecot or a version."""
    with imaplib.IMAP4_SSL(
        "127.0.0.1", host.containers["dovecot"].port(993), ssl_context=host.tls()
    ) as client:
        assert b"ovecot" not in client.welcome


def test_certificate_until_there_is_a_real_one(host: MailHost) -> None:
    """Without a certificate Dovecot makes one for the mail host, its key for root and the group."""
    key = host.root / "tls/key.pem"
    assert (key.stat().st_uid, key.stat().st_gid, key.stat().st_mode & 0o777) == (0, 5003, 0o640)
    context = ssl.create_default_context(cafile=str(host.root / "tls/certificate.pem"))
    port = host.containers["dovecot"].port(993)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=HOSTNAME) as tls,
    ):
        assert tls.version() == "TLSv1.3"


def test_changed_directory_is_followed_without_a_restart(host: MailHost) -> None:
    """A new mailbox can log in and gets mail at once, while an old connection stays open.

    Dovecot itself looks at its users' file once a second: a client and a mail that came sooner met
    an internal failure, and the former could crash imap-login with everybody's sessions.
    """
    with host.imap("ann@example.org") as old:
        new = {
            "address": "new@example.org",
            "password-hash": STACK["mailboxes"][0]["password-hash"],
        }
        # This second's look.
        assert not is_known(host, "new@example.org")
        host.write_directory(STACK | {"mailboxes": [*STACK["mailboxes"], new]})
        deliver(host, "new@example.org", b"Subject: welcome\r\n\r\n")
        assert logs_in(host, "new@example.org")
        with host.imap("new@example.org") as client:
            assert b"Subject: welcome" in newest(client)
        host.write_directory()
        await_true("the login's end", lambda: not logs_in(host, "new@example.org"), 10)
        assert old.noop()[0] == "OK"


def test_unwritable_mail_store_defers(host: MailHost) -> None:
    """A mail store that has become read-only makes mail wait (451), it is never refused."""
    store = host.root / "mail/example.org/ben"
    with host.imap("ben@example.org"):
        pass
    moved = store.with_name("ben.away")
    store.rename(moved)
    store.mkdir(mode=0o000)
    try:
        with host.lmtp() as lmtp, pytest.raises(smtplib.SMTPDataError) as deferred:
            lmtp.sendmail("s@elsewhere.example", ["ben@example.org"], b"Subject: wait\r\n\r\n")
        assert deferred.value.smtp_code == 451
    finally:
        store.rmdir()
        moved.rename(store)


def test_lock_of_the_dead_holds_one_mailbox_up(host: MailHost) -> None:
    """A lock left by a killed process defers mail of its own mailbox only (451).

    Such a lock is broken after three minutes; four messages that wait for it so long would be all
    that LMTP can take. And 30 s after it has gone away, `deliver` believes that nothing comes any more.
    """
    deliver(host, "ann@example.org", b"Subject: before\r\n\r\n")
    inbox = "example.org/ann/sdbox/mailboxes/INBOX/dbox-Mails"
    folder = host.root / "mail" / inbox
    # Killed after its mail got its place, within the repair of the index that followed.
    last = max(int(path.suffix[1:]) for path in folder.glob("u.*"))
    left = folder / f"u.{last + 1}"
    shutil.copy(folder / f"u.{last}", left)
    lock = host.root / "indexes" / inbox / "dovecot.index.log.newlock"
    lock.touch()
    for path in (left, lock):
        os.chown(path, VMAIL, VMAIL)
    try:
        with ThreadPoolExecutor() as pool:
            waiting = [pool.submit(answer, host, "ann@example.org") for _ in range(4)]
            await_true("ben's mail", lambda: answer(host, "ben@example.org") == 250, 60)
            assert {each.result() for each in waiting} == {451}
    finally:
        lock.unlink(missing_ok=True)
    await_true("ann's mail", lambda: answer(host, "ann@example.org") == 250)
    with host.imap("ann@example.org") as client:
        assert b"Subject: one of many" in newest(client)


def test_idle_client_hears_of_a_mail_at_once(host: MailHost) -> None:
    """A hibernated IDLE connection is notified of a new mail within 200 ms."""
    with host.imap("ann@example.org") as client:
        client.select()
        client.send(b"x1 IDLE\r\n")
        client.readline()
        await_true("the client to hibernate", lambda: hibernates(host, "ann@example.org"))
        deliver(host, "ann@example.org", b"Subject: ping\r\n\r\n")
        start = time.monotonic()
        assert b"EXISTS" in client.readline()
        assert time.monotonic() - start < 0.2
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"x1 OK"):
            pass


def hibernates(host: MailHost, address: str) -> bool:
    """Return whether all of a user's IMAP connections have given up their processes."""
    shown = host.containers["dovecot"].exec("doveadm", "-f", "tab", "who", "-1", address)
    services = [line.split("\t")[1] for line in shown.splitlines()[1:]]
    return bool(services) and set(services) == {"imap-hibernate"}


@pytest.mark.parametrize(
    ("without", "why"),
    [
        ("/srv/mail", "/srv/mail is not a mount point"),
        ("/srv/indexes", "/srv/indexes is not a mount point"),
        ("/run/plexus/dovecot", "/run/plexus/dovecot is not a mount point"),
    ],
)
def test_refuses_to_start_without_its_mounts(host: MailHost, without: str, why: str) -> None:
    """Without the mail store, the volume for its indexes, or a place for its sockets, Dovecot ends with one clear line."""
    run = host.engine
    mounts = [
        f"--volume={host.root / name}:{place}"
        for name, place in (
            ("mail", "/srv/mail"),
            ("indexes", "/srv/indexes"),
            ("run/dovecot", "/run/plexus/dovecot"),
        )
        if place != without
    ]
    name = run(
        *("create", "--network=none", "--env=PLEXUS_HOSTNAME=mail.example.org", *mounts),
        host.images["dovecot"],
    )
    try:
        run("start", name)
        assert run("wait", name) == "1"
        assert f"dovecot: refused to start: {why}" in Container(run, name).logs()
    finally:
        run("rm", "--force", name)


def test_stops_cleanly_and_fast(host: MailHost) -> None:
    """SIGTERM ends Dovecot within 3 s, with clients connected; a new one finds all mail."""
    deliver(host, "ann@example.org", b"Subject: kept\r\n\r\n")
    client, idle = host.imap("ann@example.org"), host.imap("ben@example.org")
    idle.select()
    idle.send(b"x1 IDLE\r\n")
    await_true("the client to hibernate", lambda: hibernates(host, "ben@example.org"))
    container = host.containers["dovecot"]
    start = time.monotonic()
    container.stop()
    assert time.monotonic() - start < 3
    assert container.inspect("{{.State.ExitCode}}") in {"0", "143"}
    assert client.readline() in {b"", b"* BYE Server shutting down.\r\n"}
    client.shutdown()
    idle.shutdown()
    host.start("dovecot")
    with host.imap("ann@example.org") as again:
        assert b"Subject: kept" in newest(again)
