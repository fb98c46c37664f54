"""Each IMAP extension that we announce, used as clients use it, through a client library."""

from __future__ import annotations

import imaplib
import io
import itertools
import re
import subprocess
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from service.mail_host import PASSWORD, MailHost
from wire import await_true

pytestmark = pytest.mark.timeout(600)

ANN = "ann@example.org"
BEN = "ben@example.org"
APPEND_LIMIT = 40 * 1024 * 1024


@pytest.fixture(scope="module")
def host(idle_host: MailHost) -> MailHost:
    """Provide a host with Dovecot running."""
    idle_host.start("dovecot")
    return idle_host


def session(host: MailHost, address: str) -> IMAPClient:
    """Return a logged-in session of the library."""
    port = host.containers["dovecot"].port(993)
    client = IMAPClient("127.0.0.1", port, ssl_context=host.tls(), timeout=60)
    client.login(address, PASSWORD)
    return client


@pytest.fixture
def ben(host: MailHost) -> Iterator[IMAPClient]:
    """Provide a session of Ben's."""
    with session(host, BEN) as client:
        yield client


_numbers = itertools.count(1)


@pytest.fixture
def folder(ben: IMAPClient) -> str:
    """Provide a folder of the test's own in Ben's mailbox, not open."""
    name = f"Folder {next(_numbers)}"
    ben.create_folder(name)
    return name


def deliver(host: MailHost, recipient: str, content: bytes) -> None:
    """Deliver by LMTP."""
    with host.lmtp() as lmtp:
        assert {} == lmtp.sendmail("s@elsewhere.example", [recipient], content)


def mail(subject: str, *headers: str, body: str = "Hello") -> bytes:
    """Return a small mail."""
    return "\r\n".join([f"Subject: {subject}", *headers, "", body, ""]).encode()


def raw(client: IMAPClient) -> imaplib.IMAP4:
    """Return the standard library's client below, for what the library has no method for."""
    return client._imap  # noqa: SLF001


def plain(client: IMAPClient, name: str, *arguments: str) -> dict[str, list[bytes]]:
    """Send a command that the library lacks; return the untagged answers by kind."""
    imap = raw(client)
    imap.untagged_responses.clear()
    status, text = imap.xatom(name, *arguments)
    assert "OK" == status, text
    return dict(imap.untagged_responses)


def heard(client: IMAPClient, *words: bytes) -> None:
    """Wait until the server says by itself something in which all these patterns are."""
    said: list[Any] = []
    while not any(all(re.search(word, str(news).encode()) for word in words) for news in said):
        news = client.idle_check(timeout=30)
        assert news, f"after {said} nothing came"
        said += news


def test_idle_pushes_news_of_the_open_folder(host: MailHost, ben: IMAPClient) -> None:
    """IDLE (RFC 2177) announces new messages, and flags that another session sets."""
    before = ben.select_folder("INBOX")[b"EXISTS"]
    ben.idle()
    deliver(host, BEN, mail("push"))
    heard(ben, b"%d" % (before + 1), b"EXISTS")
    with session(host, BEN) as other:
        other.select_folder("INBOX")
        newest = max(other.search())
        other.add_flags([newest], [r"\Flagged"])
    heard(ben, b"FETCH", b"Flagged")
    ben.idle_done()
    assert b"\\Flagged" in ben.get_flags([newest])[newest]


def test_notify_pushes_news_of_all_folders(host: MailHost, ben: IMAPClient, folder: str) -> None:
    """NOTIFY (RFC 5465): a client with one connection hears of messages in folders it has not open."""
    ben.select_folder("INBOX")
    plain(ben, "NOTIFY", "SET", "(personal (MessageNew MessageExpunge))")
    with session(host, BEN) as other:
        other.append(folder, mail("elsewhere"))
    heard(ben, b"STATUS", folder.encode(), b"'MESSAGES', 1")


def test_condstore_finds_what_changed(ben: IMAPClient, folder: str) -> None:
    """CONDSTORE (RFC 7162): FETCH gives changes since a number, STORE refuses where one came first."""
    for number in range(3):
        ben.append(folder, mail(f"{number}"))
    ben.select_folder(folder)
    seen = max(each[b"MODSEQ"][0] for each in ben.fetch([1, 2, 3], ["MODSEQ"]).values())
    ben.add_flags([2], [r"\Flagged"])
    changed = ben.fetch([1, 2, 3], ["FLAGS"], modifiers=[f"CHANGEDSINCE {seen}"])
    assert [2] == list(changed)
    assert b"\\Flagged" in changed[2][b"FLAGS"]
    status, text = raw(ben).uid("STORE", "1:3", f"(UNCHANGEDSINCE {seen})", "+FLAGS", r"(\Seen)")
    assert "OK" == status
    assert {1, 3} == set(ben.search("SEEN")), text


def test_qresync_tells_what_vanished(host: MailHost, ben: IMAPClient, folder: str) -> None:
    """QRESYNC (RFC 7162): SELECT reports which messages vanished or changed meanwhile."""
    for number in range(4):
        ben.append(folder, mail(f"{number}"))
    ben.enable("QRESYNC")
    known = ben.select_folder(folder)
    ben.unselect_folder()
    with session(host, BEN) as other:
        other.select_folder(folder)
        other.delete_messages([2, 3])
        other.expunge()
        other.add_flags([4], [r"\Answered"])
    parameters = f"({known[b'UIDVALIDITY']} {known[b'HIGHESTMODSEQ']})"
    said = plain(ben, "SELECT", f'"{folder}"', f"(QRESYNC {parameters})")
    assert [b"(EARLIER) 2:3"] == said["VANISHED"]
    assert [b"2"] == said["EXISTS"]
    (changed,) = said["FETCH"]
    assert b"UID 4 " in changed
    assert b"\\Answered" in changed


class _Unpacked(io.RawIOBase):
    """The plain text of what a socket receives compressed."""

    def __init__(self, sock: Any) -> None:
        self._sock, self._unpacker, self._rest = sock, zlib.decompressobj(wbits=-15), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            packed = self._sock.recv(65536)
            if not packed:
                return 0
            self.packed = getattr(self, "packed", 0) + len(packed)
            self._rest = self._unpacker.decompress(packed)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class _Packing:
    """A socket that compresses what is sent."""

    def __init__(self, sock: Any) -> None:
        self._sock, self._packer = sock, zlib.compressobj(wbits=-15)

    def sendall(self, octets: bytes) -> None:
        self._sock.sendall(self._packer.compress(octets) + self._packer.flush(zlib.Z_SYNC_FLUSH))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_compressed_session_works(ben: IMAPClient, folder: str) -> None:
    """COMPRESS=DEFLATE (RFC 4978): a whole session in it, and less is sent."""
    content = mail("compressed", body="The same again.\r\n" * 20_000)
    plain(ben, "COMPRESS", "DEFLATE")
    imap = raw(ben)
    unpacked = _Unpacked(imap.sock)
    setattr(imap, "_file" if hasattr(imap, "_file") else "file", io.BufferedReader(unpacked))
    imap.sock = _Packing(imap.sock)
    ben.append(folder, content)
    ben.select_folder(folder)
    assert content == ben.fetch([1], ["BODY[]"])[1][b"BODY[]"]
    assert unpacked.packed < len(content) / 10


def test_folders_are_found_by_their_use(ben: IMAPClient) -> None:
    """SPECIAL-USE (RFC 6154): LIST says which folder is for what; each one takes a mail."""
    listed = plain(ben, "LIST", '""', '"*"', "RETURN (SPECIAL-USE)")["LIST"]
    uses = {"Archive", "Drafts", "Junk", "Sent", "Trash"}
    assert uses == {use for use in uses for line in listed if f"\\{use}) ".encode() in line}
    for use in uses:
        found = ben.find_special_folder(f"\\{use}".encode())
        assert use == found
        ben.append(found, mail("here"))


def test_move_is_one_step(ben: IMAPClient, folder: str) -> None:
    """MOVE (RFC 6851): the mail is in the other folder, with its flags, and gone from the first."""
    ben.append(folder, mail("moved"), [r"\Flagged"])
    ben.create_folder(f"{folder}/below")
    ben.select_folder(folder)
    ben.move([1], f"{folder}/below")
    assert [] == ben.search()
    ben.select_folder(f"{folder}/below")
    assert b"\\Flagged" in ben.get_flags([1])[1]


def test_sort_and_thread(ben: IMAPClient, folder: str) -> None:
    """SORT and THREAD (RFC 5256), also by displayed names (RFC 5957), done by the server."""
    letters = [
        ("Bananas", "From: Zoe <a@x.example>", "Message-ID: <1@x>"),
        ("Apples", "From: Yan <b@x.example>", "Message-ID: <2@x>"),
        ("Re: Bananas", "From: Xia <c@x.example>", "Message-ID: <3@x>", "In-Reply-To: <1@x>"),
        ("other words", "From: Wim <d@x.example>", "Message-ID: <4@x>", "References: <1@x> <3@x>"),
    ]
    for day, letter in enumerate(letters, 1):
        ben.append(folder, mail(*letter), msg_time=datetime(2026, 1, day, tzinfo=UTC))
    ben.select_folder(folder)
    assert [2, 1, 3, 4] == ben.sort("SUBJECT")
    assert [4, 3, 2, 1] == ben.sort("REVERSE ARRIVAL")
    assert [1, 2, 3, 4] == ben.sort("FROM")
    assert [4, 3, 2, 1] == ben.sort("DISPLAYFROM")
    assert {(2,), (1, 3, 4)} == set(ben.thread("REFERENCES"))
    assert 3 == len(ben.thread("ORDEREDSUBJECT"))


@pytest.mark.parametrize("name", ["Grüße", "東京/大阪", "A & B", "Œuvre"])
def test_folder_names_in_any_script(ben: IMAPClient, name: str) -> None:
    """Names go over the wire in modified UTF-7 (RFC 3501, section 5.1.3) and come back whole."""
    ben.create_folder(name)
    ben.subscribe_folder(name)
    ben.append(name, mail("inside"))
    assert name in {found for _, _, found in ben.list_folders()}
    assert name in {found for _, _, found in ben.list_sub_folders()}
    assert 1 == ben.folder_status(name, ["MESSAGES"])[b"MESSAGES"]
    ben.rename_folder(name, f"{name} (old)")
    assert ben.folder_exists(f"{name} (old)")
    assert not ben.folder_exists(name)


def test_what_works_by_halves_is_not_announced(ben: IMAPClient) -> None:
    """UTF8=ACCEPT breaks folder names, BINARY healthy parts beside a broken one (dovecot.conf): not offered."""
    halves = {b"UTF8=ACCEPT", b"IMAP4REV2", b"CREATE-SPECIAL-USE", b"BINARY"}
    assert not halves & set(ben.capabilities())
    assert not ben.enable("UTF8=ACCEPT")


def test_append_up_to_the_announced_limit(ben: IMAPClient, folder: str) -> None:
    """APPENDLIMIT (RFC 7889): 40 MB are stored; one octet more is refused with the reason."""
    assert f"APPENDLIMIT={APPEND_LIMIT}".encode() in ben.capabilities()
    head = b"Subject: big\r\n\r\n"
    content = head + b"x" * (APPEND_LIMIT - len(head) - 2) + b"\r\n"
    ben.append(folder, content)
    # The RFC's code is TOOBIG, Dovecot's before 2.4.2 LIMIT (RFC 5530).
    with pytest.raises(IMAPClientError, match=r"\[(LIMIT|TOOBIG)\]"):
        ben.append(folder, b"x" + content)
    assert 1 == ben.folder_status(folder, ["MESSAGES"])[b"MESSAGES"]
    ben.select_folder(folder)
    assert APPEND_LIMIT == ben.fetch([1], ["RFC822.SIZE"])[1][b"RFC822.SIZE"]


def test_shared_folder_is_worked_in_together(host: MailHost, ben: IMAPClient, folder: str) -> None:
    """NAMESPACE (RFC 2342) and ACL (RFC 4314): a colleague sees the folder, reads, and writes if he may."""
    ben.append(folder, mail("plan", body="The plan."))
    shared = f"shared/{BEN}/{folder}"
    with session(host, ANN) as ann:
        assert (("shared/", "/"),) == ann.namespace().other
        assert not ann.folder_exists(shared)
        ben.setacl(folder, ANN, "lr")
        assert (ANN.encode(), b"lr") in ben.getacl(folder)
    # Who has looked before sees it after the next login, or within the hour.
    with session(host, ANN) as ann:
        assert shared in {name for _, _, name in ann.list_folders()}
        ann.select_folder(shared, readonly=True)
        assert b"The plan." in ann.fetch([1], ["BODY[TEXT]"])[1][b"BODY[TEXT]"]
        with pytest.raises(IMAPClientError, match="NOPERM"):
            ann.append(shared, mail("addition"))
        ben.setacl(folder, ANN, "lrswite")
        ann.append(shared, mail("addition"))
        ben.setacl(folder, ANN, '""')
        assert not ann.folder_exists(shared)
    ben.select_folder(folder)
    assert [2] == ben.search(["SUBJECT", "addition"])


def test_many_mails_in_one_command(ben: IMAPClient, folder: str) -> None:
    """MULTIAPPEND (RFC 3502) with UIDPLUS (RFC 4315) returns the UIDs of stored messages."""
    said = ben.multiappend(folder, [mail(f"{number}") for number in range(20)])
    assert b" 1:20]" in said[1][0]
    ben.select_folder(folder)
    ben.delete_messages([3, 4])
    ben.uid_expunge([3])
    assert 19 == len(ben.search())
    assert [4] == ben.search("DELETED")


def test_quick_answers_of_a_folder_list(ben: IMAPClient, folder: str) -> None:
    """LIST-STATUS (RFC 5819) and STATUS=SIZE (RFC 8438): a client's folder pane in one question."""
    content = mail("sized")
    ben.append(folder, content)
    said = plain(ben, "LIST", '""', f'"{folder}"', "RETURN (STATUS (MESSAGES UNSEEN SIZE))")
    assert f'"{folder}" (MESSAGES 1 UNSEEN 1 SIZE {len(content)})'.encode() in said["STATUS"]


def test_other_searches_and_fetches(ben: IMAPClient, folder: str) -> None:
    """ESEARCH (RFC 4731), WITHIN (RFC 5032), SAVEDATE (RFC 8514), PREVIEW (RFC 8970)."""
    ben.append(folder, mail("b"))
    ben.append(folder, mail("c", body="First words of the letter"))
    ben.select_folder(folder)
    said = plain(ben, "UID SEARCH", "RETURN (MIN MAX COUNT) YOUNGER 3600")["ESEARCH"]
    assert said[0].endswith(b"UID MIN 1 MAX 2 COUNT 2")
    assert [1, 2] == ben.search("SAVEDSINCE 1-Jan-2020")
    assert b"First words of the letter" == ben.fetch([2], ["PREVIEW"])[2][b"PREVIEW"]


def test_everything_used_above_is_announced(ben: IMAPClient) -> None:
    """After login a client finds all of it in the capabilities."""
    wanted = {
        *("IDLE", "NOTIFY", "CONDSTORE", "QRESYNC", "COMPRESS=DEFLATE", "SPECIAL-USE", "MOVE"),
        *("SORT", "SORT=DISPLAY", "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", "NAMESPACE"),
        *("UIDPLUS", "MULTIAPPEND", "ESEARCH", "LIST-STATUS", "STATUS=SIZE", "WITHIN"),
        *("ACL", "RIGHTS=TEXK", "QUOTA", "ID", "ENABLE", "SAVEDATE", "PREVIEW", "LITERAL+"),
    }
    assert set() == {name.encode() for name in wanted} - set(ben.capabilities())


def test_hibernated_client_is_woken_whole(host: MailHost, ben: IMAPClient, folder: str) -> None:
    """A client that has given its process up in IDLE has its state back: open folder, QRESYNC, flags."""
    ben.append(folder, mail("one"))
    ben.enable("QRESYNC")
    ben.select_folder(folder)
    ben.idle()

    def sleeps() -> bool:
        shown = host.containers["dovecot"].exec("doveadm", "-f", "tab", "who", "-1", BEN)
        return "imap-hibernate" in shown

    await_true("Ben's session to hibernate", sleeps)
    with session(host, BEN) as other:
        other.select_folder(folder)
        other.delete_messages([1])
        other.expunge()
    # Dovecot may say EXPUNGE here, and says VANISHED later; both tell it (docs/known-issues.md).
    heard(ben, b"1", b"EXPUNGE|VANISHED")
    ben.idle_done()
    assert [] == ben.search()
    with session(host, BEN) as other:
        other.append(folder, mail("two"))
        other.select_folder(folder)
        ben.noop()
        other.delete_messages([2])
        other.expunge()
    assert [b"2"] == plain(ben, "NOOP")["VANISHED"]


@pytest.mark.parametrize("quiet", [0.6, 0.9])
def test_news_just_before_sleep_is_told(
    host: MailHost, ben: IMAPClient, folder: str, quiet: float
) -> None:
    """A change in the half second before a client hibernates is announced.

    Dovecot alone tells of such a mail with the next one, and ends the connection after an expunge
    (imap-told.c). The time that passes before the change is what is tested, so it is slept.
    """
    ben.select_folder(folder)
    with session(host, BEN) as other:
        ben.idle()
        time.sleep(quiet)
        other.append(folder, mail("late"))
        heard(ben, b"1", b"EXISTS")
        ben.idle_done()
        other.select_folder(folder)
        ben.idle()
        time.sleep(quiet)
        other.delete_messages([1])
        other.expunge()
        heard(ben, b"1", b"EXPUNGE")
        ben.idle_done()
    assert [] == ben.search()


def number_inside(pid: int) -> str:
    """Return a process's number in its container; "" if it has ended since it was listed."""
    try:
        return Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].split()[1]
    except FileNotFoundError:
        return ""


def test_news_while_falling_asleep_is_told(host: MailHost, ben: IMAPClient, folder: str) -> None:
    """A mail that arrives after hibernation, before its folder is watched, wakes the client.

    With 50 clients that takes as long as their processes wait for each other; here strace makes it two seconds.
    """
    ben.select_folder(folder)
    container = host.containers["dovecot"]
    shown = container.exec("doveadm", "-f", "tab", "who", "-1", BEN).splitlines()
    (inside,) = [line.split("\t")[2] for line in shown if "\timap\t" in line]
    (process,) = [pid for pid in container.usage().processes() if number_inside(pid) == inside]
    call = "/^inotify_init"
    tracer = subprocess.Popen(
        ["strace", "-qqp", str(process), f"-etrace={call}", f"-einject={call}:delay_enter=2s"],
        stderr=subprocess.DEVNULL,
    )
    try:
        await_true(
            "strace to be there",
            lambda: "TracerPid:\t0" not in Path(f"/proc/{process}/status").read_text(),
        )
        ben.idle()
        time.sleep(2)
        with session(host, BEN) as other:
            other.append(folder, mail("late"))
        heard(ben, b"1", b"EXISTS")
        ben.idle_done()
    finally:
        tracer.terminate()
        tracer.wait()
