"""Messages that AWS Backup restored are put into mailboxes: into new folders, or in place."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postal_plexus.config.lists import read_stack
from postal_plexus.directory import dovecot_passwd
from service.mail_host import HOSTNAME, STACK, MailHost
from service.test_indexes import ANN, BEN, deliver, empty, furnish, indexes, state
from service.test_renamed_mailbox import ANNA, renamed
from wire import await_true

pytestmark = pytest.mark.timeout(300)

CAPABILITIES = "CHOWN,DAC_OVERRIDE,FOWNER,SETGID,SETUID"


@pytest.fixture
def host(idle_host: MailHost) -> Iterator[MailHost]:
    """Provide a host with a new store and a new volume, and Dovecot running."""
    for name in ("mail", "indexes"):
        empty(idle_host.root / name)
    # As the root of an EFS file system.
    idle_host.root.chmod(0o755)
    idle_host.write_directory()
    idle_host.start("dovecot")
    yield idle_host
    for left in restored(idle_host):
        shutil.rmtree(left)
    idle_host.close()


def task(host: MailHost, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Run a verb as the task definition has it; its exit code, and what it said."""
    mounts = (
        *(
            ("mail", "/srv/mail", "rw"),
            (".", "/srv/store", "rw"),
            ("indexes", "/srv/indexes", "rw"),
        ),
        *(("run/dovecot", "/run/plexus/live-dovecot", "ro"),),
        ("run/directory", "/run/plexus/directory", "ro"),
    )
    done = subprocess.run(
        [
            *(host.engine.command, "run", "--rm", "--read-only", "--tmpfs=/run", "--tmpfs=/tmp"),
            *("--network=none", "--cap-drop=all", f"--cap-add={CAPABILITIES}", "--memory=96m"),
            *("--security-opt=no-new-privileges", f"--env=PLEXUS_HOSTNAME={HOSTNAME}"),
            *(f"--volume={host.root / source}:{to}:{mode}" for source, to, mode in mounts),
            *("--entrypoint=/usr/local/bin/maintain", host.images["dovecot"], "restore", *words),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    assert lines[-1]["kind"] == "end", done.stderr
    return done.returncode, lines


def restored(host: MailHost) -> list[Path]:
    """Return what AWS Backup has written, as far as it is still there."""
    return sorted(host.root.glob("aws-backup-restore_*"))


def back_up(host: MailHost, name: str, *items: str) -> Path:
    """Write what a backup of now would restore."""
    top = host.root / f"aws-backup-restore_{name}"
    for item in items or [""]:
        into = top / "mail" / item
        into.parent.mkdir(parents=True, exist_ok=True)
        # Again where a file went meanwhile: Dovecot runs.
        copied = ["cp", "-a", "-T", host.root / "mail" / item, into]
        await_true(
            f"a copy of {item}",
            lambda words=copied: subprocess.run(words, check=False).returncode == 0,
        )
    return top


def seen(host: MailHost, address: str) -> dict[str, dict[str, str]]:
    """Return all folders of a mailbox that have mail: subject -> flags."""
    with host.imap(address) as client:
        folders = [line.decode().rpartition('"/" ')[2].strip('"') for line in client.list()[1]]
        folders = [each for each in folders if not each.startswith("shared")]
        found = {
            each: {subject: flags for subject, (_, _, flags) in state(client, each).items()}
            for each in folders
            if client.select(f'"{each}"', readonly=True)[0] == "OK"
            and int(client.response("EXISTS")[1][0] or 0)
        }
    return {each: mails for each, mails in found.items() if mails}


def lose(host: MailHost, address: str) -> None:
    """Remove all messages of a user for good."""
    words = ("doveadm", "-o", "mail_plugins/lazy_expunge=no", "expunge", "-u", address)
    host.containers["dovecot"].exec(*words, "mailbox", "*", "all")


def test_a_mailbox_comes_into_folders_of_its_own(host: MailHost) -> None:
    """With flags, keywords and folders; while mail comes in, and what is there stays as it is."""
    furnish(host)
    indexes(host, "copy")
    assert deliver(host, ANN, "younger than the copy of the index") == 250
    before = seen(host, ANN)
    back_up(host, "2026-11-27T03-00-00-000000Z", "example.org/ann")
    lose(host, ANN)
    coming = [threading.Thread(target=deliver, args=(host, ANN, f"new {n}")) for n in range(8)]
    for each in coming:
        each.start()
    code, lines = task(host, "restore-mailbox", "--date=2026-11-27", ANN)
    for each in coming:
        each.join()
    assert code == 0, lines
    top = "Restored 2026-11-27"
    after = seen(host, ANN)
    assert before == {
        name.removeprefix(f"{top}/"): mails for name, mails in after.items() if top in name
    }
    assert {f"new {n}" for n in range(8)} == after["INBOX"].keys()
    assert [] == restored(host)
    with host.imap(ANN) as client:
        subscribed = [line.decode() for line in client.lsub()[1]]
        assert any(f"{top}/INBOX" in line for line in subscribed)
    # The next one has a name of its own.
    back_up(host, "2026-11-28T03-00-00-000000Z", "example.org/ann")
    assert 0 == task(host, "restore-mailbox", "--date=2026-11-27", ANN)[0]
    assert any(name.startswith(f"{top} (2)/") for name in seen(host, ANN))


def collection(folder: Path, name: str, tag: str = "VCALENDAR", **entries: str) -> Path:
    """Write a collection as Radicale does, as its user."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".Radicale.props").write_text(json.dumps({"tag": tag, "D:displayname": name}))
    for uid, text in entries.items():
        (folder / f"{uid}.ics").write_text(text)
    for each in (folder.parent, folder, *folder.iterdir()):
        os.chown(each, 5007, 5005)
    return folder


def shown(home: Path) -> dict[str, dict[str, str]]:
    """Return the collections of a home by their names: file name -> text."""
    found: dict[str, dict[str, str]] = {}
    for each in (each for each in home.iterdir() if not each.is_symlink()):
        name = json.loads((each / ".Radicale.props").read_text())["D:displayname"]
        assert name not in found
        paths = [path for path in each.iterdir() if not path.is_symlink()]
        found[name] = {path.name: path.read_text() for path in paths if path.suffix == ".ics"}
        for path in (each, *paths):
            assert (5007, 5005) == (path.stat().st_uid, path.stat().st_gid)
    return found


@pytest.fixture
def calendars(idle_host: MailHost) -> Iterator[Path]:
    """Provide the store of calendars: two of Ann, one that she shares, and links that lead away."""
    idle_host.root.chmod(0o755)
    idle_host.write_directory()
    store = idle_host.root / "calendars"
    store.mkdir(exist_ok=True)
    empty(store)
    os.chown(store, 5007, 5005)
    home = store / "collection-root" / ANN
    collection(home / "calendar", "Calendar", a="one", b="two")
    collection(home / "contacts", "Contacts", "VADDRESSBOOK")
    collection(store / "shared/calendars/family", "family", f="party")
    (home / "shared.family").symlink_to("../../shared/calendars/family")
    (home / "calendar/secret.ics").symlink_to("/etc/shadow")
    yield store
    for left in restored(idle_host):
        shutil.rmtree(left)
    empty(store)


def back_up_calendars(host: MailHost, name: str) -> Path:
    top = host.root / f"aws-backup-restore_{name}"
    shutil.copytree(host.root / "calendars", top / "calendars", symlinks=True)
    return top


def test_calendars_come_beside_the_existing_ones(idle_host: MailHost, calendars: Path) -> None:
    """Under names of their own, twice too; what is there stays; no link is followed."""
    home = calendars / "collection-root" / ANN
    half = back_up_calendars(idle_host, "2026-11-26T03-00-00-000000Z")
    (half / "plexus-restoring-calendars").touch()
    for name in ("Restored 2026-11-27 Calendar", "Restored 2026-11-27 Calendar (2)"):
        back_up_calendars(idle_host, "2026-11-27T03-00-00-000000Z")
        (home / "calendar/b.ics").unlink(missing_ok=True)
        (home / "calendar/a.ics").write_text("changed")
        code, lines = task(idle_host, "restore-calendars", "--date=2026-11-27", ANN)
        told = [(each["name"], each["entries"]) for each in lines if each["kind"] == "calendar"]
        assert (0, True) == (code, (name, 1 if "(2)" in name else 2) in told), lines
        assert [] == restored(idle_host)
    found = shown(home)
    assert {"a.ics": "one", "b.ics": "two"} == found["Restored 2026-11-27 Calendar"]
    assert {"a.ics": "changed"} == found["Restored 2026-11-27 Calendar (2)"]
    assert {"a.ics": "changed"} == found["Calendar"]
    back_up_calendars(idle_host, "2026-11-27T03-00-00-000000Z")
    (calendars / "shared/calendars/family/f.ics").unlink()
    code, lines = task(idle_host, "restore-calendars", "--shared", "--date=2026-11-27", ANN)
    assert (0, {"f.ics": "party"}) == (code, shown(home)["Restored 2026-11-27 family"]), lines
    code, lines = task(idle_host, "restore-calendars", "--date=2026-11-27", BEN)
    assert (65, f"nothing of the calendars of {BEN} was restored") == (code, lines[0]["text"])


def test_lost_calendars_are_in_place_again(
    idle_host: MailHost, calendars: Path, tmp_path: Path
) -> None:
    """Those that are gone, or were made anew and are empty; one with entries stays, and is told."""
    back_up_calendars(idle_host, "2026-11-27T03-00-00-000000Z")
    for name in ("mail", "indexes"):
        empty(idle_host.root / name)
    (restored(idle_host)[0] / "mail").mkdir()
    home = calendars / "collection-root" / ANN
    shutil.rmtree(calendars / "shared")
    (home / "shared.family").unlink()
    for each in (home / "calendar").glob("*.ics"):
        each.unlink()
    shutil.rmtree(home / "contacts")
    collection(home / "new", "New", n="since")
    code, lines = task(idle_host, "restore-all")
    assert 0 == code, lines
    assert {"a.ics": "one", "b.ics": "two"} == shown(home)["Calendar"]
    assert {"Calendar", "Contacts", "New"} == shown(home).keys()
    assert "party" == (home / "shared.family/f.ics").read_text()
    # A thief in the web container has put a link where the homes were.
    back_up_calendars(idle_host, "2026-11-28T03-00-00-000000Z")
    (restored(idle_host)[0] / "mail").mkdir()
    shutil.rmtree(calendars / "collection-root")
    (calendars / "collection-root").symlink_to(tmp_path)
    code, lines = task(idle_host, "restore-all")
    assert (65, []) == (code, list(tmp_path.iterdir())), lines
    (calendars / "collection-root").unlink()
    code, lines = task(idle_host, "restore-all")
    assert 0 == code, lines
    assert ["family"] == [each["name"] for each in lines if each["kind"] == "kept-calendar"]
    assert {"Calendar", "Contacts", "New"} == shown(home).keys()


def test_what_a_killed_task_has_left_is_removed_first(host: MailHost) -> None:
    """Its incomplete folders and AWS Backup's directory are removed, so nothing is duplicated."""
    for number in range(5):
        deliver(host, ANN, f"mail {number}")
    half = back_up(host, "2026-11-27T03-00-00-000000Z", "example.org/ann")
    back_up(host, "2026-11-27T04-00-00-000000Z", "example.org/ann")
    (half / "plexus-restoring").write_text(json.dumps({"address": ANN, "folder": "Restored A"}))
    # In a stack of several hosts: this one is at work there.
    of_host_2 = back_up(host, "2026-11-27T02-00-00-000000Z", "example.org/ann")
    at_work = {"address": BEN, "mailbox": BEN, "folder": "Restored B", "host": 2}
    (of_host_2 / "plexus-restoring").write_text(json.dumps(at_work))
    with host.imap(ANN) as client:
        client.create('"Restored A/INBOX"')
        client.select("INBOX")
        client.copy("1:2", '"Restored A/INBOX"')
    code, lines = task(host, "restore-mailbox", "--date=A", ANN)
    assert code == 0, lines
    expected = {f"mail {number}" for number in range(5)}
    assert {"INBOX", "Restored A/INBOX"} == seen(host, ANN).keys()
    assert expected == seen(host, ANN)["Restored A/INBOX"].keys()
    assert [of_host_2] == restored(host)


def test_dovecot_does_not_start_while_all_are_restored(host: MailHost) -> None:
    """Whatever starts it: another operator's command, a deployment. It starts afterwards."""
    host.containers["dovecot"].stop()
    lock = host.root / "run/dovecot/holds/.lock"
    number = lock.stat().st_ino

    def waits() -> bool:
        lines = Path("/proc/locks").read_text().splitlines()
        return any("-> FLOCK" in line and f":{number} " in line for line in lines)

    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        dovecot = host.start("dovecot", await_health=False)
        await_true("Dovecot to wait", waits)
        assert not dovecot.healthy()
    await_true("Dovecot to start", dovecot.healthy)


def test_a_restore_never_makes_a_mailbox_refuse_mail(host: MailHost) -> None:
    """A restore beyond the quota is refused before it starts, with the remedy."""
    with host.imap(ANN) as client:
        client.append("INBOX", None, None, b"Subject: large\r\n\r\n" + b"x" * 700_000 + b"\r\n")
    back_up(host, "2026-11-27T03-00-00-000000Z", "example.org/ann")
    table = dovecot_passwd(read_stack(STACK))
    host.write_table(
        "dovecot-passwd", table.replace("::::::", "::::::userdb_quota_storage_size=1M ")
    )
    # Dovecot looks at its table once a second at most.
    words = ("doveadm", "-f", "tab", "quota", "get", "-u", ANN)
    await_true("the new quota", lambda: "\t1024\t" in host.containers["dovecot"].exec(*words))
    code, lines = task(host, "restore-mailbox", "--date=2026-11-27", ANN)
    (failure,) = [line for line in lines if line["kind"] == "error"]
    assert code == 65
    assert "raise its quota" in failure["text"]
    assert [] == restored(host)
    assert ["INBOX"] == list(seen(host, ANN))
    assert 250 == deliver(host, ANN, "still comes")


def test_a_damaged_copy_costs_the_flags_and_no_mail(host: MailHost) -> None:
    """A backup's copy of an index may be cut off; the task says so, and restores the messages."""
    deliver(host, ANN, "mail")
    indexes(host, "copy")
    top = back_up(host, "2026-11-27T03-00-00-000000Z", "example.org/ann")
    for copy in top.rglob("dovecot.index.copy"):
        copy.write_bytes(copy.read_bytes()[:30])
    code, lines = task(host, "restore-mailbox", "--date=2026-11-27", ANN)
    assert code == 0, lines
    assert any(line["kind"] == "damaged" for line in lines)
    assert {"mail"} == seen(host, ANN)["Restored 2026-11-27/INBOX"].keys()


@pytest.mark.parametrize("address", ["ghost@example.org", BEN])
def test_what_was_not_restored_is_told(host: MailHost, address: str) -> None:
    """Exit code 65 for an address without a mailbox, and for one that the backup does not have."""
    deliver(host, ANN, "mail")
    back_up(host, "2026-11-27T03-00-00-000000Z", "example.org/ann")
    code, lines = task(host, "restore-mailbox", "--date=2026-11-27", address)
    assert (65, f"nothing of {address} was restored") == (code, lines[0]["text"])


def test_a_renamed_mailbox_is_restored_where_its_mail_lies(host: MailHost) -> None:
    """From the directory of its first address, under its new one."""
    deliver(host, ANN, "before")
    back_up(host, "2026-11-27T03-00-00-000000Z", "example.org/ann")
    host.write_directory(renamed())
    await_true("the new directory", lambda: deliver(host, ANNA, "since") == 250)
    code, lines = task(host, "restore-mailbox", "--date=2026-11-27", ANNA)
    assert code == 0, lines
    found = seen(host, ANNA)
    assert ["before"] == list(found["Restored 2026-11-27/INBOX"])
    assert {"before", "since"} == found["INBOX"].keys()
    assert not (host.root / "mail/example.org/anna").exists()


def test_all_mailboxes_that_are_gone_are_in_place_again(host: MailHost) -> None:
    """With flags and folders as of the copy, UIDs too; what came since the loss joins them, once."""
    furnish(host)
    deliver(host, BEN, "to ben")
    indexes(host, "copy")
    before = {address: seen(host, address) for address in (ANN, BEN)}
    copied = back_up(host, "2026-11-27T03-00-00-000000Z")
    code, lines = task(host, "restore-all")
    assert (69, True) == (code, "stop its service" in lines[0]["text"])
    # Everything is lost, and a mail comes before anybody notices.
    host.containers["dovecot"].kill()
    for name in ("mail", "indexes"):
        empty(host.root / name)
    host.start("dovecot")
    assert 250 == deliver(host, ANN, "since the loss")
    host.containers["dovecot"].stop()
    torn = next(copied.rglob("ben/sdbox/mailboxes/INBOX/dbox-Mails/dovecot.index.copy"))
    torn.write_bytes(torn.read_bytes()[:30])
    code, lines = task(host, "restore-all")
    assert code == 0, lines
    assert [(BEN, "mailboxes/INBOX/dbox-Mails")] == [
        (line["address"], line["folder"]) for line in lines if line["kind"] == "damaged"
    ]
    assert [] == restored(host)
    host.start("dovecot")
    before[ANN]["INBOX"]["since the loss"] = ""
    assert before == {address: seen(host, address) for address in (ANN, BEN)}
    # Again: nobody is lost, so nothing changes.
    back_up(host, "2026-11-28T03-00-00-000000Z")
    host.containers["dovecot"].stop()
    code, lines = task(host, "restore-all")
    assert code == 0, lines
    assert {ANN, BEN} == {line["address"] for line in lines if line["kind"] == "kept"}
    host.start("dovecot")
    assert before == {address: seen(host, address) for address in (ANN, BEN)}
