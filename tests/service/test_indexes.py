"""Indexes on the host's volume: copied to EFS, restored from there, and converted once."""

from __future__ import annotations

import imaplib
import os
import random
import re
import shutil
import smtplib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from service.container_engine import ROOT
from service.mail_host import PASSWORD, MailHost
from service.managesieve import ManageSieve
from wire import await_true

pytestmark = pytest.mark.timeout(600)

ANN = "ann@example.org"
BEN = "ben@example.org"
SHARED = f"shared/{ANN}/Project"
CONFIGURATION = ROOT / "containers/dovecot/dovecot.conf"
AS_VMAIL = ("setpriv", "--reuid=5000", "--regid=5000", "--clear-groups")


@pytest.fixture
def host(idle_host: MailHost) -> Iterator[MailHost]:
    """Provide a host with a new store and a new volume, and Dovecot running."""
    for name in ("mail", "indexes"):
        empty(idle_host.root / name)
    idle_host.start("dovecot")
    yield idle_host
    idle_host.close()


def empty(directory: Path) -> None:
    """Remove all that is in a directory."""
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def deliver(host: MailHost, recipient: str, subject: str) -> int:
    """Return the reply code for a mail, trying again after 4xx as `deliver` does."""
    with host.lmtp() as lmtp:
        try:
            lmtp.sendmail(
                "s@elsewhere.example", [recipient], f"Subject: {subject}\r\n\r\nHello\r\n".encode()
            )
        except smtplib.SMTPDataError as refused:
            return refused.smtp_code
        except smtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[recipient][0]
    return 250


def indexes(host: MailHost, command: str) -> str:
    """Run the tool in the running container."""
    return host.containers["dovecot"].exec(*AS_VMAIL, "indexes", command)


def lose_volume(host: MailHost) -> None:
    """Cut the container off as a dead host does, and give it a new, empty volume."""
    host.containers["dovecot"].kill()
    empty(host.root / "indexes")


def state(client: imaplib.IMAP4_SSL, folder: str) -> dict[str, tuple[str, str, str]]:
    """Return what a client sees of a folder: subject -> UID validity, UID, flags."""
    answer, _ = client.select(f'"{folder}"', readonly=True)
    assert answer == "OK", folder
    validity = client.response("UIDVALIDITY")[1][0].decode()
    found: dict[str, tuple[str, str, str]] = {}
    _, parts = client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    for part in parts:
        if isinstance(part, tuple):
            head = part[0].decode()
            flags = re.search(r"FLAGS \(([^)]*)\)", head)[1].replace("\\Recent", "").split()
            uid = re.search(r"UID (\d+)", head)[1]
            subject = part[1].decode().removeprefix("Subject: ").strip()
            assert subject not in found, f"{subject} is there twice"
            found[subject] = (validity, uid, " ".join(sorted(flags)))
    return found


def seen(host: MailHost) -> dict[str, dict[str, tuple[str, str, str]]]:
    """Return what ann sees of all her folders, and ben of what she shares with him."""
    with host.imap(ANN) as ann, host.imap(BEN) as ben:
        folders = [line.decode().rpartition('"/" ')[2].strip('"') for line in ann.list()[1]]
        found = {folder: state(ann, folder) for folder in sorted(folders)}
        # No file of Dovecot's own is taken for a folder.
        assert not [folder for folder in folders if re.search("dovecot|flatcurve|copy", folder)]
        found["subscribed"] = {line.decode(): ("", "", "") for line in ann.lsub()[1]}
        found[SHARED] = state(ben, SHARED)
    return found


def furnish(host: MailHost) -> None:
    """Give ann messages with flags in several folders, one of them shared with ben, and a filter."""
    for number in range(4):
        assert deliver(host, ANN, f"mail {number}") == 250
    with host.imap(ANN) as ann, host.imap(BEN) as ben:
        for folder in (
            "Project",
            "Project/Sub",
            "Bücher".encode("utf-7").decode().replace("+", "&"),
        ):
            assert ann.create(f'"{folder}"')[0] == "OK"
            assert (
                ann.append(f'"{folder}"', r"(\Seen)", None, b"Subject: filed\r\n\r\nHello\r\n")[0]
                == "OK"
            )
        assert ann.subscribe("Project/Sub")[0] == "OK"
        assert ann.setacl("Project", BEN, "lrs")[0] == "OK"
        ann.append("Project", None, None, b"Subject: plan\r\n\r\nHello\r\n")
        ann.select("INBOX")
        ann.store("1", "+FLAGS", r"(\Seen \Answered $Important)")
        ann.store("2", "+FLAGS", r"(\Deleted)")
        ann.expunge()
        assert len(ann.search(None, "BODY", "Hello")[1][0].split()) == 3
        ben.select(SHARED)
        ben.store("2", "+FLAGS", r"(\Seen \Flagged)")
    session = ManageSieve(host.containers["dovecot"].port(4190), host.tls(), ANN, PASSWORD)
    session.activate("mine", "keep;\r\n")
    session.close()


def of_dovecot(host: MailHost, root: str) -> set[str]:
    """Return the names of index, log and search files below one of the host's directories."""
    names = {path.name for path in (host.root / root).rglob("*")}
    return {name for name in names if re.match(r"dovecot\.(index|list|mailbox)|fts-", name)}


def test_no_index_is_on_the_store(host: MailHost) -> None:
    """Whatever users do, only the copies of indexes are beside the messages; the volume has no mail."""
    furnish(host)
    assert of_dovecot(host, "mail") == set()
    indexes(host, "copy")
    assert of_dovecot(host, "mail") == {"dovecot.index.copy", "dovecot.index.pvt.copy"}
    assert {"dovecot.index.log", "dovecot.index.pvt.log", "fts-flatcurve"} <= of_dovecot(
        host, "indexes"
    )
    assert not list((host.root / "indexes").rglob("u.*"))
    # A copy does not hold a folder back, nor come back with the next one of its name.
    with host.imap(ANN) as ann:
        assert ann.delete("Project/Sub")[0] == "OK"
        assert ann.create("Project/Sub")[0] == "OK"
        assert state(ann, "Project/Sub") == {}


def test_a_second_copy_is_of_what_changed(host: MailHost) -> None:
    """Folders in which nothing happened are not written again: EFS bills each byte."""
    furnish(host)
    indexes(host, "copy")
    assert indexes(host, "copy") == ""
    assert deliver(host, ANN, "one more") == 250
    assert "copied 1 indexes" in indexes(host, "copy")


def test_indexes_of_a_mailbox_that_is_gone_go_within_the_hour(host: MailHost) -> None:
    """A new mailbox of that name starts empty; others' indexes stay, and all stay while the store is missing."""
    furnish(host)
    domain = host.root / "indexes/example.org"
    (domain / "new").mkdir()
    for name in ("ann", "ben"):
        os.utime(domain / name, (0, 0))
    gone = host.root / "gone"
    (host.root / "mail/example.org").rename(gone)
    known = host.root / "mail/.indexes"
    epoch = known.read_text()
    known.write_text("another store's")
    assert "gone" not in indexes(host, "copy")
    known.write_text(epoch)
    gone.rename(host.root / "mail/example.org")
    shutil.rmtree(host.root / "mail/example.org/ann")
    assert "example.org/ann are gone" in indexes(host, "copy")
    assert {"ben", "new"} == {path.name for path in domain.iterdir()}
    assert deliver(host, ANN, "anew") == 250
    with host.imap(ANN) as ann:
        assert ["anew"] == list(state(ann, "INBOX"))


def test_what_a_lost_volume_costs(host: MailHost) -> None:
    """Flags since the last copy, and one 451 at most; no mail, folder, UID, right or filter."""
    furnish(host)
    indexes(host, "copy")
    before = seen(host)
    for number in range(3):
        assert deliver(host, ANN, f"later {number}") == 250
    with host.imap(ANN) as ann:
        ann.select("INBOX")
        ann.store("1", "-FLAGS", r"(\Seen)")
        later = state(ann, "INBOX")
    lose_volume(host)
    host.start("dovecot", await_resync=False)
    answers = [deliver(host, ANN, "after 0"), deliver(host, ANN, "after 0 again")]
    assert answers in ([250, 250], [451, 250])
    host.await_resync()
    after = seen(host)
    assert later.keys() <= after["INBOX"].keys()
    assert {folder: after[folder] for folder in before if folder != "INBOX"} == {
        folder: before[folder] for folder in before if folder != "INBOX"
    }
    inbox = after["INBOX"]
    assert {subject: inbox[subject] for subject in before["INBOX"]} == before["INBOX"]
    assert {subject: inbox[subject][:2] for subject in later} == {
        subject: later[subject][:2] for subject in later
    }
    session = ManageSieve(host.containers["dovecot"].port(4190), host.tls(), ANN, PASSWORD)
    assert session.get("mine").endswith("keep;\r\n")
    session.close()
    # And the next start is one as any other.
    host.containers["dovecot"].stop()
    host.start("dovecot")
    assert "from EFS" not in host.containers["dovecot"].logs()
    assert seen(host) == after


def test_a_stop_copies_everything(host: MailHost) -> None:
    """After a clean stop all flags are on EFS, so a new volume continues with them."""
    furnish(host)
    before = seen(host)
    host.containers["dovecot"].stop()
    empty(host.root / "indexes")
    host.start("dovecot")
    assert seen(host) == before


def test_a_volume_that_was_away_is_not_believed(host: MailHost) -> None:
    """A volume of another zone, or from a snapshot, has old indexes: those on EFS are newer."""
    furnish(host)
    host.containers["dovecot"].stop()
    old = host.root / "old"
    shutil.copytree(host.root / "indexes", old, copy_function=shutil.copy2)
    subprocess.run(["chown", "-R", "5000:5000", old], check=True)
    empty(host.root / "indexes")
    host.start("dovecot")
    assert deliver(host, ANN, "in the other zone") == 250
    with host.imap(ANN) as ann:
        ann.select("INBOX")
        ann.store("1:*", "+FLAGS", "Moved")
    before = seen(host)
    host.containers["dovecot"].stop()
    empty(host.root / "indexes")
    subprocess.run(["cp", "-a", f"{old}/.", host.root / "indexes"], check=True)
    shutil.rmtree(old)
    host.start("dovecot")
    assert "are not those of these" in host.containers["dovecot"].logs()
    assert seen(host) == before


def test_a_torn_copy_is_noticed(host: MailHost) -> None:
    """If a folder's copy is damaged, its flags are lost, with a log line; everything else is there."""
    furnish(host)
    indexes(host, "copy")
    before = seen(host)
    copy = next(
        (host.root / "mail").glob("*/ann/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.copy")
    )
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])
    lose_volume(host)
    host.start("dovecot")
    assert f"{copy.name} is damaged" in host.containers["dovecot"].logs()
    after = seen(host)
    assert after["INBOX"].keys() == before["INBOX"].keys()
    assert {name: uid for name, (_, uid, _) in after["INBOX"].items()} == {
        name: uid for name, (_, uid, _) in before["INBOX"].items()
    }
    before.pop("INBOX"), after.pop("INBOX")
    assert after == before


@pytest.mark.parametrize("killed", [("tar",), ("tar", "gzip")])
def test_a_copy_is_not_given_up_while_it_cannot_be_unpacked(
    host: MailHost, killed: tuple[str, ...]
) -> None:
    """The kernel kills what unpacks it, for want of memory: Dovecot does not start, no flag is lost."""
    furnish(host)
    indexes(host, "copy")
    before = seen(host)
    lose_volume(host)
    kill = "printf '#!/bin/sh\nkill -9 $$\n' >/tmp/{0}; chmod 755 /tmp/{0};"
    killing = "".join(kill.format(name) for name in killed)
    tried = run_once(host, f"{killing} PATH=/tmp:$PATH exec {' '.join(AS_VMAIL)} indexes start")
    assert tried.returncode == 1
    assert "dovecot.index.copy cannot be unpacked to /srv/indexes" in tried.stderr
    assert "damaged" not in tried.stdout
    host.start("dovecot")
    assert seen(host) == before


def test_copies_made_under_load_are_whole(host: MailHost) -> None:
    """While messages come and flags change, each copy unpacks to an index that Dovecot finds no fault with."""
    furnish(host)
    over = threading.Event()

    def change() -> None:
        with host.imap(ANN) as ann:
            ann.select("INBOX")
            while not over.is_set():
                ann.store("1:*", "+FLAGS.SILENT", r"(\Flagged busy)")
                ann.store("1:*", "-FLAGS.SILENT", r"(\Flagged busy)")

    def receive() -> None:
        number = 0
        while not over.is_set():
            assert deliver(host, ANN, f"load {number}") == 250
            number += 1

    threads = [threading.Thread(target=each) for each in (change, receive)]
    for each in threads:
        each.start()
    try:
        copied = "".join(indexes(host, "copy") for _ in range(25))
    finally:
        over.set()
        for each in threads:
            each.join()
    assert copied.count("copied ") == 25
    assert "could not" not in copied
    with host.imap(ANN) as ann:
        before = state(ann, "INBOX")
    lose_volume(host)
    host.start("dovecot")
    assert seen(host)["INBOX"].keys() == before.keys()
    assert not re.search("(?i)corrupt|broken|panic", host.containers["dovecot"].logs())


def test_an_unclean_end_drops_the_search_indexes(host: MailHost) -> None:
    """After a kill they are rebuilt at the next search; after a stop they are kept."""
    furnish(host)
    found = list((host.root / "indexes").rglob("fts-flatcurve"))
    assert found
    host.containers["dovecot"].stop()
    host.start("dovecot")
    assert [path for path in found if path.exists()] == found
    host.containers["dovecot"].kill()
    host.start("dovecot")
    assert [path for path in found if path.exists()] == []
    assert "had not ended in order" in host.containers["dovecot"].logs()
    with host.imap(ANN) as ann:
        ann.select("INBOX")
        assert len(ann.search(None, "BODY", "Hello")[1][0].split()) == 3


# Mailboxes of before ----------------------------------------------------------------------------


@contextmanager
def as_before(host: MailHost) -> Iterator[None]:
    """Dovecot with its indexes beside the messages, as it had them until it had a volume for them."""
    text = CONFIGURATION.read_text()
    without = re.sub(r"(?m)^ *(mail_index_path|mailbox_directory_name_legacy) = .*\n", "", text)
    without = re.sub(
        r"mail_index_private_path = .*", "mail_index_private_path = ~/shared/%{owner_user}", without
    )
    assert len(text.splitlines()) - len(without.splitlines()) == 3
    old = host.root / "dovecot-old.conf"
    old.write_text(without)
    host.start("dovecot", options=[f"--volume={old}:/etc/dovecot/dovecot.conf:ro"])
    yield
    host.containers["dovecot"].stop()
    # Nor did it know of copies.
    (host.root / "mail/.indexes").unlink()
    empty(host.root / "indexes")


def test_mailboxes_of_before_are_moved_once(host: MailHost) -> None:
    """Indexes beside the messages are taken to the volume with all flags, whenever the move is killed."""
    empty(host.root / "mail")
    with as_before(host):
        furnish(host)
        before = seen(host)
        assert "dovecot.index.log" in of_dovecot(host, "mail")
    kills = 0
    for seconds in (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.16, 0.2):
        killed = f"timeout --signal=KILL {seconds} setpriv --reuid=5000 --regid=5000 --clear-groups indexes start"
        done = run_once(host, killed)
        kills += done.returncode != 0
    assert kills > 1
    host.start("dovecot")
    assert seen(host) == before
    # For the version before they stay a week longer, but not what is made anew.
    indexes(host, "copy")
    kept = {"dovecot.index.log", "dovecot.index.pvt.log"}
    copies = {"dovecot.index.copy", "dovecot.index.pvt.copy"}
    assert of_dovecot(host, "mail") == kept | copies
    for path in (host.root / "mail").rglob("dovecot.index*.log"):
        os.utime(path, (0, 0))
    assert deliver(host, ANN, "new") == 250
    indexes(host, "copy")
    inbox = next((host.root / "mail").glob("*/ann/sdbox/mailboxes/INBOX/dbox-Mails"))
    assert {path.name for path in inbox.iterdir() if path.name.startswith("dovecot")} == {
        "dovecot.index.copy"
    }
    with host.imap(ANN) as ann:
        assert {k: v for k, v in state(ann, "INBOX").items() if k != "new"} == before["INBOX"]


def run_once(host: MailHost, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command in the image, with the host's messages and indexes; nothing else runs."""
    mounts = [f"--volume={host.root / name}:/srv/{name}" for name in ("mail", "indexes")]
    return subprocess.run(
        [
            *(
                host.engine.command,
                "run",
                "--rm",
                "--network=none",
                "--entrypoint=/bin/sh",
                *mounts,
            ),
            *(host.images["dovecot"], "-c", command),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# A full volume ----------------------------------------------------------------------------------


@contextmanager
def small_volume(host: MailHost, megabytes: int) -> Iterator[Path]:
    """Provide a volume of its own, of a fixed size, for the indexes."""
    path = host.root / "indexes"
    image = host.root / "indexes.ext4"
    subprocess.run(["truncate", f"--size={megabytes}M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, path], check=True)
    try:
        os.chown(path, 5000, 5000)
        path.chmod(0o700)
        yield path
    finally:
        host.close()
        subprocess.run(["umount", path], check=True)


def test_a_full_volume_loses_no_mail(host: MailHost) -> None:
    """Mail is deferred with 4xx, never refused, and accepted once search indexes are removed."""
    host.close()
    empty(host.root / "mail")
    with small_volume(host, 8) as volume:
        host.start("dovecot")
        furnish(host)
        # Search indexes grow until nothing is left, and messages keep coming.
        ballast = next(volume.rglob("fts-flatcurve")) / "ballast"
        with ballast.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
                file.flush()
        codes = {deliver(host, ANN, f"full {number}") for number in range(60)}
        assert codes <= {250, 451}
        assert 451 in codes
        with host.imap(ANN) as ann:
            assert "mail 0" in state(ann, "INBOX")
            taken = {k for k in state(ann, "INBOX") if k.startswith("full")}
        metric = indexes(host, "space")
        assert re.search(r"\d+ % full: \d+ search indexes are removed", metric)
        assert re.search(r'"Host": "mail.example.org", "IndexVolumeUsed": (9\d|100)}', metric)
        assert deliver(host, ANN, "room again") == 250
        with host.imap(ANN) as ann:
            inbox = state(ann, "INBOX").keys()
        assert taken | {"mail 0", "room again"} <= inbox


def test_search_indexes_that_fill_the_volume_give_way(host: MailHost) -> None:
    """The room of a search index comes back, though the indexer keeps it open after its error."""
    host.close()
    empty(host.root / "mail")
    chance = random.Random(1)

    def wordy() -> int:
        words = ("".join(chance.choices("abcdefghijklmnop", k=8)) for _ in range(2000))
        with host.lmtp() as lmtp:
            try:
                lmtp.sendmail("s@elsewhere.example", [ANN], "\r\n".join(["", *words, ""]).encode())
            except smtplib.SMTPDataError as refused:
                return refused.smtp_code
        return 250

    def has_room() -> bool:
        return shutil.disk_usage(host.root / "indexes").free > 1_000_000

    with small_volume(host, 8):
        host.start("dovecot")
        await_true("a full volume", lambda: wordy() == 451, timeout=120)
        assert "1 search indexes are removed" in indexes(host, "space")
        await_true("room", has_room)
        assert deliver(host, ANN, "room again") == 250
