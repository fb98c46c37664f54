"""Mail is imported from servers that are not ours: all of it, as it is, once, whatever dies in between.

Compared by Python's IMAP client on both sides: folders, mails, octets, flags, keywords, dates.
"""

from __future__ import annotations

import hashlib
import imaplib
import os
import re
import signal
import subprocess
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import imap_source
from service.certificates import Authority
from service.container_engine import Network
from service.imap_source import ImapSource
from service.import_task import export, imap_job, run, words, write_job
from service.mail_host import STACK, MailHost
from service.test_renamed_mailbox import ANNA, renamed
from wire import await_true

pytestmark = pytest.mark.timeout(600)

ANN, BEN, CLEO, DAN, ERIN, FRED = (
    f"{name}@example.org" for name in ("ann", "ben", "cleo", "dan", "erin", "fred")
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
MAILS = 30
Mail = tuple[tuple[str, ...], float, str]


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """A host with Dovecot running."""
    hashed = STACK["mailboxes"][0]
    more = [hashed | {"address": each} for each in (CLEO, DAN, ERIN, FRED)]
    idle_host.write_directory(STACK | {"mailboxes": [*STACK["mailboxes"], *more]})
    passwd = (idle_host.root / "run/directory/dovecot-passwd").read_text()
    small = f"{SMALL}:{hashed['password-hash']}::::::userdb_quota_storage_size=100K\n"
    idle_host.write_table("dovecot-passwd", passwd + small)
    idle_host.start("dovecot")
    return idle_host


@pytest.fixture(scope="module")
def sources(network: Network, authority: Authority) -> Iterator[dict[str, ImapSource]]:
    """The servers, with mail in odd folders."""
    made: dict[str, ImapSource] = {}
    try:
        for kind in OF:
            made[kind] = imap_source.start(network.engine, network.name, kind, authority)
            fill(made[kind])
        yield made
    finally:
        for source in made.values():
            source.container.remove()


def content(number: int, octets: int = 600) -> bytes:
    """Return a mail of that many octets or so."""
    head = f"From: a{number}@x.example\r\nSubject: mail {number}\r\nMessage-ID: <{number}@x.example>\r\n\r\n"
    return (head + ("x" * 70 + "\r\n") * (octets // 72)).encode()


def append(source: ImapSource, client: imaplib.IMAP4, levels: tuple[str, ...], number: int) -> None:
    """Store one mail at the source."""
    name = "INBOX" if levels == ("INBOX",) else source.folder(*levels)
    at = imaplib.Time2Internaldate(1_600_000_000 + 50_000 * number)
    flags = FLAGS[number % len(FLAGS)]
    assert (
        "OK" == client.append(f'"{name}"', f"({flags})", at, content(number, 200 + 7 * number))[0]
    )


def fill(source: ImapSource) -> None:
    """Put mail into all folders of a source; one mail is as large as they come."""
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
    """Return all mails of a folder: flags, date, and a digest of the octets."""
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
    """Return the source's folders under our names."""
    client = source.client()
    names = {
        ours: "INBOX" if levels == ("INBOX",) else source.folder(*levels)
        for levels, ours in FOLDERS.items()
    }
    found = {ours: contents(client, theirs) for ours, theirs in names.items()}
    client.logout()
    return found


def here(host: MailHost, address: str) -> dict[str, Counter[Mail]]:
    """Return a mailbox's folders that hold mail, but for what the reader cannot see."""
    with host.imap(address) as client:
        listed = client.list()[1]
        names = [re.search(rb' "?/"? "?(.*?)"?$', line)[1].decode() for line in listed]  # type: ignore[index,union-attr]
        found = {name: contents(client, name) for name in names}
    return {name: mails for name, mails in found.items() if mails}


@pytest.mark.parametrize("kind", list(OF))
def test_all_arrives_as_it_is_and_a_second_pass_brings_the_news(
    host: MailHost, sources: dict[str, ImapSource], tmp_path: Path, kind: str
) -> None:
    """Mail that came here, and what the reader did, stays; nothing is there twice."""
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
        client.uid("MOVE", "1:2", "Archive")
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
    """What was deleted there before the second pass is refused, where it is much."""
    source, before = sources["courier"], here(host, BEN)
    client = source.client()
    for levels in (("Work",), ("INBOX",)):
        client.select(f'"{"INBOX" if levels == ("INBOX",) else source.folder(*levels)}"')
        client.store("1:*", "+FLAGS", r"(\Deleted)")
        client.expunge()
    client.logout()
    done = run(host, imap_job(tmp_path / "job/job", source), BEN)
    assert 65 == done.code
    assert "mails fewer" in done.of("error")[0]["text"]
    assert before == here(host, BEN)


@pytest.mark.parametrize(
    ("address", "validity", "guid"), [(ERIN, 1, "00" * 15 + "01"), (FRED, 4_000_000_000, "ff" * 16)]
)
def test_an_inbox_of_any_name_gets_nothing_twice(
    host: MailHost,
    sources: dict[str, ImapSource],
    tmp_path: Path,
    address: str,
    validity: int,
    guid: str,
) -> None:
    """A sync that finds two INBOXes makes one of both: here ours wins, having had more mails."""
    with host.imap(address) as client:
        for number in range(2 * MAILS):
            client.append("INBOX", None, None, content(8_000 + number, 200))
    host.containers["dovecot"].exec(
        *("doveadm", "mailbox", "update", "-u", address),
        *("--uid-validity", str(validity), "--mailbox-guid", guid, "INBOX"),
    )
    job = imap_job(tmp_path / "job/job", sources["cyrus"])
    expected = at_source(sources["cyrus"])
    for _ in range(2):
        done = run(host, job, address)
        assert 0 == done.code, (done.lines, done.noise)
        found = here(host, address)
        assert 2 * MAILS == sum((found["INBOX"] - expected["INBOX"]).values())
        assert expected["INBOX"] <= found["INBOX"]
        assert expected["Work"] == found["Work"]


def killed(host: MailHost, job: Path, address: str, begun: Callable[[], bool]) -> None:
    """Kill a task, as the host's end does, once something has begun."""
    name = f"import-{os.getpid()}-{time.monotonic_ns()}"
    task = subprocess.Popen(words(host, job, address, name=name), stdout=subprocess.DEVNULL)
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
    """Nothing is missing then, and nothing there twice."""
    job = imap_job(tmp_path / "job/job", sources["cyrus"])
    store = host.root / "mail"
    killed(
        host,
        job,
        CLEO,
        lambda: len(list((store / ".import").rglob("cleo/*/mailboxes/*/*/u.*"))) > 20,
    )
    assert not (store / "example.org/cleo/sdbox/mailboxes/INBOX/dbox-Mails/u.1").exists()
    killed(host, job, CLEO, lambda: len(list((store / "example.org/cleo").rglob("u.*"))) > 20)
    hold = host.root / "run/dovecot/holds" / hashlib.sha256(CLEO.encode()).hexdigest()
    assert hold.exists()  # ends within three minutes, unless a later task ends it before
    done = run(host, job, CLEO)
    assert 0 == done.code, (done.lines, done.noise)
    expected, found = at_source(sources["cyrus"]), here(host, CLEO)
    assert expected.keys() == found.keys(), done.lines
    for folder, mails in expected.items():
        assert mails == found[folder], (folder, mails - found[folder], found[folder] - mails)
    assert not hold.exists()


def test_an_export_that_is_imported_elsewhere_is_the_same_mailbox(
    host: MailHost, tmp_path: Path
) -> None:
    """Mails, octets, flags, keywords, dates; also filters are in it. Nothing is left behind."""
    scripts = host.root / "mail/example.org/ann/sieve"
    scripts.mkdir(exist_ok=True)
    (scripts / "mine.sieve").write_text("keep;")
    before = here(host, ANN)
    done = export(host, ANN, tmp_path)
    assert 0 == done.code, (done.lines, done.noise)
    (said,) = done.of("exported")
    assert (sum(map(len, before.values())), len(before)) == (said["mails"], said["folders"])
    assert not list((host.root / "mail/.export/example.org").iterdir())
    with tarfile.open(tmp_path / "mailbox.tar") as tar:
        tar.extractall(tmp_path / "tree", filter="data")
    assert "keep;" == (tmp_path / "tree/sieve/mine.sieve").read_text()
    for path in (tmp_path / "tree", *(tmp_path / "tree").rglob("*")):
        os.chown(path, 5000, 5000)
    job = write_job(tmp_path / "job/job", kind="maildir", name="export")
    for _ in range(2):
        done = run(host, job, DAN, tmp_path / "tree/mail")
        assert 0 == done.code, (done.lines, done.noise)
        assert before == here(host, DAN)


def test_what_is_wrong_has_its_exit_code_and_stores_nothing(
    host: MailHost, sources: dict[str, ImapSource], tmp_path: Path
) -> None:
    """The password, the name, the certificate, the room; the password is in no word of it."""
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


def test_a_renamed_mailbox_is_exported_and_imported_where_its_mail_lies(
    host: MailHost, tmp_path: Path
) -> None:
    """Under its new address; no second mailbox comes up."""
    before, name = here(host, ANN), ANNA
    host.write_directory(renamed())
    done = export(host, name, tmp_path)
    assert 0 == done.code, (done.lines, done.noise)
    assert sum(map(len, before.values())) == done.of("exported")[0]["mails"]
    with tarfile.open(tmp_path / "mailbox.tar") as tar:
        tar.extractall(tmp_path / "tree", filter="data")
    for path in (tmp_path / "tree", *(tmp_path / "tree").rglob("*")):
        os.chown(path, 5000, 5000)
    host.containers["dovecot"].exec(
        *("doveadm", "-o", "mail_plugins/lazy_expunge=no", "mailbox", "delete", "-u", name, "-r"),
        *("-s", "Work"),
    )
    assert before != here(host, name)
    job = write_job(tmp_path / "job/job", kind="maildir", name="renamed")
    done = run(host, job, name, tmp_path / "tree/mail")
    assert 0 == done.code, (done.lines, done.noise)
    assert before["Work"] == here(host, name)["Work"]
    assert not (host.root / "mail/example.org/anna").exists()
