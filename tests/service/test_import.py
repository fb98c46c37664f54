"""An import from a foreign server copies all mail, unchanged and once, even if the task is killed.

Python's IMAP client compares both sides: folders, messages, octets, flags, keywords, dates.
"""

from __future__ import annotations

import hashlib
import imaplib
import mailbox
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import imap_source, import_task
from service.certificates import Authority
from service.imap_source import ImapSource
from service.import_task import (
    export,
    files_words,
    imap_job,
    known,
    run,
    run_files,
    words,
    write_job,
)
from service.mail_host import STACK, MailHost
from service.test_renamed_mailbox import ANNA, renamed
from wire import await_true

pytestmark = pytest.mark.timeout(600)

ANN, BEN, CLEO, DAN, ERIN, FRED, GUS, HAL, IDA = (
    f"{name}@example.org"
    for name in ("ann", "ben", "cleo", "dan", "erin", "fred", "gus", "hal", "ida")
)
SMALL = "small@example.org"
OF = {"cyrus": ANN, "courier": BEN}
# Theirs, level by level -> ours.
FOLDERS = {
    ("INBOX",): "INBOX",
    ("Sent Items",): "Sent",
    ("Deleted Items",): "Trash",
    ("Work",): "Work",
    ("Work", "2020"): "Work/2020",
    ("M&APw-ller &- S&APY-hne",): "M&APw-ller &- S&APY-hne",
    ("~home",): "_~home",
    ("shared",): "shared_",
}
FLAGS = (r"\Seen", r"\Flagged \Seen", "", r"\Answered $Forwarded", r"\Draft", r"\Seen Important")
MAILS = 20
Mail = tuple[tuple[str, ...], float, str]


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Start a host with Dovecot."""
    hashed = STACK["mailboxes"][0]
    more = [hashed | {"address": each} for each in (CLEO, DAN, ERIN, FRED, GUS, HAL, IDA)]
    idle_host.write_directory(STACK | {"mailboxes": [*STACK["mailboxes"], *more]})
    passwd = (idle_host.root / "run/directory/dovecot-passwd").read_text()
    small = f"{SMALL}:{hashed['password-hash']}::::::userdb_quota_storage_size=100K\n"
    idle_host.write_table("dovecot-passwd", passwd + small)
    idle_host.start("dovecot")
    return idle_host


@pytest.fixture(scope="module")
def sources(
    host: MailHost, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, ImapSource]]:
    """Provide the servers, with mail in odd folders; and a container for tasks."""
    made: dict[str, ImapSource] = {}
    try:
        for kind in OF:
            made[kind] = imap_source.start(host.engine, host.network.name, kind, authority)
            fill(made[kind])
            host.names[made[kind].host] = made[kind].address
        import_task.start(host, tmp_path_factory.getbasetemp())
        yield made
    finally:
        for source in made.values():
            source.container.remove()


def content(number: int, octets: int = 600) -> bytes:
    """Return a message of about that many octets."""
    head = f"From: a{number}@x.example\r\nSubject: mail {number}\r\nMessage-ID: <{number}@x.example>\r\n\r\n"
    return (head + ("x" * 70 + "\r\n") * (octets // 72)).encode()


def append(source: ImapSource, client: imaplib.IMAP4, levels: tuple[str, ...], number: int) -> None:
    """Store one message at the source."""
    name = "INBOX" if levels == ("INBOX",) else source.folder(*levels)
    at = imaplib.Time2Internaldate(1_600_000_000 + 50_000 * number)
    flags = FLAGS[number % len(FLAGS)]
    assert (
        "OK" == client.append(f'"{name}"', f"({flags})", at, content(number, 200 + 7 * number))[0]
    )


def fill(source: ImapSource) -> None:
    """Put mail into all folders of a source; one message is almost 40 MB."""
    client = source.client()
    number = 0
    for levels in FOLDERS:
        if levels != ("INBOX",):
            client.create(f'"{source.folder(*levels)}"')
        for _ in range(MAILS):
            number += 1
            append(source, client, levels, number)
    # At one of them: it is fetched at each pass that a kill begins again.
    if source.kind == "courier":
        assert "OK" == client.append("INBOX", "", None, content(9999, 39 << 20))[0]
    client.logout()


def contents(client: imaplib.IMAP4, name: str) -> Counter[Mail]:
    """Return all messages of a folder: flags, date, and a digest of the octets."""
    found: Counter[Mail] = Counter()
    if client.select(f'"{name}"', readonly=True)[1] == [b"0"]:
        return found
    for part in client.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]:
        if isinstance(part, tuple):
            flags = re.search(rb"FLAGS \(([^)]*)\)", part[0])
            date = imaplib.Internaldate2tuple(part[0])
            assert flags
            assert date
            named = set(flags[1].decode().split()) - {r"\Recent"}
            found[tuple(sorted(named)), time.mktime(date), hashlib.sha256(part[1]).hexdigest()] += 1
    return found


def at_source(source: ImapSource) -> dict[str, Counter[Mail]]:
    """Return the source's folders under their names here."""
    client = source.client()
    names = {
        ours: "INBOX" if levels == ("INBOX",) else source.folder(*levels)
        for levels, ours in FOLDERS.items()
    }
    found = {ours: contents(client, theirs) for ours, theirs in names.items()}
    client.logout()
    return found


def here(host: MailHost, address: str) -> dict[str, Counter[Mail]]:
    """Return a mailbox's folders with mail, except those that its user cannot see."""
    with host.imap(address) as client:
        listed = client.list()[1]
        names = [re.search(rb' "?/"? "?(.*?)"?$', line)[1].decode() for line in listed]  # type: ignore[index,union-attr]
        found = {name: contents(client, name) for name in names}
    return {name: mails for name, mails in found.items() if mails}


@pytest.mark.parametrize("kind", list(OF))
def test_all_arrives_as_it_is_and_a_second_pass_brings_the_news(
    host: MailHost, sources: dict[str, ImapSource], tmp_path: Path, kind: str
) -> None:
    """New mail here and the user's changes stay; no message is duplicated."""
    source, address = sources[kind], OF[kind]
    job = imap_job(tmp_path / "job/job", source)
    done = run(host, job, address)
    assert 0 == done.code, (done.lines, done.noise)
    assert at_source(source) == here(host, address)
    report = {line["source"]: line for line in done.of("folder")}
    assert set(FOLDERS.values()) == {
        line["folder"].replace("Müller & Söhne", "M&APw-ller &- S&APY-hne")
        for line in report.values()
    }
    assert all(line["mails"] == line["brought"] == line["now"] for line in report.values())
    assert all(line["octets"] == line["brought_octets"] for line in report.values())

    with host.lmtp() as lmtp:
        lmtp.sendmail("s@else.example", [address], content(7_001))
    with host.imap(address) as client:
        client.select("Work")
        client.uid("MOVE", f"1,{MAILS}", "Archive")
        client.uid("STORE", "3", "+FLAGS", "(mine)")
    client = source.client()
    for number in (1_001, 1_003):
        append(source, client, ("INBOX",), number)
    client.logout()
    before = here(host, address)
    done = run(host, job, address)
    assert 0 == done.code, (done.lines, done.noise)
    after = here(host, address)
    assert 2 == sum((after["INBOX"] - before["INBOX"]).values())
    assert after["INBOX"] >= at_source(source)["INBOX"]
    after["INBOX"] = before["INBOX"]
    assert before == after


def test_a_source_that_was_emptied_empties_nothing_here(
    host: MailHost, sources: dict[str, ImapSource], tmp_path: Path
) -> None:
    """A second pass is refused if much was deleted at the source."""
    source, before = sources["courier"], here(host, BEN)
    client = source.client()
    for levels in (("Work",), ("Sent Items",), ("INBOX",)):
        client.select(f'"{"INBOX" if levels == ("INBOX",) else source.folder(*levels)}"')
        client.store("1:*", "+FLAGS", r"(\Deleted)")
        client.expunge()
    client.logout()
    done = run(host, imap_job(tmp_path / "job/job", source), BEN)
    assert 65 == done.code
    assert " fewer " in done.of("error")[0]["text"]
    assert before == here(host, BEN)


def test_an_inbox_of_any_name_gets_nothing_twice(
    host: MailHost, sources: dict[str, ImapSource], tmp_path: Path
) -> None:
    """A sync merges two INBOXes into one: here ours takes precedence, because it has more mail."""
    job = imap_job(tmp_path / "job/job", sources["cyrus"])
    expected = at_source(sources["cyrus"])
    for address, validity, guid in ((ERIN, 1, "00" * 15 + "01"), (FRED, 4_000_000_000, "ff" * 16)):
        with host.lmtp() as lmtp:
            for number in range(MAILS + 5):
                lmtp.sendmail("s@else.example", [address], content(8_000 + number, 200))
        host.containers["dovecot"].exec(
            *("doveadm", "mailbox", "update", "-u", address),
            *("--uid-validity", str(validity), "--mailbox-guid", guid, "INBOX"),
        )
        for _ in range(2):
            done = run(host, job, address)
            assert 0 == done.code, (done.lines, done.noise)
            found = here(host, address)
            assert MAILS + 5 == sum((found["INBOX"] - expected["INBOX"]).values())
            assert expected["INBOX"] <= found["INBOX"]
            assert expected["Work"] == found["Work"]


def killed(host: MailHost, job: Path, address: str, begun: Callable[[], bool]) -> None:
    """Kill an import's task once a step has begun."""
    name = task_name()
    kill_once(host, words(host, job, address, name=name), name, begun)


def task_name() -> str:
    """Return a unique task name."""
    return f"import-{os.getpid()}-{time.monotonic_ns()}"


def kill_once(host: MailHost, command: list[str], name: str, begun: Callable[[], bool]) -> None:
    """Kill a task, as when the host ends, once a step has begun."""
    task = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    first: list[int] = []

    def running() -> bool:
        shown = subprocess.run(
            [host.engine.command, "inspect", "--format", "{{.State.Pid}}", name],
            capture_output=True,
            text=True,
            check=False,
        )
        first[:] = [int(shown.stdout)] if shown.returncode == 0 and shown.stdout.strip() else []
        return bool(first and first[0])

    await_true("the task", running)
    deadline = time.monotonic() + 60
    while not begun() and task.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if task.poll() is None:
        os.kill(first[0], signal.SIGKILL)
    task.wait()


def test_a_task_that_is_killed_in_either_step_goes_on_where_it_was(
    host: MailHost, sources: dict[str, ImapSource], tmp_path: Path
) -> None:
    """Afterwards nothing is missing and nothing is duplicated."""
    job = imap_job(tmp_path / "job/job", sources["cyrus"])
    store = host.root / "mail"
    killed(
        host,
        job,
        CLEO,
        lambda: len(list((store / ".import").rglob("cleo/*/mailboxes/*/*/u.*"))) > 5,
    )
    assert not (store / "example.org/cleo/sdbox/mailboxes/INBOX/dbox-Mails/u.1").exists()
    killed(host, job, CLEO, lambda: len(list((store / "example.org/cleo").rglob("u.*"))) > 5)
    hold = host.root / "run/dovecot/holds" / hashlib.sha256(CLEO.encode()).hexdigest()
    assert hold.exists()  # ends within three minutes, unless a later task ends it before
    done = run(host, job, CLEO)
    assert 0 == done.code, (done.lines, done.noise)
    expected, found = at_source(sources["cyrus"]), here(host, CLEO)
    assert expected.keys() == found.keys(), done.lines
    for folder, mails in expected.items():
        assert mails == found[folder], (folder, mails - found[folder], found[folder] - mails)
    assert not hold.exists()


def unpacked(host: MailHost, tar_file: Path) -> Path:
    """Unpack an export beside the mailboxes, for the mail user; return where."""
    tree = host.root / "mail/.tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    subprocess.run(["tar", "--extract", "--file", tar_file, "--directory", tree], check=True)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, 5000, 5000)
    return tree


def test_an_export_that_is_imported_elsewhere_is_the_same_mailbox(
    host: MailHost, tmp_path: Path
) -> None:
    """Messages, octets, flags, keywords, dates and filters; no temporary files remain."""
    scripts = host.root / "mail/example.org/ann/sieve"
    scripts.mkdir(exist_ok=True)
    (scripts / "mine.sieve").write_text("keep;")
    before = here(host, ANN)
    done = export(host, ANN, tmp_path)
    assert 0 == done.code, (done.lines, done.noise)
    (said,) = done.of("exported")
    assert (sum(map(len, before.values())), len(before)) == (said["mails"], said["folders"])
    assert not list((host.root / "mail/.export/example.org").iterdir())
    tree = unpacked(host, tmp_path / "mailbox")
    assert "keep;" == (tree / "sieve/mine.sieve").read_text()
    job = write_job(tmp_path / "job/job", kind="maildir", name="export")
    for _ in range(2):
        done = run(host, job, DAN, tree / "mail")
        assert 0 == done.code, (done.lines, done.noise)
        assert before == here(host, DAN)

    done = export(host, ANN, tmp_path, as_mbox=True)
    assert 0 == done.code, (done.lines, done.noise)
    assert said | {"n": 0} == done.of("exported")[0] | {"n": 0}
    archive = (tmp_path / "mailbox").rename(tmp_path / "mailbox.zip")
    assert 0 == run_files(host, tmp_path / "sent", archive, HAL, set()).code
    assert before == here(host, HAL)
    with zipfile.ZipFile(archive) as zipped:
        box = Path(zipped.extract("mail/Work.mbox", host.root / "mail"))
    # Dovecot's own reader is the judge of the format; it wants more for keywords.
    box.rename(host.root / "mail/judge")
    host.containers["dovecot"].exec(
        *("doveadm", "import", "-u", IDA, "-p", "mail_inbox_path=/srv/mail/judge"),
        *("mbox:/srv/mail/none", "", "mailbox", "INBOX", "all"),
    )
    flags = [
        Counter(
            frozenset(flag for flag in mail[0] if flag.startswith("\\"))
            for mail in folder.elements()
        )
        for folder in (before["Work"], here(host, IDA)["INBOX"])
    ]
    assert flags[0] == flags[1]


def test_files_come_with_flags_and_dates_and_once(host: MailHost, tmp_path: Path) -> None:
    """Existing mail stays; what users moved or deleted since returns only on request."""
    source, address = tmp_path / "source", GUS
    box = mailbox.mbox(tmp_path / "mbox")
    for number in range(3):
        box.add(f"Subject: mbox {number}\nX-Keywords: Important\n\nFrom me\n\0\n")
    box.close()
    odd = (
        "M\u00fcller & S\u00f6hne",
        "50% * x",
        "cur",
        "~home",
        "shared",
        "a.b/c",
        "\U0001f600",
        "x" * 240,
    )
    for name in ("Inbox", "Sent Items", "Work", *odd):
        (source / name).mkdir(parents=True)
        (source / name / "1.eml").write_bytes(
            b"Received: x; Fri, 1 Jan 2021 10:00:00 +0000\r\n\r\n%s\r\n" % name.encode()
        )
    (tmp_path / "mbox").rename(source / "Work.mbox")
    with host.imap(address) as client:
        client.create("Work")
        client.append("Work", None, None, content(1))
    done = run_files(host, tmp_path / "sent", source, address, known(host, address))
    assert 0 == done.code, (done.lines, done.noise)
    found = here(host, address)
    assert {
        "INBOX",
        "Sent",
        "Work",
        "M&APw-ller &- S&APY-hne",
        "50% * x",
        "_cur",
        "_~home",
    } < found.keys()
    assert 3 + len(odd) == len(found)
    seen = ((r"\Seen",), 1609495200.0 + time.timezone)
    assert all(seen == mail[:2] for name in found.keys() - {"Work"} for mail in found[name])
    assert 3 == sum(count for mail, count in found["Work"].items() if ("Important",) == mail[0])
    assert 5 == found["Work"].total()

    (source / "Work/2.eml").write_bytes(b"Subject: new\n\n")
    (source / "Sent Items").rename(source / "Elsewhere")
    with host.imap(address) as client:
        client.select("Work")
        first, second, _ = client.search(None, "SUBJECT", "mbox")[1][0].split()
        client.store(b"%s,%s" % (first, second), "+FLAGS", r"(\Deleted)")
        client.expunge()
    brought = known(host, address)
    assert 3 + 3 + len(odd) == len(brought)
    # Killed once it is unpacked, and taken up by a run that has nothing to add.
    words = files_words(host, tmp_path / "sent", source, address, brought, name := task_name())
    tree = host.root / "mail/.import/example.org/gus/.tree"
    kill_once(host, words, name, lambda: any(tree.rglob("dovecot-uidlist")))
    # As one that is killed while Dovecot makes a folder's index leaves it.
    lock = tree.with_name("maildir-files") / "mailboxes/Half/dbox-Mails/dovecot.index.log.newlock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text("12:another-container")
    for path in (lock, *lock.parents[:4]):
        os.chown(path, 5000, 5000)
    assert 0 == run_files(host, tmp_path / "sent", source, address, known(host, address)).code
    after = here(host, address)
    assert (4, found["Sent"]) == (after["Work"].total(), after["Sent"])
    assert "Elsewhere" not in after
    assert {"files.known", "maildir-files.brought"} == {each.name for each in tree.parent.iterdir()}
    assert 2 == len(known(host, address) - known(host, address, again=True))


def test_what_is_wrong_has_its_exit_code_and_stores_nothing(
    host: MailHost, sources: dict[str, ImapSource], tmp_path: Path
) -> None:
    """A wrong password, name or certificate, or no space; the output never contains the password."""
    source, before = sources["cyrus"], here(host, DAN)
    cases = {
        77: imap_job(tmp_path / "a/job", source, password="not that one"),
        75: imap_job(tmp_path / "b/job", source, host="nowhere.example"),
        64: write_job(tmp_path / "d/job", kind="imap"),
    }
    for code, job in cases.items():
        done = run(host, job, DAN)
        assert (code, []) == (done.code, done.of("folder")), done.lines
        assert "not that one" not in f"{done.lines}{done.noise}"
    for code, address in ((73, SMALL), (67, "nobody@example.org")):
        done = run(host, imap_job(tmp_path / "c/job", source), address)
        assert (code, []) == (done.code, done.of("folder")), done.lines
    done = run(host, imap_job(tmp_path / "e/job", source, authority=""), DAN)
    assert 75 == done.code
    assert "certificate" in done.of("error")[0]["text"]
    assert before == here(host, DAN)
    assert 67 == export(host, "nobody@example.org", tmp_path).code
    assert not (host.root / "mail/example.org/nobody").exists()


def test_a_renamed_mailbox_is_exported_and_imported_where_its_mail_lies(
    host: MailHost, tmp_path: Path
) -> None:
    """The import uses its new address and creates no second mailbox."""
    before, name = here(host, ANN), ANNA
    host.write_directory(renamed())
    done = export(host, name, tmp_path)
    assert 0 == done.code, (done.lines, done.noise)
    assert sum(map(len, before.values())) == done.of("exported")[0]["mails"]
    tree = unpacked(host, tmp_path / "mailbox")
    host.containers["dovecot"].exec(
        *("doveadm", "-o", "mail_plugins/lazy_expunge=no", "mailbox", "delete", "-u", name, "-r"),
        *("-s", "Work"),
    )
    assert before != here(host, name)
    job = write_job(tmp_path / "job/job", kind="maildir", name="renamed")
    done = run(host, job, name, tree / "mail")
    assert 0 == done.code, (done.lines, done.noise)
    assert before["Work"] == here(host, name)["Work"]
    assert not (host.root / "mail/example.org/anna").exists()
