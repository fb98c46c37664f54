"""The desk's own files and choices: ports, authority, accounts, settings, layout, faults, spool."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from awsdesk import files, ports, settings, sockets
from awsdesk import smtp_client as world
from awsdesk.certificate_authority import CertificateAuthority
from awsdesk.layout import DeskLayout, Use
from awsdesk.lock import DeskLock, DeskLockedError, holder
from awsdesk.ses import faults
from awsdesk.ses.received import ReceivedMail, ReceivedMails
from awsdesk.settings import Ports, SettingsError
from awsdesk.sockets import PortTakenError
from postal_plexus.desk import accounts, published

if TYPE_CHECKING:
    from pathlib import Path


def test_preferred_ports_are_taken_where_they_are_free() -> None:
    """A taken one is replaced by a free one, and no port is given twice."""
    free = iter(range(50000, 50100))
    chosen = ports.choose(
        Ports(),
        published.USUAL_PORTS,
        is_free=lambda _, port: port != 1025,
        free_port=lambda: next(free),
    )
    assert 50000 == chosen.ses_inbound
    assert 1993 == chosen.tasks["imaps"]
    numbers = list(chosen.named().values())
    assert len(numbers) == len(set(numbers))


def test_a_desk_keeps_the_ports_that_it_had() -> None:
    """Before the preferred ones."""
    had = Ports(aws=4002, tasks={"imaps": 4001})
    chosen = ports.choose(had, published.USUAL_PORTS, is_free=lambda *_: True)
    assert (4002, 4001) == (chosen.aws, chosen.tasks["imaps"])


def test_a_port_is_listened_on_at_an_address_that_is_not_there_yet() -> None:
    """The gateway of a bridge network comes with its first container; a taken port is said."""
    port = sockets.free_port()
    listening = sockets.listen(("127.0.0.1", "192.0.2.77"), port)
    assert [("127.0.0.1", port), ("192.0.2.77", port)] == [s.getsockname() for s in listening]
    with pytest.raises(PortTakenError):
        sockets.listen(("127.0.0.1",), port)
    for one in listening:
        one.close()


def test_clients_trust_the_authoritys_certificates(tmp_path: Path) -> None:
    """Verified by name, by address, with the strict flags of newer Pythons."""
    authority = CertificateAuthority(tmp_path)
    made = authority.certificate("mail", ["mail.example.org", "127.0.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.chain, made.key)
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in ("mail.example.org", "127.0.0.1"):
        assert host in _shake(server, client, host)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake(server, client, "other.example.org")
    assert 0o600 == stat.S_IMODE(made.key.stat().st_mode)


def _shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str:
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(ours, server_side=True).close()
        except OSError:
            ours.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname=host) as wrapped:
            return str(wrapped.getpeercert())
    finally:
        theirs.close()
        thread.join()


def test_a_certificate_is_kept_while_it_fits(tmp_path: Path) -> None:
    """The same names: the same certificate; other names: another."""
    authority = CertificateAuthority(tmp_path)
    first = authority.certificate("mail", ["a.example"]).chain.read_bytes()
    assert (
        first
        == CertificateAuthority(tmp_path).certificate("mail", ["a.example"]).chain.read_bytes()
    )
    assert first != authority.certificate("mail", ["b.example"]).chain.read_bytes()


def test_the_bundle_has_the_desks_root(tmp_path: Path) -> None:
    """Added to the host's certificates, once."""
    authority = CertificateAuthority(tmp_path)
    authority.bundle()
    bundle = authority.bundle().read_bytes()
    assert 1 == bundle.count((tmp_path / "ca.pem").read_bytes())


def test_accounts_keep_their_passwords(tmp_path: Path) -> None:
    """A mailbox that is there stays as it is, also its hash; a new one gets its own."""
    path = tmp_path / "accounts.json"
    (ann,) = accounts.for_mailboxes(path, ["ann@example.org"])
    again, ben = accounts.for_mailboxes(path, ["ann@example.org", "ben@example.org"])
    assert ann == again
    assert ann.password != ben.password
    assert ben.password_hash.startswith("{ARGON2ID}$argon2id$v=19$m=7168,t=5,p=1$")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_settings_are_read_as_written_and_broken_ones_say_the_remedy(tmp_path: Path) -> None:
    """None where there are none."""
    path = tmp_path / "desk.json"
    assert settings.load(path) is None
    made = settings.new("plexus-1", "eu-west-1")
    settings.save(path, made)
    made = settings.with_ports(made, Ports(aws=1, tasks={"imaps": 2}))
    settings.save(path, made)
    assert made == settings.load(path)
    path.write_text("{}")
    with pytest.raises(SettingsError, match="--destroy"):
        settings.load(path)


def test_two_desks_have_two_names(tmp_path: Path) -> None:
    """Containers and networks of two directories do not meet."""
    one, two = DeskLayout.at(tmp_path / "a"), DeskLayout.at(tmp_path / "b")
    assert one.name != two.name
    assert one.name == DeskLayout.at(tmp_path / "x" / ".." / "a").name
    assert one.root / "host" / "var" / "lib" == one.host_path("/var/lib")


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    """And says by whom."""
    path = tmp_path / "pid"
    assert holder(path) is None
    lock = DeskLock(path)
    lock.acquire()
    with pytest.raises(DeskLockedError):
        DeskLock(path).acquire()
    assert holder(path) is not None


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """With its mode, and nothing left beside it."""
    path = tmp_path / "f"
    files.replace(path, b"one", 0o640)
    files.replace(path, b"two", 0o640)
    assert (b"two", 0o640) == (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["[]", "{", '{"smtp_reply": 1'])
def test_a_broken_file_injects_no_fault(tmp_path: Path, text: str) -> None:
    """A mail is not lost for a typing error."""
    path = tmp_path / "faults.json"
    path.write_text(text)
    assert faults.Faults() == faults.read(path)


def test_a_send_rate_counts_a_second() -> None:
    """Two a second: the third waits for the next second."""
    rate = faults.SendRate()
    assert [False, False, True] == [rate.exceeds(2, now) for now in (10.0, 10.1, 10.2)]
    assert not rate.exceeds(2, 11.05)


def test_received_mails_are_forgotten_after_24_hours(tmp_path: Path) -> None:
    """Over a restart, and with a line that a crash cut off."""
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    path = tmp_path / "received.jsonl"
    mails = ReceivedMails(path, now)
    old = ReceivedMail("old", "w@e.example", ("a@x",), now - timedelta(hours=23, minutes=59))
    mails.add(old)
    with path.open("a") as file:
        file.write('{"message_id": "cut')
    again = ReceivedMails(path, now)
    assert old == again.find("old", now)
    assert again.find("old", now + timedelta(minutes=1)) is None
    assert again.find("other", now) is None


def test_a_directory_is_a_desk_only_if_one_was_made_there(tmp_path: Path) -> None:
    """By a file of its own; a desk of before there was one by what it holds."""
    layout = DeskLayout.at(tmp_path / "desk")
    assert Use.MISSING is layout.use()
    layout.root.mkdir()
    assert Use.EMPTY is layout.use()
    (layout.root / "desk.json").write_text("{}")
    assert Use.FOREIGN is layout.use()
    (layout.root / "log").mkdir()
    assert Use.FOREIGN is layout.use()
    layout.prepare()
    assert Use.DESK is layout.use()
    layout.mark.unlink()
    assert Use.DESK is layout.use()


def test_only_what_the_desk_made_is_removed(tmp_path: Path) -> None:
    """Other files stay; a link goes, and what it leads to stays."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "photo.jpg").write_text("x")
    layout = DeskLayout.at(tmp_path / "desk")
    layout.prepare()
    layout.efs.rmdir()
    layout.efs.symlink_to(elsewhere)
    (layout.outbox / "mail.eml").write_text("x")
    (layout.root / ".desk.json.abcdef").write_text("left by a kill")
    (layout.root / "thesis.txt").write_text("x")
    (layout.root / ".log.old").write_text("x")
    kept = {path.name for path in layout.remove()}
    assert {"thesis.txt", ".log.old"} == kept == {path.name for path in layout.root.iterdir()}
    assert [elsewhere / "photo.jpg"] == list(elsewhere.iterdir())
    other = DeskLayout.at(tmp_path / "other")
    other.prepare()
    assert () == other.remove()
    assert not other.root.exists()


def test_a_certificate_lives_366_days_at_most(tmp_path: Path) -> None:
    """Mozilla's limit; one that was made for longer is made anew."""

    def life() -> timedelta:
        chain = CertificateAuthority(tmp_path).certificate("mail", ["mail.example.org"]).chain
        made = x509.load_pem_x509_certificate(chain.read_bytes())
        return made.not_valid_after_utc - made.not_valid_before_utc

    assert timedelta(days=360) < life() <= timedelta(days=366)


@pytest.mark.parametrize("subject", ["one\ntwo", "one\r\nBcc: x@e.example", "\n", "x" * 3000])
def test_a_mail_from_the_world_has_a_subject_of_one_line(subject: str) -> None:
    """Whatever is written on the command line."""
    mail = message_from_bytes(
        world.compose("w@e.example", ["a@b.example"], subject, "x\n", datetime.now(UTC)),
        policy=policy.default,
    )
    assert " ".join(subject.split()) == mail["Subject"].replace("\n", "")
    assert "Bcc" not in mail
